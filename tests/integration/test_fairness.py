"""Fair between domains: what is slow, limited or shut never starves the rest, however much of it there is."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from crews import WallClock, deliver_over, make_crew, publish_for, read_throttles, relay_to, wait_until
from smtp_server import SmtpServer, Stall
from smtp_talk import Answers
from sqlalchemy import Connection, func, select
from test_deliver import NOW, SIGNER, count_mails
from test_domains import BUSY, FIRST, answer_all, count_owed, count_tried, people
from test_publish import make_publisher

from newsletter.core.throttle import Backoff, Limit
from newsletter.deliver import Progress, claims, connections
from newsletter.deliver.claims import Claims
from newsletter.deliver.ledger_writer import LedgerWriter
from newsletter.deliver.waiting import Waiting
from newsletter.publish import Publisher, audit
from newsletter.store import moves, outbox, upkeep
from newsletter.store.database import Database
from newsletter.store.schema import deliveries
from newsletter.store.throttles import Throttled, write_backoff
from newsletter.store.writing import Writing

READ_AHEAD = 40
APART = {"gmail.com": Limit(connections=3), "googlemail.com": Limit(connections=1)}
CORP = "corp.example"
ASIDE = f"={CORP}"


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


@pytest.fixture(autouse=True)
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred readers fill it, and nobody waits for the clock."""
    monkeypatch.setattr(claims, "READ_AHEAD", READ_AHEAD)
    for room in (claims, connections):
        monkeypatch.setattr(room, "LOOK_AGAIN_SECONDS", 0.01)


def count_lanes(database: Database) -> dict[str, int]:
    """How many deliveries wait for a moment, by lane."""
    query = (
        select(deliveries.c.lane, func.count().label("n"))
        .where(deliveries.c.due_at.is_not(None))
        .group_by(deliveries.c.lane)
    )
    with database.read() as conn:
        return {row.lane: row.n for row in conn.execute(query)}


def run_until(
    publisher: Publisher,
    server: SmtpServer,
    reached: Callable[[], bool],
    *,
    then: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
    limits: dict[str, Limit] | None = None,
) -> Progress:
    """Deliver until the server has come to something, then stop; `then` lets it go on with what it holds back."""

    async def run() -> Progress:
        async with server:
            crew = make_crew(publisher.database, [relay_to(server)], limits=limits or {})
            task = asyncio.create_task(crew.run())
            if meanwhile is not None:
                await meanwhile()
            await wait_until(lambda: reached() or task.done())
            crew.halt("enough")
            then()
            return await task

    return asyncio.run(run())


