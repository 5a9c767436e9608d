"""One connection's work: a mail after another, each marked before it goes out, each outcome written down after it.

The outcome of the last mail is committed together with the start of the next, and before that one goes out.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from newsletter.compose import Composer
from newsletter.core.errors import NewsletterError, StoreError, TokenError, TransportError
from newsletter.core.mails.message import Composed
from newsletter.core.policy import mails_per_connection
from newsletter.deliver.attempt_log import log_attempt
from newsletter.deliver.consequences import Consequences
from newsletter.deliver.ledger_writer import Change, LedgerWriter, Started, Step
from newsletter.deliver.outcomes import Rules, lose_reply, refuse_unwritable
from newsletter.deliver.relays import Member, RelayPool
from newsletter.deliver.signing import Mail, Seal
from newsletter.store.moves import Finished
from newsletter.store.outbox import Claimed
from newsletter.store.throttles import write_relay
from newsletter.transport.smtp import Attempted, Connection, Envelope


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What every connection of a run uses. `halt` ends the run for a reason; `count` counts what came of attempts.

    `come_back` is told when a delivery is due again at once; `may_send` is asked right before a body goes out.
    """

    composer: Composer
    seal: Seal
    writer: LedgerWriter
    consequences: Consequences
    rules: Rules
    clock: Callable[[], datetime]
    stop: asyncio.Event
    halt: Callable[[str], None]
    count: Callable[[Finished], None]
    come_back: Callable[[], None]
    observe: Callable[[], None]
    may_send: Callable[[], bool] = lambda: True


class Work(Protocol):
    """Where deliveries come from."""

    async def take(self, connection: Connection) -> Claimed | None:
        """A delivery for a connection, which waits for one; None when it is to end."""

    def take_at_once(self, *, smtputf8: bool) -> Claimed | None:
        """A delivery that may go now, None where there is none."""

    def give_back(self, claimed: Claimed) -> None:
        """The delivery is off the wire, or never was on it."""


@dataclass(kw_only=True)
class Sender:
    """Sends over one connection to `member`; what `last` holds is not written down yet."""

    member: Member
    tools: Tools
    pool: RelayPool
    crew: Work
    last: Step = field(default_factory=Step)

    async def send_all(self, connection: Connection) -> None:
        """Send until there is no work, or the connection is of no more use; then close it."""
        most = mails_per_connection(self.member.relay.host)
        try:
            while self._may_go_on(connection, most):
                claimed = self.crew.take_at_once(smtputf8=connection.takes_smtputf8)
                if claimed is None:
                    await self.write_down()
                    claimed = await self.crew.take(connection)
                if claimed is None:
                    break
                try:
                    if await self._wait_turn():
                        await self._send_next(connection, claimed)
                finally:
                    self.crew.give_back(claimed)
        finally:
            self.member.open -= 1
            await self.write_down()
            await connection.quit()

    def _may_go_on(self, connection: Connection, most: int) -> bool:
        """Whether another mail may go over the connection."""
        wanted = connection.is_open and connection.mails_sent < most
        return wanted and not self.member.has_too_many and not self.member.is_shut(self.tools.clock())

    async def write_down(self) -> None:
        """Commit what is known and not written down yet."""
        changes = tuple(partial(write_relay, name=name, backoff=backoff) for name, backoff in self.pool.take_changes())
        step, self.last = replace(self.last, changes=(*self.last.changes, *changes)), Step()
        if step:
            await self.tools.writer.step(step)
            self.tools.observe()

    async def _wait_turn(self) -> bool:
        """Keep to the relay's rate, with everything written down meanwhile; whether to go on."""
        seconds = self.pool.book_turn(self.member)
        if seconds:
            await self.write_down()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.tools.stop.wait()
        return not self.tools.stop.is_set()

    async def _send_next(self, connection: Connection, claimed: Claimed) -> None:
        last, self.last = self.last, Step()
        started = await self.tools.writer.step(
            Step(finished=last.finished, released=last.released, changes=last.changes, start=claimed)
        )
        self.tools.observe()
        if started is not None:
            if claimed.attempts != started.attempts:  # claimed twice, it was tried meanwhile
                claimed = replace(claimed, attempts=started.attempts)
            await self._send(connection, claimed, started)

    async def _send(self, connection: Connection, claimed: Claimed, started: Started) -> None:
        """Put one mail on the wire, and keep what is to be written down of it."""
        tools = self.tools
        try:
            mail = await tools.seal.close(self._compose(claimed, started.at), started.at)
            envelope = Envelope(
                return_path=tools.composer.write_return_path(claimed.edition, claimed.key),
                recipient=claimed.email,
                envid=tools.composer.write_envid(claimed.key),
            )
        except (TokenError, StoreError, TransportError) as error:  # every mail would fare the same
            tools.halt(f"mails cannot be made: {error}")
            self._release(claimed)
            return
        except NewsletterError as error:
            self._finish(connection, claimed, refuse_unwritable(str(error)), None, started)
            return
        except asyncio.CancelledError:
            self._release(claimed)
            raise
        try:
            attempted = await connection.send(envelope, mail.octets, may_send=tools.may_send)
        except asyncio.CancelledError:
            if connection.in_doubt:
                lost = lose_reply((tools.clock() - started.at).total_seconds())
                self._finish(connection, claimed, lost, mail, started)
            else:
                self._release(claimed)
            raise
        if attempted.counted:
            self.pool.note_answered(self.member, tools.clock(), attempted)
            self._finish(connection, claimed, attempted, mail, started)
        else:
            self.pool.note_lost(self.member, tools.clock(), connection, attempted)
            self._release(claimed)

    def _release(self, claimed: Claimed) -> None:
        """Nothing is counted against the delivery; it is due at once."""
        self.last = Step(released=(claimed.key, claimed.attempts))
        self.tools.come_back()

    def _finish(
        self, connection: Connection, claimed: Claimed, attempted: Attempted, mail: Mail | None, started: Started
    ) -> None:
        tools = self.tools
        finished = tools.rules.finish(
            claimed, attempted, mail, started_at=started.at, relay_id=self.member.id, clock=tools.clock
        )
        tools.count(finished)
        connect_seconds, connection.connect_seconds = connection.connect_seconds, 0.0  # the first mail's, no other's
        log_attempt(claimed, finished, relay=self.member.relay.name, connect_seconds=connect_seconds)
        if finished.due_at is not None and finished.due_at <= tools.clock():
            tools.come_back()
        changes: tuple[Change, ...] = tools.consequences.draw(claimed, attempted, finished)
        self.last = Step(finished=finished, changes=changes)

    def _compose(self, claimed: Claimed, date: datetime) -> Composed:
        return self.tools.composer.compose(
            claimed.edition,
            claimed.key,
            email=claimed.email,
            name=claimed.name,
            topics=claimed.topics,
            timezone=claimed.timezone,
            date=date,
        )
