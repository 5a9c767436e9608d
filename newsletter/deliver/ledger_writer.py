"""The one writer of outcomes: what piled up while a transaction was committing goes into the next one.

A connection awaits `step` before it uses the wire again, so after a kill only what was on the wire is in doubt.
There is no deliberate delay: it commits whenever it is free.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection

from newsletter.core.model import DeliveryState, Key, Outcome
from newsletter.deliver.membership import Membership
from newsletter.store import exclusions, fleet, moves, outbox
from newsletter.store.moves import Finished
from newsletter.store.outbox import Claimed
from newsletter.store.postgres import in_one_go
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
    """Commits steps in groups; `even_if_issue_paused`: whatever its issue's state.

    Of a `member` of a fleet each step also says what is on the wire then; LeaseLostError where others took over. So it
    may be written again where the connection was lost, as long as the lease runs: whether it was written before shows.
    `through` is told of batches none of whose deliveries is to be started any more.
    """

    writing: Writing
    owner: int
    clock: Callable[[], datetime]
    member: Membership | None = None
    even_if_issue_paused: bool = False
    through: Callable[[int], None] = lambda batch_id: None
    _wire: set[Key] = field(default_factory=set)
    _closed: set[int] = field(default_factory=set)
    _unstarted: dict[int, set[Key]] = field(default_factory=dict)
    _pending: list[tuple[Step, asyncio.Future[Started | None]]] = field(default_factory=list)
    _running: asyncio.Task[None] | None = None

    def expect(self, conn: Connection, batch_id: int, keys: Iterable[Key]) -> None:
        """Remember which deliveries of a batch are still to be started; with the last of them the batch is closed."""
        self._unstarted[batch_id] = set(keys)
        self._close_if_through(conn, batch_id)

    def defer(self, conn: Connection, rows: Sequence[Claimed], until: datetime) -> None:
        """Let deliveries that were claimed and not started wait; nothing is counted against them."""
        moves.defer_unstarted(conn, [row.key for row in rows], until, moves.list_held(rows))
        self._mark_through(conn, rows)

    def set_aside(self, conn: Connection, rows: Sequence[Claimed], domain: str) -> None:
        """Put deliveries that were claimed and not started into the line of their domain alone, due at once."""
        moves.set_aside(conn, [row.key for row in rows], domain, self.clock(), moves.list_held(rows))
        self._mark_through(conn, rows)

    async def run(self, apply: Callable[[Connection], T]) -> T:
        """Run `apply` in a transaction of its own."""
        result = await self.writing.run(apply, again_while=self._may_go_on)
        self._tell_through()
        return result

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
                started, now = await self.run(self._make_apply([step for step, _ in group]))
            except Exception as error:  # noqa: BLE001  every waiting connection must learn of it, or it would hang
                for _, done in group:
                    done.set_exception(error)
                continue
            self._wire = self._list_wire([step for step, _ in group], started)
            for step, done in group:
                # pop: of two connections that claimed the same delivery within one group, one alone may send it
                attempts = started.pop(step.start.key, None) if step.start else None
                done.set_result(None if attempts is None else Started(at=now, attempts=attempts))

    def _may_go_on(self) -> bool:
        """Whether what could not be written may be written again."""
        return self.member is not None and self.member.is_held()

    def _tell_through(self) -> None:
        closed, self._closed = self._closed, set()
        for batch_id in closed:
            del self._unstarted[batch_id]
            self.through(batch_id)

    def _list_wire(self, steps: Iterable[Step], started: Iterable[Key]) -> set[Key]:
        """What is on the wire after these steps, when these were started."""
        ended = {step.finished.key for step in steps if step.finished}
        ended |= {step.released[0] for step in steps if step.released}
        return (self._wire - ended) | set(started)

    def _make_apply(self, steps: Sequence[Step]) -> Callable[[Connection], tuple[dict[Key, int], datetime]]:
        """What writes these steps: the keys that were started with their attempts so far, and when.

        Run again, it finds out whether it was written the first time.
        """
        starts = [step.start for step in steps if step.start]
        member = self.member
        if member is None:
            return lambda conn: self._write_alone(conn, steps, starts)
        starting = {claimed.key for claimed in starts}
        number, wire, is_first = member.count_step(), self._list_wire(steps, starting), True

        def apply(conn: Connection) -> tuple[dict[Key, int], datetime]:
            nonlocal is_first
            was_first, is_first = is_first, False
            # Before the rows: who takes over from the dead locks in this order too.
            if not was_first and not fleet.note_step(conn, self.owner, number, wire)():
                started, since = moves.list_started(conn, starting, self.owner)
                return started, since or self.clock()
            with in_one_go(conn) if _is_plain(steps) else nullcontext():
                is_alive = fleet.note_step(conn, self.owner, number, wire) if was_first else lambda: True
                try:
                    started, now = self._write(conn, steps, starts)
                    is_alive()
                except Exception:
                    with suppress(conn.dialect.loaded_dbapi.Error):  # where it cannot be asked any more
                        is_alive()  # of what others took over, other things fail too
                    raise
            self._settle(conn, starts, started, now)
            return started, now

        return apply

    def _write_alone(
        self, conn: Connection, steps: Sequence[Step], starts: Sequence[Claimed]
    ) -> tuple[dict[Key, int], datetime]:
        started, now = self._write(conn, steps, starts)
        self._settle(conn, starts, started, now)
        return started, now

    def _write(
        self, conn: Connection, steps: Sequence[Step], starts: Sequence[Claimed]
    ) -> tuple[dict[Key, int], datetime]:
        now = self.clock()
        finished = [step.finished for step in steps if step.finished]
        moves.finish_attempts(conn, finished)
        moves.release_deliveries(conn, [step.released for step in steps if step.released], now)
        for attempt in finished:
            if attempt.state is DeliveryState.REJECTED:
                exclusions.reopen_window_of(conn, attempt.key)
        for step in steps:
            for change in step.changes:
                change(conn)
        keys, held = {claimed.key for claimed in starts}, moves.list_held(starts)
        even_if = self.even_if_issue_paused
        return moves.start_deliveries(conn, keys, self.owner, now, held=held, even_if_issue_paused=even_if), now

    def _settle(self, conn: Connection, starts: Sequence[Claimed], started: Mapping[Key, int], now: datetime) -> None:
        """What is to be said of those that may not start, and of batches that are through."""
        unstarted = {claimed.key for claimed in starts} - started.keys()
        if unstarted:
            exclusions.settle_unstarted(conn, sorted(unstarted), now)
        self._mark_through(conn, starts)

    def _mark_through(self, conn: Connection, rows: Iterable[Claimed]) -> None:
        for claimed in rows:
            if claimed.batch_id in self._unstarted:
                self._unstarted[claimed.batch_id].discard(claimed.key)
                self._close_if_through(conn, claimed.batch_id)

    def _close_if_through(self, conn: Connection, batch_id: int) -> None:
        if not self._unstarted[batch_id]:
            outbox.close_batch(conn, batch_id)
            self._closed.add(batch_id)  # forgotten when that is committed: a step may be written again


def _is_plain(steps: Iterable[Step]) -> bool:
    """Whether nothing is to be written but prepared statements, of which none waits for another's answer."""
    accepted = (step.finished is None or step.finished.outcome is Outcome.ACCEPTED for step in steps)
    return all(accepted) and not any(step.changes for step in steps)
