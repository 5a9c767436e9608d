"""Briefs: what a text in each shape comes to, which slips are warned of where, and that nothing is lost in silence."""

import random
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.briefs.draft import excerpt, split_topics
from newsletter.core.briefs.headlines import DETAILS, HEADLINES
from newsletter.core.briefs.markdown import MAX_NESTING
from newsletter.core.briefs.matter import read_language
from newsletter.core.briefs.parser import date_in_name, parse_brief
from newsletter.core.briefs.text import title_key
from newsletter.core.errors import BriefError
from newsletter.core.model import BlockKind, Brief

MODIFIED_AT = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)

SIMPLE = """\
Headlines:

- **Bakery opens at night**
- **Bridge is painted green**

Details:

Bakery opens at night

The ovens are warm by ten.

Bread is sold through a window.

Bridge is painted green

The colour was chosen by the
children of the *river* school. ([Gazette](https://gazette.example/bridge))
"""


def parse(text: str, *, brief_id: str = "brief", language: str = "en") -> Brief:
    return parse_brief(text, brief_id=brief_id, source=f"{brief_id}.md", modified_at=MODIFIED_AT, language=language)


def told(text: str) -> dict[str, list[str]]:
    """Titles and paragraphs, in order."""
    return {story.title: list(story.paragraphs) for story in parse(text).stories}


def warned(text: str) -> list[tuple[int | None, str]]:
    return [(warning.line, warning.message) for warning in parse(text).warnings]


def details(body: str, *titles: str) -> str:
    """A brief with these headlines and this text below the line “Details:”, which is line len(titles) + 4."""
    items = "".join(f"- {title}\n" for title in titles)
    return f"Headlines:\n\n{items}\nDetails:\n{body}"


# Headlines and details


def test_headlines_and_details_become_stories() -> None:
    brief = parse(SIMPLE, brief_id="2026-10-31-evening")
    assert told(SIMPLE) == {
        "Bakery opens at night": ["The ovens are warm by ten.", "Bread is sold through a window."],
        "Bridge is painted green": ["The colour was chosen by the children of the river school. (Gazette)"],
    }
    assert [story.line for story in brief.stories] == [8, 14]
    assert brief.stories[1].links == ("https://gazette.example/bridge",)
    assert (brief.id, brief.title, brief.language) == ("2026-10-31-evening", "2026-10-31-evening", "en")
    assert (brief.date, brief.source, brief.warnings) == (date(2026, 10, 31), "2026-10-31-evening.md", ())


@pytest.mark.parametrize(
    ("headlines", "rest"),
    [
        ("Headlines:", "Details:"),
        ("HEADLINES :", "details："),
        ("# Headlines", "# Details"),
        ("### headlines:", "### Details: ###"),
        ("**Headlines**", "__Details__"),
        ("**Headlines:**", "**Details**:"),
        ("*Headlines:*", "***Details***"),
        ("Headlines\n---", "Details\n==="),
        *((f"{first.title()}:", f"**{second}**") for first, second in zip(HEADLINES, DETAILS, strict=False)),
    ],
)
def test_the_two_lines_may_be_written_in_many_ways(headlines: str, rest: str) -> None:
    text = SIMPLE.replace("Headlines:", headlines).replace("Details:", rest)
    assert told(text) == told(SIMPLE)
    assert warned(text) == []


@pytest.mark.parametrize(
    "line", ["Headlines", "*Headlines*", "Headlines for today:", "Headlines: today", "`Headlines:`"]
)
def test_another_line_is_not_taken_for_headlines(line: str) -> None:
    with pytest.raises(BriefError, match=r"^brief\.md holds no story: it needs .* “Headlines:”"):
        parse(SIMPLE.replace("Headlines:", line))


@pytest.mark.parametrize("mark", ["- ", "* ", "+ ", "1. ", "1) ", "  - ", "-   "])
@pytest.mark.parametrize("bold", ["", "**", "__", "*"])
def test_the_list_may_have_any_mark_with_or_without_bold(mark: str, bold: str) -> None:
    text = re.sub(r"^- \*\*(.*)\*\*$", rf"{mark}{bold}\1{bold}", SIMPLE, flags=re.MULTILINE)
    assert told(text) == told(SIMPLE)


def test_no_blank_line_is_needed_anywhere() -> None:
    text = "Headlines:\n- One\n- Two\n- Three\nDetails:\nOne\nabout one\nTwo\n* point\nThree\n> quote\nOne more line"
    assert told(text) == {"One": ["about one"], "Two": ["point"], "Three": ["quote One more line"]}
    assert warned(text) == []


