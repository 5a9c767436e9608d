"""Delivery: claims what is due, composes each mail, sends it, and writes every outcome down before going on.

Killed at any instant it may be started again. It decides nothing about replies (core/policy.py does) and knows no
template. What stops it (a relay that is down or refuses us, an operator) is a value in the result, not an error.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

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
from newsletter.deliver.outcomes import Rules
from newsletter.deliver.relays import RelayPool
from newsletter.deliver.sender import Tools
from newsletter.deliver.signing import Seal
from newsletter.deliver.waiting import Waiting
from newsletter.store import exclusions, ledger, outbox, requests, upkeep
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.outbox import Finished
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

    `by_hand`: also a relay that is backed off is tried, once, at once. `note` is told of every attempt.
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
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    observe: Callable[[Progress], None] = lambda progress: None
    note: Callable[[Finished], None] = lambda finished: None
    progress: Progress = field(default_factory=Progress)

    async def run(self) -> Progress:
        """Deliver until nothing is due, or until stopped; who finds another delivering asks it, and follows it."""
        path = self.database.path
        if path is None:
            return await self.deliver()
        with DeliveryLock(path) as lock:
            if lock.acquire() or await self._follow(lock):
                await self.deliver()
        return self.progress

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
        owner = secrets.randbits(62)
        async with Writing(self.database) as writing:
            pool, waiting, seal = await writing.run(self._begin)
            try:
                if not self.stop.is_set():
                    async with seal:
                        await self._make_crew(writing, owner, pool, waiting, seal).work()
            finally:
                await writing.run(lambda conn: self._end(conn, owner))
        return self.progress

    def _begin(self, conn: StoreConnection) -> tuple[RelayPool, Waiting, Seal]:
        now, delays = self.clock(), self.rules.retry_delays
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
        self.progress.owed = 1 if self.only else upkeep.count_owed(conn, now, self.issue)
        dkim_id = outbox.intern_dkim_identities(conn, self.dkim.identities if self.dkim else ())
        seal = Seal(signer=self.dkim, dkim_id=dkim_id, mails=self.progress.owed)
        backoffs = read_backoffs(conn, Throttled.RELAY)
        if self.by_hand:  # also what is backed off is tried once at once
            backoffs = {name: replace(backoff, until_at=None) for name, backoff in backoffs.items()}
        return RelayPool(known, backoffs, delays), waiting, seal

    def _make_crew(self, writing: Writing, owner: int, pool: RelayPool, waiting: Waiting, seal: Seal) -> Crew:
        writer = LedgerWriter(writing, owner, self.clock, even_if_issue_paused=self.only is not None)
        claims = Claims(waiting=waiting, writer=writer, owner=owner, clock=self.clock, issue=self.issue, only=self.only)
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

    def _end(self, conn: StoreConnection, owner: int) -> None:
        outbox.free_batches(conn, owner)
        exclusions.exclude_cancelled(conn)
        ledger.prune_issues(conn, self.clock(), self.rules.retain)
