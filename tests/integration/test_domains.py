"""Domains: their limits hold, one in trouble is left alone, and none holds up the others."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from crews import WallClock, deliver_over, make_crew, publish_for, read_throttles, relay_to, wait_until
from smtp_server import SmtpServer, Stall
from smtp_talk import Answers
from sqlalchemy import select
from test_deliver import NOW, RULES, SIGNER, count_mails
from test_publish import make_publisher

from newsletter.core.throttle import Backoff, Limit
from newsletter.deliver import Progress
from newsletter.publish import Publisher, audit
from newsletter.store import upkeep
from newsletter.store.database import Database
from newsletter.store.schema import attempts, deliveries
from newsletter.store.throttles import Throttled, read_backoffs

BUSY = "421 4.7.0 try again later"
FIRST, SECOND = RULES.retry_delays


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def people(domain: str, count: int) -> list[str]:
    return [f"p{number}@{domain}" for number in range(count)]


def answer_all(domain: str, answer: str | Stall) -> Answers:
    """The same answer to everyone of a domain."""
    return {"RCPT": dict.fromkeys(people(domain, 500), answer)}


def count_tried(server: SmtpServer, domain: str) -> int:
    """How many mails to a domain were tried."""
    commands = [command for session in server.sessions for command in session.commands]
    return sum(command.startswith("RCPT") and f"@{domain}>" in command for command in commands)


def count_owed(database: Database, clock: WallClock) -> int:
    with database.read() as conn:
        return upkeep.count_owed(conn, clock(), None)


def mixed(domain: str, count: int, others: int) -> list[str]:
    """Readers of a domain, and of `other.org`."""
    return [*people(domain, count), *people("other.org", others)]


@pytest.mark.parametrize(
    ("limits", "domain", "allowed"),
    [
        ({"slow.org": Limit(connections=2)}, "slow.org", 2),
        ({"gmail.com": Limit(connections=3)}, "gmail.com", 3),
        ({"gmail.com": Limit(connections=3)}, "googlemail.com", 3),
        ({"gmail.com": Limit(connections=3), "googlemail.com": Limit(connections=1)}, "googlemail.com", 1),
    ],
)
def test_a_domain_never_has_more_mails_open_than_its_connections(
    publisher: Publisher, limits: dict[str, Limit], domain: str, allowed: int
) -> None:
    """Everything to others goes through while the domain's mails stall; then as many of it are open, and no more."""
    publish_for(publisher, mixed(domain, 20, 40))
    stall = Stall()
    server = SmtpServer(replies=answer_all(domain, stall))

    async def run() -> Progress:
        async with server:
            crew = make_crew(publisher.database, [relay_to(server, connections=8)], limits=limits)
            task = asyncio.create_task(crew.run())
            await wait_until(lambda: len(server.mails) == 40)
            await wait_until(lambda: count_tried(server, domain) == allowed)
            stall.release()
            return await task

    assert asyncio.run(run()).stopped is None
    assert len(server.mails) == 60


@pytest.mark.parametrize("said", [BUSY, "451 4.4.1 no answer from host", "421 4.7.28 unusual rate of mail"])
def test_a_domain_in_trouble_is_left_alone_and_the_others_are_delivered(publisher: Publisher, said: str) -> None:
    database, clock = publisher.database, WallClock()
    issue = publish_for(publisher, mixed("busy.org", 200, 50))
    server = SmtpServer(replies=answer_all("busy.org", said))
    progress = deliver_over(database, server, clock=clock)
    assert progress.stopped is None
    assert count_mails(server) == dict.fromkeys(people("other.org", 50), 1)
    tried = count_tried(server, "busy.org")
    assert 1 <= tried <= 6
    books = audit(database, issue)
    assert (books.accepted, books.deferred, books.queued, books.balanced) == (50, tried, 200 - tried, True)
    with database.read() as conn:
        assert read_backoffs(conn, Throttled.DOMAIN) == {"busy.org": Backoff(step=1, until_at=NOW + FIRST, reason=said)}
        assert read_backoffs(conn, Throttled.RELAY) == {}
    with database.read() as conn:
        waiting = conn.execute(select(deliveries).where(deliveries.c.state == "queued")).all()
        logged = conn.execute(attempts.select().where(attempts.c.outcome == "deferred")).all()
    assert len(logged) == tried
    untried = [row for row in waiting if row.attempts == 0]
    assert len(untried) == 200 - tried
    assert {row.due_at for row in untried} == {NOW + FIRST}
    assert count_owed(database, clock) == 0


