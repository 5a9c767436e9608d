"""Delivers for as long as the daemon runs: whatever is due, as soon as it is, and what others ask for meanwhile.

Holds the lock beside the database; a second daemon waits for it and takes over when the first one ends.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.core.model import Key
from newsletter.deliver import DeliveryRun
from newsletter.store import requests, upkeep
from newsletter.store.lock import DeliveryLock
from newsletter.store.outbox import Finished
from newsletter.store.throttles import Throttled, read_backoffs

LOOK_SECONDS = 0.5
"""How often it is looked whether something is due."""

SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=1)
"""How long it waits after a failure of its own (a full disk, a locked database), twice as long each time."""

log = logging.getLogger("newsletter.delivery")


@dataclass(kw_only=True)
class Deliverer:
    """`stop` set: what is on the wire is finished and recorded, then it ends. `note` is told of every attempt."""

    service: Service
    stop: asyncio.Event
    note: Callable[[Finished], None]
    is_active: bool = False
    stopped: str | None = None
    failures: int = 0
    _resume_at: datetime | None = None
    _run: DeliveryRun | None = field(default=None)

    async def run(self) -> None:
        """Deliver until `stop` is set."""
        path = self.service.database.path
        if path is None:
            raise NewsletterError("the daemon delivers from SQLite only")
        stopping = asyncio.create_task(self._halt_when_stopped())
        try:
            with DeliveryLock(path) as lock:
                while not self.stop.is_set():
                    self.is_active = self.is_active or lock.acquire()
                    if self.is_active:
                        await self._look()
                    await self._wait()
        finally:
            stopping.cancel()

    async def _look(self) -> None:
        try:
            await self._deliver_due()
        except Exception as error:
            self.failures += 1
            pause = min(SHORTEST_PAUSE * 2 ** min(self.failures - 1, 10), LONGEST_PAUSE)
            self._resume_at = self.service.now() + pause
            self.stopped = str(error)
            known = isinstance(error, NewsletterError)
            told = {"again_in": f"{pause.total_seconds():.0f}"}
            log.error(f"delivery failed: {error}", extra={"fields": told}, exc_info=None if known else error)

    async def _deliver_due(self) -> None:
        now = self.service.now()
        with self.service.database.read() as conn:
            asked = [(name, request) for name, request in requests.list_requests(conn) if not request.done]
            due = upkeep.is_work_due(conn, now)
            backoffs = read_backoffs(conn, Throttled.RELAY)
        names = [name for name, request in asked if request.only is None]
        for name, request in asked:
            if request.only is not None:
                await self._deliver([name], only=request.only)
        shut = all(relay.name in backoffs and backoffs[relay.name].is_shut(now) for relay in self.service.make_relays())
        may_go = not shut and not (self._resume_at and now < self._resume_at)
        if names or (due and may_go):
            await self._deliver(names)

    async def _deliver(self, names: list[str], *, only: Key | None = None) -> None:
        """One run, by hand where it was asked for; those who asked are told how it ended."""
        self._run = run = self.service.make_delivery(issue=None, only=only, by_hand=bool(names), note=self.note)
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

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self.stop.wait()
