"""Delivers for as long as the daemon or worker runs: whatever is due, as soon as it is, and what others ask for.

On SQLite it holds the lock beside the database; a second daemon waits for it and takes over when the first one ends. On
PostgreSQL all deliver: Procrastinate hands out the batches (jobs.py), and each takes its part of what is deferred.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.core.model import Key
from newsletter.deliver import DeliveryRun
from newsletter.deliver.membership import Membership
from newsletter.deliver.offers import Offers
from newsletter.store import requests, upkeep
from newsletter.store.lock import DeliveryLock
from newsletter.store.moves import Finished
from newsletter.store.throttles import Throttled, read_backoffs

LOOK_SECONDS = 0.5
"""How often it is looked whether something is due."""

SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=1)
"""How long it waits after a failure of its own (a full disk, a locked database), twice as long each time."""

FINISH_SECONDS = 10.0
"""How long what is on the wire may take at the end; then it is recorded as uncertain (CONTRACT, Web)."""

LONGEST_END_SECONDS = 3.0
"""How long jobs may take to be given back."""

log = logging.getLogger("newsletter.delivery")


@dataclass(kw_only=True)
class Deliverer:
    """`stop` set: what is on the wire is finished and recorded, then it ends. `note` is told of every attempt.

    `is_active`: of several daemons this one delivers, or has done so the longest. A worker is no daemon.
    """

    service: Service
    stop: asyncio.Event
    note: Callable[[Finished], None]
    is_daemon: bool = True
    is_active: bool = False
    stopped: str | None = None
    failures: int = 0
    _resume_at: datetime | None = None
    _run: DeliveryRun | None = field(default=None)
    _member: Membership | None = None
    _offers: Offers | None = None
    _may_go: bool = True
    _is_torn: bool = False
    """The last run ended without having written down what it did."""

    async def run(self) -> None:
        """Deliver until `stop` is set."""
        path = self.service.database.path
        stopping = asyncio.create_task(self._halt_when_stopped())
        try:
            await (self._run_alone(path) if path else self._run_in_fleet())
        finally:
            stopping.cancel()

    async def _run_alone(self, path: Path) -> None:
        with DeliveryLock(path) as lock:
            while not self.stop.is_set():
                self.is_active = self.is_active or lock.acquire()
                if self.is_active:
                    await self._look()
                await self._wait()

    async def _run_in_fleet(self) -> None:
        self._offers = offers = Offers()
        async with self.service.make_membership(is_daemon=self.is_daemon) as member, self._taking_jobs(offers):
            self._member = member
            while not self.stop.is_set():
                self.is_active = member.leads
                await self._look()
                await self._wait(offers.arrived if self._may_go else None)

    @asynccontextmanager
    async def _taking_jobs(self, offers: Offers) -> AsyncIterator[None]:
        """Take jobs meanwhile; at the end, those that are under way are given back."""
        from newsletter.daemon.jobs import JobTaker  # here: the packages for it come with newsletter[postgres]

        taking = asyncio.create_task(JobTaker(self.service.database, offers, self.stop).run())
        try:
            yield
        finally:
            offers.give_back()
            taking.cancel()
            await asyncio.wait([taking], timeout=LONGEST_END_SECONDS)

    async def _look(self) -> None:
        try:
            if self._member is not None and (self._member.lost or self._is_torn):
                if self._resume_at and self.service.now() < self._resume_at:
                    return
                await self._member.rejoin()
            self._is_torn = False
            await self._deliver_due()
        except Exception as error:
            self._is_torn = True
            self.failures += 1
            longest = SHORTEST_PAUSE if self._member else LONGEST_PAUSE  # a database comes back for all at once
            pause = min(SHORTEST_PAUSE * 2 ** min(self.failures - 1, 10), longest)
            self._resume_at = self.service.now() + pause
            self.stopped = str(error)
            known = isinstance(error, NewsletterError)
            told = {"again_in": f"{pause.total_seconds():.0f}"}
            log.error(f"delivery failed: {error}", extra={"fields": told}, exc_info=None if known else error)

    async def _deliver_due(self) -> None:
        now = self.service.now()
        with self.service.database.read() as conn:
            asked = [(name, request) for name, request in requests.list_requests(conn) if not request.done]
            due = bool(self._offers) or upkeep.is_work_due(conn, now, deferred_only=self._member is not None)
            backoffs = read_backoffs(conn, Throttled.RELAY)
        names = [name for name, request in asked if request.only is None]
        for name, request in asked:
            if request.only is not None:
                await self._deliver([name], only=request.only)
        shut = all(relay.name in backoffs and backoffs[relay.name].is_shut(now) for relay in self.service.make_relays())
        self._may_go = not shut and not (self._resume_at and now < self._resume_at)
        if names or (due and self._may_go):
            await self._deliver(names)

    async def _deliver(self, names: list[str], *, only: Key | None = None) -> None:
        """One run, by hand where it was asked for; those who asked are told how it ended."""
        self._run = run = self.service.make_delivery(issue=None, only=only, by_hand=bool(names), note=self.note)
        run.membership, run.offers = self._member, self._offers
        if self.stop.is_set():
            return
        try:
            progress = await run.deliver()
        finally:
            self._run = None
        if names:
            with self.service.database.write() as conn:
                requests.answer_requests(conn, names, progress.stopped)
        self.failures = 0
        self.stopped = None if self.stop.is_set() else progress.stopped
        if self.stopped:
            self._resume_at = self.service.now() + SHORTEST_PAUSE
            log.error(f"delivery stopped: {self.stopped}")
        for alarm in progress.alarms:
            log.error(alarm)
        if progress.outcomes:
            counts = {str(outcome): count for outcome, count in progress.outcomes.items()}
            log.info("delivered", extra={"fields": counts})

    async def _halt_when_stopped(self) -> None:
        await self.stop.wait()
        if self._run is not None:
            self._run.halt("the daemon ends")

    async def _wait(self, earlier: asyncio.Event | None = None) -> None:
        """Wait until it is time to look again, or there is cause to do so `earlier`."""
        waits = [asyncio.create_task(event.wait()) for event in (self.stop, earlier) if event is not None]
        await asyncio.wait(waits, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def finish(delivering: "asyncio.Task[None]") -> None:
    """Wait for what is on the wire, and then no more: cancelled, it is recorded as uncertain."""
    done, _ = await asyncio.wait([delivering], timeout=FINISH_SECONDS)
    if not done:
        delivering.cancel()
        await asyncio.wait([delivering])
    elif (error := delivering.exception()) is not None:
        raise error
