"""Subjects: the lead and the count of the others, within sixty columns where that can be, or as the operator likes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_samples import DAY, SENDER, compile_frame, load_templates

from newsletter.core.mails.columns import measure_columns
from newsletter.core.mails.inbox import write_subject
from newsletter.core.mails.render import Renderer
from newsletter.settings.values import parse_subject

WORDS = compile_frame().words


def with_pattern(pattern: str) -> str:
    words = Renderer(load_templates(), subject=pattern).compile_frame(
        SENDER, issue=1, title="Tuesday {brief}", date=DAY, language="de"
    )
    return write_subject(words.words, ["A {lead} & more", "x", "y"])


@pytest.mark.parametrize(
    ("lead", "others", "subject"),
    [
        ("A bridge opens", 0, "A bridge opens"),
        ("A bridge opens", 9, "A bridge opens, and 9 more stories"),
        ("Harbour bridge reopens to cyclists and walkers", 9, "Harbour bridge reopens to cyclists and walkers (+9)"),
        ("Harbour bridge reopens to cyclists and walkers of every age", 9, "=lead"),
        (
            "Harbour bridge reopens to cyclists and to walkers of every age",
            12,
            "Harbour bridge reopens to cyclists and to walkers of… (+12)",
        ),
    ],
)
def test_what_stands_around_the_lead_grows_shorter_before_the_lead_does(lead: str, others: int, subject: str) -> None:
    assert write_subject(WORDS, [lead, *["x"] * others]) == (lead if subject == "=lead" else subject)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_subject_is_never_over_sixty(titles: list[str]) -> None:
    subject = write_subject(WORDS, titles)
    assert measure_columns(subject) <= 60
    assert "\n" not in subject


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        ("{name}: {lead}", "The Morning Ledger: A {lead} & more"),
        ("{title} ({count})", "Tuesday {brief} (3)"),
        ("{{{date}}} {lead}", "{Dienstag, 3. März 2026} A {lead} & more"),
    ],
)
def test_the_operator_may_set_a_pattern(pattern: str, subject: str) -> None:
    assert with_pattern(parse_subject(pattern)) == subject


def test_a_lead_is_cut_for_the_pattern_but_stays_readable() -> None:
    words = Renderer(load_templates(), subject="{name}, {title}: {lead}").compile_frame(
        SENDER, issue=1, title="x" * 80, date=DAY, language="en"
    )
    subject = write_subject(words.words, ["Harbour bridge reopens to cyclists and walkers of every age"])
    assert subject.endswith("x: Harbour bridge…")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("News", "every issue would have the same subject"),
        ("{name} {count}", "every issue would have the same subject"),
        ("{lead", "its braces do not match"),
        ("{lead.__class__}", "only {lead}, {count}"),
        ("{lead!r}", "only {lead}, {count}"),
        ("{lead:>10}", "only {lead}, {count}"),
        ("{}", "only {lead}, {count}"),
        ("{lead}\n", "control characters"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_subject(pattern)
