"""Deliveries whose process dies, whose relay hangs up or whose database is locked: counted right, and none twice."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from smtp_server import DROP, SmtpServer
from smtp_talk import Answers
from sqlalchemy import event
from test_deliver import NOW, RULES, SIGNER, count_mails, deliver, publish
from test_publish import make_publisher

from newsletter import control
from newsletter.deliver import Progress
from newsletter.publish import Publisher, audit
from newsletter.report import describe_issue
from newsletter.store import issues, ledger, moves
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock

HOUR = timedelta(hours=1)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr("newsletter.store.sqlite.BUSY_TIMEOUT_SECONDS", 0.2)
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def issue_state(database: Database, number: int) -> str:
    """The state of an issue as `issues list` shows it."""
    with database.read() as conn:
        return str(describe_issue(conn, issues.find_issue(conn, number))["state"])


def test_the_lock_of_a_database_is_one_by_whatever_path_it_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "n.db").touch()
    (tmp_path / "link.db").symlink_to(folder / "n.db")
    (tmp_path / "folder").symlink_to(folder)
    with DeliveryLock(folder / "n.db") as lock:
        assert lock.acquire()
        for other in (tmp_path / "link.db", tmp_path / "folder" / "n.db"):
            assert not DeliveryLock(other).acquire()


@pytest.mark.sqlite
@pytest.mark.parametrize("mails", [10, 57, 60])
def test_a_write_lock_held_longer_than_we_wait_loses_nobody_and_doubles_nobody(
    publisher: Publisher, mails: int
) -> None:
    database, issue = publisher.database, publish(publisher, 60)
    server = SmtpServer()
    other = sqlite3.connect(database.name, isolation_level=None, check_same_thread=False)
    taken: list[int] = []
    waited_in_vain: list[str] = []

    def take(progress: Progress) -> None:
        if len(server.mails) >= mails and not taken:
            taken.append(len(server.mails))
            other.execute("BEGIN IMMEDIATE")

    def let_go(context: Any) -> None:
        waited_in_vain.append(str(context.original_exception))
        if other.in_transaction and len(waited_in_vain) == 2:
            other.execute("ROLLBACK")

    event.listen(database._engine, "handle_error", let_go)
    progress = deliver(database, server, observe=take)
    other.close()
    assert waited_in_vain == ["database is locked"] * 2
    assert progress.stopped is None
    assert count_mails(server) == {f"p{number}@x.org": 1 for number in range(60)}
    books = audit(database, issue)
    assert (books.accepted, books.balanced) == (60, True)


@pytest.mark.parametrize("refused", [1, 20])
def test_a_relay_that_hangs_up_at_the_rset_after_a_refusal_is_worked_through(
    publisher: Publisher, refused: int
) -> None:
    issue = publish(publisher, 30)
    replies: Answers = {
        "RCPT": {f"p{number}@x.org": "554 5.6.0 no thanks" for number in range(refused)},
        "RSET": DROP,
    }
    server = SmtpServer(replies=replies)
    progress = deliver(publisher.database, server)
    assert progress.stopped is None
    assert count_mails(server) == {f"p{number}@x.org": 1 for number in range(refused, 30)}
    books = audit(publisher.database, issue)
    assert (books.rejected, books.accepted, books.balanced) == (refused, 30 - refused, True)


def die_while_sending(database: Database, issue: int, server: SmtpServer, hours: int) -> bool:
    """A process dies with the only mail on the wire, and one that finds no relay takes over; whether there was one."""
    now = NOW + hours * HOUR
    with database.write() as conn:
        if not moves.start_deliveries(conn, [(issue, 1)], 77, now):
            return False
    deliver(database, server, now, retry_delays=RULES.retry_delays[:2])
    return True


@pytest.mark.sqlite
def test_a_delivery_whose_process_dies_each_time_is_given_up_after_its_attempts(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 1)
    died = [die_while_sending(database, issue, SmtpServer(replies={"BANNER": DROP}), hours) for hours in range(5)]
    assert died == [True, True, True, False, False]
    deliver(database, server := SmtpServer(), NOW + 5 * HOUR)
    assert server.mails == []
    books = audit(database, issue)
    assert (books.rejected, books.deferred, books.balanced) == (1, 0, True)
    with database.read() as conn:
        log = list(ledger.list_attempts(conn, issue_id=issue))
    assert [(row.attempt, row.outcome) for row in log] == [(1, "uncertain"), (2, "uncertain"), (3, "uncertain")]


def test_an_issue_is_finished_only_when_nothing_is_owed_and_nothing_is_in_doubt(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 3)
    replies: Answers = {"RCPT": {"p1@x.org": ["451 4.3.0 later"]}, "BODY": {"p2@x.org": [DROP]}}
    assert issue_state(database, issue) == "running"
    deliver(database, server := SmtpServer(replies=replies), hold=True)
    assert (audit(database, issue).deferred, audit(database, issue).uncertain) == (1, 1)
    assert issue_state(database, issue) == "running"
    deliver(database, server, NOW + HOUR, hold=True)
    assert (audit(database, issue).deferred, audit(database, issue).uncertain) == (0, 1)
    assert issue_state(database, issue) != "finished"
    control.settle_issue(database, issue, now=NOW + HOUR, resend=False, expire_after=RULES.expire_after)
    assert issue_state(database, issue) == "finished"
