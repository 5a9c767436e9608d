"""What the sources offer: folders, and feeds fetched from a real server and remembered in a real database."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from feed_server import FeedServer, make_feed

from newsletter.core.errors import BriefError, SourceError
from newsletter.offer import Offer, feeds
from newsletter.offer.feeds import FeedRules, read_feed, refresh_feeds
from newsletter.sources.http import Fetched
from newsletter.store.database import Database, open_database
from newsletter.store.feeds import FeedState, read_feeds, write_feed

MONDAY = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = FeedRules(language="en", zone=ZoneInfo("UTC"), seconds=10)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer().running() as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'n.db'}")
    yield opened
    opened.close()


def refresh(database: Database, *addresses: str, now: datetime = MONDAY) -> dict[str, str]:
    return refresh_feeds(database, addresses, rules=RULES, now=now)


def read_state(database: Database, address: str) -> FeedState:
    with database.read() as conn:
        return read_feeds(conn, [address])[address]


def titles(database: Database, address: str) -> list[str]:
    (brief,), _ = read_feed(database, address, rules=RULES)
    return [story.title for story in brief.stories]


# States


def test_a_feed_is_fetched_and_remembered(server: FeedServer, database: Database) -> None:
    address = server.offer("/feed", make_feed("One"), etag='"1"', last_modified="Mon, 23 Nov 2026 06:00:00 GMT")
    assert refresh(database, address) == {}
    assert read_state(database, address) == FeedState(
        body=make_feed("One"),
        content_type="application/rss+xml",
        etag='"1"',
        last_modified="Mon, 23 Nov 2026 06:00:00 GMT",
        checked_at=MONDAY,
        changed_at=MONDAY,
    )
    (brief,), problems = read_feed(database, address, rules=RULES)
    assert (brief.id, brief.title, brief.date) == (f"127.0.0.1-{server.port}-feed", "The feed", MONDAY.date())
    assert problems == []


def test_what_did_not_change_is_not_sent_again(server: FeedServer, database: Database) -> None:
    address = server.offer("/feed", make_feed("One"), etag='"1"', last_modified="Mon, 23 Nov 2026 06:00:00 GMT")
    refresh(database, address)
    refresh(database, address, now=MONDAY + DAY)
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, '"1"']
    assert server.asked[1].headers["if-modified-since"] == "Mon, 23 Nov 2026 06:00:00 GMT"
    state = read_state(database, address)
    assert (state.checked_at, state.changed_at) == (MONDAY + DAY, MONDAY)


def test_only_other_stories_are_a_change(server: FeedServer, database: Database) -> None:
    address = server.offer("/feed", make_feed("One"))
    refresh(database, address)
    for number, (body, changed_at) in enumerate(
        [
            (make_feed("One"), MONDAY),
            (make_feed("One", extra="<lastBuildDate>Tue, 24 Nov 2026 07:00:00 GMT</lastBuildDate>"), MONDAY),
            (make_feed("Two", "One"), MONDAY + 3 * DAY),
            (make_feed("Two", "One", text="Other."), MONDAY + 4 * DAY),
        ],
        start=1,
    ):
        server.offer("/feed", body, etag=f'"{number}"')
        assert refresh(database, address, now=MONDAY + number * DAY) == {}
        state = read_state(database, address)
        assert (state.body, state.etag, state.changed_at) == (body, f'"{number}"', changed_at)


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ({"status": 500}, "feed {} cannot be fetched: it answers 500 (Internal Server Error)"),
        ({"body": b"<html>Login</html>"}, "feed {} is not a feed: neither RSS nor Atom nor JSON Feed"),
        ({"body": make_feed(), "etag": '"2"'}, "feed {} holds no story: it is a feed without items"),
        ({"body": make_feed("Two")[:40], "quirk": "cut"}, "feed {} cannot be fetched: its answer is broken"),
    ],
)
def test_a_broken_feed_keeps_its_last_good_state(
    server: FeedServer, database: Database, page: dict[str, Any], problem: str
) -> None:
    address = server.offer("/feed", make_feed("One"), etag='"1"')
    refresh(database, address)
    before = read_state(database, address)
    server.offer("/feed", **page)
    sentence = refresh(database, address, now=MONDAY + DAY)[address]
    assert sentence.startswith(problem.format(address))
    state = read_state(database, address)
    assert (state.problem, state.checked_at) == (sentence, MONDAY + DAY)
    assert (state.body, state.etag, state.changed_at) == (before.body, before.etag, before.changed_at)
    (brief,), (error,) = read_feed(database, address, rules=RULES)
    assert str(error) == f"{sentence}; what it held at 2026-11-23 07:00 UTC stands in"
    assert [warning.message for warning in brief.warnings] == [str(error)]
    server.offer("/feed", make_feed("One"), etag='"1"')
    assert refresh(database, address, now=MONDAY + 2 * DAY) == {}
    assert read_state(database, address).problem is None


def test_a_feed_without_any_good_state_is_an_error(server: FeedServer, database: Database) -> None:
    address = server.url()
    assert [str(error) for error in read_feed(database, address, rules=RULES)[1]] == [
        f"feed {address} was not fetched yet"
    ]
    refresh(database, address)
    briefs, (error,) = read_feed(database, address, rules=RULES)
    assert briefs == []
    assert str(error) == f"feed {address} cannot be fetched: it answers 404 (Not Found)"
    assert read_state(database, address).body is None


def test_a_state_that_this_program_cannot_read_is_an_error(database: Database) -> None:
    with database.write() as conn:
        write_feed(conn, "http://a.example/", FeedState(body=b"old", changed_at=MONDAY))
    briefs, (error,) = read_feed(database, "http://a.example/", rules=RULES)
    assert briefs == []
    assert str(error).startswith("http://a.example/ is not a feed")


def test_a_state_that_this_program_cannot_read_gives_way(server: FeedServer, database: Database) -> None:
    address = server.offer("/feed", make_feed("One"))
    with database.write() as conn:
        write_feed(conn, address, FeedState(body=b"old", changed_at=MONDAY - DAY))
    assert refresh(database, address) == {}
    assert titles(database, address) == ["One"]


def test_the_charset_of_the_answer_counts_later_too(server: FeedServer, database: Database) -> None:
    body = make_feed("Газета").decode().encode("windows-1251")
    address = server.offer("/feed", body, content_type="text/html; charset=windows-1251")
    refresh(database, address)
    assert titles(database, address) == ["Газета"]


def test_no_password_stands_in_the_database(server: FeedServer, database: Database, tmp_path: Path) -> None:
    server.offer("/feed", make_feed("One"))
    refresh(database, server.url(login="user:hunter2@"))
    refresh(database, server.url("/none", login="user:hunter2@"))
    database.close()
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


# Side by side


def test_a_slow_feed_holds_up_no_other(server: FeedServer, database: Database) -> None:
    slow = server.offer("/slow", quirk="stall")
    broken, good = server.url("/none"), server.offer("/good", make_feed("One"))
    rules = FeedRules(language="en", zone=ZoneInfo("UTC"), seconds=2)
    problems = refresh_feeds(database, [slow, broken, good], rules=rules, now=MONDAY)
    assert problems == {
        slow: f"feed {slow} cannot be fetched: it takes longer than 2 seconds",
        broken: f"feed {broken} cannot be fetched: it answers 404 (Not Found)",
    }
    assert titles(database, good) == ["One"]


def test_a_refresh_that_is_stopped_keeps_what_came(server: FeedServer, database: Database) -> None:
    stop = Event()
    stop.set()
    slow = server.offer("/slow", quirk="stall")
    assert refresh_feeds(database, [slow], rules=RULES, now=MONDAY, stop=stop) == {}
    good = server.offer("/good", make_feed("One"))
    assert refresh_feeds(database, [good], rules=RULES, now=MONDAY, stop=Event()) == {}
    assert titles(database, good) == ["One"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_at_one_feed_holds_up_no_other(
    server: FeedServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(address: str, **_: object) -> Fetched:
        if address.endswith("bad"):
            raise ZeroDivisionError
        return Fetched(body=make_feed("One"))

    monkeypatch.setattr(feeds, "fetch", fetch)
    problems = refresh(database, "http://a.example/bad", "http://a.example/good")
    assert problems == {"http://a.example/bad": "feed http://a.example/bad cannot be fetched: the program failed at it"}
    assert titles(database, "http://a.example/good") == ["One"]


# All sources


def make_offer(database: Database | None, *sources: str) -> Offer:
    def open_database() -> Database:
        assert database is not None, "opened without need"
        return database

    return Offer(
        sources=sources,
        language="en",
        zone=ZoneInfo("UTC"),
        allow_private=False,
        open_database=open_database,
        now=lambda: MONDAY,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "briefs"
    folder.mkdir()
    for day in ("2026-11-22", "2026-11-24"):
        (folder / f"{day}.md").write_text(f"## Story of {day}\n\nText.\n")
    return folder


def test_folders_alone_need_no_database(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "2026-11-23.md").write_text("## Story\n")
    offer = make_offer(None, str(folder), str(other))
    assert [brief.id for brief in offer.list()[0]] == ["2026-11-24", "2026-11-23", "2026-11-22"]
    assert [brief.id for brief in offer.collect()[0]] == ["2026-11-24", "2026-11-22", "2026-11-23"]
    assert offer.find("latest").id == "2026-11-24"
    assert offer.find("2026-11-22").id == "2026-11-22"
    assert offer.refresh_feeds() == {}


def test_the_latest_brief_is_of_the_newest_date_then_the_newest_change(folder: Path) -> None:
    (folder / "2026-11-25.md").write_text("no story")
    for name, second in (("2026-11-24-a.md", 5), ("2026-11-24-b.md", 4)):
        (folder / name).write_text("## Story\n")
        os.utime(folder / name, (second, second))
    os.utime(folder / "2026-11-24.md", (3, 3))
    assert make_offer(None, str(folder)).find("latest").id == "2026-11-24-a"


def test_without_a_sound_brief_the_latest_is_an_error(tmp_path: Path, database: Database) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(BriefError, match=r"^there is no brief in .*/empty$"):
        make_offer(None, str(folder)).find("latest")
    (folder / "a.md").write_text("no story")
    (folder / "b.md").write_text("none here")
    with pytest.raises(BriefError, match=r"a\.md holds no story"):
        make_offer(None, str(folder)).find("latest")
    with pytest.raises(SourceError, match=r"feed http://\*\*\*@127.0.0.1:1/ cannot be fetched: the connection failed"):
        make_offer(database, "http://u:hunter2@127.0.0.1:1/", str(folder)).find("latest")


def test_feeds_stand_among_the_briefs_of_folders(server: FeedServer, database: Database, folder: Path) -> None:
    one, broken = server.offer("/one", make_feed("One")), server.url("/broken")
    offer = make_offer(database, one, str(folder), broken)
    briefs, (error,) = offer.list()
    name = f"127.0.0.1-{server.port}-one"
    assert [brief.id for brief in briefs] == ["2026-11-24", name, "2026-11-22"]
    assert [brief.id for brief in offer.collect()[0]] == [name, "2026-11-24", "2026-11-22"]
    assert "it answers 404" in str(error)
    assert offer.find("latest").id == "2026-11-24"
    assert offer.find("2026-11-22").id == "2026-11-22"
    assert offer.find(one).id == offer.find(name).id == name
    with pytest.raises(SourceError, match="it answers 404"):
        offer.find(broken)
    with pytest.raises(BriefError, match=r"there is no brief http://else\.example/: "):
        offer.find("http://else.example/")
    assert sorted(asked.path for asked in server.asked) == ["/broken", "/one"]


def test_a_feed_is_fetched_once_and_then_when_asked(server: FeedServer, database: Database) -> None:
    one, two = server.offer("/one", make_feed("One")), server.offer("/two", make_feed("Two"))
    offer = make_offer(database, one, two)
    offer.find(one)
    assert [asked.path for asked in server.asked] == ["/one"]
    offer.list()
    offer.list()
    assert [asked.path for asked in server.asked] == ["/one", "/two"]
    server.offer("/one", make_feed("News", "One"))
    assert [story.title for story in offer.find(one).stories] == ["One"]
    assert offer.refresh_feeds() == {}
    assert [story.title for story in offer.find(one).stories] == ["News", "One"]
    assert len(server.asked) == 4
