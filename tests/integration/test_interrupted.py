"""Stopped, cancelled or paused anywhere: it ends, everything is written down, and the next run does the rest."""

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from crews import WallClock, deliver_over, make_crew, publish_for, relay_to
from smtp_server import SmtpServer
from sqlalchemy import Connection, func, select
from test_deliver import NOW, SIGNER, count_mails, publish
from test_publish import make_publisher

from newsletter import control
from newsletter.core.errors import StoreError
from newsletter.deliver import Progress
from newsletter.deliver.ledger_writer import LedgerWriter, Step
from newsletter.publish import Publisher, audit
from newsletter.store import outbox, upkeep
from newsletter.store.database import Database
from newsletter.store.schema import attempts, batches, deliveries, subscribers
from newsletter.store.writing import Writing


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def assert_nothing_is_held(database: Database) -> None:
    """No delivery is marked as on the wire, and no batch as somebody's."""
    with database.read() as conn:
        assert conn.execute(select(func.count()).where(deliveries.c.state == "sending")).scalar() == 0
        assert conn.execute(select(func.count()).where(batches.c.owner.is_not(None))).scalar() == 0


async def turn(times: int) -> None:
    """Let the loop go round so often."""
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("cancellations", [1, 3])
def test_cancelled_after_any_number_of_turns_it_loses_nobody(publisher: Publisher, cancellations: int) -> None:
    database = publisher.database
    publish(publisher, 150)
    server = SmtpServer()

    async def run() -> None:
        async with server:
            for turns in range(0, 400, 7):
                task = asyncio.create_task(make_crew(database, [relay_to(server)]).run())
                await turn(turns)
                for _ in range(cancellations):
                    task.cancel()
                    await turn(1)
                await asyncio.gather(task, return_exceptions=True)
                assert_nothing_is_held(database)

    asyncio.run(run())
    later = WallClock(NOW + timedelta(hours=1))  # what was in doubt is tried again after its delay
    deliver_over(database, rest := SmtpServer(), clock=later)
    mails = count_mails(server) + count_mails(rest)
    assert len(mails) == 150
    with database.read() as conn:
        doubtful = conn.execute(select(func.count()).where(attempts.c.outcome == "uncertain")).scalar_one()
    assert sum(mails.values()) <= 150 + doubtful
    assert audit(database, None).accepted == 150


@pytest.mark.usefixtures("each_loop")
def test_stopped_after_any_number_of_turns_it_loses_nobody_and_doubles_nobody(publisher: Publisher) -> None:
    database = publisher.database
    publish(publisher, 150)
    server = SmtpServer()

    async def run() -> None:
        async with server:
            for turns in range(0, 400, 7):
                crew = make_crew(database, [relay_to(server)])
                task = asyncio.create_task(crew.run())
                await turn(turns)
                crew.stop.set()
                await task
                assert_nothing_is_held(database)

    asyncio.run(run())
    deliver_over(database, rest := SmtpServer())
    assert count_mails(server) + count_mails(rest) == {f"p{number}@x.org": 1 for number in range(150)}
    with database.read() as conn:
        assert conn.execute(select(func.count()).where(attempts.c.outcome != "accepted")).scalar() == 0


def claim(conn: Connection) -> list[outbox.Claimed]:
    batch = outbox.claim_batch(conn, 77, NOW, None)
    assert batch is not None
    return outbox.read_batch(conn, batch)


@pytest.mark.sqlite
@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("cancellations", [1, 2, 5])
def test_a_start_that_is_cancelled_while_it_is_written_down_is_released_and_others_learn_of_theirs(
    publisher: Publisher, cancellations: int
) -> None:
    database = publisher.database
    publish(publisher, 2)
    other = sqlite3.connect(database.name, isolation_level=None)

    async def run() -> None:
        async with Writing(database) as writing:
            writer = LedgerWriter(writing, 77, lambda: NOW)
            first, second = await writer.run(claim)
            other.execute("BEGIN IMMEDIATE")
            cancelled = asyncio.create_task(writer.step(Step(start=first)))
            started = asyncio.create_task(writer.step(Step(start=second)))
            for _ in range(cancellations):
                await turn(3)
                cancelled.cancel()
            await turn(3)
            other.execute("ROLLBACK")
            assert await started is not None
            await asyncio.gather(cancelled, return_exceptions=True)
            assert cancelled.cancelled()

    asyncio.run(run())
    other.close()
    with database.read() as conn:
        states = conn.execute(select(deliveries.c.state).order_by(deliveries.c.subscriber_id)).scalars().all()
    assert states == ["queued", "sending"]


