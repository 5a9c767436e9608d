"""When a cron line comes: against every minute of the clock, in zones with all kinds of changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_schedule import MOMENTS, ZONES

from newsletter.core.cron import Cron, describe_cron, last_occurrence, next_occurrence, parse_cron

MINUTE = timedelta(minutes=1)
CRONS = st.builds(
    lambda minute, hour, day, month, weekday: f"{minute} {hour} {day} {month} {weekday}",
    st.sampled_from(["0", "30", "*/7", "5,45", "*"]),
    st.sampled_from(["*", "0", "2", "1-3", "23", "*/6"]),
    st.sampled_from(["*", "1", "15,31", "*/10"]),
    st.sampled_from(["*", "*", "mar,oct", "2"]),
    st.sampled_from(["*", "*", "0", "7", "mon-fri"]),
).filter(lambda text: text.split()[2:4] != ["15,31", "2"])


def shows(cron: Cron, wall: datetime) -> bool:
    """Whether a wall-clock time fits, field by field."""
    return wall.minute in cron.minutes and wall.hour in cron.hours and cron.fits_day(wall.date())


def list_by_the_clock(cron: Cron, zone: ZoneInfo, start: datetime, minutes: int) -> list[datetime]:
    """Watch the clock minute by minute: what it shows for the first time, and what it has just skipped."""
    found: list[datetime] = []
    newest = start.astimezone(zone).replace(tzinfo=None) - MINUTE
    for number in range(minutes):
        moment = start + number * MINUTE
        wall = moment.astimezone(zone).replace(tzinfo=None)
        while newest < wall:
            newest += MINUTE
            if shows(cron, newest) and (not found or found[-1] != moment):
                found.append(moment)
    return found


def list_coming(cron: Cron, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    found, moment = [], start
    while (moment := next_occurrence(cron, zone, moment).at) < end:
        found.append(moment)
    return found


# Zones since whole-minute offsets are in force everywhere; two days around the changes of clocks.
CHANGES = st.sampled_from(
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 3, 8, 0, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 10, 31, 20, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 29, 20, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),
    ]
)


@given(CRONS, CHANGES)
def test_comes_when_clocks_show_it_first_or_have_just_skipped_it(text: str, change: tuple[str, datetime]) -> None:
    cron, zone, start = parse_cron(text), ZoneInfo(change[0]), change[1]
    minutes = 2 * 24 * 60
    expected = list_by_the_clock(cron, zone, start, minutes)
    assert list_coming(cron, zone, start - MINUTE, start + minutes * MINUTE) == expected


@given(CRONS, ZONES.map(ZoneInfo), MOMENTS)
@example("*/7 * * * *", ZoneInfo("Europe/Berlin"), datetime(2026, 10, 25, 1, 10, tzinfo=UTC))
@example("30 2 * * *", ZoneInfo("Europe/Berlin"), datetime(2026, 3, 29, 1, 0, tzinfo=UTC))
def test_the_last_is_the_one_after_which_none_has_come(text: str, zone: ZoneInfo, moment: datetime) -> None:
    cron = parse_cron(text)
    last = last_occurrence(cron, zone, moment)
    assert last.at <= moment < next_occurrence(cron, zone, moment).at
    assert next_occurrence(cron, zone, last.at).at > moment
    assert shows(cron, last.wall)


@pytest.mark.parametrize(
    ("text", "zone", "after", "at"),
    [
        ("0 7 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T05:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"),  # the gap: at its end
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),  # twice: the first
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("0 9 * * 7", "UTC", "2026-11-25T00:00", "2026-11-29T09:00"),
        ("0 9 * * 0", "UTC", "2026-11-25T00:00", "2026-11-29T09:00"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00", "2104-02-29T00:00"),  # 2100 is no leap year
        ("0 7 30 12 *", "Pacific/Apia", "2011-12-01T00:00", "2011-12-30T10:00"),  # the day that never was
    ],
)
def test_comes_at(text: str, zone: str, after: str, at: str) -> None:
    found = next_occurrence(parse_cron(text), ZoneInfo(zone), datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found.at == datetime.fromisoformat(at).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 7 * * *", "at 07:00 every day"),
        ("0 7 * * 1-5", "at 07:00 on weekdays"),
        ("30 6,18 * * sat,sun", "at 06:30 and 18:30 on Sundays and Saturdays"),
        ("0 9 1 * *", "at 09:00 on day 1 of the month"),
        ("0 9 1,15 jan,jul *", "at 09:00 on day 1 and 15 of the month in Jan and Jul"),
        ("0 9 1 * mon", "at 09:00 on day 1 of the month or on Mondays"),
        ("*/5 * * * *", "whenever a clock fits '*/5 * * * *'"),
    ],
)
def test_a_line_is_told_in_words(line: str, words: str) -> None:
    assert describe_cron(parse_cron(line)) == words
