"""Keeps to the schedule: at each tick, what is to go now is published, once among all daemons of a database.

Decides nothing: core/runs.py does. What fails is tried again at a later tick, as long as the run is not too late.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from newsletter.bootstrap import Service
from newsletter.core.alarms import Alarm, Cause
from newsletter.core.errors import NewsletterError
from newsletter.core.runs import Decision, Run, Timetable, decide
from newsletter.daemon.shelf import Shelf
from newsletter.publish.scheduled import publish_run
from newsletter.store import issues, subscribers, upkeep
from newsletter.store.agenda import Agenda, read_agenda, write_agenda
from newsletter.store.alarms import raise_alarms

LOOK_AGAIN = timedelta(minutes=1)
"""At least so often the schedule is looked at anew: readers of another zone may have come, or the clock been set."""

PATIENCE = timedelta(minutes=1)
"""So long a run waits for a brief that is still being written; then it goes without it."""

log = logging.getLogger("newsletter.schedule")


@dataclass(kw_only=True)
class Ticker:
    """`tick` it every second, from one thread at a time. `should_stop` ends a publication between two pages."""

    service: Service
    shelf: Shelf
    should_stop: Callable[[], bool] = lambda: False
    failure: str | None = None
    _looked_at: datetime | None = None
    _look_at: datetime | None = None
    _waiting_since: datetime | None = None

    @property
    def table(self) -> Timetable | None:
        """The schedule that the settings set."""
        return self.service.timetable

    def begin(self, now: datetime) -> None:
        """Note that this schedule is kept from now on, where it was not before: what it asked for earlier is past."""
        if self.table is None:
            log.info("no schedule is set (NEWSLETTER_SCHEDULE): only what is owed is delivered")
            return
        with self.service.database.write() as conn:
            old = read_agenda(conn)
            if old is None or old.identity != self.table.identity:
                write_agenda(conn, old, Agenda(identity=self.table.identity, up_to=now))
                log.info("the schedule begins", extra={"fields": self.table.identity})

    def tick(self, now: datetime) -> None:
        """Do what is due at this moment, if anything is."""
        if self._looked_at and self._look_at and self._looked_at <= now < self._look_at:
            return
        self._looked_at, self._look_at = now, now + LOOK_AGAIN
        try:
            self._finish_preparing(now)
            if self.table is not None:
                self._keep(self.table, now)
        except NewsletterError as error:
            self._tell_failure(str(error), now)
        else:
            self.failure = None

    def _finish_preparing(self, now: datetime) -> None:
        """Write what a killed publication left unwritten."""
        with self.service.database.read() as conn:
            preparing = issues.list_preparing(conn)
        if preparing:
            written = self.service.make_publisher().finish_preparing(now=now, should_stop=self.should_stop)
            log.info("a publication went on", extra={"fields": {"issue": preparing[0], "deliveries": written}})

    def _keep(self, table: Timetable, now: datetime) -> None:
        with self.service.database.read() as conn:
            agenda, zones = read_agenda(conn), _read_zones(conn, table)
            if upkeep.is_paused(conn) or agenda is None:
                return
        decision = decide(table, zones, agenda.up_to, now)
        self._look_at = min(decision.next_at, now + LOOK_AGAIN)
        if decision.run is not None:
            self._go(decision.run, agenda, now)
        elif decision.missed_at is not None:
            self._miss(decision, agenda, now)

    def _go(self, run: Run, agenda: Agenda, now: datetime) -> None:
        service = self.service.renew()
        service.offer.refresh_feeds()
        found = self.shelf.look(service)
        if found.half_written and now - (self._waiting_since or now) < PATIENCE:
            self._waiting_since = self._waiting_since or now
            self._look_at = now + timedelta(seconds=1)
            return
        self._waiting_since = None
        done = agenda.model_copy(update={"up_to": now, "last_at": run.at})
        publisher = service.make_publisher()
        number = publish_run(
            publisher, found.sources, run, now=now, claim=lambda conn: write_agenda(conn, agenda, done)
        )
        if number is None:
            log.warning("no news: nothing is published", extra={"fields": {"run": run.at.isoformat()}})
            return
        log.info("published", extra={"fields": {"issue": number, "run": run.at.isoformat()}})
        written = publisher.finish_preparing(now=now, should_stop=self.should_stop)
        log.info("deliveries written", extra={"fields": {"issue": number, "deliveries": written}})

    def _miss(self, decision: Decision, agenda: Agenda, now: datetime) -> None:
        late = f"{decision.missed_at:%Y-%m-%d %H:%M} UTC"
        message = f"the run of {late} was missed: nothing ran then, and it is later than MISFIRE_GRACE allows"
        alarm = Alarm(cause=Cause.RUN_MISSED, subject=late, message=message)
        with self.service.database.write() as conn:
            if write_agenda(conn, agenda, agenda.model_copy(update={"up_to": now})):
                raise_alarms(conn, [alarm], now)
                log.error(message)

    def _tell_failure(self, sentence: str, now: datetime) -> None:
        """Say once what keeps a run from going; it is tried again within the minute."""
        if sentence == self.failure:
            return
        self.failure = sentence
        log.error(f"a run could not be published: {sentence}")


def _read_zones(conn: Connection, table: Timetable) -> list[ZoneInfo]:
    """The zones of the readers, where the schedule counts in them."""
    return [ZoneInfo(name) for name in subscribers.list_zones(conn)] if table.local else []