@pytest.mark.parametrize(
    ("headline", "title"),
    [
        ("He said “go” – now!", "he  said 'go' - NOW"),
        ("צה״ל: ראש־הממשלה", 'צה"ל: ראש-הממשלה'),
        ("The end.", "The end"),
        ("Was it?", "# Was it"),
        ("A title", "**A title**"),
        ("A title", "## A title ##"),
        ("A title", "*A* [title](https://a.example/)"),
        ("A title", "<b>A title</b>"),
        ("A title", "A title\n======="),
        ("A title", "A title\n---"),
        ("A title", "   A title"),
        ("A &amp; B", "A & B"),
        ("a \\* b", "a * b"),
        ("A ![](x) `code`", "A code"),
        ("**A long title\n  over two lines**", "A long title\nover two lines"),
        ("**A long title\n  over two lines**", "A long title over two lines"),
        ("1. FC Nord wins", "1. FC Nord wins"),
        ("**1. FC Nord wins**", "1. FC Nord wins"),
        ("2026. The year", "2026. The year"),
        ("[A](https://a.example/) title", "A title"),
        ("![x](https://a.example/i.png) A title", "A title"),
    ],
)
def test_a_details_title_matches_its_headline(headline: str, title: str) -> None:
    text = details(f"\n{title}\n\nText.\n\nLast\nmore", headline, "Last")
    first, last = parse(text).stories
    assert (first.paragraphs, last.paragraphs) == (("Text.",), ("more",))
    assert warned(text) == []


def test_the_headline_decides_how_a_title_is_written() -> None:
    assert list(told(details("\nthe END\n\nText.", "The *End*!"))) == ["The End!"]


def test_titles_are_plain_text_and_otherwise_unaltered() -> None:
    titles = [
        "**Tom &amp; Ann's “plan” \\*now\\* — {{ 7*7 }} & {{ 8*8 }}**",
        "`x` <i>y</i> 1 < 2",
        "خبر 新闻 👩‍👩‍👧 c\xa0d",
    ]
    assert list(told(details("", *titles))) == [
        "Tom & Ann's “plan” *now* — {{ 7*7 }} & {{ 8*8 }}",
        "x y 1 < 2",
        "خبر 新闻 👩‍👩‍👧 c\xa0d",
    ]


def test_a_title_that_is_a_link_gives_the_story_its_address() -> None:
    text = details(
        "\n[One](https://a.example/1)\n\nText [x](https://b.example/).\n\nTwo", "One", "[Two](https://a.example/2)"
    )
    assert [story.url for story in parse(text).stories] == ["https://a.example/1", "https://a.example/2"]
    assert parse(text).stories[0].links == ("https://a.example/1", "https://b.example/")


def test_a_second_link_in_a_title_is_warned_of() -> None:
    text = details("\n[One](https://a.example/b)", "[One](https://a.example/a)")
    assert warned(text) == [(7, "a title may have one link; the others are left out: https://a.example/b")]


def test_a_headline_without_details_is_a_story_without_paragraphs() -> None:
    text = details("\nOne\n\nText.", "One", "Two")
    assert told(text) == {"One": ["Text."], "Two": []}
    assert parse(text).stories[1].line == 4
    assert warned(text) == [(4, "the headline “Two” has no details")]


def test_a_repeated_headline_is_one_story() -> None:
    text = details("\nOne\n\nText.\n\nOne\n\nMore.\n\nTwo\nx", "One", "Two", "one!")
    assert told(text) == {"One": ["Text.", "More."], "Two": ["x"]}
    assert warned(text) == [
        (5, "the headline “one!” repeats that of line 3"),
        (13, "the title “One” stands here again; its text is added to that of line 9"),
    ]


@pytest.mark.parametrize("title", ["**Other**", "__Other__", "### Other", "Other\n---", "<strong>Other</strong>"])
def test_a_title_that_is_no_headline_must_be_marked_and_comes_last(title: str) -> None:
    text = details(f"\nOne\n\nText.\n\n{title}\nIts text.\n\nTwo\n\nMore.", "One", "Two")
    assert told(text) == {"One": ["Text."], "Two": ["More."], "Other": ["Its text."]}
    assert warned(text) == [(12, "the title “Other” is no headline; its story stands at the end")]


def test_other_lines_are_paragraphs() -> None:
    body = "\nOne\n\nOther\n\n*Other*\n\n**Bold** start\n\n* **Bold**. Item\n* **Bold**\n\n> **Bold**\n\n    **Code**\n"
    assert told(details(body, "One")) == {
        "One": ["Other", "Other", "Bold start", "Bold. Item", "Bold", "Bold", "**Code**"],
    }


