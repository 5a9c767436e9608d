"""A person's row: what is given, what is reset, what stays unsaid, and the one sentence for what does not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.errors import ImportRowError
from newsletter.core.preferences import PersonRow, parse_row
from newsletter.core.schedule import Frequency

TOPICS = {"sports", "weather", "local"}
LANGUAGES = {"en", "de"}


def parse(**row: object) -> PersonRow:
    return parse_row({"email": "anna@example.org"} | row, topics=TOPICS, languages=LANGUAGES)


def test_reads_every_column() -> None:
    row = parse(
        email=" Anna@Example.org ",
        name=' O\'Neill, Anna "Ann" <x> ',
        topics="weather; sports;weather;",
        frequency="weekly:fri",
        timezone="Asia/Kathmandu",
        language="de",
    )
    assert row == PersonRow(
        email="Anna@example.org",
        email_key="anna@example.org",
        name='O\'Neill, Anna "Ann" <x>',
        topics=("sports", "weather"),
        frequency=Frequency.WEEKLY_FRI,
        timezone="Asia/Kathmandu",
        language="de",
        given=frozenset({"name", "topics", "frequency", "timezone", "language"}),
    )


def test_an_absent_column_is_not_given() -> None:
    assert parse() == PersonRow(email="anna@example.org", email_key="anna@example.org")
    assert parse(topics="local", phone="1").given == {"topics"}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_cell_is_given_and_resets(empty: str | None) -> None:
    row = parse(name=empty, topics=empty, frequency=empty, timezone=empty, language=empty)
    assert row == PersonRow(
        email="anna@example.org",
        email_key="anna@example.org",
        given=frozenset({"name", "topics", "frequency", "timezone", "language"}),
    )


@pytest.mark.parametrize(
    ("cell", "topics"),
    [
        ("*", ("*",)),
        ("sports;*", ("*",)),
        (["weather", "local", "weather"], ("local", "weather")),
        ([" sports ", ""], ("sports",)),
        ([], ()),
        (";", ()),
    ],
)
def test_topics_are_sorted_and_stand_once(cell: object, topics: tuple[str, ...]) -> None:
    assert parse(topics=cell).topics == topics


@given(st.lists(st.sampled_from(sorted(TOPICS))))
def test_text_and_list_say_the_same(chosen: list[str]) -> None:
    assert parse(topics=";".join(chosen)).topics == parse(topics=chosen).topics == tuple(sorted(set(chosen)))


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("email", "", "there is no email address"),
        ("email", None, "there is no email address"),
        ("email", "anna", "'anna' is not an email address: an email address must have an @-sign"),
        ("email", "anna@example.org\r\nBcc: x@example.org", "is not an email address"),
        ("email", "anna@example.org\n", "is not an email address"),
        ("email", ["anna@example.org"], "the email ['anna@example.org'] is not text"),
        ("name", "a\tb", "the name 'a\\tb' has control characters"),
        ("name", "Anna\n", "the name 'Anna\\n' has control characters"),
        ("name", "\ud800", "the name '\\ud800' has control characters"),
        ("name", "x" * 201, f"the name {'x' * 40!r}… has 201 characters, 200 at most are allowed"),
        ("name", 5, "the name 5 is not text"),
        ("topics", "sports;chess", "there is no topic 'chess'"),
        ("topics", "*;chess", "there is no topic 'chess'"),
        ("topics", "Sports", "there is no topic 'Sports'"),
        ("topics", 5, "the topics 5 are not a list of topic ids"),
        ("topics", ["sports", 5], "the topics ['sports', 5] are not a list of topic ids"),
        (
            "frequency",
            "hourly",
            "'hourly' is not a frequency: each, daily, weekly, weekly:mon to weekly:sun, or monthly",
        ),
        ("timezone", "Mars/Olympus", "'Mars/Olympus' is not a time zone such as Europe/Berlin"),
        ("language", "tlh", "there is no language 'tlh' in this service"),
    ],
)
def test_names_the_cell_that_does_not_fit(column: str, cell: object, reason: str) -> None:
    with pytest.raises(ImportRowError) as caught:
        parse(**{column: cell})
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.column == column


def test_a_name_may_have_200_characters_of_any_script() -> None:
    assert parse(name="山" * 200).name == "山" * 200
