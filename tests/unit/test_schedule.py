"""Boundaries in every zone, clocks changed at midnight included, and the five fields of cron."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.core.cron import parse_cron
from newsletter.core.schedule import Frequency, last_boundary, parse_frequency, parse_zone

ZONES = st.sampled_from(
    [
        "Africa/Cairo",
        "America/Asuncion",
        "America/Havana",
        "America/Sao_Paulo",
        "America/St_Johns",
        "America/Toronto",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Europe/Berlin",
        "Pacific/Apia",
        "UTC",
    ]
)
# From before the first changes of clocks to the last year that zone files spell out.
MOMENTS = st.integers(-1_735_000_000, 2_145_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
BOUNDED = st.sampled_from([frequency for frequency in Frequency if frequency is not Frequency.EACH])
SECOND = timedelta(seconds=1)


def begins(frequency: Frequency, day: datetime) -> bool:
    """Whether a day opens a new period, by the words of the contract."""
    name, _, weekday = frequency.partition(":")
    return {"daily": True, "weekly": f"{day:%a}".lower() == (weekday or "mon"), "monthly": day.day == 1}[name]


@pytest.mark.parametrize("frequency", list(Frequency))
def test_a_frequency_reads_back_what_it_writes(frequency: Frequency) -> None:
    assert parse_frequency(str(frequency)) is frequency


@pytest.mark.parametrize("text", ["", "hourly", "Weekly", "weekly:", "weekly:monday", "monthly:1", "weekly:mon "])
def test_an_unknown_frequency_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a frequency: each, daily") as caught:
        parse_frequency(text)
    assert repr(text) in str(caught.value)


def test_a_zone_is_an_iana_name() -> None:
    assert parse_zone("Asia/Kathmandu").key == "Asia/Kathmandu"
    assert parse_zone("UTC") is parse_zone("UTC")


@pytest.mark.parametrize("text", ["", "Mars/Olympus", "../UTC", "/etc/localtime", "America", "UTC+2", "a\0b"])
def test_an_unknown_zone_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone such as Europe/Berlin"):
        parse_zone(text)


@given(ZONES, MOMENTS)
def test_each_has_no_boundary(key: str, due_at: datetime) -> None:
    zone = ZoneInfo(key)
    assert last_boundary(Frequency.EACH, zone, due_at) is None


@given(BOUNDED, ZONES, MOMENTS)
@example(Frequency.WEEKLY_FRI, "Pacific/Apia", datetime(2011, 12, 30, 12, tzinfo=UTC))
@example(Frequency.DAILY, "America/St_Johns", datetime(2006, 10, 29, 2, 40, tzinfo=UTC))
@example(Frequency.DAILY, "America/Toronto", datetime(1919, 3, 31, 5, tzinfo=UTC))
def test_a_boundary_is_where_a_day_begins(frequency: Frequency, key: str, due_at: datetime) -> None:
    zone = ZoneInfo(key)
    boundary = last_boundary(frequency, zone, due_at)
    assert boundary is not None
    assert boundary.tzinfo is UTC
    assert boundary <= due_at
    after, before = boundary.astimezone(zone), (boundary - SECOND).astimezone(zone)
    assert before.date() < after.date()
    passed = [before + timedelta(days=n) for n in range(1, (after.date() - before.date()).days + 1)]
    assert any(begins(frequency, day) for day in passed)


@given(BOUNDED, ZONES, MOMENTS)
def test_no_later_day_that_opens_a_period_has_begun(frequency: Frequency, key: str, due_at: datetime) -> None:
    zone = ZoneInfo(key)
    boundary = last_boundary(frequency, zone, due_at)
    assert boundary is not None
    moment = boundary
    while (moment := moment + timedelta(hours=6)) <= due_at:
        day = moment.astimezone(zone)
        assert day.date() == boundary.astimezone(zone).date() or not begins(frequency, day)
    assert last_boundary(frequency, zone, boundary) == boundary


@given(BOUNDED, ZONES, st.lists(MOMENTS, min_size=2, max_size=2))
def test_boundaries_never_go_back(frequency: Frequency, key: str, moments: list[datetime]) -> None:
    zone = ZoneInfo(key)
    earlier, later = (last_boundary(frequency, zone, moment) for moment in sorted(moments))
    assert earlier is not None
    assert later is not None
    assert earlier <= later


@pytest.mark.parametrize(
    ("frequency", "key", "due_at", "boundary"),
    [
        ("daily", "UTC", "2026-03-05T00:00:00", "2026-03-05T00:00:00"),
        ("daily", "Asia/Kathmandu", "2026-03-05T18:14:59", "2026-03-04T18:15:00"),
        ("weekly", "Europe/Berlin", "2026-11-22T12:00:00", "2026-11-15T23:00:00"),
        ("weekly:sun", "Europe/Berlin", "2026-11-22T12:00:00", "2026-11-21T23:00:00"),
        ("monthly", "America/New_York", "2026-03-01T04:59:59", "2026-02-01T05:00:00"),
        # Brazil skipped midnight: the day began at one.
        ("daily", "America/Sao_Paulo", "2018-11-04T12:00:00", "2018-11-04T03:00:00"),
        ("daily", "Africa/Cairo", "2024-04-26T12:00:00", "2024-04-25T22:00:00"),
        ("daily", "Asia/Beirut", "2024-03-31T12:00:00", "2024-03-30T22:00:00"),
        # Samoa had no 30 December 2011: its Friday began when Saturday did.
        ("weekly:fri", "Pacific/Apia", "2011-12-30T10:00:00", "2011-12-30T10:00:00"),
        ("weekly:fri", "Pacific/Apia", "2011-12-30T09:59:59", "2011-12-23T10:00:00"),
        # Toronto's clocks went from 23:30 to 0:30: the gap began before midnight.
        ("daily", "America/Toronto", "1919-03-31T12:00:00", "1919-03-31T04:30:00"),
        # Newfoundland's clocks went back from 0:01 to 23:01: Sunday had begun, though it was Saturday again.
        ("daily", "America/St_Johns", "2006-10-29T03:00:00", "2006-10-29T02:30:00"),
    ],
)
def test_boundaries_of_known_days(frequency: str, key: str, due_at: str, boundary: str) -> None:
    found = last_boundary(Frequency(frequency), parse_zone(key), datetime.fromisoformat(due_at).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(boundary).replace(tzinfo=UTC)


def test_a_reader_is_due_once_a_boundary() -> None:
    zone = parse_zone("UTC")
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert last_boundary(Frequency.DAILY, zone, midnight) == midnight
    assert last_boundary(Frequency.DAILY, zone, midnight + timedelta(hours=23)) == midnight
    later = last_boundary(Frequency.DAILY, zone, midnight + timedelta(days=1))
    assert later is not None
    assert later > midnight


EVERY_DAY, EVERY_MONTH = tuple(range(1, 32)), tuple(range(1, 13))


@pytest.mark.parametrize(
    ("text", "minutes", "hours", "days", "months", "weekdays"),
    [
        ("0 7 * * *", (0,), (7,), EVERY_DAY, EVERY_MONTH, tuple(range(7))),
        ("*/20  6-8 1,15 jan,JUL 0", (0, 20, 40), (6, 7, 8), (1, 15), (1, 7), (0,)),
        ("0 7 * * 7", (0,), (7,), EVERY_DAY, EVERY_MONTH, (0,)),
        ("0 7 * * sat-sun", (0,), (7,), EVERY_DAY, EVERY_MONTH, (0, 6)),
        ("0 7 * * 5-7", (0,), (7,), EVERY_DAY, EVERY_MONTH, (0, 5, 6)),
        ("0 7 * * Sun-Tue", (0,), (7,), EVERY_DAY, EVERY_MONTH, (0, 1, 2)),
        ("0 7 * * 0-0", (0,), (7,), EVERY_DAY, EVERY_MONTH, (0,)),
        ("50/5 1-9/4 */10 */100 mon", (50, 55), (1, 5, 9), (1, 11, 21, 31), (1,), (1,)),
        ("0 0 29 2 *", (0,), (0,), (29,), (2,), tuple(range(7))),
        ("0 0 31 4 mon", (0,), (0,), (31,), (4,), (1,)),
    ],
)
def test_reads_cron(
    text: str,
    minutes: tuple[int, ...],
    hours: tuple[int, ...],
    days: tuple[int, ...],
    months: tuple[int, ...],
    weekdays: tuple[int, ...],
) -> None:
    cron = parse_cron(text)
    assert (cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays) == (minutes, hours, days, months, weekdays)
    assert cron.text.split() == text.split()


@pytest.mark.parametrize(
    ("text", "either"), [("0 7 1 * mon", True), ("0 7 * * mon", False), ("0 7 1 * *", False), ("0 7 */2 * mon", False)]
)
def test_days_fit_either_way_where_both_are_named(text: str, either: bool) -> None:
    assert parse_cron(text).fits_either_day is either


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("0 7 * * * *", "has 6 fields"),
        ("60 7 * * *", "'60' does not fit the minute, which goes from 0 to 59"),
        ("0 24 * * *", "'24' does not fit the hour"),
        ("0 7 0 * *", "'0' does not fit the day of the month"),
        ("0 7 * 13 *", "'13' does not fit the month, which goes from 1 to 12 or jan to dec"),
        ("0 7 * * 8", "'8' does not fit the day of the week, which goes from 0 to 7 or sun to sat"),
        ("0 7 * * funday", "'funday' does not fit"),
        ("5-1 7 * * *", "'5-1' does not fit"),
        ("*/0 7 * * *", "'\\*/0' does not fit"),
        ("*/x 7 * * *", "'\\*/x' does not fit"),
        ("*/ 7 * * *", "'\\*/' does not fit"),
        ("1,,2 7 * * *", "'' does not fit"),
        ("-5 7 * * *", "'-5' does not fit"),
        ("² 7 * * *", "'²' does not fit"),
        ("0 7 ? * L", "'\\?' does not fit"),
        ("0 7 30,31 2 *", "never comes: no such month has a day 30"),
        ("0 7 31 2,4,6 *", "never comes: no such month has a day 31"),
    ],
)
def test_names_what_is_wrong_with_a_cron_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_cron(text)
