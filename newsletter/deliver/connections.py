"""The crew of a run: as many connections as there is work for, and who hands the work out to them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from newsletter.core.errors import NewsletterError
from newsletter.core.policy import IDLE_SECONDS
from newsletter.deliver.claims import LOOK_AGAIN_SECONDS, Claims
from newsletter.deliver.ledger_writer import Step
from newsletter.deliver.relays import Member, RelayPool
from newsletter.deliver.sender import Sender, Tools
from newsletter.deliver.waiting import Waiting
from newsletter.store.outbox import Claimed
from newsletter.transport.smtp import Connection


@dataclass(eq=False)
class Idler:
    """A connection that waits for work."""

    takes_smtputf8: bool
    work: "asyncio.Future[Claimed | None]"


@dataclass(kw_only=True)
class Crew:
    """All connections of a run. `stop` set: each finishes its mail; `halt` sets it for a reason."""

    pool: RelayPool
    waiting: Waiting
    claims: Claims
    tools: Tools
    clock: Callable[[], datetime]
    stop: asyncio.Event
    halt: Callable[[str], None]
    _busy: int = 0
    _dialing: set["asyncio.Task[None]"] = field(default_factory=set)
    _idlers: deque[Idler] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _over: bool = False

    async def work(self) -> None:
        """Hand out work until there is none, or until `stop`; what is on the wire is finished and written down."""
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(self._watch_stop())
                try:
                    await self._hand_out(group)
                finally:
                    stopping.cancel()
                    self._dismiss()
        except BaseExceptionGroup as errors:
            known, others = errors.split(NewsletterError)
            if known is None or others is not None:
                raise
            raise _first_of(known) from None

    async def take(self, connection: Connection) -> Claimed | None:
        """A delivery for a connection, which waits for one; None when it is to end."""
        claimed = self.take_at_once(smtputf8=self._may_take_smtputf8(connection.takes_smtputf8))
        if claimed is not None or self._over or self.stop.is_set():
            return claimed
        idler = Idler(connection.takes_smtputf8, asyncio.get_running_loop().create_future())
        self._idlers.append(idler)
        self._changed.set()
        try:
            await asyncio.wait([idler.work], timeout=IDLE_SECONDS)
        finally:
            if idler in self._idlers:
                self._idlers.remove(idler)
        return idler.work.result() if idler.work.done() else None

    def take_at_once(self, *, smtputf8: bool) -> Claimed | None:
        """A delivery that may go now, None where there is none."""
        claimed = None if self.stop.is_set() else self.waiting.take(smtputf8=smtputf8)
        self._busy += claimed is not None
        return claimed

    def _may_take_smtputf8(self, takes_smtputf8: bool) -> bool:
        """Whether a connection is given addresses that are not ASCII; any is, where no relay takes them."""
        return takes_smtputf8 or not self.pool.may_have_smtputf8

    def give_back(self, claimed: Claimed) -> None:
        """The delivery is off the wire, or never was on it."""
        self.waiting.release(claimed)
        self._busy -= 1
        if self._idlers or not self._busy or self.claims.wants_more(0):
            self._changed.set()

    async def _watch_stop(self) -> None:
        await self.stop.wait()
        self._changed.set()

    async def _hand_out(self, group: asyncio.TaskGroup) -> None:
        while not self.stop.is_set():
            self._changed.clear()
            if self.claims.is_full and (self.claims.is_slow or self._has_idle_room()):
                await self.claims.make_room()
            look_on = self.claims.wants_more(len(self._idlers)) and await self.claims.refill()
            if not self.waiting and not self._busy:
                await self._look_for_more(anew=True)
                if not self.waiting:
                    return
            self._feed_idlers()
            self._dial_more(group)
            if await self._is_stuck():
                self.halt(self.pool.tell_troubles(self.clock()))
                return
            if not look_on:
                await self._wait_for_change()

    def _has_idle_room(self) -> bool:
        """Whether more could be on the wire, and nothing that is in hand may go now."""
        return self._busy < self.pool.most_connections and not self.waiting.count_ready(1)

    async def _is_stuck(self) -> bool:
        """Whether no relay is there for what is left to do; that may be only what needs a relay with SMTPUTF8."""
        if self.pool.is_dead(self.clock()):
            return True
        if self._only_smtputf8_is_left() and self.pool.is_dead(self.clock(), smtputf8=True):
            await self._look_for_more()
            return self._only_smtputf8_is_left()
        return False

    def _only_smtputf8_is_left(self) -> bool:
        left = not self._busy and self.waiting.count_ready(1) and not self.waiting.count_ready(1, smtputf8=False)
        return bool(left) and self.pool.may_have_smtputf8

    async def _look_for_more(self, *, anew: bool = False) -> None:
        await self.tools.writer.step(Step())  # what was given back may not be written down yet
        look_on = await self.claims.refill(anew=anew)
        while look_on and not self.stop.is_set():
            look_on = await self.claims.refill()

    async def _wait_for_change(self) -> None:
        free_at = self.waiting.next_free_at()
        seconds = LOOK_AGAIN_SECONDS
        if free_at is not None:
            seconds = min(seconds, max(0.0, free_at - asyncio.get_running_loop().time()))
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _feed_idlers(self) -> None:
        for idler in list(self._idlers):
            claimed = self.take_at_once(smtputf8=self._may_take_smtputf8(idler.takes_smtputf8))
            if claimed is not None:
                self._idlers.remove(idler)
                idler.work.set_result(claimed)

    def _dial_more(self, group: asyncio.TaskGroup) -> None:
        """Open as many connections as there are deliveries that could go, and relays to have them."""
        now = self.clock()
        ready = self.waiting.count_ready(self.pool.most_connections)
        plain = self.waiting.count_ready(ready, smtputf8=False)
        for number in range(len(self._dialing), ready):
            member = self.pool.choose(now, smtputf8=number >= plain)
            if member is None:
                return
            member.dialing += 1
            task = group.create_task(self._run_connection(member))
            self._dialing.add(task)
            task.add_done_callback(self._dialing.discard)

    def _dismiss(self) -> None:
        """There is no more work: let the idle connections go, and those that are only being made."""
        self._over = True
        for task in self._dialing:
            task.cancel()
        for idler in self._idlers:
            idler.work.set_result(None)
        self._idlers.clear()

    async def _run_connection(self, member: Member) -> None:
        sender = Sender(member=member, tools=self.tools, pool=self.pool, crew=self)
        task = asyncio.current_task()
        try:
            connection = await self.pool.dial(member, self.clock())
            self._dialing -= {task}
            if connection is not None:
                await sender.send_all(connection)
        finally:
            self._changed.set()
            await sender.write_down()


def _first_of(group: BaseExceptionGroup[NewsletterError]) -> NewsletterError:
    """The first error of a group: several connections meet the same one at once."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
