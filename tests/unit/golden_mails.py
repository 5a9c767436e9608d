"""The golden mails: a dozen editions, each as a theme shows it; kept in tests/golden as HTML, text and .eml."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache

from mail_samples import DAY, LINKS, NOW, READER, SENDER, block, load_templates, make_story, paragraph

from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import Recipient, compose_mail
from newsletter.core.mails.render import Renderer, StorySource
from newsletter.core.model import Block, BlockKind, Span, Story

K = BlockKind
THEMES = ("brief", "cards")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A mail to be kept. `topics` and `days` are each story's; where they are missing, one topic and one day."""

    language: str
    title: str
    stories: Sequence[Story]
    topics: Sequence[tuple[str, ...]] = ()
    days: Sequence[date] = ()
    reader: Recipient = field(default=READER)


def image(src: str, alt: str, href: str | None = None) -> Block:
    return Block(kind=K.IMAGE, src=src, alt=alt, spans=(Span(text="", href=href),) if href else ())


BRIDGE = Story(
    title="Harbour bridge reopens to cyclists and walkers",
    url="https://paper.example/bridge",
    blocks=(
        paragraph("The old bridge opened again on Tuesday, with a lane for ", Span(text="bicycles", strong=True), "."),
        paragraph(
            "The repairs took seven months longer. ",
            Span(text="The report", href="https://city.example/r?a=1&b=2"),
            " says why.",
        ),
        block(
            K.LIST, block(K.ITEM, text="Open from six in the morning"), block(K.ITEM, text="Free until the end of May")
        ),
    ),
)
KINDS = Story(
    title="New release of the open map editor",
    url="https://maps.example/notes",
    blocks=(
        block(K.HEADING, text="What is new"),
        paragraph(
            "Run ",
            Span(text="mapedit --offline", code=True),
            " and it keeps the tiles ",
            Span(text="you", emphasis=True),
            " saw.",
        ),
        block(K.CODE, text="$ pip install mapedit\n\n$ mapedit harbour.osm"),
        block(K.QUOTE, paragraph("It works on a ferry."), paragraph("— A reader")),
        image("https://maps.example/shot.png", "A harbour in two colours"),
        block(K.RULE),
        block(
            K.TABLE,
            block(K.ROW, block(K.CELL, text="Year"), block(K.CELL, text="Users")),
            block(K.ROW, block(K.CELL, text="2025"), block(K.CELL, text="11,400")),
        ),
    ),
)
SHORT = [make_story(f"Short story number {n}", f"Paragraph {n} of the day.") for n in range(3, 11)]
WEEK = [BRIDGE, KINDS, *SHORT[:2]]
URDU = [
    make_story("شہر میں نئے کتب خانے کا افتتاح", "شہر کے مرکز میں ایک نیا کتب خانہ کھل گیا ہے۔"),
    make_story("Trams return in autumn", "Line 4 comes first."),
]
ARABIC = [
    Story(
        title="مدينة Riverton تفتتح مكتبة جديدة (الطابق 3)",
        url="https://paper.example/ar",
        blocks=(
            paragraph(
                "افتتحت المدينة مكتبة جديدة في شارع ", Span(text="Harbour Street 12", strong=True), " يوم الثلاثاء."
            ),
            block(K.LIST, block(K.ITEM, text="من الساعة 9:00 إلى 18:30"), block(K.ITEM, text="الدخول مجاني")),
            block(K.QUOTE, paragraph("كنا ننتظر هذا منذ سنوات.")),
            block(
                K.TABLE,
                block(K.ROW, block(K.CELL, text="السنة"), block(K.CELL, text="الزوار")),
                block(K.ROW, block(K.CELL, text="2025"), block(K.CELL, text="11,400")),
            ),
        ),
    ),
    make_story("The ferry to שפת הים runs again", "It leaves at ten: «مرحبا» says the sign."),
    make_story("שרת החינוך ביקרה בבית הספר", "הביקור נמשך שעה, והתלמידים שאלו 12 שאלות."),
]
HEBREW = [
    Story(
        title="הגשר הישן נפתח מחדש לרוכבי אופניים",
        url="https://paper.example/he",
        blocks=(
            paragraph("הגשר נפתח ביום שלישי, עם ", Span(text="מסלול לאופניים", strong=True), " ומדרכה רחבה."),
            block(K.LIST, block(K.ITEM, text="פתוח משש בבוקר"), block(K.ITEM, text="Open (until 6).")),
            block(
                K.TABLE,
                block(K.ROW, block(K.CELL, text="שנה"), block(K.CELL, text="Riders (all).")),
                block(K.ROW, block(K.CELL, text="2025"), block(K.CELL, text="11,400")),
            ),
        ),
    ),
    make_story("OpenStreetMap מפרסמת גרסה 3.0", "הגרסה שומרת מפות גם בלי רשת."),
]
CHINESE = [
    make_story("港口大桥重新向骑行者和行人开放", "旧港口大桥于周二上午重新开放，设有自行车专用道和更宽的人行道。" * 3),
    replace(
        make_story(
            "図書館が夜遅くまで開館", "木曜日は午後十時まで開いています。スープは無料です（カップを持参）。" * 2
        ),
        language="ja",
    ),
]
HOSTILE = [
    make_story("{{ 7*7 }} <script>alert(1)</script>", "{% include 'x' %} & <b>not bold</b>\n.\n..two dots\nFrom here"),
    make_story("=?utf-8?q?=41?=", "x" * 1_000, "." * 200),
    make_story('Quotes "and" commas, <angles> 😀 👩‍💻', "\u202eright to left?\u202c \x00\x1b[31m"),
]
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
LONG_WORDS = [
    Story(
        title=f"{LONG} feiert Geburtstag",
        url=f"https://{'sub.' * 12}example.org/{'path/' * 30}?q={'x' * 60}",
        blocks=(
            paragraph(
                f"Die {LONG} wird hundert. ", Span(text=f"https://example.org/{'a' * 120}", href="https://x.example/")
            ),
            block(
                K.TABLE,
                block(K.ROW, *(block(K.CELL, text=name) for name in ("Jahr", LONG, "Mitglieder", "Schiffe", "Sitz"))),
                block(K.ROW, *(block(K.CELL, text=name) for name in ("1925", "1", "11400", LONG, "Wien"))),
            ),
            block(K.CODE, text=f"curl https://example.org/{'a' * 120}"),
        ),
    ),
    make_story("Kurz", "Punkt."),
]
IMAGES = [
    Story(
        title="The harbour at dawn",
        url="https://photos.example/dawn",
        blocks=(
            paragraph("Twelve pictures from the pier."),
            image("https://photos.example/dawn.jpg", "Fishing boats leave the harbour at first light"),
            image("https://photos.example/gulls.jpg", "Gulls over the mole", "https://photos.example/gulls"),
            image("http://insecure.example/x.jpg", "A picture that is not loaded over https"),
            image("https://photos.example/rule.png", ""),
        ),
    ),
    Story(title="The map of the week", blocks=(image("https://photos.example/map.png", "A map of the tram lines"),)),
]
NESTED = [
    Story(
        title="How the new timetable works",
        blocks=(
            block(
                K.LIST,
                block(
                    K.ITEM,
                    block(
                        K.LIST, block(K.ITEM, block(K.QUOTE, paragraph("Even on Sundays.")), text="every ten minutes")
                    ),
                    text="Trams",
                ),
                block(
                    K.ITEM,
                    paragraph("They wait for the last train."),
                    block(K.CODE, text="line 4, 23:58"),
                    text="Buses",
                ),
                ordered=True,
            ),
            block(
                K.QUOTE,
                paragraph("I was told:"),
                block(K.QUOTE, paragraph("Wait."), block(K.LIST, block(K.ITEM, text="and"), block(K.ITEM, text="see"))),
            ),
            block(
                K.TABLE,
                block(K.ROW, *(block(K.CELL, text=name) for name in ("Line", "First", "Last"))),
                *(
                    block(K.ROW, block(K.CELL, text=f"{n}"), block(K.CELL, text="5:30"), block(K.CELL, text="23:58"))
                    for n in (1, 4)
                ),
            ),
        ),
    )
]
FORTY = [
    make_story(
        f"{what} number {number} of the day",
        f"What happened to {what.lower()} {number}, in two sentences. It was a quiet day otherwise.",
        url=f"https://paper.example/{number}",
    )
    for number in range(10)
    for what in ("Harbour", "Market", "Comet", "Library")
]
FORTY_TOPICS = [topics for _ in range(10) for topics in (("City",), ("Business & Trade",), ("Science", "City"), ())]