def test_a_line_in_code_is_no_title() -> None:
    text = details("\nOne\n\n```\nTwo\nDetails:\n```\n\n    Two\n\n* item\n\n  Two\n\nTwo\n\nText.", "One", "Two")
    assert told(text) == {"One": ["Two Details:", "Two", "item", "Two"], "Two": ["Text."]}


def test_a_story_may_repeat_its_title_inside_a_paragraph() -> None:
    assert told(details("\nOne\n\nsaid\nOne\nagain", "One")) == {"One": ["said One again"]}


def test_the_indented_text_of_a_list_item_is_no_title() -> None:
    text = details("\nOne\n\n* said\n  Two\n  again\nTwo\nText.", "One", "Two")
    assert told(text) == {"One": ["said Two again"], "Two": ["Text."]}


def test_the_line_of_headlines_may_stand_twice() -> None:
    text = "Headlines:\n- One\n\nHeadlines:\n- Two\n\nDetails:\nOne\nx\nTwo\ny"
    assert told(text) == {"One": ["x"], "Two": ["y"]}
    assert warned(text) == []


def test_lines_above_dashes_are_a_paragraph() -> None:
    text = details("\nOne\nfirst\nsecond\n---\nTwo\nthird", "One", "Two")
    assert told(text) == {"One": ["first second"], "Two": ["third"]}


def test_text_before_the_first_title_is_kept() -> None:
    text = details("\nGood morning!\n\nOne\n\nText.", "One", "Two")
    assert told(text) == {"One": ["Good morning!", "Text."], "Two": []}
    assert (8, "the text before the first title is put at the start of the first story") in warned(text)


def test_details_may_be_numbered_like_the_headlines() -> None:
    body = "\n1. One\n\nText.\n\n2. Two\n   more\n\n   last\n3. Three\n"
    assert told(details(body, "One", "Two", "Three")) == {"One": ["Text."], "Two": ["more", "last"], "Three": []}
    assert [story.line for story in parse(details(body, "One", "Two", "Three")).stories] == [9, 13, 17]


def test_a_list_that_holds_a_headline_and_more_is_body() -> None:
    assert told(details("\nOne\n\n- One\n- Two\n- x\n\nTwo\ny", "One", "Two")) == {
        "One": ["One", "Two", "x"],
        "Two": ["y"],
    }
    assert told(details("\nOne\n\n- Two\n- x\n\nTwo\ny", "One", "Two")) == {"One": ["Two", "x"], "Two": ["y"]}


def test_what_stands_under_a_headline_in_the_list_begins_its_story() -> None:
    text = "Headlines:\n- One\n\n  lead\n  - point\n- Two\n- - Three\n    - deep\n-\n\nDetails:\nOne\nText."
    assert told(text) == {"One": ["lead", "point", "Text."], "Two": [], "- Three": ["Three", "deep"]}
    repeated = "Headlines:\n- One\n- One\n\n  more\n\nDetails:\nOne\nText."
    assert told(repeated) == {"One": ["more", "Text."]}


def test_text_around_the_headlines_is_warned_of() -> None:
    text = "# The brief\n\nHello **you**\n\n## Part\n\n<!-- note -->\n\n" + SIMPLE
    assert parse(text).title == "The brief"
    assert told(text) == told(SIMPLE)
    assert warned(text) == [
        (3, "the text before the headlines belongs to no story and is left out: “Hello you”"),
        (5, "the text before the headlines belongs to no story and is left out: “Part”"),
    ]
    assert told(SIMPLE.replace("- **Bridge", "\nWorld\n\n- **Bridge")) == told(SIMPLE)
    assert warned(SIMPLE.replace("- **Bridge", "\nWorld\n\n- **Bridge")) == [
        (5, "the text among the headlines belongs to no story and is left out: “World”")
    ]


def test_headlines_that_are_no_list_are_read_line_by_line() -> None:
    text = "Headlines:\nOne\nTwo\n\n---\n\n![](x)\n\nDetails:\nOne\nText.\nTwo\nMore."
    assert told(text) == {"One": ["Text."], "Two": ["More."]}
    assert warned(text) == [
        (2, "the headlines are no list; each line is read as one"),
        (7, "a headline without text is left out"),
    ]


def test_a_headline_needs_text() -> None:
    text = "Headlines:\n- ![](https://a.example/i.png)\n- One\n  Topics:\n\nDetails:\nOne\nText."
    assert told(text) == {"One": ["Text."]}
    assert warned(text) == [(2, "a headline without text is left out")]


