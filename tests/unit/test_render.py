"""Frames and stories compiled from the built-in templates, and what an operator's wrong template is told."""

from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_samples import (
    DAY,
    LINKS,
    READER,
    RENDERER,
    SENDER,
    ReadHtml,
    block,
    compile_frame,
    compile_story,
    compose,
    load_templates,
    make_edition,
    make_story,
    paragraph,
    read_mail,
    read_part,
)

from newsletter.core.errors import ConfigError
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import render_html, render_text
from newsletter.core.mails.quoted import clean_text
from newsletter.core.mails.render import Renderer, Sender, StorySource, chrome_languages
from newsletter.core.model import Block, BlockKind, Span, Story

anything = st.text(st.characters(codec="utf-8") | st.sampled_from("<>&\"'{}%=. \n\t\u202e\u200d\ufe0f\U0001f1e9n-slot"))


def fold(text: str) -> str:
    return " ".join(clean_text(text).split())


def squeeze(text: str) -> str:
    return "".join(clean_text(text).split())


@given(title=anything, one=anything, two=anything)
def test_any_text_comes_back_unaltered_from_both_parts(title: str, one: str, two: str) -> None:
    mail = read_mail(compose(make_edition(Story(title=title, blocks=(paragraph(one, two), paragraph(two))))))
    html = ReadHtml(read_part(mail, "html"))
    assert fold(title) in [fold(text) for text in html.text["h2"]]
    assert fold(one + two) in [fold(text) for text in html.text["p"]]
    assert squeeze(title + one + two + two) in squeeze(read_part(mail, "plain"))


def test_what_looks_like_a_template_or_markup_stays_text() -> None:
    hostile = "{{ 7*7 }} {% x %} <script>alert(1)</script> &amp; <mj-text> ]]> %(lead)s n0123-slot-view- =?utf-8?q?x?="
    mail = read_mail(compose(make_edition(make_story(hostile, hostile), make_story(hostile + "2"))))
    html = read_part(mail, "html")
    assert ReadHtml(html).text["h2"][1] == hostile
    assert ReadHtml(html).text["p"].count(hostile) == 1
    assert "script" not in ReadHtml(html).text
    assert f"\n{hostile}\n" in read_part(mail, "plain").replace("\r\n", "\n")
    assert str(mail["Subject"]).startswith(hostile[:40])


def test_a_story_is_the_same_wherever_it_stands() -> None:
    one, two = compile_story(make_story("One", "Text")), compile_story(make_story("Two", "Text"))
    frame = compile_frame()
    rows = b"".join(piece for piece in one.story.html.pieces if isinstance(piece, bytes))
    assert rows.startswith(b"<tr>")
    assert rows.endswith(b"</tr>=\r\n")
    for stories in ([one, two], [two, one], [one]):
        assert rows in compose(assemble_edition(frame, stories))


