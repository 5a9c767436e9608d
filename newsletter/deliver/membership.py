"""A worker's place in the fleet: its lease, kept alive by a heartbeat, its shares of the limits, and care for the dead.

Only on PostgreSQL, where many may deliver. Who loses the lease may neither write nor send any more: the ledger checks
it in each transaction, and `is_held` right before a mail's body goes on the wire.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from newsletter.core.errors import LeaseLostError, StoreError
from newsletter.deliver.outcomes import Rules
from newsletter.store import fleet, jobs, postgres, tallies, upkeep
from newsletter.store.database import Database
from newsletter.store.fleet import Share

BEAT_SECONDS = 1.0
TEND_SECONDS = 5.0
"""How often it is looked for batches that have no job any more."""

MARGIN_SECONDS = 2.0
"""So long before the lease is over nothing goes on the wire any more: what takes time is between the check and it."""

Grants = dict[tuple[str, str], float]
log = logging.getLogger("newsletter.delivery")


def read_clock() -> float:
    """Seconds that pass also while this machine sleeps, or this process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(kw_only=True)
class Membership:
    """`async with` it: one worker of the fleet. `ask` says what it can use of the limits, `take` is told what it has.

    `leads`: of all daemons (`is_daemon`) it has run the longest.
    """

    database: Database
    rules: Rules
    lease: timedelta
    lost: bool = False
    id: int = 0
    slot: int = 0
    ask: Callable[[], Sequence[Share]] = lambda: ()
    take: Callable[[Grants], None] = lambda grants: None
    is_daemon: bool = False
    leads: bool = False
    _steps: int = 0
    _held_until: float = 0.0
    _tended_at: float = 0.0
    _beating: asyncio.Task[None] | None = None
    _abandoned: set[int] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._join)
        try:
            await self.beat()
        except StoreError:
            await asyncio.to_thread(self._leave)
            raise
        self._beating = asyncio.create_task(self._beat_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        await asyncio.to_thread(self._leave)

    def is_held(self) -> bool:
        """Whether this worker certainly has its lease still, by a clock of its own that never stands still."""
        return not self.lost and read_clock() < self._held_until - MARGIN_SECONDS

    def count_step(self) -> int:
        """The number of the next step of this worker's ledger."""
        self._steps += 1
        return self._steps

    def prepare(self, conn: Connection) -> None:
        """Make a connection of this worker's ledger known as such, and let it count apart from others."""
        fleet.sign(conn, self.id, for_good=True)
        tallies.set_shard(conn, self.slot)

    async def beat(self) -> None:
        """Renew the lease, take over from the dead, exchange shares."""
        async with self._turn:  # what an older one brought would be taken for newer
            before, wanted = read_clock(), self.ask()
            tend = before - self._tended_at > TEND_SECONDS
            try:
                await asyncio.to_thread(self._renew)
                self._held_until = before + self.lease.total_seconds()
                grants = await asyncio.to_thread(self._exchange, wanted, tend)
            except LeaseLostError:
                self.lost = True
                raise
            self._tended_at = before if tend else self._tended_at
            self.take(grants)

    async def rejoin(self) -> None:
        """Enter anew after the lease was lost, or after a run ended without having written down what it did."""
        self._abandoned.add(self.id)
        await asyncio.to_thread(self._join)
        self.lost = False
        await self.beat()

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self.lost:  # until it enters anew
                continue
            try:
                await self.beat()
            except LeaseLostError as error:
                log.error(f"delivery stops: {error}")
            except StoreError as error:
                log.warning(f"no heartbeat: {error}")
            except Exception:
                log.exception("no heartbeat")

    def _join(self) -> None:
        worker_id = secrets.randbits(62)
        with self.database.write() as conn:
            self.slot = fleet.join(conn, worker_id, self.lease, is_daemon=self.is_daemon)
        self.id = worker_id

    @contextmanager
    def _act(self) -> Iterator[Connection]:
        with self.database.act() as conn:
            fleet.sign(conn, self.id)
            yield conn

    def _renew(self) -> None:
        with self._act() as conn:
            fleet.renew(conn, self.id, self.lease)
            self.database.skew = postgres.measure_skew(conn)

    def _exchange(self, wanted: Sequence[Share], tend: bool) -> Grants:
        with self._act() as conn:
            self._take_over(conn)
        with self._act() as conn:
            grants = fleet.exchange_shares(conn, self.id, wanted)
            self.leads = fleet.find_leader(conn) == self.id
            if tend:
                fleet.free_orphans(conn)
                jobs.end_stalled(conn)
                jobs.defer_lost(conn, self.database.now())
        return grants

    def _take_over(self, conn: Connection) -> None:
        """Free what dead workers had claimed; what they had on the wire is in doubt."""
        for worker in fleet.list_dead(conn, self._abandoned):
            most = len(self.rules.retry_delays) + 1
            keys = fleet.read_wire(worker)
            count = upkeep.take_over(
                conn, worker.id, keys, self.database.now(), hold=self.rules.hold, most_attempts=most
            )
            jobs.replace_jobs(conn, worker.id)
            fleet.bury(conn, worker.id)
            self._abandoned.discard(worker.id)
            log.warning("a worker died", extra={"fields": {"worker": worker.name.split()[0], "in_doubt": count}})

    def _leave(self) -> None:
        try:
            with self.database.act() as conn:
                fleet.leave(conn, self.id)
        except StoreError as error:
            log.warning(f"the lease is left to run out: {error}")
