"""Claims deliveries from the store: fresh ones a batch at a time, then those whose next attempt is due."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from newsletter.core.model import Key
from newsletter.core.policy import LANES
from newsletter.deliver.ledger_writer import LedgerWriter
from newsletter.deliver.waiting import Waiting
from newsletter.store import outbox, upkeep
from newsletter.store.outbox import Claimed

LOW_WATER = 500
READ_AHEAD = 10_000
"""So many deliveries are in memory at most, where those of a few domains pile up."""


@dataclass(kw_only=True)
class Claims:
    """Fills `waiting`. `exhausted`: nothing more was due when it last asked, and nothing has come back since."""

    waiting: Waiting
    writer: LedgerWriter
    owner: int
    clock: Callable[[], datetime]
    issue: int | None = None
    only: Key | None = None
    exhausted: bool = False
    _read_up_to: dict[str, tuple[datetime, Key]] = field(default_factory=dict)

    def wants_more(self, idle: int) -> bool:
        """Whether to ask for more, while so many connections have nothing to do."""
        if self.exhausted or len(self.waiting) >= READ_AHEAD:
            return False
        return idle > 0 or self.waiting.count_varied() < LOW_WATER

    def look_again(self) -> None:
        """Something has come back that is due at once."""
        self.exhausted = False

    async def refill(self, *, anew: bool = False) -> None:
        """Claim some more, if there is anything due; `anew`, also what was read before and has come back since."""
        if anew:
            self._read_up_to.clear()
        while True:
            found, taken = await self.writer.run(self._claim)
            if taken or not found:
                break
        self.exhausted = not taken

    def _claim(self, conn: Connection) -> tuple[bool, int]:
        """Claim some; whether there was anything, and how much of it need not wait for its domain.

        That is in hand at once: while the commit is awaited its domain may be shut, and what waits for it sent away.
        """
        found, free = self._find(conn)
        self.waiting.add(free)
        return found, len(free)

    def _find(self, conn: Connection) -> tuple[bool, list[Claimed]]:
        if upkeep.is_paused(conn):
            return False, []
        if self.only is not None:
            row = outbox.read_delivery(conn, self.only, self.clock())
            return False, [row] if row else []
        batch = outbox.claim_batch(conn, self.owner, self.clock(), self.issue)
        if batch is None:
            rows = self._claim_deferred(conn)
            return bool(rows), self._hold_back(conn, rows)
        rows = outbox.read_batch(conn, batch)
        self.writer.expect(conn, batch.id, [row.key for row in rows])
        return True, self._hold_back(conn, rows)

    def _claim_deferred(self, conn: Connection) -> list[Claimed]:
        """The longest waiting of each lane, after those that are in hand already."""
        found = []
        for lane in ("", *LANES):
            rows = outbox.read_deferred(conn, lane, self.clock(), self.issue, after=self._read_up_to.get(lane))
            if rows:
                claimed, due_at = rows[-1]
                self._read_up_to[lane] = due_at, claimed.key
                found += [claimed for claimed, _ in rows]
        return found

    def _hold_back(self, conn: Connection, rows: list[Claimed]) -> list[Claimed]:
        """Let those wait whose domain is shut; the others are returned."""
        free = []
        for row in rows:
            backoff = self.waiting.gate_of(row).backoff
            if backoff.until_at is not None and backoff.is_shut(self.clock()):
                self.writer.defer(conn, [row], backoff.until_at)
            else:
                free.append(row)
        return free
