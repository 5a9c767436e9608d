"""What the operator is woken for: the causes, and what raises each. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from newsletter.core.policy import BLAMED, REPORTED
from newsletter.core.throttle import Backoff

MAIL_EVERY = timedelta(hours=1)
"""At most one mail a cause in this time."""

MISSED_STANDS = timedelta(days=1)
"""So long a missed run is told of: nothing that comes later makes it good."""

REJECTED_SHARE = 0.05
REJECTED_AT_LEAST = 20
"""An issue alarms when this share of its ended deliveries was rejected, and so many at least: providers act on less."""


class Cause(StrEnum):
    """Why an operator is woken."""

    RELAY_DOWN = "relay_down"
    ISSUE_PAUSED = "issue_paused"
    BRIEF_UNREADABLE = "brief_unreadable"
    FEED_BROKEN = "feed_broken"
    RUN_MISSED = "run_missed"
    RUN_FAILED = "run_failed"
    REJECTED_SHARE = "rejected_share"
    DELIVERY_STOPPED = "delivery_stopped"
    MAILBOX_UNREADABLE = "mailbox_unreadable"
    REPORTED_SHARE = "reported_share"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One thing that is wrong; `subject` tells it from others of its cause, `message` is a sentence."""

    cause: Cause
    subject: str
    message: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return str(self.cause), self.subject


def find_relay_alarms(backoffs: Mapping[str, Backoff]) -> Iterator[Alarm]:
    """A relay that is backed off and has taken nothing since."""
    for name, backoff in backoffs.items():
        if backoff.until_at is not None:
            message = f"relay {name} is down, and tried again at {backoff.until_at:%H:%M} UTC: {backoff.reason}"
            yield Alarm(cause=Cause.RELAY_DOWN, subject=name, message=message)


def find_pause_alarms(paused: Mapping[int, str | None]) -> Iterator[Alarm]:
    """Issues that paused themselves: reasons by issue; what an operator paused is no news to them."""
    for number, reason in paused.items():
        if reason and (reason.startswith(BLAMED) or REPORTED in reason):
            message = f"issue {number} is paused: {reason}; mend it, then `newsletter issues resume {number}`"
            yield Alarm(cause=Cause.ISSUE_PAUSED, subject=str(number), message=message)


def find_rejected_alarms(ended: Mapping[int, tuple[int, int]]) -> Iterator[Alarm]:
    """Issues of which too many were rejected: (accepted, rejected) by issue."""
    for number, (accepted, rejected) in ended.items():
        if rejected >= REJECTED_AT_LEAST and rejected >= REJECTED_SHARE * (accepted + rejected):
            share = rejected / (accepted + rejected)
            message = f"issue {number}: {share:.0%} of its mails were rejected ({rejected}); see `issues show {number}`"
            yield Alarm(cause=Cause.REJECTED_SHARE, subject=str(number), message=message)


def find_reported_alarms(reasons: Mapping[int, str]) -> Iterator[Alarm]:
    """Issues of which too much came back: what came back, by issue."""
    for number, reason in reasons.items():
        message = f"issue {number}: {reason}; see the console's page of bounces"
        yield Alarm(cause=Cause.REPORTED_SHARE, subject=str(number), message=message)


def is_missed_over(since: datetime, now: datetime) -> bool:
    """Whether a missed run has been told of long enough."""
    return now - since >= MISSED_STANDS