def interrupt(publisher: Publisher, server: SmtpServer, act: "Act") -> Progress:
    """Deliver, and do something once five mails are there."""
    done: list[bool] = []

    def observe(progress: Progress) -> None:
        if len(server.mails) >= 5 and not done:
            done.append(True)
            act(publisher.database)

    return deliver_over(publisher.database, server, observe=observe)


class Act:
    """What an operator does in the middle."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, database: Database) -> None:
        if self.what == "pause":
            with database.write() as conn:
                upkeep.set_paused(conn, True)
        elif self.what == "pause issue":
            control.pause_issue(database, 1, now=NOW)
        else:
            control.cancel_issue(database, 1, now=NOW)


@pytest.mark.parametrize("what", ["pause", "pause issue"])
def test_paused_in_the_middle_it_ends_and_goes_on_when_resumed(publisher: Publisher, what: str) -> None:
    database = publisher.database
    publish(publisher, 700)
    progress = interrupt(publisher, server := SmtpServer(), Act(what))
    assert progress.stopped is None
    assert 5 <= len(server.mails) < 20
    assert_nothing_is_held(database)
    books = audit(database, 1)
    assert (books.accepted, books.queued, books.balanced) == (len(server.mails), 700 - len(server.mails), True)
    with database.write() as conn:
        upkeep.set_paused(conn, False)
    control.resume_issue(database, 1, now=NOW)
    deliver_over(database, rest := SmtpServer())
    assert count_mails(server) + count_mails(rest) == {f"p{number}@x.org": 1 for number in range(700)}


def test_cancelled_in_the_middle_the_rest_of_an_issue_is_excluded(publisher: Publisher) -> None:
    publish(publisher, 700)
    progress = interrupt(publisher, server := SmtpServer(), Act("cancel"))
    assert progress.stopped is None
    books = audit(publisher.database, 1)
    assert books.accepted == len(server.mails) < 20
    assert (books.excluded, books.balanced) == ({"cancelled": 700 - len(server.mails)}, True)


def test_only_one_reader_gets_it_even_of_a_paused_issue(publisher: Publisher) -> None:
    database = publisher.database
    issue = publish(publisher, 30)
    control.pause_issue(database, issue, now=NOW)
    with database.read() as conn:
        person = conn.execute(select(subscribers.c.id).where(subscribers.c.email == "p7@x.org")).scalar_one()
    server = SmtpServer()
    progress = deliver_over(database, server, only=(issue, person))
    assert (progress.owed, progress.stopped) == (1, None)
    assert count_mails(server) == {"p7@x.org": 1}
    deliver_over(database, server, only=(issue, person))
    assert len(server.mails) == 1


@pytest.mark.sqlite
def test_a_database_that_fails_in_the_middle_ends_the_run_with_its_reason(publisher: Publisher) -> None:
    database = publisher.database
    publish(publisher, 100)
    server = SmtpServer()

    def break_it(progress: Progress) -> None:
        if len(server.mails) >= 5:
            with database.write() as conn:
                conn.exec_driver_sql("ALTER TABLE attempts RENAME TO gone")

    with pytest.raises(StoreError):
        deliver_over(database, server, observe=break_it)
    with database.write() as conn:
        conn.exec_driver_sql("ALTER TABLE gone RENAME TO attempts")
    deliver_over(database, rest := SmtpServer())
    mails = count_mails(server) + count_mails(rest)
    assert len(mails) == 100
    assert sum(mails.values()) <= 100 + 4


def test_several_connections_that_meet_one_error_end_the_run_with_it(publisher: Publisher) -> None:
    publish(publisher, 100)
    with pytest.raises(StoreError, match="no room"):
        deliver_over(publisher.database, SmtpServer(), observe=fail_always)


def fail_always(_: Progress) -> None:
    raise StoreError("no room")


def test_readers_of_many_domains_beyond_what_is_read_ahead(publisher: Publisher) -> None:
    addresses = [f"p{number}@d{number % 700}.org" for number in range(1_600)]
    publish_for(publisher, addresses)
    deliver_over(publisher.database, server := SmtpServer())
    assert count_mails(server) == dict.fromkeys(addresses, 1)
