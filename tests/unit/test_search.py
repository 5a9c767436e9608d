"""The grammar of the console's search, and what replies have in common."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.core.errors import QueryError
from newsletter.core.replies import MOST_WORDING, take_out_numbers
from newsletter.core.search import KEYS, MOST_CHARACTERS, Search, parse_search

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Search()),
        ("  Ann@Example.org ", Search(to="ann@example.org")),
        ("to:@example.org", Search(to="@example.org")),
        ("state:deferred", Search(state="deferred")),
        ("state:no_matching_stories", Search(state="excluded", reason="no_matching_stories")),
        ("code:550 issue:7", Search(code="550", issue=7)),
        ("code:5.1.1 issue:latest", Search(code="5.1.1", issue=0)),
        ("code:4", Search(code="4")),
        ("code:5.7", Search(code="5.7")),
        ("topic:sport since:2h", Search(topic="sport", since=NOW - timedelta(hours=2))),
        ("since:2026-11-24", Search(since=datetime(2026, 11, 24, tzinfo=UTC))),
        ("since:2026-11-24T08:00+01:00", Search(since=datetime(2026, 11, 24, 7, tzinfo=UTC))),
    ],
)
def test_what_is_typed_is_what_is_meant(text: str, meant: Search) -> None:
    assert parse_search(text, now=NOW) == meant


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour:red", "there is no 'colour' to search by; there are to, state, code, issue, topic, since"),
        ("state:", "'state:' says nothing after the colon"),
        ("ann ben", "'ben': 'to' is asked for twice"),
        ("state:bounced", "'state:bounced': there is no such state; there are queued, deferred,"),
        ("code:650", "'code:650' is neither a reply code"),
        ("code:5..1", "'code:5..1' is neither"),
        ("issue:0", "'issue:0' is neither the number of an issue nor 'latest'"),
        ("issue:99999999999999999999999", "is neither the number"),
        ("issue:00000000000000000001" + "9" * 30, "is neither the number"),
        ("issue:٣", "is neither the number"),
        ("since:yesterday", "'since:yesterday' is neither a span such as 2h"),
        ("since:999999w", "'since:999999w' is neither"),
        ("since:0001-01-01T00:00+23:00", "is neither a span"),
        ("x" * (MOST_CHARACTERS + 1), "longer than 500 characters"),
    ],
)
def test_what_does_not_fit_is_named(text: str, named: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_search(text, now=NOW)
    assert named in str(caught.value)


_words = st.one_of(st.text(max_size=20), st.builds("{}:{}".format, st.sampled_from(KEYS), st.text(max_size=12)))


@given(st.lists(_words, max_size=5).map(" ".join))
@example("issue:²")
def test_nothing_that_is_typed_raises_anything_else(text: str) -> None:
    with suppress(QueryError):
        assert isinstance(parse_search(text, now=NOW), Search)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (
            "<ann@example.org>: mailbox is full (4294967 of 4294000 octets used)",
            "<ben@example.net>: mailbox is full (17 of 16 octets used)",
            "…: mailbox is full (… of … octets used)",
        ),
        ("Ok: queued as 4F1B2C33", "Ok: queued as 9A02BC", "Ok: queued as …"),
        (
            "Greylisted, try again in 300 seconds",
            "Greylisted, try again in 20 seconds",
            "Greylisted, try again in … seconds",
        ),
        ("see https://a.example/?q=1 please", "see https://b.example please", "see … please"),
        ("gsmtp a640c23a62f3a-b76.129 - gsmtp", "gsmtp 8d1ab2-c1.3 - gsmtp", "gsmtp … - gsmtp"),
        ("mail from ann@example.org, refused", "mail from x@y.zz, refused", "mail from …, refused"),
    ],
)
def test_replies_of_one_kind_become_one_wording(one: str, other: str, common: str) -> None:
    assert take_out_numbers(one) == take_out_numbers(other) == common


@given(st.text(max_size=600))
def test_a_wording_is_short_holds_no_number_and_stays_as_it_is(text: str) -> None:
    wording = take_out_numbers(text)
    assert len(wording) <= MOST_WORDING
    assert not any(character.isdecimal() for character in wording)
    assert take_out_numbers(wording) == wording
