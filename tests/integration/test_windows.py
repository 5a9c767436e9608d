"""What a reader is offered over many issues: every story of theirs, and none of them twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from smtp_server import SmtpServer
from sqlalchemy import Connection, select, update
from test_deliver import SIGNER, deliver
from test_publish import DAY, MONDAY, make_brief, make_publisher, make_story, settle, sign_up, titles_for
from workshop import read_parts

from newsletter import control
from newsletter.core.model import Brief, DeliveryState, Story
from newsletter.publish import Publisher
from newsletter.publish.pages import PageWriter
from newsletter.store import exclusions, issues
from newsletter.store.database import Database
from newsletter.store.schema import deliveries, subscribers

HOUR = timedelta(hours=1)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def publish(publisher: Publisher, now: datetime, *stories: Story) -> int:
    """An issue of these stories, its mails accepted; its number."""
    number = publisher.publish(make_brief(f"brief of {now:%d %H}", now, *stories), now=now).issue
    settle(publisher.database)
    return number


def reject(database: Database, issue: int, reader: int) -> None:
    """Let a mail have been given up, as delivery writes it down."""
    with database.write() as conn:
        key = (issue, reader)
        conn.execute(update(deliveries).where(exclusions.one_delivery(key)).values(state=DeliveryState.REJECTED))
        exclusions.reopen_window_of(conn, key)


def count_titles(database: Database, email: str, *numbers: int) -> Counter[str]:
    """How often each title stands in a reader's mails of these issues."""
    told = [titles_for(database, email, number) for number in numbers]
    return Counter(title for titles in told if not isinstance(titles, str) for title in titles)


def test_a_story_gathered_in_a_later_issues_mail_is_not_gathered_again(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY + HOUR, "w@x.org science weekly")
    publish(publisher, MONDAY + DAY, make_story("X", "science", guid="g"))
    publish(publisher, MONDAY + 7 * DAY, make_story("Y", "science"))
    assert titles_for(database, "w@x.org", 2) == ["Y", "X"]
    publish(publisher, MONDAY + 8 * DAY, make_story("X again", "science", guid="g"), make_story("Z", "science"))
    publish(publisher, MONDAY + 14 * DAY, make_story("V", "science"))
    assert titles_for(database, "w@x.org", 4) == ["V", "Z"]


def test_a_gap_brings_back_only_what_no_mail_held(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY + HOUR, "w@x.org science weekly")
    publish(publisher, MONDAY + DAY, make_story("X", "science", guid="g"))
    publish(publisher, MONDAY + 7 * DAY, make_story("Y", "science"))
    publish(publisher, MONDAY + 8 * DAY, make_story("X again", "science", guid="g"), make_story("Z", "science"))
    lost = publish(publisher, MONDAY + 14 * DAY, make_story("V", "science"))
    reject(database, lost, 1)
    publish(publisher, MONDAY + 21 * DAY, make_story("U", "science"))
    assert titles_for(database, "w@x.org", 5) == ["U", "V", "Z"]


def test_the_other_stories_of_a_mail_that_a_gap_reaches_back_behind_are_not_sent_again(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "d@x.org science daily")
    for day in (1, 2):
        publish(publisher, MONDAY + day * DAY, make_story(f"Story {day}", "science"))
    reject(database, 1, 1)  # found out only after the mail of issue 2 was taken
    publish(publisher, MONDAY + 3 * DAY, make_story("Story 3", "science"))
    assert titles_for(database, "d@x.org", 3) == ["Story 3", "Story 1"]


@pytest.mark.parametrize("frequency", ["each", "daily"])
def test_a_story_got_from_an_issue_that_was_then_cancelled_is_not_sent_again(
    publisher: Publisher, frequency: str
) -> None:
    database = publisher.database
    sign_up(database, MONDAY, f"got@x.org science {frequency}")
    issue = publisher.publish(make_brief("one", MONDAY + DAY, make_story("X", "science")), now=MONDAY + DAY).issue
    control.pause_issue(database, issue, now=MONDAY + DAY)
    settle(database)  # what was on the wire was finished
    control.cancel_issue(database, issue, now=MONDAY + DAY)
    publish(publisher, MONDAY + 2 * DAY, make_story("X", "science"), make_story("Y", "science"))
    assert titles_for(database, "got@x.org", 2) == ["Y"]


def test_a_story_that_a_cancelled_issue_did_not_bring_may_come_in_a_later_one(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "e@x.org science", "d@x.org science daily")
    brief = make_brief("one", MONDAY + DAY, make_story("X", "science"), make_story("Gone", "science"))
    issue = publisher.publish(brief, now=MONDAY + DAY).issue
    control.cancel_issue(database, issue, now=MONDAY + DAY)
    publish(publisher, MONDAY + 2 * DAY, make_story("X", "science"), make_story("Y", "science"))
    assert titles_for(database, "e@x.org", 2) == ["X", "Y"]
    assert titles_for(database, "d@x.org", 2) == ["X", "Y"]


