"""What a reply means beyond its own delivery: for its domain, its issue and its reader.

Decides by core/policy.py, changes what waits in memory at once, and returns what is to be written down.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.model import DeliveryState, Outcome, name_delivery
from newsletter.core.policy import (
    BLAME_WINDOW_REPLIES,
    BLAMED,
    RECOVERY_MAILS,
    SUPPRESS_AFTER,
    TROUBLES_IN_A_ROW,
    Cause,
    Reply,
    Stage,
    judge_reply,
    must_pause,
    must_suppress,
)
from newsletter.core.throttle import HEALTHY, Backoff, back_off, recover
from newsletter.deliver.ledger_writer import Change, LedgerWriter
from newsletter.deliver.waiting import Gate, Waiting
from newsletter.store import issues, ledger, subscribers
from newsletter.store.database import Database
from newsletter.store.moves import Finished
from newsletter.store.outbox import Claimed
from newsletter.store.throttles import Throttled, write_backoff
from newsletter.transport.smtp import Attempted


@dataclass(kw_only=True)
class Consequences:
    """Draws them, one reply after another. `alarm` is told what the operator should know."""

    database: Database
    waiting: Waiting
    writer: LedgerWriter
    delays: Sequence[timedelta]
    clock: Callable[[], datetime]
    alarm: Callable[[str], None]
    _causes: dict[int, deque[Cause]] = field(default_factory=dict)

    def draw(self, claimed: Claimed, attempted: Attempted, finished: Finished) -> tuple[Change, ...]:
        """What else is to be written down, now that a delivery was answered so."""
        gate = self.waiting.gate_of(claimed)
        if attempted.outcome is Outcome.ACCEPTED and not self._causes and gate.backoff is HEALTHY:
            gate.troubles_in_a_row = 0
            return ()
        changes = [*self._judge_domain(gate, attempted)]
        changes += self._judge_issue(claimed, attempted)
        changes += self._judge_reader(claimed, attempted, finished)
        return tuple(changes)

    def _judge_domain(self, gate: Gate, attempted: Attempted) -> Iterator[Change]:
        verdict = attempted.verdict
        if verdict.outcome is Outcome.ACCEPTED:
            gate.troubles_in_a_row = 0
            if gate.backoff is not HEALTHY:
                gate.taken += 1
                if gate.taken >= RECOVERY_MAILS:
                    yield self._set_backoff(gate, recover(gate.backoff))
            return
        if verdict.outcome is not Outcome.DEFERRED:
            return
        if verdict.cause is Cause.RELAY and attempted.reply.code and attempted.stage is not Stage.MAIL:
            gate.troubles_in_a_row += 1
        if verdict.cause is Cause.RATE or gate.troubles_in_a_row >= TROUBLES_IN_A_ROW:
            now, said = self.clock(), f"{attempted.reply.code} {attempted.reply.text}"
            gate.troubles_in_a_row = 0
            if gate.backoff.is_shut(now):  # mails that were on the wire together: one step up, not one each
                return
            backoff = back_off(gate.backoff, now, self.delays, reason=said, asked=verdict.retry_after)
            yield self._set_backoff(gate, backoff)
            rows = self.waiting.empty(gate)
            yield lambda conn: self.writer.defer(conn, rows, backoff.until_at or now)

    def _set_backoff(self, gate: Gate, backoff: Backoff) -> Change:
        gate.backoff, gate.taken = backoff, 0
        return lambda conn: write_backoff(conn, Throttled.DOMAIN, gate.name, backoff)

    def _judge_issue(self, claimed: Claimed, attempted: Attempted) -> Iterator[Change]:
        """Pause an issue whose last replies say too often that the fault is ours."""
        number, cause = claimed.issue_id, attempted.verdict.cause
        if number not in self._causes:
            if cause is not Cause.OUR_FAULT:
                return
            self._causes[number] = deque(self._read_causes(number), BLAME_WINDOW_REPLIES)
        causes = self._causes[number]
        causes.append(cause)
        if cause is Cause.OUR_FAULT and must_pause(list(causes)):
            causes.clear()
            reason = f"{BLAMED}, as in: {attempted.reply.code or ''} {attempted.reply.text}"
            self.alarm(f"issue {number} is paused: {reason}; mend it, then `newsletter issues resume {number}`")
            yield lambda conn: issues.pause_running(conn, number, reason)

    def _read_causes(self, number: int) -> list[Cause]:
        """The causes of an issue's last replies before this run, the oldest first."""
        with self.database.read() as conn:
            replies = ledger.list_last_replies(conn, number, BLAME_WINDOW_REPLIES)
        return [_judge_logged(row) for row in reversed(replies)]

    def _judge_reader(self, claimed: Claimed, attempted: Attempted, finished: Finished) -> Iterator[Change]:
        """Suppress an address that is dead, or that failed for one cause over several issues."""
        cause, now = attempted.verdict.cause, self.clock()
        source = f"reply to delivery {name_delivery(claimed.key)}"
        reason = finished.enhanced or ("hard bounce" if attempted.verdict.suppress else cause.replace("_", " "))

        def suppress(conn: Connection) -> None:
            subscribers.suppress(conn, claimed.address_hash, claimed.email, reason=reason, source=source, now=now)

        def suppress_if_impatient(conn: Connection) -> None:
            failed_at = list(_list_failures(conn, claimed.subscriber_id, cause))
            if must_suppress(cause, issues=len(failed_at), span=now - min(failed_at, default=now)):
                suppress(conn)

        if attempted.verdict.suppress:
            yield suppress
        elif finished.state is DeliveryState.REJECTED and _counts(cause, attempted.outcome):
            yield suppress_if_impatient


def _counts(cause: Cause, outcome: Outcome) -> bool:
    """Whether a delivery given up for this cause counts against its address; a full mailbox also says it with 4xx."""
    return cause in SUPPRESS_AFTER and (cause is Cause.MAILBOX_FULL or outcome is Outcome.REJECTED)


def _list_failures(conn: Connection, subscriber_id: int, cause: Cause) -> Iterator[datetime]:
    """When a reader's deliveries failed for this cause, one moment an issue, back to the last that was accepted."""
    last = {row.issue_id: row for row in ledger.list_attempts(conn, subscriber_id=subscriber_id)}
    for _, row in sorted(last.items(), reverse=True):
        if row.outcome == Outcome.ACCEPTED:
            return
        if _judge_logged(row) is cause:
            yield row.at


def _judge_logged(row: Row[Any]) -> Cause:
    """The cause of an attempt's reply; what answered MAIL knew no recipient, and is never held against one."""
    return judge_reply(Reply(row.code, row.enhanced, row.response), stage=Stage(row.stage or Stage.RCPT)).cause
