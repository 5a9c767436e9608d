"""Delivery: claims what is due, composes each mail, sends it, and writes every outcome down before going on.

Killed at any instant it may be started again. It decides nothing about replies (core/policy.py does) and knows no
template. What stops it (a relay that is down or refuses us, an operator) is a value in the result, not an error.
"""

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from newsletter.compose import Composer
from newsletter.core.errors import NewsletterError, StoreError, TokenError
from newsletter.core.model import DeliveryState, Key, Outcome, name_delivery
from newsletter.core.policy import Reply, Stage, has_expired, judge_loss, judge_unsendable, next_delay
from newsletter.core.tokens import Purpose, Signer
from newsletter.deliver.claims import Claims
from newsletter.deliver.ledger_writer import LedgerWriter, Step
from newsletter.store import exclusions, ledger, outbox, upkeep
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.outbox import Claimed, Finished
from newsletter.transport.smtp import (
    Attempted,
    Connection,
    Envelope,
    Relay,
    RelayRefusedError,
    RelayUnreachableError,
    open_connection,
)

LOST_IN_A_ROW = 3
FOLLOW_SECONDS = 0.5
UNWRITABLE = "5.6.0"
STOPPED_TEXT = "stopped by the operator before the reply came"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The operator's rules of delivery; `hold` keeps uncertain deliveries for the operator to decide on."""

    connections: int
    retry_delays: tuple[timedelta, ...]
    expire_after: timedelta
    retain: timedelta
    hold: bool


@dataclass(kw_only=True)
class Progress:
    """What a run has come to so far: attempts by outcome, and why it stopped before its end, if it did."""

    owed: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped: str | None = None