def write_newest_first(publisher: Publisher, monkeypatch: pytest.MonkeyPatch, *briefs: Brief) -> list[int]:
    """Two issues made one after the other, and their rows written the other way round; where readers stand then."""
    covered: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(issues, "insert_page", Mock(side_effect=KeyboardInterrupt))
        for brief in briefs:
            with pytest.raises(KeyboardInterrupt):
                publisher.publish(brief, now=MONDAY + DAY)
    for number in range(len(briefs), 0, -1):
        PageWriter(publisher, number).write_all(MONDAY + DAY)
        with publisher.database.read() as conn:
            covered += conn.execute(select(subscribers.c.covered_issue_id)).scalars()
    settle(publisher.database)
    return covered


@pytest.mark.parametrize("topic", ["science", "sport"])
def test_issues_written_out_newest_first_never_set_a_reader_back(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    sign_up(publisher.database, MONDAY, f"d@x.org {topic} daily")
    briefs = [make_brief(title, MONDAY, make_story(title, "science")) for title in ("One", "Two")]
    assert write_newest_first(publisher, monkeypatch, *briefs) == [2, 2]


@pytest.mark.parametrize("frequency", ["each", "daily"])
def test_issues_written_out_newest_first_bring_each_story_once(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, frequency: str
) -> None:
    sign_up(publisher.database, MONDAY, f"r@x.org science {frequency}")
    both = make_story("In both", "science")
    briefs = [make_brief(title, MONDAY, make_story(title, "science"), both) for title in ("One", "Two")]
    write_newest_first(publisher, monkeypatch, *briefs)
    publish(publisher, MONDAY + 2 * DAY, make_story("Three", "science"), both)
    titles = count_titles(publisher.database, "r@x.org", 1, 2, 3)
    assert titles == {"One": 1, "Two": 1, "In both": 1, "Three": 1}


def before_write(database: Database, monkeypatch: pytest.MonkeyPatch, turn: int, act: Callable[[], None]) -> None:
    """Let something happen just before this database's write transaction of this number, as by another process."""
    real, turns = database.write, list[int]()

    @contextmanager
    def write(**options: Any) -> Iterator[Connection]:
        turns.append(1)
        if len(turns) == turn:
            act()
        with real(**options) as conn:
            yield conn

    monkeypatch.setattr(database, "write", write)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_an_issue_published_while_another_is_being_written_sends_no_story_twice(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    database, now = publisher.database, MONDAY + DAY
    sign_up(database, MONDAY, "d@x.org science daily", "e@x.org science")

    def publish_another() -> None:
        publisher.publish(make_brief("two", now, make_story("Two", "science")), now=now)

    before_write(database, monkeypatch, turn, publish_another)
    publisher.publish(make_brief("one", now, make_story("One", "science")), now=now)
    monkeypatch.undo()
    settle(database)
    publish(publisher, MONDAY + 2 * DAY, make_story("Three", "science"))
    for email in ("d@x.org", "e@x.org"):
        assert count_titles(database, email, 1, 2, 3) == {"One": 1, "Two": 1, "Three": 1}


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_mail_given_up_while_the_next_issue_is_being_written_is_offered_again(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "d@x.org science daily")
    publish(publisher, MONDAY + DAY, make_story("One", "science"))
    before_write(database, monkeypatch, turn, lambda: reject(database, 1, 1))
    publisher.publish(make_brief("two", MONDAY + 2 * DAY, make_story("Two", "science")), now=MONDAY + 2 * DAY)
    monkeypatch.undo()
    settle(database)
    publish(publisher, MONDAY + 3 * DAY, make_story("Three", "science"))
    assert count_titles(database, "d@x.org", 2, 3) == {"One": 1, "Two": 1, "Three": 1}


def test_a_retention_shorter_than_the_window_costs_a_later_reader_no_story(publisher: Publisher) -> None:
    database, december = publisher.database, datetime(2026, 12, 1, 9, tzinfo=UTC)
    sign_up(database, MONDAY + HOUR, "w@x.org science weekly", "m@x.org science monthly", "e@x.org science")
    last = SmtpServer()
    for now, title in ((MONDAY + DAY, "First"), (MONDAY + 7 * DAY, "Second"), (december, "Third")):
        publisher.publish(make_brief(title, now, make_story(title, "science")), now=now)
        deliver(database, last := SmtpServer(), now, retain=DAY)
        deliver(database, SmtpServer(), now + 5 * DAY, retain=DAY)
    assert titles_for(database, "w@x.org", 2) == ["Second", "First"]
    assert titles_for(database, "m@x.org", 3) == ["Third", "Second", "First"]
    (mail,) = last.mails_to("m@x.org")
    for part in read_parts(mail):
        assert all(f"All about {title}." in part for title in ("First", "Second", "Third"))


def test_a_story_corrected_under_its_feed_id_is_known_by_its_new_text_too(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "a@x.org science")
    for day, (guid, text) in enumerate([("g", "old text"), ("g", "new text"), (None, "new text"), (None, "old text")]):
        comet = make_story("Comet", "science", guid=guid, text=text)
        publish(publisher, MONDAY + day * DAY, comet, make_story(f"Other {day}", "science"))
    assert titles_for(database, "a@x.org", 1) == ["Comet", "Other 0"]
    assert [titles_for(database, "a@x.org", issue) for issue in (2, 3, 4)] == [["Other 1"], ["Other 2"], ["Other 3"]]
