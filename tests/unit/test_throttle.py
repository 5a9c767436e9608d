"""Limits and backing off: how a relay or a domain is left alone, and how it comes back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.throttle import HEALTHY, MOST_STEPS, Backoff, Limit, back_off, count_connections, recover

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 30))
SECOND = timedelta(seconds=1)
steps = st.integers(0, MOST_STEPS)
some_delays = st.lists(st.timedeltas(timedelta(0), timedelta(days=2)), max_size=8)


def test_a_limit_is_none_until_it_is_set() -> None:
    assert Limit() == Limit(connections=0, rate=0)


def test_what_is_healthy_is_open() -> None:
    assert not HEALTHY.is_shut(NOW)
    assert HEALTHY.step == 0


def test_it_is_shut_until_its_moment_and_open_from_then_on() -> None:
    backoff = Backoff(step=1, until_at=NOW)
    assert backoff.is_shut(NOW - SECOND)
    assert not backoff.is_shut(NOW)
    assert not backoff.is_shut(NOW + SECOND)


def test_each_trouble_leads_one_step_up_and_the_last_delay_stays() -> None:
    backoff, shut_for = HEALTHY, []
    for _ in range(MOST_STEPS + 2):
        backoff = back_off(backoff, NOW, DELAYS, reason="421 busy")
        assert backoff.until_at is not None
        shut_for.append((backoff.until_at - NOW) // timedelta(minutes=1))
    assert shut_for == [5, 15, 30, 30, 30, 30, 30, 30]
    assert (backoff.step, backoff.reason) == (MOST_STEPS, "421 busy")


@pytest.mark.parametrize(
    ("asked", "minutes"), [(timedelta(minutes=1), 5), (timedelta(minutes=9), 9), (timedelta(0), 5), (None, 5)]
)
def test_a_time_that_was_asked_for_is_kept_where_it_is_longer(asked: timedelta | None, minutes: int) -> None:
    assert back_off(HEALTHY, NOW, DELAYS, reason="", asked=asked).until_at == NOW + timedelta(minutes=minutes)


def test_without_delays_only_what_was_asked_for_shuts_it() -> None:
    assert not back_off(HEALTHY, NOW, (), reason="").is_shut(NOW)
    assert back_off(HEALTHY, NOW, (), reason="", asked=SECOND).until_at == NOW + SECOND


def test_it_recovers_by_steps_and_is_healthy_after_the_last() -> None:
    backoff = Backoff(step=3, until_at=NOW + SECOND, reason="421 busy")
    assert (backoff := recover(backoff)) == Backoff(step=2, reason="421 busy")
    assert (backoff := recover(backoff)) == Backoff(step=1, reason="421 busy")
    assert recover(backoff) is HEALTHY
    assert recover(HEALTHY) is HEALTHY


def test_each_step_halves_the_connections_and_leaves_one() -> None:
    assert [count_connections(10, step) for step in range(6)] == [10, 5, 2, 1, 1, 1]


@given(steps, some_delays, st.none() | st.timedeltas(timedelta(0), timedelta(days=2)))
def test_backing_off_never_shortens_and_always_ends(
    step: int, delays: list[timedelta], asked: timedelta | None
) -> None:
    backoff = back_off(Backoff(step=step), NOW, delays, reason="why", asked=asked)
    assert backoff.step == min(step + 1, MOST_STEPS)
    assert backoff.until_at is not None
    assert backoff.until_at - NOW >= (asked or timedelta(0))
    assert backoff.until_at - NOW in {*delays, asked, timedelta(0)}
    for _ in range(backoff.step):
        backoff = recover(backoff)
        assert not backoff.is_shut(NOW)
    assert backoff is HEALTHY


@given(st.integers(1, 1_000), steps)
def test_connections_never_rise_with_the_step_and_never_end(most: int, step: int) -> None:
    assert 1 <= count_connections(most, step + 1) <= count_connections(most, step) <= most
