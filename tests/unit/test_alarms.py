"""What wakes the operator, and what does not."""

from datetime import UTC, datetime, timedelta

from newsletter.core.alarms import (
    MISSED_STANDS,
    Cause,
    find_pause_alarms,
    find_rejected_alarms,
    find_relay_alarms,
    is_missed_over,
)
from newsletter.core.policy import BLAMED
from newsletter.core.throttle import HEALTHY, Backoff, back_off, recover

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)


def test_a_relay_alarms_from_its_first_trouble_until_it_takes_mail() -> None:
    down = back_off(HEALTHY, NOW, [timedelta(minutes=5)], reason="relay a:25: refused")
    (alarm,) = find_relay_alarms({"a:25": down})
    assert (alarm.cause, alarm.subject) == (Cause.RELAY_DOWN, "a:25")
    assert alarm.message == "relay a:25 is down, and tried again at 06:05 UTC: relay a:25: refused"
    assert alarm.key == ("relay_down", "a:25")
    assert list(find_relay_alarms({"a:25": recover(Backoff(step=2, until_at=NOW, reason="x"))})) == []


def test_an_issue_alarms_that_paused_itself_and_not_one_that_the_operator_paused() -> None:
    paused = {1: f"{BLAMED}, as in: 550 spam", 2: "by the operator at 2026-11-25 06:00 UTC", 3: None}
    (alarm,) = find_pause_alarms(paused)
    assert alarm.subject == "1"
    assert "`newsletter issues resume 1`" in alarm.message


def test_an_issue_alarms_when_too_large_a_share_is_rejected() -> None:
    ended = {1: (380, 20), 2: (381, 19), 3: (1000, 20), 4: (0, 20)}
    assert [alarm.subject for alarm in find_rejected_alarms(ended)] == ["1", "4"]
    (alarm,) = find_rejected_alarms({1: (380, 20)})
    assert alarm.message.startswith("issue 1: 5% of its mails were rejected (20)")


def test_a_missed_run_is_told_of_for_a_day() -> None:
    assert not is_missed_over(NOW, NOW + MISSED_STANDS - timedelta(seconds=1))
    assert is_missed_over(NOW, NOW + MISSED_STANDS)