def test_without_details_the_text_after_the_list_is_read_as_such() -> None:
    text = SIMPLE.replace("Details:\n\n", "")
    assert told(text) == told(SIMPLE)
    assert warned(text) == [(1, "no line “Details:” follows the headlines; any text after them is read as such")]
    assert told("Headlines:\n- One\n- Two\n") == {"One": [], "Two": []}


def test_a_list_in_a_story_is_no_list_of_headlines() -> None:
    text = "## Review\n\nHeadlines:\n\n- One\n- Two\n\n## Next\n\nHeadlines: none\n"
    assert told(text) == {"Review": ["Headlines:", "One", "Two"], "Next": ["Headlines: none"]}
    assert list(told("## A\n\nHeadlines:\n\ntext")) == ["A"]
    assert list(told("## A\n\n```\nHeadlines:\n- x\n```")) == ["A"]
    assert list(told("## A\n\n    Headlines:\n\ntext")) == ["A"]


def test_without_headlines_only_marked_titles_are_stories() -> None:
    assert told("Headlines:\n\nDetails:\n\n**One**\n\nText.") == {"One": ["Text."]}
    assert told("Headlines:\n\nDetails:\n\nlost?\n\n**One**\n\nText.") == {"One": ["lost?", "Text."]}
    with pytest.raises(BriefError, match="holds no story"):
        parse("Headlines:\n\nDetails:\n\nText.")


def test_the_words_of_the_two_lines_mean_nothing_a_second_time() -> None:
    text = details("\nOne\n\nDetails:\n\nHeadlines:\n\n- x\n\nTwo\ny", "One", "Two")
    assert told(text) == {"One": ["Details:", "Headlines:", "x"], "Two": ["y"]}


# Headings


def test_headings_of_level_two_are_stories() -> None:
    one = "## One\n\nText.\n\n#### Sub\n\nMore."
    text = f"# The brief\n\n{one}\n\n## [Two](https://a.example/2) ##\n- point\n\nThree\n-----\n> x\n"
    brief = parse(text)
    assert brief.title == "The brief"
    assert told(text) == {"One": ["Text.", "Sub", "More."], "Two": ["point"], "Three": ["x"]}
    assert [(story.line, story.section, story.url) for story in brief.stories] == [
        (3, None, None),
        (11, None, "https://a.example/2"),
        (14, None, None),
    ]
    assert brief.warnings == ()


def test_a_heading_with_deeper_ones_below_is_a_section() -> None:
    text = "# B\n## World\n### One\nx\n### Two\n## Three\ny\n## Sport\n### Four\n"
    assert [(story.title, story.section) for story in parse(text).stories] == [
        ("One", "World"),
        ("Two", "World"),
        ("Three", None),
        ("Four", "Sport"),
    ]
    assert warned(text) == []


def test_later_headings_of_level_one_are_sections_or_stories() -> None:
    text = "# B\n## One\n# Part\n## Two\n## Three\n### Four\n# Last\ntext\n"
    assert [(story.title, story.section) for story in parse(text).stories] == [
        ("One", None),
        ("Two", "Part"),
        ("Four", "Three"),
        ("Last", "Part"),
    ]
    assert warned(text) == [
        (3, "a second heading of level 1 (#) is read as a section"),
        (7, "a second heading of level 1 (#) is read as a story"),
    ]


def test_stories_may_have_headings_of_level_one_only() -> None:
    assert told("# One\nx\n# Two\ny") == {"One": ["x"], "Two": ["y"]}
    assert warned("# One\nx\n# Two\ny") == [
        (1, "the stories have headings of level 1 (#); level 2 (##) is meant for them")
    ]


def test_text_outside_stories_is_warned_of() -> None:
    text = f"before\n\n# B\n\nintro ![chart](https://a.example/c.png)\n\n## S\n\n{'long ' * 20}\n\n### One\n\nx\n"
    left = "belongs to no story and is left out:"
    assert warned(text) == [
        (1, f"the text before the first heading {left} “before”"),
        (5, f"the text between the brief's title and its first story {left} “intro chart”"),
        (9, f"the text between the section “S” and its first story {left} “{('long ' * 12).strip()}…”"),
    ]


def test_headings_without_text_and_headings_inside_blocks_are_body() -> None:
    text = "## One\n\n##\n\n## ![](https://a.example/i.png)\n\n> ## Two\n\n- ## Three\n"
    (story,) = parse(text).stories
    assert story.paragraphs == ("Two", "Three")
    assert BlockKind.IMAGE in {inner.kind for block in story.blocks for inner in block.walk()}


@pytest.mark.parametrize(
    "text", ["", "\n \n", "\ufeff", "# Title\n\nText without a story.", "Text.", "---\ntitle: x\n---\n"]
)
def test_a_brief_without_a_story_is_an_error(text: str) -> None:
    with pytest.raises(BriefError, match=r"^brief\.md holds no (story|text): "):
        parse(text)


