"""How fast mail may go to a relay or a domain: its limits, how far it is backed off, and how it comes back.

Step 0 is healthy. Each trouble leads one step up, which halves the connections and, once it is bad enough, lets nothing
go for as long as RETRY_DELAYS says for that step; mails that are taken lead down again, a step at a time. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

MOST_STEPS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """At most so many connections at a time, and so many mails a second; 0 is no limit."""

    connections: int = 0
    rate: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Where a relay or a domain stands: nothing goes there before `until_at`, and `reason` says why."""

    step: int = 0
    until_at: datetime | None = None
    reason: str = ""

    def is_shut(self, now: datetime) -> bool:
        """Whether nothing may go there now."""
        return self.until_at is not None and self.until_at > now


HEALTHY = Backoff()


def back_off(
    backoff: Backoff, now: datetime, delays: Sequence[timedelta], *, reason: str, asked: timedelta | None = None
) -> Backoff:
    """One step up, and shut for that step's delay, or for the time that was asked for where that is longer."""
    step = min(backoff.step + 1, MOST_STEPS)
    delay = delays[min(step, len(delays)) - 1] if delays else timedelta(0)
    return Backoff(step=step, until_at=now + max(delay, asked or delay), reason=reason)


def recover(backoff: Backoff) -> Backoff:
    """One step down, and open."""
    return replace(backoff, step=backoff.step - 1, until_at=None) if backoff.step > 1 else HEALTHY


def count_connections(most: int, step: int) -> int:
    """How many of `most` connections may be open at a step: half as many at each, one at least."""
    return max(1, most >> step)


def share_out(total: float, place: int, asking: int, taken: float, *, whole: bool) -> float:
    """How much of a limit one of those who ask for it may use: each the same, but no more than the others leave.

    `place` counts those who ask from 0; `taken` is what others have. With `whole` it is a whole number, and the first
    places have one more where it cannot be divided.
    """
    fair = total // asking + (place < total % asking) if whole else total / asking
    return max(0.0, min(fair, total - taken))
