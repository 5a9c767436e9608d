"""Looks at how the service stands, every few seconds: raises and ends alarms, tells by mail, feeds the metrics.

What stands is found anew each time from the database and the sources, so nothing has to be remembered to be ended.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.core.alarms import (
    Alarm,
    Cause,
    find_pause_alarms,
    find_rejected_alarms,
    find_relay_alarms,
    find_reported_alarms,
    is_missed_over,
)
from newsletter.core.cron import next_occurrence
from newsletter.core.model import DeliveryState
from newsletter.core.throttle import Backoff
from newsletter.daemon.shelf import Found, Shelf
from newsletter.feedback.patience import find_reason_to_pause
from newsletter.metrics import Metrics, State
from newsletter.report.bounces import LATELY, MOST_KINDS
from newsletter.sources.remote import is_address, show_address
from newsletter.store import alarms, issues, reports, upkeep
from newsletter.store.moves import Finished
from newsletter.store.throttles import Throttled, read_backoffs

log = logging.getLogger("newsletter.alarms")

RECENT_ISSUES = 5
"""Of so many issues it is looked at what came back."""


@dataclass(kw_only=True)
class Watcher:
    """`look` from one thread at a time; `note` every attempt."""

    service: Service
    shelf: Shelf
    metrics: Metrics
    _ended: dict[int, Counter[DeliveryState]] = field(default_factory=lambda: defaultdict(Counter))

    def note(self, finished: Finished) -> None:
        """Count an attempt."""
        self.metrics.count_attempt(finished.outcome, finished.state, finished.seconds)
        if finished.state in (DeliveryState.ACCEPTED, DeliveryState.REJECTED):
            self._ended[finished.key[0]][finished.state] += 1

    def look(
        self,
        now: datetime,
        *,
        delivering: bool,
        stopped: str | None,
        publishing_failure: str | None = None,
        mailbox_failure: str | None = None,
    ) -> None:
        """Look once: alarms into database and log, numbers into the metrics."""
        found = self.shelf.look(self.service)
        database = self.service.database
        with database.read() as conn:
            backoffs = read_backoffs(conn, Throttled.RELAY)
            paused = {row.id: row.reason for row in issues.list_paused(conn)}
            recent = [row.id for row in issues.list_latest(conn, RECENT_ISSUES)]
            reported = {n: reason for n in recent if (reason := find_reason_to_pause(conn, n)) and n not in paused}
        ended = {n: (c[DeliveryState.ACCEPTED], c[DeliveryState.REJECTED]) for n, c in self._ended.items()}
        standing = [
            *find_relay_alarms(backoffs),
            *find_pause_alarms(paused),
            *find_rejected_alarms(ended),
            *_find_source_alarms(found),
            *find_reported_alarms(reported),
            *_find_failures(
                publishing=publishing_failure, delivery=None if backoffs else stopped, mailbox=mailbox_failure
            ),
        ]
        with database.write() as conn:
            new = alarms.raise_alarms(conn, standing, now)
            over = list(_find_over(alarms.list_standing(conn), {alarm.key for alarm in standing}, now))
            alarms.end_alarms(conn, over, now)
        for alarm in new:
            log.error(alarm.message, extra={"fields": {"cause": alarm.cause, "subject": alarm.subject}})
        for cause, subject in over:
            log.info("an alarm is over", extra={"fields": {"cause": cause, "subject": subject}})
        self._measure(found, backoffs, now, delivering)

    def _measure(self, found: Found, backoffs: Mapping[str, Backoff], now: datetime, delivering: bool) -> None:
        database, table = self.service.database, self.service.timetable
        with database.read() as conn:
            queue = upkeep.survey_queue(conn, now)
            sending = upkeep.count_sending(conn)
            paused = upkeep.is_paused(conn)
            came_back = {
                (row.kind, row.by): row.n for row in reports.count_by(conn, "reason", now - LATELY, MOST_KINDS)
            }
            causes = Counter(row.cause for row in alarms.list_standing(conn))
        newest = found.newest.modified_at if found.newest else None
        self.metrics.set_state(
            State(
                owed={"queued": queue.owed, "deferred": queue.deferred, "sending": sending},
                relays_up={relay.name: not _is_shut(backoffs, relay.name, now) for relay in self.service.make_relays()},
                alarms=causes,
                came_back=came_back,
                next_run=next_occurrence(table.cron, table.zone, now).at.timestamp() if table else None,
                brief_age_seconds=(now - newest).total_seconds() if newest else None,
                broken_briefs=len(found.broken),
                paused=paused,
                delivering=delivering,
            )
        )


def _is_shut(backoffs: Mapping[str, Backoff], name: str, now: datetime) -> bool:
    return name in backoffs and backoffs[name].is_shut(now)


def _find_source_alarms(found: Found) -> Iterator[Alarm]:
    for place, error in found.broken.items():
        if is_address(place):
            yield Alarm(cause=Cause.FEED_BROKEN, subject=show_address(place), message=str(error))
        else:
            yield Alarm(cause=Cause.BRIEF_UNREADABLE, subject=place, message=str(error))


def _find_failures(*, publishing: str | None, delivery: str | None, mailbox: str | None) -> Iterator[Alarm]:
    if mailbox:
        yield Alarm(cause=Cause.MAILBOX_UNREADABLE, subject="", message=f"bounces are not read: {mailbox}")
    if publishing:
        yield Alarm(cause=Cause.RUN_FAILED, subject="", message=f"a run could not be published: {publishing}")
    if delivery:
        yield Alarm(cause=Cause.DELIVERY_STOPPED, subject="", message=f"delivery stopped: {delivery}")


def _find_over(rows: Sequence[Row[Any]], standing: set[tuple[str, str]], now: datetime) -> Iterator[tuple[str, str]]:
    """The alarms that stand no more; a missed run is told of for a while, since nothing makes it good."""
    for row in rows:
        key = (row.cause, row.subject)
        if row.cause == Cause.RUN_MISSED:
            if is_missed_over(row.first_at, now):
                yield key
        elif key not in standing:
            yield key