def test_every_kind_of_block_is_shown() -> None:
    k = BlockKind
    story = Story(
        title="T",
        url="https://paper.example/a?b=1&c=2",
        blocks=(
            paragraph(
                Span(text="bold", strong=True),
                " ",
                Span(text="soft", emphasis=True),
                "\u00a0",
                Span(text="x()", code=True),
                " ",
                Span(text="link", href='HTTPS://x.example/?a=1&b="2"'),
                Span(text="odd", href="javascript:alert(1)"),
                "\nnext line",
            ),
            block(k.HEADING, text="Heading"),
            block(k.LIST, block(k.ITEM, block(k.LIST, block(k.ITEM, text="inner")), text="outer")),
            block(k.LIST, block(k.ITEM, paragraph("numbered")), ordered=True),
            block(k.QUOTE, paragraph("quoted"), text="own"),
            block(k.CODE, text="a < b\n\n  c"),
            block(k.CODE, text=" \n"),
            Block(kind=k.IMAGE, src="https://x.example/a.png", alt='A "view"'),
            Block(kind=k.IMAGE, src="http://x.example/b.png", alt="not loaded"),
            Block(kind=k.IMAGE, src="data:image/png,x"),
            Block(kind=k.IMAGE, src="https://x.example/c.png", spans=(Span(text="", href="https://x.example/c"),)),
            Block(kind=k.IMAGE, src="http://x.example/d.png", spans=(Span(text="", href="https://x.example/d"),)),
            block(k.RULE),
            block(k.TABLE, block(k.ROW, block(k.CELL, text="head")), block(k.ROW, block(k.CELL, paragraph("cell")))),
            block(k.TABLE, block(k.ROW, block(k.CELL, text="only"))),
            block(k.ITEM, paragraph("stray")),
        ),
    )
    html = ReadHtml(render_html(assemble_edition(compile_frame(), [compile_story(story, "Science")]), READER, LINKS))
    assert "bold soft\u00a0x() linkodd\nnext line" in html.text["p"]
    assert html.text["strong"] == ["bold"]
    assert html.text["em"] == ["soft"]
    assert html.text["h3"] == ["Heading"]
    assert html.text["li"] == ["outerinner", "inner", "numbered"]
    assert html.text["blockquote"] == ["ownquoted"]
    assert html.text["pre"] == ["a < b\n\n  c"]
    assert html.text["th"] == ["head"]
    assert {"cell", "only"} <= set(html.text["td"])
    assert "stray" in html.text["p"]
    assert next(a for tag, a in html.attributes if tag == "img")["alt"] == 'A "view"'
    assert [a["src"] for tag, a in html.attributes if tag == "img"] == [
        "https://x.example/a.png",
        "https://x.example/c.png",
    ]
    assert "not loaded" in html.text["p"]
    links = [a["href"] for tag, a in html.attributes if tag == "a"]
    assert "https://x.example/d" not in links  # neither to be seen nor to be read
    assert 'HTTPS://x.example/?a=1&b="2"' in links
    assert {story.url, "https://x.example/c"} <= set(links)
    assert "Read more at x.example" in [a["alt"] for tag, a in html.attributes if tag == "img"]
    assert "Read more at paper.example" in html.text["a"]
    assert not any("javascript" in (link or "") for link in links)


def test_a_link_of_another_scheme_is_not_offered_as_the_source() -> None:
    for url in ("ftp://x.example/", "http://[x.example", "mailto:a@x.example"):
        text = render_text(make_edition(make_story("T", "Text", url=url)), READER, LINKS)
        assert "x.example" not in text


@pytest.mark.parametrize(
    ("language", "direction", "title", "story_direction"),
    [
        ("en", "ltr", "Ein Titel", "ltr"),
        ("en", "ltr", "عنوان", "rtl"),
        ("ar", "rtl", "A title", "ltr"),
        ("ur", "rtl", "1", "rtl"),
    ],
)
def test_language_and_directions(language: str, direction: str, title: str, story_direction: str) -> None:
    html = ReadHtml(render_html(make_edition(make_story(title), language=language), READER, LINKS))
    root = next(a for tag, a in html.attributes if tag == "html")
    assert (root["lang"], root["dir"]) == (language, direction)
    story = next(a for tag, a in html.attributes if a.get("class") == "line")
    assert story["dir"] == story_direction
    assert html.text["h2"] == [title]


def test_the_html_has_what_readers_and_their_programs_need() -> None:
    source = render_html(make_edition(make_story("One", "Text"), make_story("Two")), READER, LINKS)
    html = ReadHtml(source)
    assert html.text["h1"] == ["Tuesday brief"]
    assert html.text["li"] == ["One", "Two"]
    assert html.text["title"] == ["Tuesday brief"]
    roles = [a.get("role") for _, a in html.attributes]
    assert roles.count("article") == 1
    assert all(a.get("role") == "presentation" for tag, a in html.attributes if tag == "table")
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in html.attributes
    for needed in ("prefers-color-scheme:dark", "[data-ogsc]", "&#847;&zwnj;&nbsp;", "max-width:640px"):
        assert needed in source
    assert "fonts.googleapis" not in source
    links = [a["href"] for tag, a in html.attributes if tag == "a"]
    pause, archive = f"{LINKS.preferences}#pause", "https://news.ledger.example/archive"
    assert {LINKS.unsubscribe, LINKS.preferences, pause, LINKS.view, archive} == set(links)


