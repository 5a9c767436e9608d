"""The search for deliveries against a plain reading of every row: the same rows, in the same order, on every page."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from smtp_server import SmtpServer
from test_deliver import NOW, SIGNER, deliver
from test_publish import make_brief, make_publisher, make_story, sign_up

from newsletter.core.errors import QueryError, StoreError
from newsletter.core.model import parse_delivery
from newsletter.core.search import Search, parse_search
from newsletter.publish import Publisher
from newsletter.report.deliveries import describe_delivery, export_deliveries, find_deliveries
from newsletter.store import search
from newsletter.subscribe import forget_subscriber


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    """Three issues for readers of two domains and three tastes, some refused, some greylisted, one forgotten."""
    with make_publisher(tmp_path_factory.mktemp("search")) as made:
        made = replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))
        tastes = ("science", "sport", "*", "")
        people = (f"p{n}@{'x.org' if n % 3 else 'y.net'} {tastes[n % 4]}" for n in range(90))
        sign_up(made.database, NOW, *people)
        answers = {
            "RCPT": {
                **{f"p{n}@x.org": "450 4.2.0 greylisted" for n in range(1, 90, 11)},
                **{f"p{n}@y.net": "550 5.1.1 no such user" for n in range(0, 90, 9)},
            }
        }
        for number in range(3):
            day = NOW + timedelta(hours=number)
            made.publish(
                make_brief(
                    f"b{number}", day, make_story(f"Comet {number}", "science"), make_story(f"Goal {number}", "sport")
                ),
                now=day,
            )
            deliver(made.database, SmtpServer(replies=answers), now=day)
        forget_subscriber(made.database, "p5@x.org", now=NOW)
        _PUBLISHERS[made.database.name] = made
        yield made


def read(text: str) -> Search:
    return parse_search(text, now=NOW + timedelta(hours=3))


def read_all(publisher: Publisher, text: str, **how: Any) -> list[dict[str, Any]]:
    """Every page of a search, one after the other."""
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        page = find_deliveries(publisher.database, read(text), after=after, **how)
        rows += page["deliveries"]
        if page["next"] is None:
            return rows
        after = page["next"]


_PUBLISHERS: dict[str, Publisher] = {}


@cache
def list_everything(database: str) -> list[dict[str, Any]]:
    return read_all(_PUBLISHERS[database], "", most=1_000)


WORDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "": lambda row: True,
    "to:p4@x.org": lambda row: row["email"] == "p4@x.org",
    "@y.net": lambda row: (row["email"] or "").endswith("@y.net"),
    "p1": lambda row: (row["email"] or "").startswith("p1"),
    "to:nobody": lambda row: False,
    "state:accepted": lambda row: row["state"] == "accepted",
    "state:rejected": lambda row: row["state"] == "rejected",
    "state:deferred": lambda row: row["state"] == "deferred",
    "state:queued": lambda row: row["state"] == "queued",
    "state:no_matching_stories": lambda row: row["reason"] == "no_matching_stories",
    "state:suppressed": lambda row: row["reason"] == "suppressed",
    "code:550": lambda row: row["last_code"] == 550,
    "code:5.1": lambda row: (row["last_enhanced_code"] or "").startswith("5.1"),
    "code:4": lambda row: str(row["last_code"] or "").startswith("4"),
    "code:2": lambda row: str(row["last_code"] or "").startswith("2"),
    "issue:2": lambda row: row["issue"] == 2,
    "issue:latest state:excluded": lambda row: row["issue"] == 3 and row["state"] == "excluded",
    "since:2026-11-02T10:30": lambda row: str(row["last_at"] or "") >= "2026-11-02 10:30",
    "since:1d @x.org state:accepted": lambda row: row["state"] == "accepted" and "@x.org" in (row["email"] or ""),
}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(("most", "window", "few"), [(500, 50_000, 20_000), (7, 13, 20_000), (7, 13, 0)])
def test_finds_what_reading_every_row_finds(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, words: str, most: int, window: int, few: int
) -> None:
    everything = list_everything(publisher.database.name)
    assert len(everything) == 270
    wanted = [row["delivery"] for row in everything if WORDS[words](row)]
    monkeypatch.setattr(search, "WINDOW_ROWS", window)
    monkeypatch.setattr(search, "FEW", few)
    assert [row["delivery"] for row in read_all(publisher, words, most=most)] == wanted


def test_a_page_whose_time_is_over_ends_and_the_next_goes_on(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW_ROWS", 10)
    page = find_deliveries(publisher.database, read("state:excluded"), seconds=0.0)
    assert page["next"] == "3-10"
    patient = [row["delivery"] for row in read_all(publisher, "state:excluded")]
    assert [row["delivery"] for row in read_all(publisher, "state:excluded", seconds=0.0)] == patient


def test_a_topic_means_the_mails_that_hold_a_story_of_it(publisher: Publisher) -> None:
    found = read_all(publisher, "topic:sport issue:1")
    assert {int(row["subscriber"]) % 4 for row in found} == {2, 3}  # who chose sport, and who chose everything
    assert read_all(publisher, "topic:gardening") == []


def test_a_delivery_is_told_with_its_attempts(publisher: Publisher) -> None:
    told = describe_delivery(publisher.database, (1, 1))
    assert (told["email"], told["state"], told["title"]) == ("p0@y.net", "rejected", "b0")
    (line,) = told["log"]
    assert (line["attempt"], line["code"], line["response"]) == (1, 550, "5.1.1 no such user")
    assert describe_delivery(publisher.database, (1, 6))["email"] is None
    with pytest.raises(StoreError, match="there is no delivery 1-9999"):
        describe_delivery(publisher.database, (1, 9999))


@pytest.mark.parametrize("name", ["", "7", "7-", "-7", "a-b", "1-2-3", "1" * 101 + "-1", "٣-1"])
def test_what_names_no_delivery_is_refused(name: str) -> None:
    with pytest.raises(QueryError, match="is no delivery"):
        parse_delivery(name)


def test_a_number_that_no_database_holds_is_a_delivery_that_is_not_there(publisher: Publisher) -> None:
    with pytest.raises(StoreError, match="there is no delivery"):
        describe_delivery(publisher.database, parse_delivery("1-99999999999999999999"))


def test_an_export_holds_exactly_what_the_search_finds(publisher: Publisher) -> None:
    found = [row["delivery"] for row in read_all(publisher, "state:rejected")]
    lines = "".join(export_deliveries(publisher.database, read("state:rejected"), as_csv=True)).splitlines()
    assert lines[0].startswith("delivery,issue,email,state")
    assert [line.partition(",")[0] for line in lines[1:]] == found
    rows = "".join(export_deliveries(publisher.database, read("state:rejected"), as_csv=False)).splitlines()
    assert len(rows) == len(found)


def test_no_cell_of_an_export_is_a_formula(publisher: Publisher) -> None:
    from newsletter.report.deliveries import _disarm

    assert [_disarm(cell) for cell in ("=1+1", "@here", "-1", 5, None, "fine")] == [
        "'=1+1",
        "'@here",
        "'-1",
        5,
        None,
        "fine",
    ]
