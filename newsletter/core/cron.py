"""Cron lines: their five fields, and the moments at which clocks in a zone show a time that fits them.

A wall-clock time that a change of clocks skips comes at the first moment after the gap, one that comes twice only the
first time. Pure: no clock of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from newsletter.core.schedule import first_moment


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """The five fields of a cron line as the sorted numbers they allow; week days run from Sunday = 0 to Saturday = 6.

    Where neither field of days begins with `*`, a day that fits either of them fits (crontab(5)).
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def fits_either_day(self) -> bool:
        """Whether a day fits by its number in the month or else by its week day, rather than by both."""
        fields = self.text.split()
        return not (fields[2].startswith("*") or fields[4].startswith("*"))

    def fits_day(self, day: date) -> bool:
        """Whether the line has any time on this day."""
        fits, fits_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        either = fits or fits_weekday if self.fits_either_day else fits and fits_weekday
        return day.month in self.months and either


@dataclass(frozen=True, kw_only=True, slots=True)
class _CronField:
    """One of the five: its name, its range, and the words that stand for numbers, the first for `first`."""

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS_OF_WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON_FIELDS = (
    _CronField(name="minute", first=0, last=59),
    _CronField(name="hour", first=0, last=23),
    _CronField(name="day of the month", first=1, last=31),
    _CronField(name="month", first=1, last=12, words=_MONTHS),
    _CronField(name="day of the week", first=0, last=7, words=_DAYS_OF_WEEK),
)
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def parse_cron(text: str) -> Cron:
    """Read a cron line: numbers, names, lists, ranges, steps; 0 and 7 are Sunday. ValueError with a sentence."""
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(
            f"{text[:80]!r} has {len(fields)} fields, but a cron line has five: "
            "minute, hour, day of the month, month, day of the week"
        )
    minutes, hours, days, months, weekdays = (
        {number for item in field.split(",") for number in _parse_cron_item(item, kind)}
        for field, kind in zip(fields, _CRON_FIELDS, strict=True)
    )
    cron = Cron(
        text=" ".join(fields),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=tuple(sorted(days)),
        months=tuple(sorted(months)),
        weekdays=tuple(sorted({number % 7 for number in weekdays})),
    )
    if not cron.fits_either_day and min(days) > max(_LONGEST_MONTHS.get(month, 31) for month in months):
        raise ValueError(f"{text[:80]!r} never comes: no such month has a day {min(days)}")
    return cron


def _parse_cron_item(item: str, kind: _CronField) -> range:
    span, slash, step = item.partition("/")
    start, dash, end = span.partition("-")
    if span == "*":
        first, last = kind.first, kind.last
    elif dash:
        first, last = _parse_cron_number(start, kind, item), _parse_cron_number(end, kind, item)
        if kind.last == 7 and last == 0 < first:
            last = 7  # `sat-sun` ends with the Sunday after
    else:
        first = _parse_cron_number(start, kind, item)
        last = kind.last if slash else first
    width = int(step) if step.isdecimal() and step.isascii() else 0
    if first > last or (slash and not width):
        raise _refuse_cron_item(item, kind)
    return range(first, last + 1, width or 1)


def _parse_cron_number(text: str, kind: _CronField, item: str) -> int:
    if text.lower() in kind.words:
        return kind.first + kind.words.index(text.lower())
    if text.isdecimal() and text.isascii() and kind.first <= int(text) <= kind.last:
        return int(text)
    raise _refuse_cron_item(item, kind)


def _refuse_cron_item(item: str, kind: _CronField) -> ValueError:
    names = f" or {kind.words[0]} to {kind.words[-1]}" if kind.words else ""
    return ValueError(f"{item[:80]!r} does not fit the {kind.name}, which goes from {kind.first} to {kind.last}{names}")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Occurrence:
    """A moment (UTC) at which a cron line comes, and the wall-clock time (naive) that it stands for."""

    at: datetime
    wall: datetime


def next_occurrence(cron: Cron, zone: ZoneInfo, after: datetime) -> Occurrence:
    """The first time that a cron line comes in a zone after an aware moment."""
    wall = after.astimezone(zone).replace(tzinfo=None)
    coming = (_occur(wall, zone) for wall in _walls_from(cron, wall))
    return next(occurrence for occurrence in coming if occurrence.at > after)


def last_occurrence(cron: Cron, zone: ZoneInfo, until: datetime) -> Occurrence:
    """The last time that a cron line came in a zone, at or before an aware moment."""
    local = until.astimezone(zone)
    # Shown for the second time: what the clocks skip back over has come already, all of it.
    shown_again = local.utcoffset() != local.replace(fold=0).utcoffset()
    back = (local.replace(fold=0).utcoffset() or timedelta(0)) - (local.utcoffset() or timedelta(0))
    wall = local.replace(tzinfo=None) + (back if shown_again else timedelta(0))
    gone = (_occur(wall, zone) for wall in _walls_until(cron, wall))
    return next(occurrence for occurrence in gone if occurrence.at <= until)


def _occur(wall: datetime, zone: ZoneInfo) -> Occurrence:
    return Occurrence(at=first_moment(wall, zone), wall=wall)


def _walls_from(cron: Cron, start: datetime) -> Iterator[datetime]:
    """The wall-clock times that fit, from the minute of `start` on, without end."""
    first, day = start.replace(second=0, microsecond=0), start.date()
    while True:
        if cron.fits_day(day):
            times = (datetime.combine(day, time(h, m)) for h in cron.hours for m in cron.minutes)
            yield from (wall for wall in times if wall >= first)
        day += timedelta(days=1)


def _walls_until(cron: Cron, end: datetime) -> Iterator[datetime]:
    """The wall-clock times that fit, from the minute of `end` backwards, without end."""
    day = end.date()
    while True:
        if cron.fits_day(day):
            hours, minutes = cron.hours[::-1], cron.minutes[::-1]
            times = (datetime.combine(day, time(h, m)) for h in hours for m in minutes)
            yield from (wall for wall in times if wall <= end)
        day -= timedelta(days=1)


_DAY_NAMES = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
MOST_TIMES = 4


def describe_cron(cron: Cron) -> str:
    """The line in plain words where it has few times a day, as in `at 07:00 on Mondays and Fridays`; else as it is."""
    times = [f"{hour:02}:{minute:02}" for hour in cron.hours for minute in cron.minutes]
    if len(times) > MOST_TIMES:
        return f"whenever a clock fits {cron.text!r}"
    days, weekdays, months = _describe_days(cron.days), _describe_weekdays(cron.weekdays), _describe_months(cron.months)
    joint = " or " if cron.fits_either_day else " that are "
    which = joint.join(part for part in (days, weekdays) if part) or "every day"
    return " ".join(part for part in ("at", _join(times), which, months) if part)


def _describe_days(days: tuple[int, ...]) -> str:
    return "" if len(days) == 31 else f"on day {_join([str(day) for day in days])} of the month"


def _describe_weekdays(weekdays: tuple[int, ...]) -> str:
    if len(weekdays) == 7:
        return ""
    if weekdays == (1, 2, 3, 4, 5):
        return "on weekdays"
    return f"on {_join([_DAY_NAMES[day] for day in weekdays])}"


def _describe_months(months: tuple[int, ...]) -> str:
    return "" if len(months) == 12 else f"in {_join([_MONTHS[month - 1].capitalize() for month in months])}"


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