def test_a_title_that_is_the_newsletters_name_stands_once() -> None:
    frame = compile_frame(title=SENDER.name)
    html = ReadHtml(render_html(assemble_edition(frame, [compile_story(make_story("T"))]), READER, LINKS))
    assert html.text["h1"] == [SENDER.name]
    assert SENDER.name not in html.text["p"]


def test_without_a_postal_address_none_is_shown() -> None:
    sender = Sender(name="L", from_name="", from_address="a@b.example", base_url="http://127.0.0.1:8000", key_id="k")
    edition = assemble_edition(compile_frame(sender=sender), [compile_story(make_story("T"))])
    assert render_text(edition, READER, LINKS).endswith("http://127.0.0.1:8000/archive\n")


def test_without_an_archive_no_mail_leads_to_it() -> None:
    edition = assemble_edition(compile_frame(sender=replace(SENDER, archive=False)), [compile_story(make_story("T"))])
    assert "/archive" not in render_text(edition, READER, LINKS) + render_html(edition, READER, LINKS)


def test_a_story_too_long_for_a_mail_is_shortened_after_a_paragraph_or_a_sentence() -> None:
    parts = compile_story(make_story("Long", *(f"{number} " + "word " * 199 + "word. " for number in range(100))))
    assert parts.whole is not None
    edition = assemble_edition(compile_frame(), [parts])
    html, text = render_html(edition, READER, LINKS), render_text(edition, READER, LINKS)
    assert len(html.encode()) < 90_000
    paragraphs = [p for p in ReadHtml(html).text["p"] if "word" in p]
    assert 8 < len(paragraphs) < 16
    assert all(p.count("word") == 200 for p in paragraphs)
    assert text.count("word") == 200 * len(paragraphs)
    for part in (html, text):
        assert "Continue reading on the web" in part
        assert part.count(LINKS.view) > render_text(make_edition(make_story("T")), READER, LINKS).count(LINKS.view)
    whole = render_html(assemble_edition(compile_frame(), [parts], whole=True), READER, LINKS)
    assert ReadHtml(whole).text["p"][-4].startswith("99 ") or "99 word" in whole
    assert "Continue reading" not in whole


@pytest.mark.parametrize("text", ["word " * 40_000, "港" * 60_000, "&" * 60_000, "x\n" * 60_000])
def test_a_paragraph_too_long_for_a_mail_is_cut_within(text: str) -> None:
    code = Story(title="T", blocks=(block(BlockKind.CODE, text=text), paragraph("after")))
    for story in (make_story("T", text, "after"), code):
        edition = assemble_edition(compile_frame(), [compile_story(story)])
        assert len(render_html(edition, READER, LINKS).replace("\n", "\r\n").encode()) < 90_000
        assert "after" not in render_text(edition, READER, LINKS)
        assert edition.shown == 1


def test_a_long_paragraph_is_cut_after_a_sentence_and_keeps_its_links() -> None:
    spans = [
        Span(text=f"Sentence {n} says «something». ", href="https://x.example/" if n % 2 else None) for n in range(900)
    ]
    story = Story(title="T", blocks=(paragraph("First."), paragraph(*spans)))
    html = render_html(assemble_edition(compile_frame(), [compile_story(story)] * 5), READER, LINKS)
    shown = [text for text in ReadHtml(html).text["p"] if text.startswith("Sentence 0")]
    assert len(shown) == 5
    assert all(text.endswith("».") for text in shown)
    assert html.count('href="https://x.example/"') > 5
    chinese = Story(title="T", blocks=(paragraph("港口大桥重新开放。" * 4_000),))
    html = render_html(assemble_edition(compile_frame(), [compile_story(chinese)] * 3), READER, LINKS)
    assert [text[-3:] for text in ReadHtml(html).text["p"] if "港" in text] == ["开放。"] * 3


def test_a_story_that_is_nothing_but_a_monstrous_link_stays() -> None:
    story = Story(title="T", url=f"https://x.example/{'a' * 30_000}")
    edition = assemble_edition(compile_frame(), [compile_story(story)] * 4)
    assert edition.shown in (1, 2, 3)
    assert edition.shortened <= {0, 1, 2}


