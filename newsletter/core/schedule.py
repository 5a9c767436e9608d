"""When a reader is due: frequencies, their boundaries in the reader's zone, and the moment of a wall-clock time.

Pure but for the zone data that `zoneinfo` reads once. Everything is computed from the moment asked: no clock, no loop
over a calendar.
"""

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


def _start_of_day(day: date, zone: ZoneInfo) -> datetime:
    return first_moment(datetime.combine(day, time.min), zone)


@lru_cache(maxsize=4096)
def first_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Find the first moment, in UTC, at which the clocks of a zone show a naive wall-clock time.

    One that a change of clocks skips is the first moment after the gap; one that comes twice, the first time.
    """
    local = wall.replace(tzinfo=zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # A gap (PEP 495): fold 0 counts with the offset before it and lands at or after its end, fold 1 before it.
    before, after = local.replace(fold=1).astimezone(UTC), moment
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (before, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, after)
    return after


@lru_cache(maxsize=1)
def _list_zones() -> frozenset[str]:
    """The names that the tzdata package knows; `available_timezones` walks every folder of the system for them."""
    names = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
    return frozenset(names) - {"Factory"}  # which says that no zone was set