@dataclass(kw_only=True)
class DeliveryRun:
    """One run over everything that is due. `stop` set: what is on the wire is finished and recorded, then it ends."""

    database: Database
    signer: Signer
    relay: Relay
    rules: Rules
    issue: int | None = None
    only: Key | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    observe: Callable[[Progress], None] = lambda progress: None
    progress: Progress = field(default_factory=Progress)

    async def run(self) -> Progress:
        """Deliver until nothing is due, or until stopped; while another process delivers, follow it to the end."""
        path = self.database.path
        if path is None:
            await self._run()
            return self.progress
        with DeliveryLock(path) as lock:
            while not lock.acquire():
                if self._is_done() or await self._wait():
                    return self.progress
            await self._run()
        return self.progress

    def _is_done(self) -> bool:
        with self.database.read() as conn:
            return not upkeep.is_sending(conn, self.issue) and not upkeep.count_owed(conn, self.clock(), self.issue)

    async def _wait(self) -> bool:
        """Wait a moment; whether to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), FOLLOW_SECONDS)
        return self.stop.is_set()

    async def _run(self) -> None:
        self._owner = secrets.randbits(62)
        self._composer = Composer(self.database, self.signer)
        self._dialing = asyncio.Lock()  # one at a time, so that the first tells whether the relay is there at all
        self._open = 0
        self._lost = 0
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as executor:
            self._writer = LedgerWriter(
                self.database, executor, self._owner, self.clock, even_if_issue_paused=self.only is not None
            )
            self._claims = Claims(
                self.database, executor, self._owner, self.clock, self._writer.expect, issue=self.issue, only=self.only
            )
            self._begin()
            try:
                while not self.stop.is_set() and await self._claims.refill():
                    await self._run_connections()
            finally:
                self._end()

    def halt(self, reason: str) -> None:
        """Stop when what is on the wire is finished; the first reason stays."""
        self.progress.stopped = self.progress.stopped or reason
        self.stop.set()

    def _begin(self) -> None:
        with self.database.write() as conn:
            now = self.clock()
            upkeep.recover_claims(conn, now, hold=self.rules.hold, most_attempts=len(self.rules.retry_delays) + 1)
            upkeep.expire_deliveries(conn, now, self.rules.expire_after)
            self._relay_id = outbox.intern_relay(conn, self.relay.name)
            self.progress.owed = 1 if self.only else upkeep.count_owed(conn, now, self.issue)

    def _end(self) -> None:
        with self.database.write() as conn:
            outbox.free_batches(conn, self._owner)
            exclusions.exclude_cancelled(conn)
            ledger.prune_issues(conn, self.clock(), self.rules.retain)

    async def _run_connections(self) -> None:
        count = max(1, min(self.rules.connections, len(self._claims)))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(count):
                    group.create_task(self._run_connection())
        except* NewsletterError as errors:
            raise errors.exceptions[0] from None

    async def _run_connection(self) -> None:
        """Send one mail after another; the outcome of the last is written down together with the start of the next."""
        connection: Connection | None = None
        last = Step()
        try:
            while not self.stop.is_set() and (claimed := await self._claims.take()) is not None:
                if connection is None or not connection.is_open:
                    last = await self._write_down(last)
                    if connection is not None:
                        await self._hang_up(connection)
                    connection = await self._connect()
                    if connection is None:
                        self._claims.put_back(claimed)
                        return
                step, last = replace(last, start=claimed), Step()
                started = await self._writer.step(step)
                self.observe(self.progress)
                if started is not None:
                    last = await self._send(connection, replace(claimed, attempts=started.attempts), started.at)
        finally:
            await self._write_down(last)
            if connection is not None:
                await self._hang_up(connection)

    async def _write_down(self, step: Step) -> Step:
        if step.finished or step.released:
            await self._writer.step(step)
            self.observe(self.progress)
        return Step()

    async def _connect(self) -> Connection | None:
        try:
            async with self._dialing:
                if self.stop.is_set():
                    return None
                connection = await open_connection(self.relay)
                self._open += 1
        except RelayRefusedError as error:
            self.halt(str(error))
            return None
        except RelayUnreachableError as error:
            # A relay that allows fewer connections than we want still works through those that it took.
            if self._open == 0:
                self.halt(str(error))
            return None
        return connection

    async def _hang_up(self, connection: Connection) -> None:
        self._open -= 1
        await connection.quit()

    async def _send(self, connection: Connection, claimed: Claimed, started_at: datetime) -> Step:
        """Put one mail on the wire and say what is to be written down of it."""
        try:
            mail = self._compose(claimed, started_at)
        except (TokenError, StoreError) as error:  # every mail would fare the same
            self.halt(f"mails cannot be made: {error}")
            return Step(released=(claimed.key, claimed.attempts))
        except NewsletterError as error:
            return Step(finished=self._finish(claimed, _refuse(str(error)), None, started_at))
        envelope = Envelope(
            return_path=self._return_path(claimed), recipient=claimed.email, envid=name_delivery(claimed.key)
        )
        try:
            attempted = await connection.send(envelope, mail)
        except asyncio.CancelledError:
            if connection.in_doubt:
                cut_off = _lose((self.clock() - started_at).total_seconds())
                await self._writer.step(Step(finished=self._finish(claimed, cut_off, mail, started_at)))
            else:
                await self._writer.step(Step(released=(claimed.key, claimed.attempts)))
            raise
        if not attempted.counted:
            self._note_failure(connection, attempted)
            return Step(released=(claimed.key, claimed.attempts))
        self._lost = 0
        finished = self._finish(claimed, attempted, mail, started_at)
        self.progress.outcomes[finished.outcome] += 1
        return Step(finished=finished, suppressed=claimed if attempted.verdict.suppress else None)

    def _compose(self, claimed: Claimed, started_at: datetime) -> bytes:
        return self._composer.compose(
            claimed.edition_id,
            claimed.key,
            email=claimed.email,
            name=claimed.name,
            topics=claimed.topics,
            date=started_at,
        )

    def _note_failure(self, connection: Connection, attempted: Attempted) -> None:
        """The relay failed, not the mail: stop where it refuses us, or loses one fresh connection after another."""
        if not connection.mails_answered:  # relays close a connection after some mails; that is no failure of theirs
            self._lost += 1
        if attempted.verdict.stop or self._lost >= LOST_IN_A_ROW:
            self.halt(f"relay {self.relay.name}: {attempted.reply.text}")

    def _return_path(self, claimed: Claimed) -> str:
        sender = self._composer.sender(claimed.edition_id)
        if sender.bounce_domain is None:
            return sender.from_address
        return f"b+{self.signer.sign(Purpose.BOUNCE, claimed.subscriber_id, claimed.issue_id)}@{sender.bounce_domain}"

    def _finish(self, claimed: Claimed, attempted: Attempted, mail: bytes | None, started_at: datetime) -> Finished:
        attempt = claimed.attempts + 1
        state, due_at = self._decide(attempted, attempt, claimed.due_at, self.clock())
        return Finished(
            key=claimed.key,
            attempt=attempt,
            at=started_at,
            relay_id=self._relay_id,
            outcome=attempted.outcome,
            code=attempted.reply.code,
            enhanced=attempted.reply.enhanced,
            response=attempted.reply.text,
            seconds=attempted.seconds,
            digest=hashlib.sha256(mail).digest() if mail is not None else None,
            state=state,
            due_at=due_at,
        )

    def _decide(
        self, attempted: Attempted, attempt: int, due_at: datetime, now: datetime
    ) -> tuple[DeliveryState, datetime | None]:
        """Where a delivery goes after an attempt, and when it is due again."""
        match attempted.outcome:
            case Outcome.ACCEPTED:
                return DeliveryState.ACCEPTED, None
            case Outcome.REJECTED:
                return DeliveryState.REJECTED, None
            case Outcome.UNCERTAIN if self.rules.hold:
                return DeliveryState.UNCERTAIN, None
        jitter = secrets.SystemRandom().uniform(-1.0, 1.0)
        delay = next_delay(attempt, self.rules.retry_delays, jitter=jitter, asked=attempted.verdict.retry_after)
        if delay is None or has_expired(due_at, now, self.rules.expire_after):
            return DeliveryState.REJECTED, None
        return DeliveryState.QUEUED, now + delay


def _refuse(sentence: str) -> Attempted:
    """A mail that we cannot write: rejected here, for this one reader."""
    verdict = judge_unsendable(UNWRITABLE)
    return Attempted(reply=Reply(None, UNWRITABLE, sentence), stage=None, verdict=verdict, seconds=0.0, counted=True)


def _lose(seconds: float) -> Attempted:
    """A mail whose final reply nobody waits for any more."""
    verdict = judge_loss(in_doubt=True)
    reply = Reply(None, None, STOPPED_TEXT)
    return Attempted(reply=reply, stage=Stage.BODY, verdict=verdict, seconds=seconds, counted=True)
