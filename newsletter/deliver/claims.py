"""Claims deliveries from the store: fresh ones a batch at a time, then those whose next attempt is due.

What is in memory is bounded, and no domain may fill it: of a great provider's lane no more is claimed while there is
enough in hand. Any other domain is only known once its deliveries are read; where the memory is full of some that go
slowly, these are set aside: all but a few wait in a lane of their own in the store, and block nobody there.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.model import Key
from newsletter.deliver.ledger_writer import LedgerWriter
from newsletter.deliver.offers import Ending, Offers
from newsletter.deliver.waiting import Waiting
from newsletter.store import jobs, moves, outbox, upkeep
from newsletter.store.outbox import BATCH_SIZE, DEFERRED_SIZE, Claimed
from newsletter.store.throttles import ASIDE, Throttled, read_backoffs

LOW_WATER = 500
READ_AHEAD = 10_000
"""So many deliveries are in memory at most, where those of a few domains pile up."""

SLOW_SECONDS = 1.0
"""Where a full memory has room for no other batch after this time, what is in it goes slowly."""

PASSED_OVER_SECONDS = 10.0
"""So long after a job of a lane in hand came, batches of other lanes are taken without waiting for their jobs."""

LOOK_AGAIN_SECONDS = 1.0
"""How often it is looked for what has become due meanwhile or was published, and whether a relay may be tried again."""

BEGINNING = datetime.fromtimestamp(0, UTC), (0, 0)


@dataclass(kw_only=True)
class Claims:
    """Fills `waiting`. `exhausted`: nothing more was due when it last asked, and nothing has come back since.

    Where jobs carry the batches, these come from `offers`. Where many deliver, what is deferred is kept from the others
    for as long as `hold`, and nothing is claimed unless it `may_claim`.
    """

    waiting: Waiting
    writer: LedgerWriter
    owner: int
    clock: Callable[[], datetime]
    issue: int | None = None
    only: Key | None = None
    offers: Offers | None = None
    hold: timedelta | None = None
    may_claim: Callable[[], bool] = lambda: True
    exhausted: bool = False
    _looked_at: float = 0.0
    _passed_over_at: float = -math.inf
    _tidied: set[str] = field(default_factory=set)
    _read_up_to: dict[str, tuple[datetime, Key]] = field(default_factory=dict)

    def wants_more(self, idle: int) -> bool:
        """Whether to ask for more, while so many connections have nothing to do."""
        if self.is_full:
            return False
        if self.waiting.low:
            return True
        if self.exhausted and self._seconds_since_look() < LOOK_AGAIN_SECONDS:
            return False
        return idle > 0 or self.waiting.count_varied() < LOW_WATER

    @property
    def is_full(self) -> bool:
        """Whether no more is taken into the memory."""
        return len(self.waiting) >= READ_AHEAD

    @property
    def is_slow(self) -> bool:
        """Whether it is a while since more was claimed: what is in a full memory then goes slowly."""
        return self._seconds_since_look() >= SLOW_SECONDS

    def look_again(self) -> None:
        """Something has come back that is due at once."""
        self.exhausted = False

    async def make_room(self) -> None:
        """Set aside what crowds the memory: it waits in the store, and no other domain waits behind it."""
        for keep in (self.waiting.enough, 1):
            while rows := self.waiting.shed(keep, BATCH_SIZE):
                await self.writer.run(partial(self._set_aside, rows=rows))
            if not self.is_full:
                break
        self.look_again()

    async def refill(self, *, anew: bool = False) -> bool:
        """Claim some more, if there is anything due; `anew`, also what was read before and has come back since.

        Whether to do so again at once: what there was has to wait for its domain.
        """
        if anew:
            self._read_up_to.clear()
        if not self.may_claim():  # it has no share of any relay's connections: others have
            self.exhausted = True
            return False
        found, taken = await self.writer.run(self._claim)
        self.exhausted = not (found or taken)
        self._looked_at = self.waiting.clock()
        return found and not taken

    def _seconds_since_look(self) -> float:
        return self.waiting.clock() - self._looked_at

    def _claim(self, conn: Connection) -> tuple[bool, int]:
        """Claim some; whether there was anything, and how much of it need not wait for its domain.

        That is in hand at once: while the commit is awaited its domain may be shut, and what waits for it sent away.
        """
        before = len(self.waiting)
        found = self._find(conn)
        return found, len(self.waiting) - before

    def _find(self, conn: Connection) -> bool:
        if upkeep.is_paused(conn):
            return False
        if self.only is not None:
            row = outbox.read_delivery(conn, self.only, self.clock())
            self._take_into_hand(conn, [row] if row else [])
            return False
        if self.hold is not None:
            self.waiting.adopt(read_backoffs(conn, Throttled.DOMAIN), self.clock())
        low = [gate for gate in self.waiting.low if gate.aside]
        passed = self.waiting.pass_over()
        for gate in low:
            gate.more = self._claim_lane(conn, f"{ASIDE}{gate.name}") > 0
        batch = self._claim_batch(conn, passed)
        if batch is None:
            return self._claim_deferred(conn, passed) or any(gate.more for gate in low)
        rows = outbox.read_batch(conn, batch)
        self.writer.expect(conn, batch.id, [row.key for row in rows])
        self._take_into_hand(conn, rows)
        return True

    def _claim_batch(self, conn: Connection, passed: Collection[str]) -> Row[Any] | None:
        """The next batch that is free: any, or of those that jobs offer."""
        now = self.clock()
        if self.offers is None:
            return self._claim_any(conn, passed)
        for batch_id in self.offers.take_all():
            try:
                batch = outbox.claim_batch(conn, self.owner, now, self.issue, but=passed, batch_id=batch_id)
            except BaseException:
                self.offers.put_back(batch_id)
                raise
            if batch is not None:
                return batch
            waits = passed and outbox.read_lane(conn, batch_id) in passed
            self._passed_over_at = self.waiting.clock() if waits else self._passed_over_at
            self.offers.end(batch_id, Ending.LATER if waits else Ending.NOT_FREE)
        if self.waiting.clock() - self._passed_over_at > PASSED_OVER_SECONDS:
            return None
        # The jobs of a slow lane stand before the others': these are not to wait for it.
        return self._claim_any(conn, passed)

    def _claim_any(self, conn: Connection, passed: Collection[str]) -> Row[Any] | None:
        batch = outbox.claim_batch(conn, self.owner, self.clock(), self.issue, but=passed)
        if batch is not None and batch.job_id is not None:
            jobs.cancel_job(conn, batch.job_id)
        return batch

    def _claim_deferred(self, conn: Connection, passed: Collection[str]) -> bool:
        """The longest waiting of some lanes, after those that are in hand already; whether there were any."""
        found = 0
        for lane in outbox.list_due_lanes(conn):
            if lane not in passed and found < BATCH_SIZE:
                found += self._claim_lane(conn, lane)
        return found > 0

    def _claim_lane(self, conn: Connection, lane: str) -> int:
        """The next few of a lane; returns how many there were."""
        aside = lane.startswith(ASIDE)
        most = self.waiting.enough if aside else DEFERRED_SIZE
        after = self._read_up_to.get(lane)
        tidy = after is None and (self.hold is None or lane not in self._tidied)
        self._tidied.add(lane)
        rows = outbox.read_deferred(conn, lane, self.clock(), self.issue, after=after, most=most, tidy=tidy)
        if not rows:
            return 0
        last, due_at = rows[-1]
        if self.hold is None:
            self._read_up_to[lane] = due_at, last.key
        else:
            rows = moves.hold_deferred(conn, rows, self.clock() + self.hold)
        found = [claimed for claimed, _ in rows]
        if aside:
            gate = self.waiting.gate_of(last)
            self.waiting.set_aside(gate)
            in_hand = {claimed.key for line in (gate.plain, gate.smtputf8) for claimed in line}
            found = [claimed for claimed in found if claimed.key not in in_hand]
        self._take_into_hand(conn, found)
        return len(rows)

    def _take_into_hand(self, conn: Connection, rows: Iterable[Claimed]) -> None:
        """Let those wait whose domain is shut, or is set aside with enough in hand; the others go as they can."""
        too_many = []
        for row in rows:
            gate = self.waiting.gate_of(row)
            until_at = gate.backoff.until_at
            if until_at is not None and gate.backoff.is_shut(self.clock()):
                self.writer.defer(conn, [row], until_at)
            elif gate.aside and len(gate) >= 2 * self.waiting.enough:
                too_many.append(row)
            else:
                self.waiting.add([row])
        self._set_aside(conn, too_many)

    def _set_aside(self, conn: Connection, rows: Sequence[Claimed]) -> None:
        by_domain: dict[str, list[Claimed]] = {}
        for row in rows:
            by_domain.setdefault(self.waiting.gate_of(row).name, []).append(row)
        for domain, group in by_domain.items():
            self.writer.set_aside(conn, group, domain)
            self._read_up_to[f"{ASIDE}{domain}"] = BEGINNING
