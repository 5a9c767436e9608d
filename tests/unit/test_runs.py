"""Scheduled runs decided over years, with ticks that come late, clocks that jump, and readers in many zones."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_schedule import MOMENTS, ZONES

from newsletter.core.cron import Occurrence, next_occurrence, parse_cron
from newsletter.core.runs import FARTHEST_AHEAD, Decision, Timetable, decide, tell_clock_change
from newsletter.core.schedule import first_moment

HOUR = timedelta(hours=1)
BERLIN, TOKYO, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")
MORNING = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)  # 7 in Berlin, 15 in Tokyo, 1 in New York


def make_table(
    text: str = "0 7 * * *", *, zone: ZoneInfo = BERLIN, local: bool = False, grace: timedelta = 6 * HOUR
) -> Timetable:
    return Timetable(cron=parse_cron(text), zone=zone, local=local, grace=grace)


def test_a_run_goes_when_its_moment_has_come_and_not_before() -> None:
    table, before = make_table(), MORNING - HOUR
    early = decide(table, [], before, MORNING - timedelta(microseconds=1))
    assert early == Decision(next_at=MORNING)
    assert early.is_empty
    due = decide(table, [], before, MORNING)
    assert due.run is not None
    assert (due.run.period, due.run.at, due.run.waves) == ("run:2026-11-25T06:00Z", MORNING, {})
    assert due.next_at == MORNING + 24 * HOUR


def test_what_was_looked_at_does_not_come_again_though_the_clock_jumps_back() -> None:
    table = make_table()
    for hours in (0, 1, 23):
        assert decide(table, [], MORNING, MORNING - hours * HOUR).run is None


def test_a_clock_that_was_days_ahead_does_not_silence_the_schedule() -> None:
    ahead = MORNING + FARTHEST_AHEAD + 30 * HOUR
    assert decide(make_table(), [], ahead, MORNING - HOUR).next_at == MORNING
    assert decide(make_table(), [], MORNING + HOUR, MORNING - HOUR).next_at == MORNING + 24 * HOUR


@pytest.mark.parametrize(("late", "goes"), [(0, True), (6, True), (7, False)])
def test_a_missed_run_goes_within_the_grace(late: int, goes: bool) -> None:
    decision = decide(make_table(), [], MORNING - HOUR, MORNING + late * HOUR)
    assert (decision.run is not None) is goes
    assert decision.missed_at == (None if goes else MORNING)
    assert not decision.is_empty


def test_of_several_missed_runs_the_latest_goes() -> None:
    decision = decide(make_table("0 * * * *"), [], MORNING - 24 * HOUR, MORNING + HOUR / 2)
    assert decision.run is not None
    assert decision.run.at == MORNING
    assert decision.missed_at is None


@given(
    ZONES.map(ZoneInfo),
    MOMENTS,
    st.lists(st.timedeltas(timedelta(seconds=1), timedelta(hours=9)), min_size=20, max_size=60),
    st.sampled_from(["0 7 * * *", "30 2 * * *", "*/40 0-4 * * *", "0 0 * * mon"]),
)
def test_every_run_goes_once_however_the_ticks_come(
    zone: ZoneInfo, start: datetime, gaps: list[timedelta], text: str
) -> None:
    table = make_table(text, zone=zone, grace=2 * HOUR)
    up_to, now, gone = start, start, []
    for gap in gaps:
        before, now = now, now + gap
        decision = decide(table, [], up_to, now)
        assert decision.next_at > now
        if decision.is_empty:
            assert next_occurrence(table.cron, zone, before).at > now or before < up_to
            continue
        up_to = now
        if decision.run is not None:
            assert before < decision.run.at <= now <= decision.run.at + table.grace
            gone.append(decision.run.period)
        else:
            assert decision.missed_at is not None
            assert decision.missed_at < now - table.grace
    assert max(Counter(gone).values(), default=0) <= 1


def test_local_time_is_one_issue_with_a_moment_a_zone() -> None:
    table = make_table(local=True)
    decision = decide(table, [TOKYO, NEW_YORK], MORNING - HOUR, MORNING)
    assert decision.run is not None
    assert decision.run.period == "run:2026-11-25T07:00 local"
    assert decision.run.waves == {
        "Europe/Berlin": MORNING,
        "America/New_York": MORNING + 6 * HOUR,
        "Asia/Tokyo": MORNING + 16 * HOUR,
    }
    assert decision.next_at == MORNING + 6 * HOUR


def test_local_time_of_a_missed_wave_goes_at_once() -> None:
    """Down when clocks in Tokyo showed 7, up an hour later: Tokyo goes now, at the moment it was due."""
    tokyo = MORNING - 8 * HOUR
    decision = decide(make_table(local=True), [TOKYO], tokyo - HOUR, tokyo + HOUR)
    assert decision.run is not None
    assert decision.run.waves == {"Asia/Tokyo": tokyo, "Europe/Berlin": MORNING}
    assert decision.run.at == tokyo


def test_local_time_too_late_for_one_zone_waits_there_for_its_next_day() -> None:
    decision = decide(make_table(local=True), [TOKYO], MORNING - 9 * HOUR, MORNING)
    assert decision.run is not None
    assert decision.run.waves == {"Asia/Tokyo": MORNING + 16 * HOUR, "Europe/Berlin": MORNING}
    assert decision.missed_at is None


@given(MOMENTS, st.lists(ZONES.map(ZoneInfo), max_size=6))
def test_every_reader_gets_it_at_that_time_in_their_own_zone_within_two_days(
    start: datetime, zones: list[ZoneInfo]
) -> None:
    table = make_table("0 7 * * *", zone=ZoneInfo("UTC"), local=True)
    now = decide(table, zones, start, start).next_at
    run = decide(table, zones, start, now).run
    assert run is not None
    assert set(run.waves) == {"UTC", *map(str, zones)}
    for zone, moment in run.waves.items():
        shown = moment.astimezone(ZoneInfo(zone))
        assert now <= moment <= now + 49 * HOUR
        days = (shown.date() - timedelta(days=1), shown.date())  # a day may be skipped whole
        assert moment in [first_moment(datetime.combine(day, time(7)), ZoneInfo(zone)) for day in days]


def at(zone: str, wall: str, utc: str) -> tuple[ZoneInfo, Occurrence]:
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    return ZoneInfo(zone), Occurrence(at=moment, wall=datetime.fromisoformat(wall))


@pytest.mark.parametrize(
    ("zone", "wall", "utc", "note"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00", "the clocks skip 02:30"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30", "the clocks show 02:30 twice"),
        ("Europe/Berlin", "2026-03-29T07:00", "2026-03-29T05:00", "forward by 1 h"),
        ("Europe/Berlin", "2026-10-25T07:00", "2026-10-25T06:00", "back by 1 h"),
        ("Australia/Lord_Howe", "2026-04-05T07:00", "2026-04-04T20:30", "back by 0.5 h"),
        ("Europe/Berlin", "2026-11-25T07:00", "2026-11-25T06:00", None),
    ],
)
def test_tells_what_a_change_of_clocks_does(zone: str, wall: str, utc: str, note: str | None) -> None:
    told = tell_clock_change(*at(zone, wall, utc))
    assert (told is None) if note is None else (told is not None and note in told)