def test_one_rate_reply_is_enough_and_mails_on_the_wire_together_are_one_step(publisher: Publisher) -> None:
    publish_for(publisher, people("busy.org", 100))
    said = "450 4.7.28 unusual rate of mail"
    server = SmtpServer(replies=answer_all("busy.org", said))
    deliver_over(publisher.database, server, relays=[{"connections": 8}])
    assert count_tried(server, "busy.org") <= 8
    assert read_throttles(publisher.database)["busy.org"].step == 1


def test_a_domain_that_names_a_time_is_left_alone_for_it(publisher: Publisher) -> None:
    publish_for(publisher, people("busy.org", 100))
    said = "450 4.7.28 unusual rate of mail, try again in 2 hours"
    deliver_over(publisher.database, SmtpServer(replies=answer_all("busy.org", said)))
    assert read_throttles(publisher.database)["busy.org"].until_at == NOW + timedelta(hours=2)


def test_a_single_trouble_or_two_leave_a_domain_open(publisher: Publisher) -> None:
    publish_for(publisher, people("some.org", 50))
    server = SmtpServer(replies={"RCPT": {"p3@some.org": BUSY, "p30@some.org": BUSY}})
    deliver_over(publisher.database, server, relays=[{"connections": 1}])
    assert len(server.mails) == 48
    assert read_throttles(publisher.database) == {}


def test_greylisting_of_many_readers_leaves_their_domain_open(publisher: Publisher) -> None:
    publish_for(publisher, people("grey.org", 50))
    server = SmtpServer(greylist="450 4.7.1 greylisted, try again in 60 seconds")
    deliver_over(publisher.database, server)
    assert read_throttles(publisher.database) == {}
    assert count_tried(server, "grey.org") == 50


@pytest.mark.parametrize("domain", ["busy.org", "gmail.com"])
def test_a_domain_that_is_shut_stays_so_over_a_restart_and_comes_back_by_steps(
    publisher: Publisher, domain: str
) -> None:
    database, clock = publisher.database, WallClock()
    issue = publish_for(publisher, people(domain, 100))
    deliver_over(database, SmtpServer(replies=answer_all(domain, BUSY)), clock=clock)
    publish_for(publisher, mixed(domain, 100, 10), "two")

    clock.turn(minutes=4)
    again = SmtpServer()
    assert deliver_over(database, again, clock=clock).stopped is None
    assert count_mails(again) == dict.fromkeys(people("other.org", 10), 1)
    assert count_owed(database, clock) == 0
    assert read_throttles(database)[domain].step == 1

    clock.turn(minutes=2)
    still = SmtpServer(replies=answer_all(domain, BUSY))
    deliver_over(database, still, clock=clock)
    assert 1 <= count_tried(still, domain) <= 6
    assert read_throttles(database)[domain].step == 2
    assert read_throttles(database)[domain].until_at == clock() + SECOND

    clock.turn(minutes=20)
    well = SmtpServer()
    assert deliver_over(database, well, clock=clock).stopped is None
    assert read_throttles(database) == {}
    assert len(well.mails) == 200
    assert audit(database, issue).accepted == 100


