"""Delivery: claims what is due, composes each mail, sends it, and writes every outcome down before going on.

Killed at any instant it may be started again. It decides nothing about replies (core/policy.py does) and knows no
template. What stops it (a relay that is down or refuses us, an operator) is a value in the result, not an error.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection as StoreConnection

from newsletter.compose import Composer
from newsletter.core.dkim import DkimSigner
from newsletter.core.model import Key, Outcome
from newsletter.core.throttle import Limit
from newsletter.core.tokens import Signer
from newsletter.deliver.claims import Claims
from newsletter.deliver.connections import Crew
from newsletter.deliver.consequences import Consequences
from newsletter.deliver.ledger_writer import LedgerWriter
from newsletter.deliver.membership import Grants, Membership
from newsletter.deliver.offers import Ending, Offers
from newsletter.deliver.outcomes import Rules
from newsletter.deliver.relays import RelayPool
from newsletter.deliver.sender import Tools
from newsletter.deliver.signing import Seal
from newsletter.deliver.waiting import Waiting
from newsletter.store import exclusions, fleet, ledger, moves, outbox, requests, tallies, upkeep
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.moves import Finished
from newsletter.store.requests import Request
from newsletter.store.throttles import Throttled, note_split_lanes, read_backoffs
from newsletter.store.writing import Writing
from newsletter.transport.smtp import Relay

__all__ = ["DeliveryRun", "Progress", "Rules"]

FOLLOW_SECONDS = 0.5


@dataclass(kw_only=True)
class Progress:
    """What a run has come to so far: attempts by outcome, why it stopped before its end, if it did, and alarms."""

    owed: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped: str | None = None
    alarms: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class DeliveryRun:
    """One run over everything that is due. `stop` set: what is on the wire is finished and recorded, then it ends.

    `by_hand`: also a relay that is backed off is tried, once, at once. `note` is told of every attempt. Where many may
    deliver (PostgreSQL), who delivers has a `membership`; with `offers`, the batches come from there alone.
    """

    database: Database
    signer: Signer
    relays: Sequence[Relay]
    rules: Rules
    limits: Mapping[str, Limit] = field(default_factory=dict)
    dkim: DkimSigner | None = None
    issue: int | None = None
    only: Key | None = None
    by_hand: bool = True
    lease: timedelta = timedelta(minutes=1)
    membership: Membership | None = None
    offers: Offers | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    observe: Callable[[Progress], None] = lambda progress: None
    note: Callable[[Finished], None] = lambda finished: None
    progress: Progress = field(default_factory=Progress)

    async def run(self) -> Progress:
        """Deliver until nothing is due, or until stopped; who finds another delivering asks it, and follows it."""
        path = self.database.path
        if path is None:
            await self._run_in_fleet()
            return self.progress
        with DeliveryLock(path) as lock:
            if lock.acquire() or await self._follow(lock):
                await self.deliver()
        return self.progress

    async def _run_in_fleet(self) -> None:
        """Deliver beside others, and wait for what they have of it."""
        async with Membership(database=self.database, rules=self.rules, lease=self.lease) as self.membership:
            while True:
                await self.deliver()
                if self.stop.is_set() or self.progress.stopped or not self._goes_on():
                    break
                await self._wait()
            await asyncio.to_thread(self._prune)  # it may take a while, and heartbeats go on meanwhile

    def halt(self, reason: str) -> None:
        """Stop when what is on the wire is finished; the first reason stays."""
        self.progress.stopped = self.progress.stopped or reason
        self.stop.set()

    async def _follow(self, lock: DeliveryLock) -> bool:
        """Let the process that delivers do it; True where that one has ended, and it is ours to do."""
        with self.database.write() as conn:
            name = requests.make_request(conn, Request(only=self.only))
        try:
            while not await self._wait():
                if lock.acquire():
                    return True
                with self.database.read() as conn:
                    request = requests.read_request(conn, name)
                    if request is None or request.done:
                        self.progress.stopped = request.stopped if request else None
                        return False
                    if self.only is None and self._is_over(conn):
                        return False
            return False
        finally:
            with self.database.write() as conn:
                requests.withdraw_requests(conn, [name])

    def _is_over(self, conn: StoreConnection) -> bool:
        return not upkeep.is_sending(conn, self.issue) and not upkeep.count_owed(conn, self.clock(), self.issue)

    async def _wait(self) -> bool:
        """Wait a moment; whether to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                await self.stop.wait()
        return self.stop.is_set()

    async def deliver(self) -> Progress:
        """The same for who has the right to deliver already: it holds the lock beside a SQLite database."""
        owner = self.membership.id if self.membership else secrets.randbits(62)
        prepare = self.membership.prepare if self.membership else None
        async with Writing(self.database, prepare) as writing:
            pool, waiting, seal = await writing.run(self._begin)
            try:
                if not self.stop.is_set():
                    async with seal, self._sharing(pool, waiting):
                        await self._make_crew(writing, owner, pool, waiting, seal).work()
            finally:
                if self.offers is not None:
                    self.offers.give_back()
                await writing.run(lambda conn: self._end(conn, owner, waiting))
        return self.progress

    @asynccontextmanager
    async def _sharing(self, pool: RelayPool, waiting: Waiting) -> AsyncIterator[None]:
        """Keep to this worker's shares of the limits, and give them to the others at the end."""
        if (membership := self.membership) is None:
            yield
            return

        def take(allowed: Grants) -> None:
            pool.take_shares(allowed)
            waiting.take_shares(allowed)

        membership.ask, membership.take = lambda: [*pool.ask(), *waiting.ask()], take
        await membership.beat()
        try:
            yield
        finally:
            unwanted = [replace(share, wanted=False, used=0) for share in membership.ask()]
            membership.ask, membership.take = lambda: unwanted, lambda allowed: None

    def _begin(self, conn: StoreConnection) -> tuple[RelayPool, Waiting, Seal]:
        now, delays = self.clock(), self.rules.retry_delays
        if self.membership is None:
            upkeep.recover_claims(conn, now, hold=self.rules.hold, most_attempts=len(delays) + 1)
        upkeep.expire_deliveries(conn, now, self.rules.expire_after)
        known = [(relay, outbox.intern_relay(conn, relay.name)) for relay in self.relays]
        waiting = Waiting(
            most=sum(relay.connections for relay in self.relays),
            limits=self.limits,
            backoffs=read_backoffs(conn, Throttled.DOMAIN),
            clock=asyncio.get_running_loop().time,
        )
        note_split_lanes(conn, waiting.split_lanes)
        self.progress.owed = 1 if self.only else self._count_owed(conn, now)
        dkim_id = outbox.intern_dkim_identities(conn, self.dkim.identities if self.dkim else ())
        seal = Seal(signer=self.dkim, dkim_id=dkim_id, mails=self.progress.owed)
        backoffs = read_backoffs(conn, Throttled.RELAY)
        if self.by_hand:  # also what is backed off is tried once at once
            backoffs = {name: replace(backoff, until_at=None) for name, backoff in backoffs.items()}
        return RelayPool(known, backoffs, delays), waiting, seal

    def _goes_on(self) -> bool:
        """Whether something is due still, or others have some of it: batches, mails on the wire, deferred ones."""
        if self.only is not None:
            return False
        with self.database.read() as conn:
            if upkeep.is_work_due(conn, self.clock(), issue_id=self.issue):
                return True
            if len(fleet.list_workers(conn)) < 2:
                return False
            until = self.clock() + self.lease  # in hand or not: until then it shows
            return upkeep.is_claimed(conn, self.issue) or upkeep.is_deferred(conn, self.clock(), until, self.issue)

    def _count_owed(self, conn: StoreConnection, now: datetime) -> int:
        """How many deliveries are owed; of what many deliver, what is counted anyway is near enough."""
        if self.membership is None:
            return upkeep.count_owed(conn, now, self.issue)
        return tallies.count_unsent(conn, self.issue)

    def _make_crew(self, writing: Writing, owner: int, pool: RelayPool, waiting: Waiting, seal: Seal) -> Crew:
        member = self.membership
        writer = LedgerWriter(writing, owner, self.clock, member, even_if_issue_paused=self.only is not None)
        if self.offers is not None:
            writer.through = partial(self.offers.end, ending=Ending.THROUGH)
        claims = Claims(
            waiting=waiting,
            writer=writer,
            owner=owner,
            clock=self.clock,
            issue=self.issue,
            only=self.only,
            offers=self.offers,
            hold=member.lease if member else None,
            may_claim=lambda: pool.most_connections > 0,
        )
        consequences = Consequences(
            database=self.database,
            waiting=waiting,
            writer=writer,
            delays=self.rules.retry_delays,
            clock=self.clock,
            alarm=self.progress.alarms.append,
        )
        tools = Tools(
            composer=Composer(self.database, self.signer),
            seal=seal,
            writer=writer,
            consequences=consequences,
            rules=self.rules,
            clock=self.clock,
            stop=self.stop,
            halt=self.halt,
            count=self._count,
            come_back=claims.look_again,
            observe=lambda: self.observe(self.progress),
            may_send=member.is_held if member else lambda: True,
        )
        return Crew(
            pool=pool,
            waiting=waiting,
            claims=claims,
            tools=tools,
            clock=self.clock,
            stop=self.stop,
            halt=self.halt,
        )

    def _count(self, finished: Finished) -> None:
        self.progress.outcomes[finished.outcome] += 1
        self.note(finished)

    def _end(self, conn: StoreConnection, owner: int, waiting: Waiting) -> None:
        outbox.free_batches(conn, owner)
        moves.give_back(conn, moves.list_held(waiting.list_all()), self.clock())
        exclusions.exclude_cancelled(conn)
        if self.membership is None:
            ledger.prune_issues(conn, self.clock(), self.rules.retain)

    def _prune(self) -> None:
        with self.database.act() as conn:
            ledger.prune_issues(conn, self.clock(), self.rules.retain)
