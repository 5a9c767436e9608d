"""Delivery into a real SMTP server: nobody lost, nobody twice, whatever the relay or the system does."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from smtp_server import DROP, SmtpServer, Stall
from smtp_talk import Answers
from sqlalchemy import func, select, update
from test_publish import CATALOGUE, make_brief, make_publisher, make_story, sign_up
from workshop import parse_mail

from newsletter import control
from newsletter.core.tokens import Signer
from newsletter.deliver import DeliveryRun, Progress, Rules
from newsletter.publish import Publisher, audit
from newsletter.store import moves, outbox, upkeep
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.schema import attempts, batches, deliveries, suppressions
from newsletter.transport.smtp import Relay

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SIGNER = Signer(["k" * 32])
CONNECTIONS = 4
RULES = Rules(
    retry_delays=(timedelta(minutes=5), timedelta(minutes=15)),
    expire_after=timedelta(days=1),
    retain=timedelta(days=400),
    hold=False,
)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    assert CATALOGUE
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def publish(publisher: Publisher, count: int, name: str = "one", now: datetime = NOW) -> int:
    """An issue for so many readers; its number."""
    sign_up(publisher.database, now, *(f"p{number}@x.org science" for number in range(count)))
    return publisher.publish(make_brief(name, now, make_story(f"Comet {name}", "science")), now=now).issue


def make_run(database: Database, server: SmtpServer, now: datetime = NOW, **changes: Any) -> DeliveryRun:
    rules = replace(RULES, **{name: changes.pop(name) for name in list(changes) if hasattr(RULES, name)})
    relay = Relay(
        host=server.host,
        port=server.port,
        tls="none",
        timeout=timedelta(seconds=20),
        connections=changes.pop("connections", CONNECTIONS),
    )
    return DeliveryRun(database=database, signer=SIGNER, relays=[relay], rules=rules, clock=lambda: now, **changes)


def deliver(database: Database, server: SmtpServer, now: datetime = NOW, **changes: Any) -> Progress:
    """Run once, server included."""

    async def run() -> Progress:
        async with server:
            return await make_run(database, server, now, **changes).run()

    return asyncio.run(run())


def count_mails(server: SmtpServer) -> Counter[str]:
    return Counter(mail.recipient for mail in server.mails)


def test_everyone_gets_exactly_one_mail_over_a_few_connections(publisher: Publisher) -> None:
    issue = publish(publisher, 1_100)
    server = SmtpServer()
    progress = deliver(publisher.database, server)
    assert count_mails(server) == {f"p{number}@x.org": 1 for number in range(1_100)}
    assert server.most_connections <= CONNECTIONS
    assert (progress.owed, progress.stopped) == (1_100, None)
    books = audit(publisher.database, issue)
    assert books.balanced
    assert books.accepted == 1_100
    with publisher.database.read() as conn:
        assert conn.execute(select(func.count()).where(~batches.c.done)).scalar() == 0


def test_no_connection_starts_a_mail_before_the_outcome_of_its_last_is_committed(publisher: Publisher) -> None:
    publish(publisher, 60)
    unproven: list[int] = []

    server = SmtpServer()

    def observe(progress: Progress) -> None:
        with publisher.database.read() as conn:
            committed = conn.execute(select(func.count()).select_from(attempts)).scalar_one()
            sending = conn.execute(select(func.count()).where(deliveries.c.state == "sending")).scalar_one()
        assert sending <= CONNECTIONS
        unproven.append(len(server.mails) - committed - sending)

    deliver(publisher.database, server, observe=observe)
    assert len(unproven) >= 60 / CONNECTIONS
    assert max(unproven) <= 0


def test_a_relay_that_hangs_up_after_each_mail_is_worked_through(publisher: Publisher) -> None:
    publish(publisher, 30)
    server = SmtpServer(drop_after={"BODY"})
    assert deliver(publisher.database, server).stopped is None
    assert count_mails(server) == {f"p{number}@x.org": 1 for number in range(30)}


def test_connections_that_are_refused_while_others_work_cost_nothing(publisher: Publisher) -> None:
    publish(publisher, 50)
    server = SmtpServer(replies={"BANNER": [None, "421 too many connections", "421 too many connections"]})
    assert deliver(publisher.database, server).stopped is None
    assert len(server.mails) == 50


def test_a_relay_that_always_hangs_up_at_mail_stops_the_run_and_nothing_is_counted(publisher: Publisher) -> None:
    issue = publish(publisher, 10)
    server = SmtpServer(replies={"MAIL": DROP})
    progress = deliver(publisher.database, server)
    assert progress.stopped is not None
    assert "127.0.0.1" in progress.stopped
    books = audit(publisher.database, issue)
    assert (books.queued, books.deferred, books.sending) == (10, 0, 0)
    assert deliver(publisher.database, SmtpServer()).stopped is None
    assert audit(publisher.database, issue).accepted == 10


def test_deferred_deliveries_are_retried_by_their_delays_and_then_rejected(publisher: Publisher) -> None:
    issue = publish(publisher, 2)
    replies = {"RCPT": {"p0@x.org": "451 4.3.0 later"}}
    server = SmtpServer(replies=replies)
    deliver(publisher.database, server)
    deliver(publisher.database, server, NOW + timedelta(minutes=3))
    assert audit(publisher.database, issue).deferred == 1
    deliver(publisher.database, server, NOW + timedelta(minutes=7))
    deliver(publisher.database, server, NOW + timedelta(minutes=30))
    books = audit(publisher.database, issue)
    assert (books.accepted, books.rejected, books.deferred, books.balanced) == (1, 1, 0, True)
    with publisher.database.read() as conn:
        log = conn.execute(attempts.select().where(attempts.c.outcome == "deferred")).all()
    assert [row.attempt for row in log] == [1, 2, 3]
    assert {row.response for row in log} == {"4.3.0 later"}


def test_what_is_too_old_expires_or_is_rejected(publisher: Publisher) -> None:
    issue = publish(publisher, 3)
    replies: Answers = {"RCPT": {"p0@x.org": "451 4.3.0 later"}, "MAIL": [None, "530 5.7.0 log in first"]}
    deliver(publisher.database, SmtpServer(replies=replies), connections=1)
    books = audit(publisher.database, issue)
    assert (books.deferred, books.queued) == (1, 2)
    deliver(publisher.database, SmtpServer(), NOW + timedelta(days=1, seconds=1))
    books = audit(publisher.database, issue)
    assert (books.rejected, books.excluded, books.balanced) == (1, {"expired": 2}, True)


def test_a_delivery_deferred_since_it_was_claimed_is_not_started_before_it_is_due(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 1)
    deliver(database, SmtpServer(replies={"RCPT": "451 4.3.0 later"}))
    with database.write() as conn:
        key = (issue, 1)
        assert moves.start_deliveries(conn, [key], 77, NOW + timedelta(seconds=1)) == {}
        assert moves.start_deliveries(conn, [key], 77, NOW + timedelta(minutes=7)) == {key: 1}


@pytest.mark.sqlite
@pytest.mark.parametrize("hold", [False, True])
def test_claims_of_a_dead_process_are_taken_over_at_once(publisher: Publisher, hold: bool) -> None:
    database, issue = publisher.database, publish(publisher, 5)
    with database.write() as conn:  # as a process leaves it that died with two mails on the wire
        batch = outbox.claim_batch(conn, 77, NOW, None)
        assert batch is not None
        keys = [claimed.key for claimed in outbox.read_batch(conn, batch)]
        moves.start_deliveries(conn, keys[:2], 77, NOW)
    server = SmtpServer()
    deliver(database, server, NOW + timedelta(seconds=1), hold=hold)
    books = audit(database, issue)
    if hold:
        assert (books.accepted, books.uncertain) == (3, 2)
    else:
        assert (books.accepted, books.uncertain) == (5, 0)
    assert books.balanced
    with database.read() as conn:
        doubtful = conn.execute(attempts.select().where(attempts.c.outcome == "uncertain")).all()
    assert {(row.issue_id, row.subscriber_id) for row in doubtful} == set(keys[:2])


def test_stopping_finishes_what_is_on_the_wire_and_loses_nothing(publisher: Publisher) -> None:
    issue = publish(publisher, 40)
    server = SmtpServer()

    async def run() -> Progress:
        async with server:
            delivery = make_run(publisher.database, server)
            delivery.observe = lambda progress: delivery.halt("enough") if len(server.mails) >= 5 else None
            return await delivery.run()

    assert asyncio.run(run()).stopped == "enough"
    books = audit(publisher.database, issue)
    assert books.accepted == len(server.mails) < 40
    assert books.sending == books.uncertain == 0
    deliver(publisher.database, again := SmtpServer())
    assert count_mails(server) + count_mails(again) == {f"p{number}@x.org": 1 for number in range(40)}


@pytest.mark.usefixtures("each_loop")
def test_being_cancelled_at_the_final_dot_is_uncertain_and_written_down(publisher: Publisher) -> None:
    issue = publish(publisher, 1)
    stall = Stall()
    server = SmtpServer(replies={"BODY": stall})

    async def run() -> None:
        async with server:
            task = asyncio.create_task(make_run(publisher.database, server, connections=1).run())
            await stall.wait_reached()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            stall.release()

    asyncio.run(run())
    books = audit(publisher.database, issue)
    assert (books.deferred, books.sending) == (1, 0)
    with publisher.database.read() as conn:
        assert conn.execute(select(attempts.c.outcome)).scalars().all() == ["uncertain"]


def test_what_comes_back_deferred_to_a_cancelled_issue_is_excluded(publisher: Publisher) -> None:
    issue = publish(publisher, 1)
    server = SmtpServer(replies={"RCPT": "451 4.3.0 later"})

    async def run() -> None:
        async with server:
            delivery = make_run(publisher.database, server)
            delivery.observe = lambda progress: cancel_on_the_wire(publisher.database, issue)
            await delivery.run()

    asyncio.run(run())
    books = audit(publisher.database, issue)
    assert (books.excluded, books.deferred, books.balanced) == ({"cancelled": 1}, 0, True)


def cancel_on_the_wire(database: Database, issue: int) -> None:
    with database.read() as conn:
        on_the_wire = upkeep.is_sending(conn, issue)
    if on_the_wire:
        control.cancel_issue(database, issue, now=NOW)


@pytest.mark.sqlite
def test_a_second_process_follows_the_first_to_its_end(publisher: Publisher) -> None:
    issue = publish(publisher, 20)
    database = publisher.database
    assert database.path is not None
    lock = DeliveryLock(database.path)
    assert lock.acquire()

    async def run() -> Progress:
        async with SmtpServer() as server:
            following = asyncio.create_task(make_run(database, server).run())
            await asyncio.sleep(0)
            with database.write() as conn:  # the other process has brought everything to an end
                conn.execute(update(deliveries).values(state="accepted"))
            progress = await following
            assert server.sessions == []
            return progress

    assert asyncio.run(run()).stopped is None
    lock.release()
    assert audit(database, issue).accepted == 20


def test_a_mailed_reader_of_an_internationalised_domain(publisher: Publisher) -> None:
    sign_up(publisher.database, NOW, "kim@bücher.example science", "jürgen@example.org science")
    publisher.publish(make_brief("one", NOW, make_story("Comet", "science")), now=NOW)
    server = SmtpServer(offers=("PIPELINING",))
    deliver(publisher.database, server)
    assert [mail.recipient for mail in server.mails] == ["kim@xn--bcher-kva.example"]
    with publisher.database.read() as conn:
        rejected = conn.execute(attempts.select().where(attempts.c.outcome == "rejected")).one()
        assert rejected.enhanced == "5.6.7"
        assert conn.execute(suppressions.select()).all() == []


def test_after_the_retention_attempts_and_mails_go_and_the_counts_stay(publisher: Publisher) -> None:
    database = publisher.database
    first = publish(publisher, 3)
    deliver(database, SmtpServer())
    later = NOW + timedelta(days=401)
    publisher.publish(make_brief("two", later, make_story("Moon", "science")), now=later)
    deliver(database, server := SmtpServer(), later)
    assert len(server.mails) == 3
    with database.read() as conn:
        assert {row.issue_id for row in conn.execute(attempts.select())} == {2}
    books = audit(database, first)
    assert (books.accepted, books.balanced) == (3, True)
    second = {parse_mail(mail)["Subject"] for mail in server.mails}
    assert second == {"Moon"}