# Topics


def test_a_line_of_topics_sets_them_by_hand() -> None:
    text = (
        "## One\nTopics: Health,  science ; health\nText.\n\n## Two\n\n**Topics:** a、b\n\nText.\n\n"
        "## Three\n*topics： c*\n\n## Four\nx"
    )
    assert [(story.by_hand, story.by_hand_place, story.paragraphs) for story in parse(text).stories] == [
        (("health", "science"), "line 2", ("Text.",)),
        (("a", "b"), "line 7", ("Text.",)),
        (("c",), "line 12", ()),
        (None, "", ("x",)),
    ]
    assert warned(text) == []


def test_topics_in_a_brief_with_headlines() -> None:
    text = (
        "Headlines:\n- **One**\n  Topics: a\n- Two\n- Three\n\nDetails:\nOne\nText.\n\nTwo\nTopics: b\nMore [x][1].\n\n"
        "**Three**\n**Topics: c**\n\n[1]: https://a.example/"
    )
    assert [(story.title, story.by_hand, story.by_hand_place, story.paragraphs) for story in parse(text).stories] == [
        ("One", ("a",), "line 3", ("Text.",)),
        ("Two", ("b",), "line 12", ("More x.",)),
        ("Three", ("c",), "line 16", ()),
    ]
    assert parse(text).stories[1].links == ("https://a.example/",)


def test_topics_elsewhere_stay_text() -> None:
    text = "## One\nText.\n\nTopics: a\n\n## Two\n- Topics: b\n\n## Three\nTopics are many: x\n"
    assert [story.by_hand for story in parse(text).stories] == [None, None, None]
    assert told(text)["One"] == ["Text.", "Topics: a"]
    assert warned(text) == [(4, "a line “Topics:” counts only directly under a story's title; here it stays text")]


def test_a_line_of_topics_that_names_none_is_warned_of() -> None:
    text = "---\ntopics: z\n---\n## One\nTopics:\n\nTopics: a\n\nText."
    (story,) = parse(text).stories
    assert (story.by_hand, story.by_hand_place, story.paragraphs) == (
        ("z",),
        "front matter, line 2",
        ("Topics: a", "Text."),
    )
    assert [line for line, _ in warned(text)] == [5, 7]


def test_split_topics() -> None:
    assert split_topics(" Health, ,SCIENCE;health،صحت ") == ("health", "science", "صحت")


# Front matter


def test_front_matter_says_title_date_language_and_topics() -> None:
    text = '---\ntitle: "A: b"\ndate: 2026-1-2\nlanguage: de_AT\ntopics: [a, B]\n---\n## One\nx\n## Two\nTopics: c\n'
    brief = parse(text, brief_id="2026-10-31")
    assert (brief.title, brief.date, brief.language) == ("A: b", date(2026, 1, 2), "de")
    assert [(story.line, story.by_hand, story.by_hand_place) for story in brief.stories] == [
        (7, ("a", "b"), "front matter, line 5"),
        (9, ("c",), "line 10"),
    ]


@pytest.mark.parametrize("topics", ["a, b", "a; b", "[a, b]", '"A,b"', "\n  - a\n  - b", "a，b"])
def test_front_matter_topics_may_be_a_list_or_a_line(topics: str) -> None:
    assert parse(f"---\ntopics: {topics}\n---\n## One\n").stories[0].by_hand == ("a", "b")


def test_front_matter_before_headlines_keeps_line_numbers() -> None:
    text = "---\ndate: 2026-05-06T10:00:00+02:00\n...\n" + SIMPLE + "\n**More**\n"
    assert parse(text).date == date(2026, 5, 6)
    assert [story.line for story in parse(text).stories] == [11, 17, 22]
    assert [line for line, _ in warned(text)] == [22]


def test_values_stay_as_written() -> None:
    brief = parse("---\ntitle: 12:30\nlanguage: no\ntopics: yes\n---\n## One\n")
    assert (brief.title, brief.language, brief.stories[0].by_hand) == ("12:30", "no", ("yes",))


def test_empty_values_and_unknown_names() -> None:
    text = "---\ntitle:\ndate:\nlanguage:\ntopics:\nlayout: post\n---\n# Heading\n## One\n"
    brief = parse(text, language="fr")
    assert (brief.title, brief.date, brief.language) == ("Heading", MODIFIED_AT.date(), "fr")
    assert brief.stories[0].by_hand is None
    assert warned(text) == [(6, "the front matter's “layout” is not used")]
    assert parse("---\n---\n## One\n\n---\n\nx").stories[0].paragraphs == ("x",)
    assert parse("---\n# only a note\n---\n## One\n").stories[0].line == 4