MAILS = {
    "one-story": Golden(language="en", title="Tuesday brief", stories=[BRIDGE]),
    "ten-stories": Golden(
        language="de",
        title="Die Lage am Dienstag",
        stories=[BRIDGE, KINDS, *SHORT],
        reader=Recipient(email="jürgen@bücher.example", name='Jürgen "J" Groß', topics=("*",)),
    ),
    "forty-stories": Golden(language="en", title="Everything on Tuesday", stories=FORTY, topics=FORTY_TOPICS),
    "weekly": Golden(language="es", title="La semana", stories=WEEK, days=[DAY, DAY, *[DAY - timedelta(days=2)] * 2]),
    "urdu": Golden(language="ur", title="منگل کا خلاصہ", stories=URDU),
    "arabic": Golden(language="ar", title="موجز الثلاثاء", stories=ARABIC),
    "hebrew": Golden(language="he", title="תקציר יום שלישי", stories=HEBREW),
    "chinese": Golden(language="en", title="周二简报", stories=CHINESE, reader=replace(READER, name="王小明")),
    "hostile": Golden(language="fr", title="{{ title }} & <h1>", stories=HOSTILE),
    "long-words": Golden(language="de", title=f"{LONG} am Dienstag", stories=LONG_WORDS),
    "images": Golden(language="en", title="In pictures", stories=IMAGES),
    "nested": Golden(language="en", title="Tuesday brief", stories=NESTED),
    "cut": Golden(
        language="ar",
        title="موجز",
        stories=[
            replace(BRIDGE, blocks=BRIDGE.blocks * 40),
            *(make_story(f"Story {n}", "word " * 1_200) for n in range(14)),
        ],
    ),
}


@cache
def make_renderer(theme: str) -> Renderer:
    return Renderer(load_templates(), theme)


def write_mail(theme: str, mail: Golden) -> bytes:
    """The mail as it goes on the wire."""
    renderer = make_renderer(theme)
    topics = mail.topics or [("Science", "Business & Trade")] * len(mail.stories)
    days = mail.days or [DAY] * len(mail.stories)
    sources = [StorySource(story=s, topics=t, day=d) for s, t, d in zip(mail.stories, topics, days, strict=True)]
    frame = renderer.compile_frame(SENDER, issue=12, title=mail.title, date=DAY, language=mail.language)
    edition = assemble_edition(frame, renderer.compile_stories(sources, mail.language))
    return compose_mail(edition, mail.reader, LINKS, message_id="<1-2@ledger.example>", date=NOW).octets
