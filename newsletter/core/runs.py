"""Scheduled runs: what is to go out now, what was missed, and when each reader's own moment comes.

A function of the schedule, the moment up to which it was looked at before, and now; pure. A moment is looked at once,
so a clock that jumps back finds nothing new, and what came while nobody looked goes once or is missed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from newsletter.core.cron import Cron, Occurrence, last_occurrence, next_occurrence

FARTHEST_AHEAD = timedelta(days=1)
"""A schedule looked at up to later than this from now was looked at with a wrong clock: it begins anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """When issues go out: `cron` in `zone`, or where `local` in each reader's own zone. `grace`: how late one may."""

    cron: Cron
    zone: ZoneInfo
    local: bool
    grace: timedelta

    @property
    def identity(self) -> dict[str, object]:
        """What makes it another schedule when it changes; JSON-ready."""
        return {"cron": self.cron.text, "zone": str(self.zone), "local": self.local}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that is to go now: one issue, named by `period`, due at `at`, and in some zones at moments of their own."""

    period: str
    at: datetime
    waves: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do at a moment: look again at `next_at`; a `run` goes now; one due at `missed_at` is too late."""

    next_at: datetime
    run: Run | None = None
    missed_at: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the schedule was last looked at."""
        return self.run is None and self.missed_at is None


def decide(table: Timetable, zones: Iterable[ZoneInfo], up_to: datetime, now: datetime) -> Decision:
    """Decide at `now` on a schedule that was looked at up to `up_to`; `zones` are the readers', for local time.

    Several missed runs are one: the latest, if it is not later than the grace.
    """
    places = {table.zone, *zones} if table.local else {table.zone}
    since = up_to if up_to <= now + FARTHEST_AHEAD else now
    coming = {zone: next_occurrence(table.cron, zone, max(since, now)) for zone in places}
    gone = {zone: last_occurrence(table.cron, zone, now) for zone in places}
    new = {zone: occurrence for zone, occurrence in gone.items() if occurrence.at > since}
    in_time = {zone: occurrence for zone, occurrence in new.items() if now - occurrence.at <= table.grace}
    late = [occurrence.at for zone, occurrence in new.items() if zone not in in_time]
    return Decision(
        next_at=min(occurrence.at for occurrence in coming.values()),
        run=_make_run(table, in_time, coming) if in_time else None,
        missed_at=max(late) if late and not in_time else None,
    )


def _make_run(table: Timetable, gone: Mapping[ZoneInfo, Occurrence], coming: Mapping[ZoneInfo, Occurrence]) -> Run:
    at = min(occurrence.at for occurrence in gone.values())
    if not table.local:
        return Run(period=f"run:{at:%Y-%m-%dT%H:%MZ}", at=at)
    wall = max(occurrence.wall for occurrence in gone.values())
    waves = {str(zone): gone.get(zone, later).at for zone, later in coming.items()}
    return Run(period=f"run:{wall:%Y-%m-%dT%H:%M} local", at=at, waves=waves)


def tell_clock_change(zone: ZoneInfo, occurrence: Occurrence) -> str | None:
    """What the clocks of a zone do to a run, in words; None where they do nothing.

    Clocks that change on the same day are told too: the distance to the run before is not what it seems.
    """
    local = occurrence.at.astimezone(zone)
    if local.replace(tzinfo=None) != occurrence.wall:
        return f"the clocks skip {occurrence.wall:%H:%M}: it goes at the first moment after the gap"
    if local.replace(fold=1).utcoffset() != local.utcoffset():
        return f"the clocks show {occurrence.wall:%H:%M} twice: it goes the first time"
    before = (occurrence.at - timedelta(days=1)).astimezone(zone)
    change = (local.utcoffset() or timedelta(0)) - (before.utcoffset() or timedelta(0))
    if change:
        hours = abs(change) / timedelta(hours=1)
        return f"the clocks went {'forward' if change > timedelta(0) else 'back'} by {hours:g} h within the day before"
    return None
