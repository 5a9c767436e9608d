"""The one writer of outcomes: what piled up while a transaction was committing goes into the next one.

A connection awaits `step` before it uses the wire again, so after a kill only what was on the wire is in doubt.
There is no deliberate delay: it commits whenever it is free.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection

from newsletter.core.model import DeliveryState, Key
from newsletter.store import exclusions, outbox
from newsletter.store.outbox import Claimed, Finished
from newsletter.store.writing import Writing

T = TypeVar("T")
Change: TypeAlias = Callable[[Connection], object]
"""Something else that is to be written down together with a step."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a connection has to write down: the end of its last mail, the start of its next, or both."""

    finished: Finished | None = None
    released: tuple[Key, int] | None = None
    changes: tuple[Change, ...] = ()
    start: Claimed | None = None

    def __bool__(self) -> bool:
        return bool(self.finished or self.released or self.changes or self.start)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A delivery that may go on the wire now: since when it is marked so, and how many attempts it had before."""

    at: datetime
    attempts: int


@dataclass
class LedgerWriter:
    """Commits steps in groups; `even_if_issue_paused`: whatever its issue's state."""

    writing: Writing
    owner: int
    clock: Callable[[], datetime]
    even_if_issue_paused: bool = False
    _unstarted: dict[int, set[Key]] = field(default_factory=dict)
    _pending: list[tuple[Step, asyncio.Future[Started | None]]] = field(default_factory=list)
    _running: asyncio.Task[None] | None = None

    def expect(self, conn: Connection, batch_id: int, keys: Iterable[Key]) -> None:
        """Remember which deliveries of a batch are still to be started; with the last of them the batch is closed."""
        self._unstarted[batch_id] = set(keys)
        self._close_if_through(conn, batch_id)

    def defer(self, conn: Connection, rows: Sequence[Claimed], until: datetime) -> None:
        """Let deliveries that were claimed and not started wait; nothing is counted against them."""
        outbox.defer_unstarted(conn, [claimed.key for claimed in rows], until)
        self._mark_through(conn, rows)

    def set_aside(self, conn: Connection, rows: Sequence[Claimed], domain: str) -> None:
        """Put deliveries that were claimed and not started into the line of their domain alone, due at once."""
        outbox.set_aside(conn, [claimed.key for claimed in rows], domain, self.clock())
        self._mark_through(conn, rows)

    async def run(self, apply: Callable[[Connection], T]) -> T:
        """Run `apply` in a transaction of its own."""
        return await self.writing.run(apply)

    async def step(self, step: Step) -> Started | None:
        """Write a step down; None where it starts nothing, or its delivery may not go (any more).

        Cancelled, it is written down all the same, and what it started is released again: nobody would send it.
        """
        done: asyncio.Future[Started | None] = asyncio.get_running_loop().create_future()
        self._pending.append((step, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain())
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            while not done.done():
                with suppress(asyncio.CancelledError):  # cancelled again: it is under way all the same
                    await asyncio.wait([done])
            started = done.result()
            if started is not None and step.start is not None:
                await self.step(Step(released=(step.start.key, started.attempts)))
            raise

    async def _drain(self) -> None:
        while self._pending:
            group, self._pending = self._pending, []
            try:
                started, now = await self.writing.run(partial(self._apply, steps=[step for step, _ in group]))
            except Exception as error:  # noqa: BLE001  every waiting connection must learn of it, or it would hang
                for _, done in group:
                    done.set_exception(error)
                continue
            for step, done in group:
                # pop: of two connections that claimed the same delivery within one group, one alone may send it
                attempts = started.pop(step.start.key, None) if step.start else None
                done.set_result(None if attempts is None else Started(at=now, attempts=attempts))

    def _apply(self, conn: Connection, steps: Sequence[Step]) -> tuple[dict[Key, int], datetime]:
        now = self.clock()
        finished = [step.finished for step in steps if step.finished]
        outbox.finish_attempts(conn, finished)
        outbox.release_deliveries(conn, [step.released for step in steps if step.released], now)
        for attempt in finished:
            if attempt.state is DeliveryState.REJECTED:
                exclusions.reopen_window_of(conn, attempt.key)
        for step in steps:
            for change in step.changes:
                change(conn)
        starts = [step.start for step in steps if step.start]
        return self._start(conn, starts, now), now

    def _start(self, conn: Connection, starts: Sequence[Claimed], now: datetime) -> dict[Key, int]:
        keys = [claimed.key for claimed in starts]
        started = outbox.start_deliveries(conn, keys, self.owner, now, even_if_issue_paused=self.even_if_issue_paused)
        if len(started) < len(keys):
            exclusions.settle_unstarted(conn, [key for key in keys if key not in started], now)
        self._mark_through(conn, starts)
        return started

    def _mark_through(self, conn: Connection, rows: Iterable[Claimed]) -> None:
        for claimed in rows:
            if claimed.batch_id in self._unstarted:
                self._unstarted[claimed.batch_id].discard(claimed.key)
                self._close_if_through(conn, claimed.batch_id)

    def _close_if_through(self, conn: Connection, batch_id: int) -> None:
        if not self._unstarted[batch_id]:
            outbox.close_batch(conn, batch_id)
            del self._unstarted[batch_id]
