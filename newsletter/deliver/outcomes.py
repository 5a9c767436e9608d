"""From what an attempt came to, to what is written down of it, and where its delivery goes. Pure but for the jitter."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from newsletter.core.model import DeliveryState, Outcome
from newsletter.core.policy import Reply, Stage, has_expired, judge_loss, judge_unsendable, next_delay
from newsletter.deliver.signing import Mail
from newsletter.store.moves import Finished
from newsletter.store.outbox import Claimed
from newsletter.transport.smtp import Attempted

UNWRITABLE = "5.6.0"
STOPPED_TEXT = "stopped by the operator before the reply came"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The operator's rules of delivery; `hold` keeps uncertain deliveries for the operator to decide on."""

    retry_delays: tuple[timedelta, ...]
    expire_after: timedelta
    retain: timedelta
    hold: bool

    def finish(
        self,
        claimed: Claimed,
        attempted: Attempted,
        mail: Mail | None,
        *,
        started_at: datetime,
        relay_id: int,
        clock: Callable[[], datetime],
    ) -> Finished:
        """The log row of an attempt, and the state and moment that its delivery goes to."""
        attempt = claimed.attempts + 1
        state, due_at = self._decide(attempted, attempt, claimed.due_at, clock)
        return Finished(
            key=claimed.key,
            attempt=attempt,
            at=started_at,
            relay_id=relay_id,
            outcome=attempted.outcome,
            code=attempted.reply.code,
            enhanced=attempted.reply.enhanced,
            response=attempted.reply.text,
            seconds=attempted.seconds,
            digest=mail.digest if mail is not None else None,
            state=state,
            due_at=due_at,
            stage=attempted.stage,
            dkim_id=mail.dkim_id if mail is not None else None,
            signatures=mail.signatures if mail is not None else None,
        )

    def _decide(
        self, attempted: Attempted, attempt: int, due_at: datetime, clock: Callable[[], datetime]
    ) -> tuple[DeliveryState, datetime | None]:
        match attempted.outcome:
            case Outcome.ACCEPTED:
                return DeliveryState.ACCEPTED, None
            case Outcome.REJECTED:
                return DeliveryState.REJECTED, None
            case Outcome.UNCERTAIN if self.hold:
                return DeliveryState.UNCERTAIN, None
        now, jitter = clock(), secrets.SystemRandom().uniform(-1.0, 1.0)
        delay = next_delay(attempt, self.retry_delays, jitter=jitter, asked=attempted.verdict.retry_after)
        if delay is None or has_expired(due_at, now, self.expire_after):
            return DeliveryState.REJECTED, None
        return DeliveryState.QUEUED, now + delay


def refuse_unwritable(sentence: str) -> Attempted:
    """A mail that we cannot write: rejected here, for this one reader."""
    verdict = judge_unsendable(UNWRITABLE)
    return Attempted(reply=Reply(None, UNWRITABLE, sentence), stage=None, verdict=verdict, seconds=0.0, counted=True)


def lose_reply(seconds: float) -> Attempted:
    """A mail whose final reply nobody waits for any more."""
    verdict = judge_loss(in_doubt=True)
    reply = Reply(None, None, STOPPED_TEXT)
    return Attempted(reply=reply, stage=Stage.BODY, verdict=verdict, seconds=seconds, counted=True)
