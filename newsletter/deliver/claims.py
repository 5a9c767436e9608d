"""The deliveries in the hands of this process: fresh ones a batch at a time, then those whose next attempt is due."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from newsletter.core.errors import StoreBusyError
from newsletter.core.model import Key
from newsletter.store import outbox, upkeep
from newsletter.store.database import Database
from newsletter.store.outbox import Claimed


@dataclass
class Claims:
    """A queue that refills itself. `expect` is told of each claimed batch, so that it can be closed when started."""

    database: Database
    executor: Executor
    owner: int
    clock: Callable[[], datetime]
    expect: Callable[[int, Iterable[Key]], None]
    issue: int | None = None
    only: Key | None = None
    _queue: deque[Claimed] = field(default_factory=deque)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __len__(self) -> int:
        return len(self._queue)

    async def take(self) -> Claimed | None:
        """The next delivery, None where nothing is due now."""
        if not self._queue:
            await self.refill()
        return self._queue.popleft() if self._queue else None

    def put_back(self, claimed: Claimed) -> None:
        """Give back a delivery that was not started."""
        self._queue.appendleft(claimed)

    async def refill(self) -> bool:
        """Claim more where the queue has run dry; whether there is anything in it."""
        async with self._lock:
            if not self._queue:
                self._queue.extend(await self._claim_patiently())
        return bool(self._queue)

    async def _claim_patiently(self) -> list[Claimed]:
        """Somebody may hold the write lock for longer than a transaction waits: ask again."""
        while True:
            with suppress(StoreBusyError):
                return await asyncio.get_running_loop().run_in_executor(self.executor, self._claim)

    def _claim(self) -> list[Claimed]:
        with self.database.write() as conn:
            if upkeep.is_paused(conn):
                return []
            if self.only is not None:
                claimed = outbox.read_delivery(conn, self.only, self.clock())
                return [claimed] if claimed else []
            while (batch := outbox.claim_batch(conn, self.owner, self.clock(), self.issue)) is not None:
                rows = outbox.read_batch(conn, batch)
                if rows:
                    self.expect(batch.id, [row.key for row in rows])
                    return rows
                outbox.close_batch(conn, batch.id)
            return outbox.read_deferred(conn, self.clock(), self.issue)