def test_a_title_of_monstrous_length_does_not_break_the_bound() -> None:
    title = "&" * 100_000
    edition = make_edition(make_story(title), make_story(title))
    assert len(render_html(edition, READER, LINKS).encode()) < 90_000
    assert make_edition(make_story("x" * 5_000)).html == make_edition(make_story("x" * 5_000)).html
    assert "x" * 5_000 in render_text(make_edition(make_story("x" * 5_000)), READER, LINKS)


def test_the_mjml_shows_the_mail_as_it_is_filled() -> None:
    stories = [
        make_story("One & only", "Text"),
        make_story("Two", *(["word " * 300] * 30)),
        *[make_story("Three", "w " * 9_000)] * 4,
    ]
    sources = [
        StorySource(story=story, topics=("Science",), day=DAY.replace(day=1 + i // 3))
        for i, story in enumerate(stories)
    ]
    parts = [RENDERER.compile_story(s.story, s.topics, day=s.day, language="en") for s in sources]
    edition = assemble_edition(compile_frame(), parts)
    assert edition.shown < len(stories)
    mjml = RENDERER.render_mjml(edition, sources, READER, LINKS)
    assert mjml.startswith("<mjml")
    assert "One &amp; only" in mjml
    assert "Business &amp; Trade" in mjml
    assert LINKS.unsubscribe in mjml
    assert "in the web edition" in mjml
    assert mjml.count("<h2") == edition.shown + 3  # the list has one, and each of two days
    assert unescape(edition.preheader) in unescape(mjml)
    single = RENDERER.render_mjml(assemble_edition(compile_frame(), parts[:1]), sources[:1], READER, LINKS)
    assert "In this mail" not in single
    assert "in the web edition" not in single


def test_a_wrong_from_address_stops_the_frame() -> None:
    with pytest.raises(ConfigError, match="FROM"):
        compile_frame(sender=Sender(name="", from_name="", from_address="nobody", base_url="", key_id=""))


def test_an_issue_without_number_is_a_preview() -> None:
    frame = RENDERER.compile_frame(SENDER, issue=None, title="T", date=DAY, language="pt")
    assert "Feedback-ID: preview:en:" in frame.tail


def test_the_same_input_gives_the_same_bytes() -> None:
    again = Renderer(load_templates()).compile_story(make_story("T", "Text"), [], day=DAY, language="de")
    assert again.to_bytes() == compile_story(make_story("T", "Text"), language="de").to_bytes()
    assert chrome_languages(load_templates())[0] == "en"


def test_a_story_has_its_own_direction_whoever_reads_it() -> None:
    story = replace(make_story("Apple تطلق هاتفا جديدا", "نظام جديد من Microsoft."), language="ar")
    for language in ("en", "ar", "he"):
        html = render_html(make_edition(story, language=language), READER, LINKS)
        assert html.count('<td class="line" lang="ar" dir="rtl" ') == 1


def test_a_list_begins_with_its_own_number_in_both_parts() -> None:
    items = (block(BlockKind.ITEM, text="seven"), block(BlockKind.ITEM, text="eight"))
    story = Story(title="T", blocks=(Block(kind=BlockKind.LIST, ordered=True, level=7, children=items),))
    edition = make_edition(story)
    assert '<ol start="7"' in render_html(edition, READER, LINKS)
    assert "7. seven\n8. eight" in render_text(edition, READER, LINKS)


@pytest.mark.parametrize(
    ("rows", "style", "broken"),
    [
        (["Currency Rate Since", "Dollar 1.0842 +2.31%"], "word-break:normal", 0),
        (["城市人口增长最快的地区 2025", "北京 21.9"], "word-break:normal", 0),
        (["Year Donaudampfschifffahrt", "1925 1"], "word-break:normal", 1),
        (["Year Donaudampfschifffahrt Members Ships Seats", "1925 1 11400 12 Wien"], "table-layout:fixed", 1),
    ],
)
def test_a_table_breaks_no_short_word(rows: list[str], style: str, broken: int) -> None:
    table = block(
        BlockKind.TABLE,
        *(block(BlockKind.ROW, *(block(BlockKind.CELL, text=cell) for cell in row.split())) for row in rows),
    )
    html = render_html(make_edition(Story(title="T", blocks=(table,))), READER, LINKS)
    assert style in html
    assert html.count("vertical-align:top;word-break:break-word") == broken
