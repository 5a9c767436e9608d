"""The one writer of outcomes: what piled up while a transaction was committing goes into the next one.

A connection awaits `step` before it uses the wire again, so after a kill only what was on the wire is in doubt.
There is no deliberate delay: it commits whenever it is free.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from newsletter.core.errors import StoreBusyError
from newsletter.core.model import Key, name_delivery
from newsletter.store import exclusions, outbox, subscribers
from newsletter.store.database import Database
from newsletter.store.outbox import Claimed, Finished


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a connection has to write down: the end of its last mail, the start of its next, or both."""

    finished: Finished | None = None
    released: tuple[Key, int] | None = None
    suppressed: Claimed | None = None
    start: Claimed | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """A delivery that may go on the wire now: since when it is marked so, and how many attempts it had before."""

    at: datetime
    attempts: int


@dataclass
class LedgerWriter:
    """Commits steps in groups, on `executor`'s one thread; `even_if_issue_paused`: whatever its issue's state."""

    database: Database
    executor: Executor
    owner: int
    clock: Callable[[], datetime]
    even_if_issue_paused: bool = False
    _unstarted: dict[int, set[Key]] = field(default_factory=dict)
    _pending: list[tuple[Step, asyncio.Future[Started | None]]] = field(default_factory=list)
    _running: asyncio.Task[None] | None = None

    def expect(self, batch_id: int, keys: Iterable[Key]) -> None:
        """Remember which deliveries of a batch are still to be started; with the last of them the batch is closed."""
        self._unstarted[batch_id] = set(keys)

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
            started = await done
            if started is not None and step.start is not None:
                await self.step(Step(released=(step.start.key, started.attempts)))
            raise

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            group, self._pending = self._pending, []
            try:
                started, now = await loop.run_in_executor(self.executor, self._commit, [step for step, _ in group])
            except StoreBusyError:  # outcomes must not be lost because somebody writes for long: try again
                self._pending = group + self._pending
                continue
            except Exception as error:  # noqa: BLE001  every waiting connection must learn of it, or it would hang
                for _, done in group:
                    done.set_exception(error)
                continue
            for step, done in group:
                # pop: of two connections that claimed the same delivery within one group, one alone may send it
                attempts = started.pop(step.start.key, None) if step.start else None
                done.set_result(None if attempts is None else Started(at=now, attempts=attempts))

    def _commit(self, steps: Sequence[Step]) -> tuple[dict[Key, int], datetime]:
        with self.database.write() as conn:
            now = self.clock()
            outbox.finish_attempts(conn, [step.finished for step in steps if step.finished])
            outbox.release_deliveries(conn, [step.released for step in steps if step.released], now)
            for step in steps:
                if step.suppressed is not None:
                    who, attempt = step.suppressed, step.finished
                    source = f"reply to delivery {name_delivery(who.key)}"
                    reason = (attempt.enhanced if attempt else None) or "hard bounce"
                    subscribers.suppress(conn, who.address_hash, who.email, reason=reason, source=source, now=now)
                if step.finished is not None and step.finished.state == "rejected":
                    exclusions.reopen_window_of(conn, step.finished.key)
            starts = [step.start for step in steps if step.start]
            started = self._start(conn, starts, now) if starts else {}
        return started, now

    def _start(self, conn: Connection, starts: Sequence[Claimed], now: datetime) -> dict[Key, int]:
        keys = [claimed.key for claimed in starts]
        started = outbox.start_deliveries(conn, keys, self.owner, now, even_if_issue_paused=self.even_if_issue_paused)
        exclusions.settle_unstarted(conn, [key for key in keys if key not in started], now)
        for claimed in starts:
            unstarted = self._unstarted.get(claimed.batch_id, set())
            unstarted.discard(claimed.key)
            if claimed.batch_id in self._unstarted and not unstarted:
                outbox.close_batch(conn, claimed.batch_id)
                del self._unstarted[claimed.batch_id]
        return started