def test_the_title_of_the_front_matter_wins() -> None:
    text = "---\ntitle: A\n---\n# B\n## One\n"
    assert parse(text).title == "A"
    assert warned(text) == [(1, "the front matter's title stands instead of the heading “B”")]
    assert warned("---\ntitle: A\n---\n# A\n## One\n") == []


@pytest.mark.parametrize("text", ["---\n\n## One\nx\n\n---\n", "---\n## One\nx\n", " ---\n## One\nx\n\n---\n"])
def test_a_rule_is_no_front_matter(text: str) -> None:
    assert told(text) == {"One": ["x"]}


@pytest.mark.parametrize(
    ("matter", "message"),
    [
        ("a: [", "line 3: the front matter is not YAML: "),
        ("title: a\n  b: c", "line 3: the front matter is not YAML: mapping values"),
        ("- a", "line 2: the front matter is not a list of `name: value` lines"),
        ("title", "line 2: the front matter is not a list of `name: value` lines"),
        ("title: a\ntitle: b", "line 3: title stands twice in the front matter"),
        ("date: 2026-02-30", "line 2: date “2026-02-30” is not a date such as 2026-10-31"),
        ("title: x\ndate: tomorrow", "line 3: date “tomorrow” is not a date"),
        (
            "date: [2026-01-01, 2026-01-02]",
            "line 2: date is a list where one value should stand: 2026-01-01, 2026-01-02",
        ),
        ("language: Deutsch", "line 2: language “Deutsch” is not a language such as en"),
        ("topics: {a: b}", "line 2: topics holds names and values"),
        ("topics: [[a]]", "line 2: topics holds names and values"),
        ("title: *nothing", "line 2: the front matter is not YAML: found undefined alias"),
        ("title: " + "[" * 100_000, "line 1: the front matter is nested too deep"),
        ("- " * 1500 + "x", "line 1: the front matter is nested too deep"),
    ],
)
def test_malformed_front_matter_is_an_error_with_its_line(matter: str, message: str) -> None:
    with pytest.raises(BriefError, match=re.escape(f"brief.md, {message}")):
        parse(f"---\n{matter}\n---\n## One\n")


def test_the_date_is_the_front_matters_then_the_names_then_the_files() -> None:
    assert parse("## One\n", brief_id="news-2026-12-24-late").date == date(2026, 12, 24)
    assert parse("## One\n", brief_id="2026-13-24").date == MODIFIED_AT.date()
    assert date_in_name("12026-01-01 2026-99-01 2026-02-03") == date(2026, 2, 3)


def test_read_language() -> None:
    assert [read_language(tag) for tag in ("EN-us", "zh_Hant", "ur", "", "german", "x")] == [
        "en",
        "zh",
        "ur",
        None,
        None,
        None,
    ]


# Markdown, HTML and what is hostile


def test_reference_links_work_wherever_they_are_defined() -> None:
    text = "[top]: https://a.example/top\n\n" + details(
        "\nOne\n\n[x][end], [top]\n\nTwo\n\n[end]\n\n[end]: https://a.example/end", "One", "[Two][top]"
    )
    one, two = parse(text).stories
    assert one.links == ("https://a.example/end", "https://a.example/top")
    assert (two.url, two.links) == ("https://a.example/top", ("https://a.example/top", "https://a.example/end"))
    assert parse("## A\n[x][r]\n## B\n\n[r]: https://a.example/").stories[0].links == ("https://a.example/",)


@pytest.mark.parametrize(
    "markdown",
    [
        "[x](javascript:alert(1))",
        "[x](#)",
        "[x]()",
        "[x](data:text/html,y)",
        "[x](/y)",
        "[x][r]",
        "<a href=vbscript:y>x</a>",
    ],
)
def test_a_link_that_is_refused_becomes_its_text(markdown: str) -> None:
    (story,) = parse(f"## One\n\nsee {markdown}.\n\n[r]: JavaScript:x").stories
    assert (story.paragraphs, story.links) == (("see x.",), ())
    assert parse(f"## {markdown} y\n\n[r]: javascript:x").stories[0].title == "x y"


def test_raw_html_never_shows_as_markup() -> None:
    body = "<p onclick=x>a <u>b</u></p>\n\nc <br> d<span style=x>e</span> <!-- f -->"
    text = f"## One <b>bold</b><script>x</script>\n\n{body}\n"
    (story,) = parse(text).stories
    assert (story.title, story.paragraphs) == ("One bold", ("a b", "c de"))


