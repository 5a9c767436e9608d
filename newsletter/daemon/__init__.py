"""The daemon: publishes by the schedule, delivers, watches, and keeps the pages, until it is told to stop.

APScheduler ticks; what a tick does is decided in core/ and done by the rooms below. Several daemons on one database are
harmless: each run is published by one of them, and one delivers.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from watchfiles import awatch

from newsletter.bootstrap import Service
from newsletter.daemon.alert import mail_alarms
from newsletter.daemon.collector import Collector
from newsletter.daemon.deliverer import Deliverer, finish
from newsletter.daemon.pages import Pages
from newsletter.daemon.postman import Postman
from newsletter.daemon.shelf import Shelf
from newsletter.daemon.threads import in_thread
from newsletter.daemon.ticker import Ticker
from newsletter.daemon.watcher import Watcher
from newsletter.metrics import Metrics
from newsletter.sources.remote import is_address
from newsletter.store import ledger, reports, upkeep
from newsletter.web.listening import listen

TICK_SECONDS = 1
POST_SECONDS = 2
COLLECT_SECONDS = 5
LOOK_SECONDS = 10
FETCH_SECONDS = 15 * 60
TIDY_SECONDS = 10 * 60

log = logging.getLogger("newsletter.daemon")


@dataclass(kw_only=True)
class Daemon:
    """One daemon. `run` it; `stop` set, it ends. `env_file` is where its settings came from, for the pages."""

    service: Service
    env_file: Path | None = None
    web: bool = True
    delivery: bool = True
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Run until a signal comes. ConfigError before anything begins, where a setting does not work."""
        self._check()
        self._build()
        self._catch_signals()
        scheduler = self._make_scheduler()
        await in_thread(self._ticker.begin, self.service.now())
        async with asyncio.TaskGroup() as group:
            if self._pages is not None:
                group.create_task(self._pages.run())
            group.create_task(self._watch_folders())
            delivering = group.create_task(self._deliverer.run()) if self.delivery else None
            scheduler.start()
            log.info("the daemon runs", extra={"fields": self._describe()})
            await self.stop.wait()
            log.info("the daemon ends: what is on the wire is finished and recorded")
            scheduler.shutdown(wait=False)
            if delivering is not None:
                await finish(delivering)
        log.info("the daemon has ended")

    def _check(self) -> None:
        """Everything that can be wrong with the settings and files, before anything begins."""
        self.service.make_publisher()
        self.service.make_relays()
        self.service.make_dkim_keys()

    def _build(self) -> None:
        service, settings = self.service, self.service.settings
        self._fetched = asyncio.Event()
        self._metrics = Metrics(version("newsletter"))
        self._watcher = Watcher(service=service, shelf=Shelf(), metrics=self._metrics)
        self._ticker = Ticker(service=service, shelf=Shelf(), should_stop=self.stop.is_set)
        self._deliverer = Deliverer(service=service, stop=self.stop, note=self._watcher.note)
        self._postman = Postman(service)
        self._collector = Collector(service=service, should_stop=self.stop.is_set)
        self._pages = None
        if self.web:
            listening = listen(settings.web.host, settings.web.port, shared=True)
            self._pages = Pages(listening=listening, env_file=self.env_file, stop=self.stop)

    def _describe(self) -> dict[str, object]:
        """What the first line of the log says."""
        pages = self._pages and self._pages.listening.getsockname()
        table = self.service.timetable
        return {
            "version": version("newsletter"),
            "schedule": table.cron.text if table else "none",
            "zone": "each reader's" if table and table.local else str(self.service.settings.timezone),
            "delivery": "yes" if self.delivery else "no",
            "web": f"http://{pages[0]}:{pages[1]}" if pages else "no",
        }

    def _catch_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stop.set)

    def _make_scheduler(self) -> AsyncIOScheduler:
        """Late ticks are run once, however many they were: APScheduler would drop them, or run each."""
        scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        now = datetime.now(UTC)
        for job, seconds in (
            (self._tick, TICK_SECONDS),
            (self._post, POST_SECONDS),
            (self._collect, COLLECT_SECONDS),
            (self._look, LOOK_SECONDS),
            (self._fetch, FETCH_SECONDS),
            (self._tidy, TIDY_SECONDS),
        ):
            scheduler.add_job(_guard(job), "interval", seconds=seconds, next_run_time=now)
        return scheduler

    async def _tick(self) -> None:
        await in_thread(self._ticker.tick, self.service.now())

    async def _post(self) -> None:
        """Send confirmations: of several daemons the one that delivers does."""
        if self._deliverer.is_active and not self.stop.is_set():
            await self._postman.run()

    async def _collect(self) -> None:
        """Take bounces out of their mailbox: of several daemons the one that delivers does."""
        if self._deliverer.is_active and not self.stop.is_set():
            await in_thread(self._collector.collect)

    async def _look(self) -> None:
        if self._pages is not None:
            self._pages.pulse(self._metrics.render())
        await self._fetched.wait()  # before, nothing is known of the feeds
        now, deliverer = self.service.now(), self._deliverer
        await in_thread(
            self._watcher.look,
            now,
            delivering=deliverer.is_active,
            stopped=deliverer.stopped,
            publishing_failure=self._ticker.failure,
            mailbox_failure=self._collector.failure,
        )
        if self._pages is not None:
            self._pages.pulse(self._metrics.render())
        if deliverer.is_active or not self.delivery:  # of several daemons, one
            await mail_alarms(self.service, now)

    async def _fetch(self) -> None:
        try:
            await in_thread(self.service.offer.refresh_feeds)
        finally:
            self._fetched.set()

    async def _tidy(self) -> None:
        """Give up what is too old, and forget what is past its retention."""
        if self._deliverer.is_active:
            await in_thread(self._expire_and_prune)

    def _expire_and_prune(self) -> None:
        settings, now = self.service.settings, self.service.now()
        with self.service.database.act() as conn:  # what is pruned may be much, and nobody else writes it
            expired = upkeep.expire_deliveries(conn, now, settings.expire_after)
            ledger.prune_issues(conn, now, settings.retain)
            reports.prune_reports(conn, now - settings.retain)
        self._postman.tidy()
        if expired:
            log.warning("deliveries were given up", extra={"fields": {"count": expired, "reason": "expired"}})

    async def _watch_folders(self) -> None:
        """Look at once when a file of a folder changes; where that cannot be watched, polling finds it too."""
        folders = [source for source in self.service.settings.briefs if not is_address(source)]
        if not folders:
            return
        with suppress(OSError):  # one is missing: the next look says so
            async for _ in awatch(*folders, stop_event=self.stop):
                await _guard(self._look)()


def _guard(job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The scheduler's tick: what fails is logged, and the next one goes on."""

    async def guarded() -> None:
        try:
            await job()
        except Exception:
            log.exception("a tick failed", extra={"fields": {"tick": job.__name__.strip("_")}})

    return guarded