def test_a_domain_recovers_one_step_after_twenty_mails(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    publish_for(publisher, people("busy.org", 25))
    for _ in range(2):
        deliver_over(database, SmtpServer(replies=answer_all("busy.org", BUSY)), clock=clock, issue=None)
        clock.turn(minutes=20)
    assert read_throttles(database)["busy.org"].step == 2
    deliver_over(database, server := SmtpServer(), clock=clock)
    assert len(server.mails) == 25
    row = read_throttles(database)["busy.org"]
    assert (row.step, row.until_at) == (1, None)


def test_what_was_deferred_before_its_domain_was_shut_is_owed_only_later_too(publisher: Publisher) -> None:
    """A greylisted delivery is due again while its domain is shut for longer."""
    database, clock = publisher.database, WallClock()
    publish_for(publisher, ["grey@busy.org"])
    deliver_over(database, SmtpServer(greylist="450 4.7.1 try again in 60 seconds"), clock=clock)
    publish_for(publisher, people("busy.org", 20), "two")
    said = "450 4.7.28 unusual rate of mail, try again in 2 hours"
    deliver_over(database, SmtpServer(replies=answer_all("busy.org", said)), clock=clock)
    clock.turn(minutes=30)
    server = SmtpServer()
    progress = deliver_over(database, server, clock=clock)
    assert (progress.stopped, server.mails) == (None, [])
    assert count_owed(database, clock) == 0
    clock.turn(hours=2)
    deliver_over(database, server, clock=clock)
    assert len(server.mails) == 21


@pytest.mark.long
def test_a_domain_that_stalls_does_not_hold_up_the_others(publisher: Publisher) -> None:
    """Three domains stall, as many mails to each as to all others; the others go through while they do."""
    addresses = [
        f"p{number}@{name}.org" for number in range(400) for name in ("one", "two", "three", "other", "more", "else")
    ]
    publish_for(publisher, addresses)
    stall = Stall()
    stalled = {address: stall for address in addresses if address.partition("@")[2][:3] in ("one", "two", "thr")}
    server = SmtpServer(replies={"RCPT": stalled})

    async def run() -> Progress:
        async with server:
            task = asyncio.create_task(make_crew(publisher.database, [relay_to(server, connections=8)]).run())
            await wait_until(lambda: len(server.mails) == 1_200)
            stall.release()
            return await task

    assert asyncio.run(run()).stopped is None
    assert count_mails(server) == dict.fromkeys(addresses, 1)


def test_a_domain_within_its_rate_costs_no_turns_while_all_connections_are_busy(publisher: Publisher) -> None:
    """The crew asks the clock each time it looks round; with nobody idle it does not look round without end."""
    publish_for(publisher, [*people("paced.org", 3), *people("slow.org", 2)])
    stall, asked = Stall(), 0

    def clock() -> datetime:
        nonlocal asked
        asked += 1
        return NOW

    server = SmtpServer(replies=answer_all("slow.org", stall))

    async def run() -> int:
        async with server:
            limits = {"paced.org": Limit(rate=10)}
            crew = make_crew(
                publisher.database,
                [relay_to(server, connections=2)],
                limits=limits,
                clock=clock,
            )
            task = asyncio.create_task(crew.run())
            await wait_until(lambda: count_tried(server, "slow.org") == 2)
            begun = asked
            await wait_until(lambda: asked >= begun + 4)  # by then the rate's next turn is past
            before = asked
            for _ in range(200):
                await asyncio.sleep(0)
            after = asked
            stall.release()
            await task
            return after - before

    assert asyncio.run(run()) < 20
    assert len(server.mails) == 5


@pytest.mark.parametrize("delays", [(), (timedelta(0),) * 3])
@pytest.mark.parametrize("said", [BUSY, "450 4.7.28 unusual rate of mail", "451 4.3.0 later"])
def test_without_delays_everything_comes_to_its_end_in_one_run(
    publisher: Publisher, delays: tuple[timedelta, ...], said: str
) -> None:
    issue = publish_for(publisher, mixed("busy.org", 30, 10))
    server = SmtpServer(replies=answer_all("busy.org", said))
    assert deliver_over(publisher.database, server, retry_delays=delays).stopped is None
    books = audit(publisher.database, issue)
    assert (books.accepted, books.rejected, books.deferred, books.queued) == (10, 30, 0, 0)
    with publisher.database.read() as conn:
        log = conn.execute(select(attempts.c.subscriber_id).where(attempts.c.outcome != "accepted")).scalars().all()
    assert {log.count(number) for number in log} == {len(delays) + 1}


@pytest.mark.parametrize("connections", [1, 4])
def test_what_is_due_again_at_once_is_not_left_at_the_end_of_a_run(publisher: Publisher, connections: int) -> None:
    addresses = people("some.org", 9)
    publish_for(publisher, addresses)
    replies: Answers = {"RCPT": {address: ["451 4.3.0 later"] * 3 for address in addresses}}
    server = SmtpServer(replies=replies)
    deliver_over(
        publisher.database,
        server,
        retry_delays=(timedelta(0),) * 3,
        relays=[{"connections": connections, "rate": 500.0}],
    )
    assert count_mails(server) == dict.fromkeys(addresses, 1)
