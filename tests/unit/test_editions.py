"""Editions: subject, preheader, headlines, days, and the bound that keeps mails from being clipped."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_samples import (
    DAY,
    LINKS,
    READER,
    SENDER,
    ReadHtml,
    compile_frame,
    compile_story,
    make_edition,
    make_story,
)

from newsletter.core.errors import BriefError, StoreError
from newsletter.core.mails.chrome import format_day
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import Recipient, render_html, render_text
from newsletter.core.mails.parts import Frame, StoryParts
from newsletter.core.mails.render import Sender

FRAME = compile_frame()
LONG = "A headline that goes on for so long that no inbox in this world would ever show it whole"


def make_parts(titles: list[str], *paragraphs: str, days: list[date] | None = None) -> list[StoryParts]:
    days = days or [DAY] * len(titles)
    return [compile_story(make_story(t, *paragraphs), day=day) for t, day in zip(titles, days, strict=True)]


@pytest.mark.parametrize(
    ("language", "count", "subject"),
    [
        ("en", 1, "Lead"),
        ("en", 2, "Lead, and one more story"),
        ("en", 4, "Lead, and 3 more stories"),
        ("de", 3, "Lead und 2 weitere Meldungen"),
        ("fr", 2, "Lead, et une autre actualité"),
        ("ar", 3, "Lead، وخبران آخران"),
        ("ur", 12, "Lead، اور 11 مزید خبریں"),
    ],
)
def test_the_subject_is_the_lead_and_the_count_of_others(language: str, count: int, subject: str) -> None:
    assert make_edition(make_story("Lead"), *[make_story("x")] * (count - 1), language=language).subject == subject


def test_a_long_lead_is_shortened_at_a_word() -> None:
    edition = make_edition(make_story(LONG))
    assert edition.subject == "A headline that goes on for so long that no inbox in this…"
    assert LONG in render_text(edition, READER, LINKS)
    assert ReadHtml(render_html(edition, READER, LINKS)).text["h2"] == [LONG]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6), st.text())
@settings(max_examples=40)
def test_the_preheader_has_its_length_and_is_not_the_subject(titles: list[str], text: str) -> None:
    edition = assemble_edition(FRAME, make_parts(titles, text))
    assert len(edition.preheader) >= 40 or edition.preheader.endswith("…")
    assert edition.preheader != edition.subject
    html = render_html(edition, READER, LINKS)
    assert html.index("&#847;") > html.index("display:none")


def test_the_preheader_says_what_comes_next() -> None:
    def preheader(*stories: tuple[str, str]) -> str:
        return make_edition(*(make_story(title, text) for title, text in stories)).preheader

    assert preheader(("Lead", "x"), (LONG, "y"), ("Third", "z")) == f"{LONG} · Third"
    assert preheader(("Lead", "What happened in the city on Tuesday morning."), ("Two", "")) == (
        "Two · What happened in the city on Tuesday morning."
    )
    assert preheader(("Lead", "Lead")) == "News on the topics you chose, gathered in one mail for you."
    assert len(preheader(("Lead", ""), *[(LONG, "")] * 3)) <= 130
    assert preheader(("港口大桥重新开放", "市政府预计夏季每天约有四千人次通过。" * 9)).endswith("…")


def test_a_single_story_needs_no_list_of_headlines() -> None:
    for stories, listed in ((1, 0), (2, 2)):
        edition = make_edition(*[make_story("A title")] * stories)
        assert len(ReadHtml(render_html(edition, READER, LINKS)).text.get("li", [])) == listed
        assert render_text(edition, READER, LINKS).count("* A title") == listed


def test_stories_of_several_days_stand_under_their_days() -> None:
    days = [DAY, DAY, DAY - timedelta(days=1)]
    edition = assemble_edition(FRAME, make_parts(["One", "Two", "Three"], days=days))
    headings = ReadHtml(render_html(edition, READER, LINKS)).text["h2"]
    expected = ["Tuesday, March 3, 2026", "One", "Two", "Monday, March 2, 2026", "Three"]
    assert headings == ["In this mail", *expected]
    text = render_text(edition, READER, LINKS).partition("* Three")[2]
    assert [line for line in text.splitlines() if line in expected] == expected
    alone = assemble_edition(FRAME, make_parts(["One", "Two"], days=[DAY, DAY]))
    assert "Tuesday, March 3, 2026" not in ReadHtml(render_html(alone, READER, LINKS)).text["h2"]


def test_an_edition_without_stories_is_none() -> None:
    with pytest.raises(BriefError, match="at least one story"):
        assemble_edition(FRAME, [])


def read_both(titles: list[str], *paragraphs: str) -> tuple[str, str, int]:
    edition = assemble_edition(FRAME, make_parts(titles, *paragraphs))
    html, text = render_html(edition, READER, LINKS), render_text(edition, READER, LINKS)
    assert len(html.replace("\n", "\r\n").encode()) < 90_000
    for part in (html, text):
        assert LINKS.unsubscribe in part
        assert "Ledger House" in part
    return html, text, edition.shown


def test_stories_that_do_not_fit_are_left_out_of_both_parts() -> None:
    titles = [f"Story number {number}" for number in range(40)]
    html, text, shown = read_both(titles, "word " * 1_000)
    assert 5 < shown < 40
    assert ReadHtml(html).text["h2"][1:] == titles[:shown]
    assert ReadHtml(html).text["li"] == titles
    assert text.count("\n----------------------------------------\n\nStory number") == shown
    for part in (html, text):
        assert f"{40 - shown} more stories are in the web edition." in part
        assert part.count("word ") + part.count("word\n") + part.count("word<") == 1_000 * shown


def test_so_many_headlines_that_not_even_they_fit() -> None:
    html, text, shown = read_both([f"A headline, and it is the {number}th of many" for number in range(1_200)])
    assert 600 < len(ReadHtml(html).text["li"]) < 1_200
    assert 0 < shown < 600
    assert len(ReadHtml(html).text["h2"]) == 1 + shown
    assert text.count("\n* A headline") == len(ReadHtml(html).text["li"])


def test_one_more_story_is_cut_in_the_singular() -> None:
    fits = next(count for count in range(1, 100) if read_both(["Story"] * count, "word " * 620)[2] < count) - 1
    html, _, shown = read_both(["Story"] * (fits + 1), "word " * 620)
    assert shown == fits
    assert "One more story is in the web edition." in html


def test_a_footer_that_takes_all_the_room_still_leaves_a_story() -> None:
    names = {f"t{number}": f"A topic of a very long name, number {number}" for number in range(2_500)}
    edition = assemble_edition(compile_frame(sender=replace(SENDER, topic_names=names)), make_parts(["One", "Two"]))
    assert (edition.shown, edition.listed, set(edition.shortened)) == (1, 0, {0})


@pytest.mark.parametrize(
    ("day", "timezone", "expected"),
    [
        (DAY, "Europe/Berlin", DAY),
        (DAY, "Pacific/Auckland", DAY + timedelta(days=1)),
        (DAY, "America/Los_Angeles", DAY - timedelta(days=1)),
        (DAY, "", DAY),
        (DAY - timedelta(days=7), "Pacific/Auckland", DAY - timedelta(days=7)),
    ],
)
def test_a_mail_bears_its_readers_day(day: date, timezone: str, expected: date) -> None:
    hour = 6 if timezone.startswith("America") else 18
    frame = replace(
        FRAME, date=day, timezone="Europe/Berlin", due_at=datetime(DAY.year, DAY.month, DAY.day, hour, tzinfo=UTC)
    )
    edition = assemble_edition(frame, make_parts(["One"]))
    reader = replace(READER, timezone=timezone)
    told = format_day(expected, "en")
    assert told in render_html(edition, reader, LINKS)
    assert told in render_text(edition, reader, LINKS)
    assert Frame.from_bytes(frame.to_bytes()) == frame


def test_the_web_copy_leaves_nothing_out() -> None:
    parts = make_parts([f"Story {number}" for number in range(40)], "word " * 1_000)
    edition = assemble_edition(FRAME, parts, whole=True)
    assert (edition.shown, edition.listed, edition.said["more_stories"]) == (40, 40, "")
    assert len(ReadHtml(render_html(edition, READER, LINKS)).text["h2"]) == 41


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=30), st.integers(0, 200))
@settings(max_examples=25)
def test_the_bound_holds_for_any_lengths(words: list[int], topics: int) -> None:
    names = {f"t{number}": f"Topic & number {number}" for number in range(topics)}
    sender = Sender(
        name="L", from_name="", from_address="a@b.example", base_url="https://x", key_id="k", topic_names=names
    )
    stories = [compile_story(make_story(f"{count} words", "<&> " * count)) for count in words]
    edition = assemble_edition(compile_frame(sender=sender), stories)
    reader = Recipient(email=f"{'&' * 64}@{'b' * 60}.{'c' * 60}.example", topics=tuple(names))
    html = render_html(edition, reader, LINKS)
    assert len(html.replace("\n", "\r\n").encode()) < 90_000
    assert edition.shown == len(stories) or edition.said["more_stories"] in html


def test_frames_and_stories_are_stored_and_read_back() -> None:
    frame, parts = compile_frame("ur"), compile_story(make_story("Long", *["word " * 9_000] * 3))
    assert parts.whole is not None
    assert Frame.from_bytes(frame.to_bytes()) == frame
    assert StoryParts.from_bytes(parts.to_bytes()) == parts
    short = compile_story(make_story("عنوان", "\u202e text"))
    assert StoryParts.from_bytes(short.to_bytes()) == short
    again = assemble_edition(Frame.from_bytes(frame.to_bytes()), [StoryParts.from_bytes(short.to_bytes())])
    assert again == assemble_edition(frame, [short])
    assert frame.sender.topic_names == SENDER.topic_names


@pytest.mark.parametrize("read", [Frame.from_bytes, StoryParts.from_bytes])
def test_a_part_of_a_newer_program_is_refused(read: type) -> None:
    with pytest.raises(StoreError, match="format 3; this program reads up to 2"):
        read(b'{"format":3}')