def test_text_that_looks_like_a_template_stays_as_written() -> None:
    line = "{{ 7*7 }} {% for *x* in __y__ %} ${7*7} #{7*7} {# *c* #} <%= 7*7 %> {{ [a](https://b.example) }} {{x"
    assert parse(f"## {line}\n\n{line} *em*\n").stories[0].paragraphs == (f"{line} em",)
    assert parse(f"## {line}\n").stories[0].title == line
    assert parse(f"## A\n[x {line}](https://a.example/)\n").stories[0].links == ("https://a.example/",)


def test_elements_that_vanish_are_warned_of() -> None:
    text = "## One\n\n<script>x</script>\n\na <b><iframe></iframe></b> `<script>`\n\n<object>\n\nb\n\n</object>\n"
    assert warned(text) == [
        (3, "<script> may not stand in a mail and is left out"),
        (5, "<iframe> may not stand in a mail and is left out"),
        (7, "<object> may not stand in a mail and is left out"),
    ]


def test_a_comment_that_is_never_closed_is_warned_of() -> None:
    text = "## One\n\ntext\n\n<!--\nlost\n\n## Two\n"
    assert told(text) == {"One": ["text"]}
    assert (5, "<!-- is never closed: all text after it is left out") in warned(text)


@pytest.mark.parametrize("name", ["script", "style", "textarea"])
def test_an_element_that_is_never_closed_swallows_its_own_story_only(name: str) -> None:
    text = f"## One\n\ntext\n\n<{name}>\nlost\n\n## Two\n"
    assert told(text) == {"One": ["text"], "Two": []}
    assert (5, f"<{name}> may not stand in a mail and is left out") in warned(text)


def test_what_stands_beside_a_tag_is_markdown_like_the_rest() -> None:
    text = "## One\n\n<script>a()\n\nb()</script> [x](javascript:c) [said](#)\n\n<div>*so*</div>\n"
    assert told(text) == {"One": ["x said", "so"]}


def test_code_that_is_never_closed_is_warned_of() -> None:
    assert warned("## One\n\n```\nx\n\n## Two\n") == [
        (3, "this block of code is never closed: all text after it is code")
    ]
    assert warned("## One\n\n```") == [(3, "this block of code is never closed: all text after it is code")]
    assert warned("## One\n\n~~~ py\nx\n~~~~\n") == []


def test_nesting_beyond_the_bound_is_warned_of() -> None:
    text = "## One\n\n" + "> " * (MAX_NESTING + 5) + "deep\n"
    assert (3, f"what is nested deeper than {MAX_NESTING} levels is left out") in warned(text)
    assert warned("## One\n\n> > > - - deep\n") == []


def test_tables_code_images_and_rules_are_blocks() -> None:
    code = "```py\nx = 1\n\ny\n```\n\n![alt](https://a.example/i.png)"
    text = f"## One\n\n|a|b|\n|-|-|\n|c|d|\n\n{code}\n\n***\n\nline  \nbreak\\\nend\n"
    (story,) = parse(text).stories
    assert [block.kind.value for block in story.blocks] == ["table", "code", "image", "rule", "paragraph"]
    assert story.paragraphs == ("a | b", "c | d", "x = 1 y", "line break end")
    assert story.blocks[-1].spans[0].text == "line\nbreak\nend"


def test_line_ends_and_characters_that_no_mail_may_carry() -> None:
    text = "\ufeff" + SIMPLE.replace("ovens", "ov\x00en\x07s").replace("warm", "warm\u2028ish").replace("\n", "\r\n")
    assert told(text)["Bakery opens at night"][0] == "The ovens are warm ish by ten."
    assert [story.line for story in parse(text).stories] == [8, 14]
    assert told(SIMPLE.replace("\n", "\r")) == told(SIMPLE)
    assert told("## a&#8232;b\n\nc&#1;d\n") == {"a b": ["c\ufffdd"]}


@pytest.mark.parametrize(
    ("title", "text"), [("شہر میں نئی لائبریری", "کتابیں۔"), ("城市新图书馆", "很多书。"), ("📚 ✅", "🎉")]
)
def test_other_scripts(title: str, text: str) -> None:
    assert told(details(f"\n{title}\n\n{text}", f"**{title}**")) == {title: [text]}


@pytest.mark.parametrize(
    "unit", ["[", "![", "*a ", "_", "` ", "<a", "&", "{{", "> ", "- a\n", "|a", "**x**\n", "Details:\n", "\\"]
)
def test_a_hostile_body_loses_no_other_story(unit: str) -> None:
    text = details(f"\nOne\n\n{unit * 2000}\n\nTwo\n\nText.", "One", "Two")
    assert parse(text).stories[1].title == "Two"
    assert parse(f"## One\n\n{unit * 2000}\n\n## Two\n").stories[-1].title == "Two"