def test_a_domain_with_limits_of_its_own_goes_on_while_its_provider_is_shut(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    addresses = [*people("gmail.com", 100), *people("googlemail.com", 30), *people("other.org", 10)]
    issue = publish_for(publisher, addresses)
    server = SmtpServer(replies=answer_all("gmail.com", BUSY))
    assert deliver_over(database, server, clock=clock, limits=APART).stopped is None
    open_to = [*people("googlemail.com", 30), *people("other.org", 10)]
    assert count_mails(server) == dict.fromkeys(open_to, 1)
    assert list(read_throttles(database)) == ["gmail.com"]

    publish_for(publisher, addresses, "two")
    clock.turn(minutes=4)
    again = SmtpServer()
    assert deliver_over(database, again, clock=clock, limits=APART).stopped is None
    assert count_mails(again) == dict.fromkeys(open_to, 1)
    assert count_owed(database, clock) == 0
    with database.read() as conn:
        queue = upkeep.survey_queue(conn, clock())
    assert (queue.owed, queue.deferred) == (0, 200)
    assert queue.next_due_at is not None
    assert queue.next_due_at >= NOW + FIRST * 0.8

    clock.turn(minutes=2)
    assert deliver_over(database, well := SmtpServer(), clock=clock, limits=APART).stopped is None
    assert count_mails(well) == dict.fromkeys(people("gmail.com", 100), 2)
    assert audit(database, issue).accepted == 140


def test_a_deferred_delivery_of_such_a_domain_is_tried_again_while_its_provider_is_shut(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    publish_for(publisher, people("googlemail.com", 5))
    grey = SmtpServer(greylist="450 4.7.1 greylisted, try again in 60 seconds")
    deliver_over(database, grey, clock=clock, limits=APART)
    with database.write() as conn:
        shut = Backoff(step=1, until_at=NOW + timedelta(hours=2), reason=BUSY)
        write_backoff(conn, Throttled.DOMAIN, "gmail.com", shut)
    clock.turn(minutes=2)
    assert count_owed(database, clock) == 5
    deliver_over(database, server := SmtpServer(), clock=clock, limits=APART)
    assert count_mails(server) == dict.fromkeys(people("googlemail.com", 5), 1)


def test_a_lane_is_passed_over_as_a_whole_where_no_domain_of_it_has_limits_of_its_own(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    publish_for(publisher, people("gmail.com", 300))
    with database.write() as conn:
        write_backoff(conn, Throttled.DOMAIN, "gmail.com", Backoff(step=1, until_at=NOW + FIRST, reason=BUSY))
    for limits, waiting in (({}, {}), (APART, {"gmail.com": 300}), ({}, {"gmail.com": 300})):
        deliver_over(database, server := SmtpServer(), clock=clock, limits=limits)
        assert server.mails == []
        assert count_owed(database, clock) == 0
        assert count_lanes(database) == waiting


@pytest.mark.parametrize("limit", [Limit(rate=0.001), Limit(connections=1)])
def test_a_domain_with_limits_does_not_fill_the_memory(publisher: Publisher, limit: Limit) -> None:
    """Its readers come first, more of them than fit into the memory; all others get their mails all the same."""
    issue = publish_for(publisher, [*people(CORP, 700), *people("other.org", 300), *people("more.org", 100)])
    stall = Stall()
    server = SmtpServer(replies={"RCPT": dict.fromkeys(people(CORP, 700), stall)})

    def to_others() -> int:
        return sum(not mail.recipient.endswith(CORP) for mail in server.mails)

    run_until(publisher, server, lambda: to_others() == 400, then=stall.release, limits={CORP: limit})
    books = audit(publisher.database, issue)
    assert (to_others(), books.accepted, books.queued, books.balanced) == (400, 401, 699, True)
    assert count_owed(publisher.database, WallClock()) == 699
    assert count_lanes(publisher.database)[ASIDE] > 600

    assert deliver_over(publisher.database, rest := SmtpServer()).stopped is None
    assert count_mails(server) + count_mails(rest) == dict.fromkeys(
        [*people(CORP, 700), *people("other.org", 300), *people("more.org", 100)], 1
    )
    assert audit(publisher.database, issue).accepted == 1_100


def test_many_domains_with_limits_do_not_fill_the_memory_either(publisher: Publisher) -> None:
    domains = [f"d{number}.example" for number in range(12)]
    slow = [address for domain in domains for address in people(domain, 60)]
    publish_for(publisher, [*slow, *people("other.org", 200)])
    server = SmtpServer()
    limits = dict.fromkeys(domains, Limit(rate=0.001))
    run_until(publisher, server, lambda: count_tried(server, "other.org") == 200, limits=limits)
    assert len(server.mails) == 212
    assert deliver_over(publisher.database, rest := SmtpServer()).stopped is None
    assert count_mails(server) + count_mails(rest) == dict.fromkeys([*slow, *people("other.org", 200)], 1)


@pytest.mark.long
def test_a_domain_that_was_set_aside_comes_to_its_end_in_the_same_run(publisher: Publisher) -> None:
    issue = publish_for(publisher, [*people(CORP, 700), *people("other.org", 300)])
    server = SmtpServer()
    limits = {CORP: Limit(rate=2_000), "other.org": Limit(rate=1_500)}
    assert deliver_over(publisher.database, server, limits=limits).stopped is None
    assert count_mails(server) == dict.fromkeys([*people(CORP, 700), *people("other.org", 300)], 1)
    assert audit(publisher.database, issue).accepted == 1_000
    assert count_lanes(publisher.database) == {}


def test_a_domain_set_aside_and_then_shut_is_owed_only_later(publisher: Publisher) -> None:
    database, clock = publisher.database, WallClock()
    publish_for(publisher, [*people(CORP, 500), *people("other.org", 100)])
    first = SmtpServer()
    limits = {CORP: Limit(rate=0.001)}
    run_until(publisher, first, lambda: count_tried(first, "other.org") == 100, limits=limits)
    assert count_lanes(database)[ASIDE] > 400

    busy = SmtpServer(replies=answer_all(CORP, BUSY))
    assert deliver_over(database, busy, clock=clock).stopped is None
    assert 1 <= count_tried(busy, CORP) <= 6
    assert count_owed(database, clock) == 0
    with database.read() as conn:
        queue = upkeep.survey_queue(conn, clock())
    assert (queue.owed, queue.deferred) == (0, 499)
    assert queue.next_due_at is not None
    assert queue.next_due_at >= NOW + FIRST * 0.8

    clock.turn(minutes=10)
    assert deliver_over(database, well := SmtpServer(), clock=clock).stopped is None
    assert count_mails(first) + count_mails(well) == dict.fromkeys([*people(CORP, 500), *people("other.org", 100)], 1)


@pytest.mark.long
def test_of_a_providers_lane_no_more_is_claimed_than_is_needed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written down to that end: its batches wait as they are."""
    monkeypatch.setattr(claims, "READ_AHEAD", 1_200)
    publish_for(publisher, [*people("gmail.com", 2_600), *people("other.org", 100)])
    stall = Stall()
    replies: Answers = {"RCPT": dict.fromkeys(people("gmail.com", 2_600), stall)}
    server = SmtpServer(replies=replies)
    limits = {"gmail.com": Limit(connections=1)}
    run_until(publisher, server, lambda: count_tried(server, "other.org") == 100, then=stall.release, limits=limits)
    assert len(server.mails) == 101
    assert count_lanes(publisher.database) == {}
    assert deliver_over(publisher.database, rest := SmtpServer()).stopped is None
    assert len(rest.mails) == 2_599


def test_what_is_published_during_a_long_run_does_not_wait_for_its_end(publisher: Publisher) -> None:
    publish_for(publisher, people(CORP, 100))
    stall = Stall()
    server = SmtpServer(replies=answer_all(CORP, stall))

    async def publish_another() -> None:
        await stall.wait_reached()
        publish_for(publisher, people("other.org", 5), "two", NOW)

    run_until(
        publisher,
        server,
        lambda: len(server.mails) == 5,
        then=stall.release,
        meanwhile=publish_another,
        limits={CORP: Limit(connections=1)},
    )
    assert count_mails(server) == Counter([*people("other.org", 5), "p0@corp.example"])


def test_a_slow_domain_without_limits_is_set_aside_after_a_while(publisher: Publisher) -> None:
    """It may use every connection; whichever comes free then has a mail of another domain to send."""
    publish_for(publisher, [*people(CORP, 600), *people("other.org", 100)])
    seconds = 1_000.0
    waiting = Waiting(most=4, limits={}, backoffs={}, clock=lambda: seconds)

    async def run() -> None:
        nonlocal seconds
        async with Writing(publisher.database) as writing:
            writer = LedgerWriter(writing, 1, WallClock())
            crew_claims = Claims(waiting=waiting, writer=writer, owner=1, clock=WallClock())
            await crew_claims.refill()
            assert (crew_claims.is_full, crew_claims.is_slow) == (True, False)
            seconds += claims.SLOW_SECONDS
            assert (crew_claims.is_full, crew_claims.is_slow) == (True, True)
            assert not crew_claims.wants_more(4)
            await crew_claims.make_room()
            assert (len(waiting), waiting.count_varied(), crew_claims.is_full) == (8, 4, False)
            while crew_claims.wants_more(0):
                await crew_claims.refill()
            taken = [claimed for _ in range(200) if (claimed := waiting.take(smtputf8=True)) is not None]
            assert Counter(claimed.email.partition("@")[2] for claimed in taken) == {CORP: 4, "other.org": 4}

    asyncio.run(run())
    assert count_lanes(publisher.database)[ASIDE] > 500


def read_aside(conn: Connection) -> list[int]:
    rows = outbox.read_deferred(conn, ASIDE, NOW, None)
    return [claimed.subscriber_id for claimed, _ in rows]


def test_what_is_set_aside_keeps_its_order_and_what_is_due_later_is_left_alone(publisher: Publisher) -> None:
    database = publisher.database
    issue = publish_for(publisher, people("gmail.com", 6))
    keys = [(issue, number) for number in range(1, 7)]
    with database.write() as conn:
        moves.defer_unstarted(conn, [keys[5]], NOW + FIRST)
        moves.start_deliveries(conn, [keys[4]], 1, NOW)
        for some in (keys[2:], keys[:2]):
            moves.set_aside(conn, some, CORP, NOW)
        assert read_aside(conn) == [1, 2, 3, 4]
        assert {claimed.lane for claimed, _ in outbox.read_deferred(conn, ASIDE, NOW, None)} == {"gmail.com"}
        assert outbox.list_due_lanes(conn) == [ASIDE, "gmail.com"]
