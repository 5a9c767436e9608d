"""When a reader is due: frequencies, their boundaries in the reader's zone, and the five fields of a cron line.

Pure but for the zone data that `zoneinfo` reads once. Everything is computed from the moment asked: no clock, no loop
over a calendar.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo


class Frequency(StrEnum):
    """How often a reader wants mail; plain `weekly` is a week that begins on Monday."""

    EACH = "each"
    DAILY = "daily"
    WEEKLY = "weekly"
    WEEKLY_MON = "weekly:mon"
    WEEKLY_TUE = "weekly:tue"
    WEEKLY_WED = "weekly:wed"
    WEEKLY_THU = "weekly:thu"
    WEEKLY_FRI = "weekly:fri"
    WEEKLY_SAT = "weekly:sat"
    WEEKLY_SUN = "weekly:sun"
    MONTHLY = "monthly"


_WEEKDAYS = {Frequency.WEEKLY: 0} | {
    Frequency(f"weekly:{day}"): number for number, day in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
}


def parse_frequency(text: str) -> Frequency:
    """Read a frequency as people write it in a list. ValueError with a sentence when there is no such frequency."""
    try:
        return Frequency(text)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is not a frequency: each, daily, weekly, weekly:mon to weekly:sun, or monthly"
        ) from None


@lru_cache(maxsize=1024)
def parse_zone(text: str) -> ZoneInfo:
    """Read an IANA zone's name. ValueError with a sentence when there is no such zone."""
    if text not in _list_zones():
        raise ValueError(f"{text[:80]!r} is not a time zone such as Europe/Berlin")
    return ZoneInfo(text)


def last_boundary(frequency: Frequency, zone: ZoneInfo, due_at: datetime) -> datetime | None:
    """Find the latest boundary of a frequency at or before an aware moment, in UTC; None for `each`, which has none.

    A boundary is the first moment of a day in the zone: where a change of clocks skips midnight, or the whole day,
    the first moment after the gap; where midnight comes twice, the first.
    """
    if frequency is Frequency.EACH:
        return None
    today = due_at.astimezone(zone).date()
    # Tomorrow may have begun already, for a while, where clocks go back over midnight.
    tomorrow_starts = _start_of_day(_first_day(frequency, today + timedelta(days=1)), zone)
    return tomorrow_starts if tomorrow_starts <= due_at else _start_of_day(_first_day(frequency, today), zone)


def _first_day(frequency: Frequency, day: date) -> date:
    if frequency is Frequency.DAILY:
        return day
    if frequency is Frequency.MONTHLY:
        return day.replace(day=1)
    return day - timedelta(days=(day.weekday() - _WEEKDAYS[frequency]) % 7)


@lru_cache(maxsize=4096)
def _start_of_day(day: date, zone: ZoneInfo) -> datetime:
    midnight = datetime.combine(day, time.min, zone)
    start = midnight.astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # A gap (PEP 495): fold 0 counts with the offset before it and lands at or after its end, fold 1 before it.
    before, after = midnight.replace(fold=1).astimezone(UTC), start
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (before, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, after)
    return after


@lru_cache(maxsize=1)
def _list_zones() -> frozenset[str]:
    """The names that the tzdata package knows; `available_timezones` walks every folder of the system for them."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


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
