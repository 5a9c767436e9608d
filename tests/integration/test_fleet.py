"""What many workers share on PostgreSQL: leases, limits, jobs, deferred deliveries, and one ledger."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import postgres
import psycopg
import pytest
from crews import relay_to, wait_until
from hypothesis import given
from hypothesis import strategies as st
from smtp_server import SmtpServer
from sqlalchemy import delete, func, inspect, select, text, update
from test_deliver import RULES, SIGNER, count_mails
from test_publish import make_brief, make_publisher, make_story, sign_up

from newsletter.core.errors import LeaseLostError, StoreBusyError, StoreError
from newsletter.core.model import DeliveryState, IssueState, Outcome
from newsletter.core.throttle import Limit, share_out
from newsletter.deliver import DeliveryRun, Progress
from newsletter.deliver.ledger_writer import LedgerWriter, Step
from newsletter.deliver.membership import Membership
from newsletter.deliver.offers import Ending, Offers
from newsletter.publish import Publisher, audit
from newsletter.store import fleet, issues, jobs, ledger, moves, outbox, schema, tallies, upkeep
from newsletter.store import postgres as store_postgres
from newsletter.store.database import Database, open_database
from newsletter.store.fleet import Share
from newsletter.store.moves import Finished
from newsletter.store.schema import batches, deliveries, workers
from newsletter.store.writing import Writing

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC)
pytestmark = pytest.mark.sqlite  # it makes its own PostgreSQL, whatever the other tests run on


@pytest.fixture
def database(empty_postgresql: str) -> Iterator[Database]:
    with closing(open_database(empty_postgresql)) as opened:
        yield opened


@pytest.fixture
def publisher(database: Database, tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, database=database, sender=replace(made.sender, key_id=SIGNER.key_id))


def publish(publisher: Publisher, count: int, *, domain: str = "x.org") -> int:
    sign_up(publisher.database, NOW, *(f"p{number}@{domain} science" for number in range(count)))
    return publisher.publish(make_brief("one", NOW, make_story("Comet", "science")), now=NOW).issue


def join(database: Database, *, lease: timedelta = MINUTE, is_daemon: bool = False) -> Membership:
    return Membership(database=database, rules=RULES, lease=lease, is_daemon=is_daemon)


def make_run(database: Database, server: SmtpServer, **changes: Any) -> DeliveryRun:
    relays = [relay_to(server)]
    return DeliveryRun(
        database=database, signer=SIGNER, relays=relays, rules=RULES, clock=lambda: datetime.now(UTC), **changes
    )


def ask(database: Database, query: str, **values: Any) -> list[Any]:
    with database.act() as conn:
        return list(conn.execute(text(query), values).all())


# ── The schema ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_migrations_lead_to_the_schema_that_the_code_names(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from newsletter.store.schema import metadata

    with database.read() as conn:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or not str(name).startswith("procrastinate"),
            "include_object": lambda _, name, *more: name != "ix_deliveries_sending",  # SQLite's alone
        }
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, metadata) == []
        found = inspect(conn).get_indexes("deliveries")
    assert [index["name"] for index in found] == ["ix_deliveries_due"], "more would cost its rows their HOT updates"


def test_what_is_counted_is_true_whoever_writes(publisher: Publisher) -> None:
    issue = publish(publisher, 30)
    database = publisher.database
    with database.act() as conn:
        tallies.set_shard(conn, 7)
        conn.execute(update(deliveries).where(deliveries.c.subscriber_id <= 10).values(state=DeliveryState.ACCEPTED))
        tallies.set_shard(conn, 0)
    with database.write() as conn:
        conn.execute(update(deliveries).where(deliveries.c.subscriber_id == 11).values(attempts=1))
        conn.execute(delete(deliveries).where(deliveries.c.subscriber_id == 12))
    with database.read() as conn:
        assert tallies.read_tallies(conn, [issue])[issue] == {
            ("accepted", ""): 10,
            ("queued", ""): 18,
            ("deferred", ""): 1,
        }
        assert tallies.count_people(conn) == {"active": 30}


def test_a_reader_sees_one_state_and_can_write_nothing(database: Database) -> None:
    with database.read() as conn:
        assert upkeep.is_paused(conn) is False
        with database.write() as other:
            upkeep.set_paused(other, True)
        assert upkeep.is_paused(conn) is False
        with pytest.raises(StoreError, match="read-only"), database.errors_named():
            upkeep.set_paused(conn, True)


def test_more_at_once_than_there_are_connections_is_told_as_busy(
    empty_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_postgres, "POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05})
    busy = pytest.raises(StoreBusyError, match="all connections are in use")
    with closing(open_database(empty_postgresql)) as database, database.read(), busy, database.read():
        pass


def test_a_server_that_is_not_there_or_a_driver_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(StoreError, match=r"^database d: [^\n]+$"):
        open_database("postgresql://nobody@127.0.0.1:1/d")
    with pytest.raises(Exception, match=r"psycopg alone: postgresql://"):
        open_database("postgresql+asyncpg://nobody@127.0.0.1:1/d")


# ── Leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_worker_has_a_slot_of_its_own_and_leaves_it(database: Database) -> None:
    async def run() -> None:
        async with join(database) as first, join(database) as second:
            assert {first.slot, second.slot} == {1, 2}
            assert first.is_held()
            await first.beat()
            await second.beat()
            assert (first.leads, second.leads) == (False, False), "they are no daemons"
            with database.read() as conn:
                assert [row.slot for row in fleet.list_workers(conn)] == [first.slot, second.slot]
        assert ask(database, "SELECT 1 FROM workers") == []

    asyncio.run(run())


def test_of_the_daemons_the_oldest_leads_whatever_workers_run(database: Database) -> None:
    async def run() -> None:
        async with join(database) as worker, join(database, is_daemon=True) as first:
            async with join(database, is_daemon=True) as second:
                for member in (worker, first, second):
                    await member.beat()
                assert [member.leads for member in (worker, first, second)] == [False, True, False]
            with database.act() as conn:
                conn.execute(update(workers).where(workers.c.id == first.id).values(lease_until=fleet.NOW - 1))
                assert fleet.find_leader(conn) is None

    asyncio.run(run())


def test_a_heart_that_lost_its_lease_beats_on_when_it_has_entered_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.deliver.membership.BEAT_SECONDS", 0.02)

    def take_lease(member: Membership) -> None:
        with database.act() as conn:
            fleet.bury(conn, member.id)

    def lease_of(member: Membership) -> float:
        return float(ask(database, f"SELECT lease_until FROM workers WHERE id = {member.id}")[0][0])

    async def run() -> None:
        async with join(database) as member:
            take_lease(member)
            await wait_until(lambda: member.lost)
            await member.rejoin()
            begun = lease_of(member)
            await wait_until(lambda: lease_of(member) > begun)
            assert member.is_held()

    asyncio.run(run())


def test_who_was_declared_dead_writes_nothing_and_sends_nothing_any_more(database: Database) -> None:
    async def run() -> None:
        async with join(database) as slow, join(database) as quick:
            with database.act() as conn:
                past = fleet.NOW - 1
                conn.execute(update(workers).where(workers.c.id == slow.id).values(lease_until=past))
            with pytest.raises(LeaseLostError), database.act() as conn:
                fleet.note_step(conn, slow.id, 1, [(1, 1)])()
            await quick.beat()
            with pytest.raises(LeaseLostError):
                await slow.beat()
            assert not slow.is_held()
            before = slow.id
            await slow.rejoin()
            assert slow.is_held()
            assert slow.id != before

    asyncio.run(run())


def test_a_process_of_this_machine_that_has_gone_is_dead_at_once(database: Database) -> None:
    async def run() -> None:
        async with join(database) as member:
            gone = fleet.name_process().split()
            with database.write() as conn:
                fleet.join(conn, 99, MINUTE)
                name = " ".join([*gone[:-2], "999999999", "1"])
                conn.execute(update(workers).where(workers.c.id == 99).values(name=name))
                fleet.join(conn, 98, MINUTE)
                elsewhere = " ".join(["elsewhere", *gone[1:-2], "999999999", "1"])
                conn.execute(update(workers).where(workers.c.id == 98).values(name=elsewhere))
            await member.beat()
            with database.read() as conn:
                assert {row.id for row in fleet.list_workers(conn)} == {member.id, 98}

    asyncio.run(run())


def test_who_sleeps_in_the_middle_of_a_step_is_taken_over_all_the_same(database: Database) -> None:
    async def run() -> None:
        async with join(database) as sleeper, Writing(database, sleeper.prepare) as writing:

            def fall_asleep(conn: Any) -> None:
                fleet.note_step(conn, sleeper.id, 1, [])()  # from here on it holds its row
                assert not _is_buried(database, sleeper.id)
                conn.execute(text("SELECT 1"))  # its session was ended

            with pytest.raises(StoreError):
                await writing.run(fall_asleep)
            sleeper.lost = True
            await wait_until(lambda: _is_buried(database, sleeper.id))

    asyncio.run(run())


def _is_buried(database: Database, worker_id: int) -> bool:
    with database.act() as conn:
        for row in fleet.list_dead(conn, {worker_id}):
            fleet.bury(conn, row.id)
    return ask(database, f"SELECT 1 FROM workers WHERE id = {worker_id}") == []


@pytest.mark.parametrize("hold", [False, True])
def test_what_a_dead_worker_had_is_taken_over(publisher: Publisher, hold: bool) -> None:
    issue, database = publish(publisher, 3), publisher.database

    async def run() -> None:
        rules = replace(RULES, hold=hold)
        async with Membership(database=database, rules=rules, lease=MINUTE) as member:
            with database.write() as conn:
                fleet.join(conn, 99, MINUTE)
                batch = outbox.claim_batch(conn, 99, NOW + MINUTE, None)
                assert batch is not None
                assert moves.start_deliveries(conn, [(issue, 1)], 99, NOW) == {(issue, 1): 0}
                fleet.note_step(conn, 99, 1, [(issue, 1), (issue, 2)])
                conn.execute(update(workers).where(workers.c.id == 99).values(lease_until=fleet.NOW - 1))
            await member.beat()

    asyncio.run(run())
    books = audit(database, issue)
    assert books.balanced
    assert (books.uncertain, books.deferred, books.queued) == ((1, 0, 2) if hold else (0, 1, 2))
    assert ask(database, "SELECT 1 FROM batches WHERE owner IS NOT NULL") == []
    assert [status for (status,) in ask(database, "SELECT status::text FROM procrastinate_jobs ORDER BY id")] == [
        "todo",
        "todo",
    ]


def test_times_come_from_the_database(empty_postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Slow":
            return super().now(tz) - 7 * MINUTE

    monkeypatch.setattr(store_postgres, "datetime", Slow)
    monkeypatch.setattr("newsletter.store.database.datetime", Slow)
    with closing(open_database(empty_postgresql)) as database:
        assert abs(database.skew - 7 * MINUTE) < timedelta(seconds=5)
        assert abs(database.now() - datetime.now(UTC)) < timedelta(seconds=5)
    monkeypatch.undo()
    with closing(open_database(empty_postgresql)) as database:
        assert database.skew == timedelta()


def test_what_a_run_that_failed_had_on_the_wire_is_the_next_one_s(publisher: Publisher) -> None:
    issue, database = publish(publisher, 2), publisher.database

    async def run() -> None:
        async with join(database) as member:
            with database.act() as conn:
                assert moves.start_deliveries(conn, [(issue, 1)], member.id, NOW)
                fleet.note_step(conn, member.id, 1, [(issue, 1)])
        async with join(database):
            pass

    asyncio.run(run())
    assert (audit(database, issue).deferred, audit(database, issue).queued) == (1, 1)
    assert ask(database, "SELECT 1 FROM workers") == []


# ── Limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 100), st.booleans())
def test_shares_add_up_to_the_whole(total: int, asking: int, turn: int, whole: bool) -> None:
    parts = [share_out(total, (place + turn) % asking, asking, 0, whole=whole) for place in range(asking)]
    assert sum(parts) == pytest.approx(total)
    assert max(parts) - min(parts) <= 1
    assert share_out(total, 0, asking, total, whole=whole) == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 12)), max_size=40))
def test_the_fleet_never_has_more_than_there_is(moves: Sequence[tuple[int, bool, int]]) -> None:
    with _shared().act() as conn:
        conn.execute(delete(workers))
        for number in range(3):
            fleet.join(conn, number, MINUTE)
        used = [0.0] * 3
        for number, wanted, of in moves:
            share = Share(kind="connections", name="r", total=10, wanted=wanted, used=used[number])
            allowed = fleet.exchange_shares(conn, number, [share])["connections", "r"]
            granted = conn.execute(text("SELECT sum(granted) FROM shares")).scalar_one()
            assert granted <= 10
            used[number] = min(of, allowed)  # it opens as many as it wants, of those it may
        conn.rollback()


_SHARED: list[Database] = []


def _shared() -> Database:
    if not _SHARED:
        _SHARED.append(open_database(postgres.make_database(f"fleet_{os.getpid()}_shared")))
    return _SHARED[0]


def test_two_runs_share_a_relay_s_connections_and_its_rate(publisher: Publisher) -> None:
    publish(publisher, 400)
    server = SmtpServer()

    async def run() -> None:
        async with server:
            await asyncio.gather(*(make_run(publisher.database, server).run() for _ in range(2)))

    asyncio.run(run())
    assert set(count_mails(server).values()) == {1}
    assert len(server.mails) == 400
    assert server.most_connections <= 4 + 1  # one that is just being closed


@pytest.mark.long
def test_many_domains_in_trouble_at_once_double_nobody(publisher: Publisher) -> None:
    """Each worker notes what it meets; that two meet the same must cost neither its step."""
    people = [f"p{number}@d{number % 20}.org" for number in range(300)]
    sign_up(publisher.database, NOW, *(f"{address} science" for address in people))
    issue = publisher.publish(make_brief("one", NOW, make_story("Comet", "science")), now=NOW).issue
    server = SmtpServer(greylist="450 4.7.1 rate limit")
    rules = replace(RULES, retry_delays=(timedelta(0),) * 3)

    async def run() -> None:
        async with server:
            runs = [
                make_run(publisher.database, server, limits={"hotmail.com": Limit(connections=2)}) for _ in range(3)
            ]
            for one in runs:
                one.rules = rules
            await asyncio.gather(*(one.run() for one in runs))

    asyncio.run(run())
    assert max(count_mails(server).values()) == 1
    books = audit(publisher.database, issue)
    assert books.balanced
    assert books.accepted + books.deferred + books.queued == 300
    with publisher.database.read() as conn:
        replies = {row.response for row in ledger.list_attempts(conn) if row.outcome == "uncertain"}
    assert replies == set()


def test_a_domain_s_limit_holds_for_the_fleet(publisher: Publisher) -> None:
    publish(publisher, 200, domain="slow.org")
    server, most = SmtpServer(), []

    def observe(progress: Progress) -> None:
        with publisher.database.read() as conn:
            most.append(upkeep.count_sending(conn))

    async def run() -> None:
        async with server:
            limits = {"slow.org": Limit(connections=1)}
            runs = [make_run(publisher.database, server, limits=limits, observe=observe) for _ in range(2)]
            await asyncio.gather(*(run.run() for run in runs))

    asyncio.run(run())
    assert len(server.mails) == 200
    assert max(most) == 1


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_jobs(database: Database) -> list[tuple[str, int]]:
    found = ask(database, "SELECT status::text, (args->>'batch')::int FROM procrastinate_jobs ORDER BY id")
    return [(status, batch) for status, batch in found]


def test_each_batch_has_a_job_from_the_start_and_who_needs_none_cancels_it(publisher: Publisher) -> None:
    publish(publisher, 1_200)
    numbers = [number for (number,) in ask(publisher.database, "SELECT id FROM batches ORDER BY id")]
    assert list_jobs(publisher.database) == [("todo", number) for number in numbers]
    assert len(numbers) >= 3
    server = SmtpServer()

    async def run() -> None:
        async with server:
            await make_run(publisher.database, server).run()

    asyncio.run(run())
    assert len(server.mails) == 1_200
    assert {status for status, _ in list_jobs(publisher.database)} == {"cancelled"}


def test_a_publication_that_fails_leaves_no_job(publisher: Publisher) -> None:
    sign_up(publisher.database, NOW, "p1@x.org science")
    values = {"issue_id": 1, "lane": "", "first_subscriber": 1, "last_subscriber": 1, "due_at": NOW}

    def fail() -> None:
        with publisher.database.write() as conn:
            conn.execute(schema.issues.insert().values(_issue_values()))
            issues.insert_page(conn, [], [values])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list_jobs(publisher.database) == []


def _issue_values() -> dict[str, Any]:
    texts = dict.fromkeys(("period", "title", "language", "domain"), "x")
    numbers = dict.fromkeys(("selected", "audience_max_id", "cursor"), 0)
    return (
        {"id": 1, "date": NOW.date(), "state": IssueState.RUNNING, "created_at": NOW, "due_at": NOW} | texts | numbers
    )


def test_a_lost_job_is_deferred_again_and_a_stalled_one_ended(publisher: Publisher) -> None:
    database = publisher.database
    publish(publisher, 1_200)
    first, second, third, *_ = [number for (number,) in ask(database, "SELECT id FROM batches ORDER BY id")]
    ask_none(database, "DELETE FROM procrastinate_jobs WHERE (args->>'batch')::int = :batch", batch=first)
    stalled = "UPDATE procrastinate_jobs SET status = 'doing' WHERE (args->>'batch')::int = :batch"
    ask_none(database, stalled, batch=second)
    ask_none(database, stalled, batch=third)
    ask_none(database, "UPDATE batches SET done = true WHERE id = :batch", batch=third)
    with database.act() as conn:
        jobs.end_stalled(conn)
        assert jobs.defer_lost(conn, NOW + MINUTE) == 2
        assert jobs.defer_lost(conn, NOW + MINUTE) == 0
    found = list_jobs(database)
    assert ("succeeded", third) in found
    assert [status for status, batch in found if batch == second] == ["failed", "todo"]
    assert [status for status, batch in found if batch == first] == ["todo"]


def ask_none(database: Database, query: str, **values: Any) -> None:
    with database.act() as conn:
        conn.execute(text(query), values)


def test_a_paused_issue_waits_without_jobs_and_goes_on_when_it_is_resumed(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 10)
    ask_none(database, "UPDATE procrastinate_jobs SET status = 'succeeded'")
    with database.write() as conn:
        issues.set_issue_state(conn, issue, IssueState.PAUSED, "by the operator")
        assert jobs.defer_lost(conn, NOW + MINUTE) == 0
        issues.set_issue_state(conn, issue, IssueState.RUNNING)
        assert jobs.defer_lost(conn, NOW + MINUTE) == 1


def test_offered_batches_are_through_not_free_or_given_back(publisher: Publisher) -> None:
    database = publisher.database
    publish(publisher, 600)
    numbers = [number for (number,) in ask(database, "SELECT id FROM batches ORDER BY id")]
    server = SmtpServer()

    async def run() -> list[Ending]:
        offers = Offers()
        waits = [asyncio.create_task(offers.offer(number)) for number in (*numbers, 10**9)]
        await asyncio.sleep(0)
        async with server, join(database) as member:
            await make_run(database, server, membership=member, offers=offers).deliver()
            late = asyncio.create_task(offers.offer(numbers[0]))
            await asyncio.sleep(0)
            offers.give_back()
            return [*await asyncio.gather(*waits), await late]

    endings = asyncio.run(run())
    assert endings == [*[Ending.THROUGH] * len(numbers), Ending.NOT_FREE, Ending.GIVEN_BACK]
    assert len(server.mails) == 600


# ── One ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_deferred_is_one_worker_s_at_a_time(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 4)
    keys = [(issue, number) for number in range(1, 5)]
    with database.act() as conn:
        moves.defer_unstarted(conn, keys, NOW)
    until = NOW + 2 * MINUTE
    with database.act() as conn:
        rows = outbox.read_deferred(conn, "", NOW, None)
        with database.act() as other:
            assert outbox.read_deferred(other, "", NOW, None) == [], "another looks elsewhere meanwhile"
        held = moves.hold_deferred(conn, rows[:3], until)
    with database.act() as conn:
        assert [claimed.key for claimed, _ in outbox.read_deferred(conn, "", NOW, None)] == [keys[3]]
        kept = moves.list_held(claimed for claimed, _ in held)
        assert moves.start_deliveries(conn, [keys[0]], 5, NOW) == {}, "it is held, by another"
        assert moves.start_deliveries(conn, [keys[0]], 5, NOW, held=kept) == {keys[0]: 0}
        moves.give_back(conn, {keys[1]: kept[keys[1]]}, NOW)
        moves.defer_unstarted(conn, [keys[2]], NOW, kept)
        assert [claimed.key for claimed, _ in outbox.read_deferred(conn, "", NOW, None)] == keys[1:]
        moves.set_aside(conn, [keys[1]], "x.org", NOW)
        assert [claimed.key for claimed, _ in outbox.read_deferred(conn, "=x.org", NOW, None)] == [keys[1]]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_step_is_written_once_when_the_connection_is_cut_around_its_commit(database: Database, cut: str) -> None:
    done: list[int] = []

    async def run() -> None:
        async with join(database) as member, Writing(database, member.prepare) as writing:

            def apply(conn: Any) -> str:
                pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
                first = fleet.note_step(conn, member.id, 1, [])()
                if first:
                    conn.execute(text("INSERT INTO relays (name) VALUES ('once')"))
                    if not done:
                        done.append(1)
                        if cut == "before":
                            _terminate(database, pid)
                        else:
                            conn.commit()
                            _terminate(database, pid)
                            conn.execute(text("SELECT 1"))
                return "written" if first else "found written"

            said = await writing.run(apply, again_while=member.is_held)
            assert said == ("written" if cut == "before" else "found written")
            with pytest.raises(StoreError):
                await writing.run(lambda conn: _terminate_own(database, conn))
            assert await writing.run(lambda conn: conn.execute(text("SELECT 7")).scalar_one()) == 7

    asyncio.run(run())
    assert ask(database, "SELECT name FROM relays") == [("once",)]


def test_a_step_waits_for_a_row_that_another_changes_and_stops_nobody(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 2)
    tried: list[int] = []

    async def run() -> None:
        async with join(database) as member, Writing(database, member.prepare) as writing:

            def apply(conn: Any) -> dict[Any, int]:
                tried.append(1)
                return moves.start_deliveries(conn, [(issue, 1)], member.id, NOW)

            with database.write() as other:
                other.execute(update(deliveries).where(deliveries.c.subscriber_id == 1).values(attempts=1))
                starting = asyncio.create_task(writing.run(apply, again_while=member.is_held))
                while len(tried) < 2:  # noqa: ASYNC110  the server tells nobody that one waits
                    await asyncio.sleep(0.05)
            assert await starting == {(issue, 1): 1}

    asyncio.run(run())


def _terminate(database: Database, pid: int) -> None:
    """End a connection from the server's side, and wait until it is gone."""
    with psycopg.connect(database.address) as conn:
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def _terminate_own(database: Database, conn: Any) -> None:
    _terminate(database, conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
    conn.execute(text("SELECT 1"))


def test_a_batch_is_closed_also_where_the_step_that_closes_it_is_written_again(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 1)
    cut: list[int] = []

    async def run() -> None:
        async with join(database) as member, Writing(database, member.prepare) as writing:
            writer = LedgerWriter(writing, member.id, database.now, member)
            settle = writer._settle

            def settle_and_cut(conn: Any, *more: Any) -> None:
                settle(conn, *more)
                if not cut:
                    cut.append(1)
                    _terminate(database, conn.execute(text("SELECT pg_backend_pid()")).scalar_one())

            setattr(writer, "_settle", settle_and_cut)  # noqa: B010  mypy takes a method for a constant

            def claim(conn: Any) -> outbox.Claimed:
                batch = outbox.claim_batch(conn, member.id, NOW + MINUTE, issue)
                assert batch is not None
                (claimed,) = outbox.read_batch(conn, batch)
                writer.expect(conn, batch.id, [claimed.key])
                return claimed

            assert await writer.step(Step(start=await writer.run(claim)))

    asyncio.run(run())
    assert cut
    assert ask(database, "SELECT done, owner FROM batches") == [(True, None)]


def test_who_lost_the_lease_is_told_so_whatever_else_fails(publisher: Publisher) -> None:
    """Of a mail that others took over, the attempt is in the log already."""
    database, issue = publisher.database, publish(publisher, 1)
    finished = Finished(
        key=(issue, 1), attempt=1, at=NOW, relay_id=None, outcome=Outcome.ACCEPTED, code=250, enhanced=None,
        response="ok", seconds=0.1, digest=None, state=DeliveryState.ACCEPTED,
    )  # fmt: skip

    async def run() -> None:
        async with join(database) as member, Writing(database, member.prepare) as writing:
            writer = LedgerWriter(writing, member.id, database.now, member)
            with database.act() as conn:
                moves.finish_attempts(conn, [finished])
                fleet.bury(conn, member.id)
            with pytest.raises(LeaseLostError):
                await writer.step(Step(finished=finished))

    asyncio.run(run())


def test_a_step_that_was_written_says_what_it_started(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 2)
    with database.act() as conn:
        assert moves.start_deliveries(conn, [(issue, 1)], 5, NOW) == {(issue, 1): 0}
        assert moves.list_started(conn, [(issue, 1), (issue, 2)], 5) == ({(issue, 1): 0}, NOW)
        assert moves.list_started(conn, [], 5) == ({}, None)


def count(database: Database, table: Any) -> int:
    with database.read() as conn:
        return int(conn.execute(select(func.count()).select_from(table)).scalar_one())


def test_it_follows_what_others_have_of_an_issue(publisher: Publisher) -> None:
    """`deliver` beside a worker ends when the worker's part is done too."""
    database, server = publisher.database, SmtpServer()
    issue = publish(publisher, 40)
    assert count(database, batches) == 1

    async def run() -> None:
        async with server, join(database) as worker:
            offers = Offers()
            offered = asyncio.create_task(offers.offer(1))
            await asyncio.sleep(0)
            working = make_run(database, server, membership=worker, offers=offers)
            following = make_run(database, server, issue=issue)
            await asyncio.gather(working.deliver(), following.run())
            assert await offered in (Ending.THROUGH, Ending.NOT_FREE)

    asyncio.run(run())
    assert audit(database, issue).accepted == 40
    assert len(server.mails) == 40