def test_a_thousand_stories() -> None:
    titles = [f"Title number {number}" for number in range(1000)]
    brief = parse(details("".join(f"\n{title}\n\nText of {title}.\n" for title in titles), *titles))
    assert [story.title for story in brief.stories] == titles
    assert [story.text for story in brief.stories] == [f"Text of {title}." for title in titles]
    assert brief.warnings == ()


def test_a_line_of_a_hundred_kilobytes() -> None:
    long = "word " * 20_000
    assert parse(details(f"\n{long}\n\nOne\n\n{long}", "One")).stories[0].paragraphs == (long.strip(), long.strip())


def test_excerpts_are_short() -> None:
    assert excerpt("short") == "“short”"
    assert len(excerpt("word " * 50)) < 65


# What went in comes back, in every shape

LETTERS = st.characters(categories=["L", "N"], exclude_characters="ﷺ")
WORDS = st.text(LETTERS, min_size=1, max_size=8)
SENTENCES = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
TITLES = st.lists(SENTENCES.filter(lambda text: not text.isdigit()), min_size=1, max_size=6, unique_by=title_key)
MARKS = st.sampled_from(["- {}", "- **{}**", "* {}", "* __{}__", "1. {}", "- [{}](https://a.example/)"])
DETAIL_MARKS = st.sampled_from(["{}", "**{}**", "## {}", "*{}*", "{}.", "[{}](https://a.example/)"])


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    titles = draw(TITLES)
    keys = {title_key(title) for title in titles}
    paragraphs = st.lists(
        SENTENCES.map(lambda text: f"{text}, and so on").filter(lambda p: title_key(p) not in keys), max_size=3
    )
    return [(title, draw(paragraphs)) for title in titles]


@given(stories(), MARKS, DETAIL_MARKS, st.randoms(use_true_random=False))
def test_headlines_and_details_come_back_as_written(
    written: list[tuple[str, list[str]]], mark: str, detail_mark: str, shuffler: random.Random
) -> None:
    headlines = "\n".join(mark.format(title) for title, _ in written)
    below = written.copy()
    shuffler.shuffle(below)
    body = "\n\n".join("\n\n".join([detail_mark.format(title), *paragraphs]) for title, paragraphs in below)
    brief = parse(f"Headlines:\n\n{headlines}\n\nDetails:\n\n{body}\n")
    assert [(story.title, list(story.paragraphs)) for story in brief.stories] == written
    assert brief.warnings == ()


@given(stories(), st.sampled_from(["\n", "\n\n"]))
def test_headings_come_back_as_written(written: list[tuple[str, list[str]]], gap: str) -> None:
    body = "\n\n".join(gap.join([f"## {title}", "\n\n".join(paragraphs)]) for title, paragraphs in written)
    brief = parse(f"# Brief\n\n{body}\n")
    assert [(story.title, list(story.paragraphs)) for story in brief.stories] == written
    assert brief.warnings == ()


PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        """alpha beta gamma delta Alpha Beta. “gamma” ~ ~~ ¶ ¶¶ ¶Headlines:¶ ¶Details:¶ -~ *~ 1.~ #~ ##~ ###~ ####~ >~
        ** * _ [ ](http://e.example/) ](#) ` ```¶ ---¶ ===¶ Topics:~ ~~~~ {{ }} | |-|-|¶ \\ &amp; > ![ ~~¶ -~**alpha**¶
        -~beta¶ alpha¶ beta¶ **delta**¶ é : [r]:~http://e.example¶""",
    )
)
STARTS = st.sampled_from(
    ["", "## alpha\n", "# x\n\n## beta\n\n", "Headlines:\n\n- **alpha**\n- beta\n\nDetails:\n\n", "Headlines:\n"]
)


@given(STARTS, st.lists(PIECES, max_size=40).map("".join))
def test_no_word_is_lost_in_silence(start: str, body: str) -> None:
    text = start + body.replace("¶", "\n").replace("~", " ")
    try:
        brief = parse(text)
    except BriefError:
        return
    alts = [inner.alt for story in brief.stories for block in story.blocks for inner in block.walk()]
    said = [part for s in brief.stories for part in (s.title, s.text, s.section or "", *(s.by_hand or ()))]
    kept = " ".join([brief.title, *said, *alts, *(warning.message for warning in brief.warnings)]).casefold()
    assert re.search("left out|```", kept + text) or all(
        word in kept for word in re.findall("alpha|beta|gamma|delta", text)
    )
