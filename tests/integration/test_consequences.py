"""What replies lead to beyond their own delivery: an issue that pauses, an address that gets no more mail."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from crews import WallClock, deliver_over, publish_for
from smtp_server import SmtpServer
from smtp_talk import Answers
from test_deliver import NOW, SIGNER
from test_publish import make_publisher

from newsletter import control
from newsletter.publish import Publisher, audit
from newsletter.store import issues
from newsletter.store.database import Database
from newsletter.store.schema import suppressions

SPAM = "550 5.7.1 looks like spam to us"
UNCLEAR = "550 no"
FULL = "552 5.2.2 mailbox full"
ONE_CONNECTION = [{"connections": 1}]
DAY = timedelta(days=1)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def readers(count: int) -> list[str]:
    return [f"p{number}@x.org" for number in range(count)]


def blame(first: int, last: int) -> Answers:
    """It is our fault, say the replies to these readers."""
    return {"RCPT": {f"p{number}@x.org": SPAM for number in range(first, last)}}


def state_of(database: Database, number: int) -> tuple[str, str]:
    with database.read() as conn:
        row = issues.find_issue(conn, number)
        return row.state, row.reason or ""


def list_suppressed(database: Database) -> list[str]:
    with database.read() as conn:
        return [row.reason for row in conn.execute(suppressions.select())]


def test_twenty_replies_that_it_is_our_fault_pause_the_issue_and_say_why(publisher: Publisher) -> None:
    database = publisher.database
    number = publish_for(publisher, readers(200))
    server = SmtpServer(replies=blame(0, 200))
    progress = deliver_over(database, server)
    state, reason = state_of(database, number)
    assert state == "paused"
    assert SPAM in reason
    (alarm,) = progress.alarms
    assert f"issue {number} is paused" in alarm
    assert SPAM in alarm
    assert f"newsletter issues resume {number}" in alarm
    books = audit(database, number)
    assert 20 <= books.rejected <= 24
    assert books.rejected + books.queued + books.deferred == 200
    assert books.balanced
    assert list_suppressed(database) == []


def test_nineteen_among_two_hundred_do_not_pause_it(publisher: Publisher) -> None:
    number = publish_for(publisher, readers(220))
    progress = deliver_over(publisher.database, SmtpServer(replies=blame(0, 19)))
    assert (state_of(publisher.database, number)[0], progress.alarms) == ("running", [])
    assert audit(publisher.database, number).accepted == 201


def test_those_longer_ago_than_two_hundred_replies_do_not_count(publisher: Publisher) -> None:
    number = publish_for(publisher, readers(260))
    replies = {"RCPT": {f"p{number}@x.org": SPAM for number in [*range(10), *range(240, 250)]}}
    progress = deliver_over(publisher.database, SmtpServer(replies=replies), relays=ONE_CONNECTION)
    assert (state_of(publisher.database, number)[0], progress.alarms) == ("running", [])


def test_the_replies_of_an_earlier_run_count_too(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    number = publish_for(publisher, readers(100))
    replies: Answers = {"RCPT": {f"p{n}@x.org": SPAM if n < 12 else "451 4.3.0 later" for n in range(100)}}
    assert deliver_over(database, SmtpServer(replies=replies), clock=clock).alarms == []
    clock.turn(minutes=10)
    progress = deliver_over(database, SmtpServer(replies=blame(0, 100)), clock=clock, relays=ONE_CONNECTION)
    assert len(progress.alarms) == 1
    assert state_of(database, number)[0] == "paused"
    assert audit(database, number).rejected == 20


def test_other_issues_go_on_and_the_paused_one_goes_on_when_it_is_resumed(publisher: Publisher) -> None:
    database = publisher.database
    first = publish_for(publisher, readers(60))
    deliver_over(database, SmtpServer(replies=blame(0, 60)), relays=ONE_CONNECTION)
    assert (state_of(database, first)[0], audit(database, first).rejected) == ("paused", 20)
    second = publish_for(publisher, readers(60), "two")
    deliver_over(database, SmtpServer())
    assert audit(database, second).accepted == 60
    assert audit(database, first).accepted == 0
    control.resume_issue(database, first, now=NOW)
    assert deliver_over(database, SmtpServer()).alarms == []
    books = audit(database, first)
    assert (books.accepted, books.rejected, books.balanced) == (40, 20, True)


def test_two_issues_in_one_run_are_judged_each_by_its_own_replies(publisher: Publisher) -> None:
    database = publisher.database
    numbers = [publish_for(publisher, readers(12), name) for name in ("one", "two")]
    progress = deliver_over(database, SmtpServer(replies=blame(0, 12)))
    assert sum(progress.outcomes.values()) == 24
    assert progress.alarms == []
    assert [state_of(database, number)[0] for number in numbers] == ["running", "running"]


@pytest.mark.parametrize("said", ["550 5.1.1 no such user", "550 user unknown", "550 5.2.1 disabled"])
def test_a_dead_address_is_suppressed_at_once(publisher: Publisher, said: str) -> None:
    publish_for(publisher, readers(3))
    progress = deliver_over(publisher.database, SmtpServer(replies={"RCPT": {"p1@x.org": said}}))
    assert len(list_suppressed(publisher.database)) == 1
    assert progress.alarms == []
    second = publish_for(publisher, [], "two")
    assert audit(publisher.database, second).excluded == {"suppressed": 1}


def send_issues(
    publisher: Publisher, replies: Sequence[tuple[float, str | None]], stage: str = "RCPT", first: int = 0
) -> list[int]:
    """An issue for one reader at each day, and what the relay said to it; how many are suppressed after each.

    Every `stage` but RCPT is about nobody. `first` is the number of the first issue.
    """
    counts = []
    for number, (day, said) in enumerate(replies, start=first):
        now: datetime = NOW + day * DAY
        publish_for(publisher, ["kim@x.org"], f"issue{number}", now)
        whose: Answers = {"RCPT": {"kim@x.org": said or "250 ok"}} if stage == "RCPT" else {stage: said or "250 ok"}
        server = SmtpServer(replies=whose)
        deliver_over(publisher.database, server, clock=WallClock(now), retry_delays=())
        counts.append(len(list_suppressed(publisher.database)))
    return counts


@pytest.mark.parametrize(
    ("replies", "suppressed"),
    [
        ([(0, UNCLEAR), (1, UNCLEAR), (2, UNCLEAR)], [0, 0, 1]),
        ([(0, UNCLEAR), (1, UNCLEAR), (2, None), (3, UNCLEAR), (4, UNCLEAR)], [0, 0, 0, 0, 0]),
        ([(0, UNCLEAR), (1, UNCLEAR), (2, SPAM), (3, UNCLEAR)], [0, 0, 0, 1]),
        ([(0, UNCLEAR), (1, FULL), (2, UNCLEAR)], [0, 0, 0]),
        ([(0, UNCLEAR), (1, UNCLEAR), (2, "451 4.3.0 later")], [0, 0, 0]),
        ([(0, FULL), (1, FULL), (2, FULL), (3, FULL), (15, FULL)], [0, 0, 0, 0, 1]),
        ([(0, FULL), (7, FULL), (13, FULL), (14, FULL)], [0, 0, 0, 1]),
        ([(0, FULL), (20, FULL), (40, FULL)], [0, 0, 0]),
        ([(0, FULL), (7, FULL), (13, None), (14, FULL), (15, FULL), (16, FULL)], [0, 0, 0, 0, 0, 0]),
        ([(0, "452 4.2.2 over quota"), (7, FULL), (13, "452 4.2.2 over quota"), (14, FULL)], [0, 0, 0, 1]),
        ([(day, SPAM) for day in range(5)], [0, 0, 0, 0, 0]),
    ],
)
def test_an_address_is_suppressed_only_with_patience(
    publisher: Publisher, replies: list[tuple[float, str | None]], suppressed: list[int]
) -> None:
    assert send_issues(publisher, replies) == suppressed


def test_what_answered_mail_is_never_held_against_the_reader(publisher: Publisher) -> None:
    assert send_issues(publisher, [(0, UNCLEAR), (1, UNCLEAR), (2, UNCLEAR)], "MAIL") == [0, 0, 0]
    assert send_issues(publisher, [(3, UNCLEAR), (4, UNCLEAR), (5, UNCLEAR)], first=3) == [0, 0, 1]


def test_what_answered_mail_in_an_earlier_run_counts_as_our_fault(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    number = publish_for(publisher, readers(60))
    first = SmtpServer(replies={"MAIL": [UNCLEAR] * 12, "RCPT": "451 4.3.0 later"})
    assert deliver_over(database, first, clock=clock, relays=ONE_CONNECTION).alarms == []
    clock.turn(minutes=10)
    assert (
        len(deliver_over(database, SmtpServer(replies={"MAIL": UNCLEAR}), clock=clock, relays=ONE_CONNECTION).alarms)
        == 1
    )
    assert audit(database, number).rejected == 20
