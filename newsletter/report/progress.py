"""How an issue stands at this moment, from counts that are kept: as quick at a million deliveries as at ten."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.model import IssueState
from newsletter.store import issues, tallies

STATES = ("accepted", "rejected", "queued", "deferred", "sending", "uncertain")
OWED = ("queued", "deferred", "sending")
MINUTE = timedelta(minutes=1)
MOST_KINDS = 50
"""So many kinds of failure of an issue are told."""
FINISHED = "finished"


def describe_issues(conn: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Issues with their counts. `closes`: the counts sum up to those selected; `owed` is what is still to be sent."""
    counted = tallies.read_tallies(conn, [row.id for row in rows])
    return [_describe(row, counted[row.id]) for row in rows]


def describe_progress(conn: Connection, number: int, now: datetime) -> dict[str, Any]:
    """One issue: its counts, what can be done with it, its throughput by minute, and why attempts failed."""
    row = issues.find_issue(conn, number)
    (told,) = describe_issues(conn, [row])
    throughput = _describe_throughput(tallies.read_throughput(conn, row.id))
    rate = measure_rate(throughput, row.published_at or row.created_at, now) if told["owed"] else 0.0
    return {
        **told,
        "rate": rate,
        "seconds_left": round(told["owed"] / rate) if rate else None,
        "throughput": throughput,
        "errors": [
            {
                "id": kind.id,
                "code": kind.code or None,
                "enhanced_code": kind.enhanced or None,
                "wording": kind.wording,
                "example": tallies.read_example(conn, row.id, kind.id),
                "attempts": kind.n,
                "first_at": kind.first_at,
                "last_at": kind.last_at,
            }
            for kind in tallies.count_failures(conn, row.id, most=MOST_KINDS)
        ],
    }


def _describe(row: Row[Any], counted: dict[tuple[str, str], int]) -> dict[str, Any]:
    counts = {state: sum(n for (found, _), n in counted.items() if found == state) for state in STATES}
    excluded = {reason: n for (state, reason), n in sorted(counted.items()) if state == "excluded"}
    owed = sum(counts[state] for state in OWED)
    state = row.state
    if state == IssueState.RUNNING and not owed and not counts["uncertain"]:
        state = FINISHED
    return {
        "issue": row.id,
        "title": row.title,
        "date": row.date,
        "language": row.language,
        "state": state,
        "reason": row.reason,
        "due_at": row.due_at,
        "published_at": row.published_at,
        "selected": row.selected,
        **counts,
        "excluded": excluded,
        "owed": owed,
        "closes": row.state != IssueState.PREPARING and sum(counted.values()) == row.selected,
        "actions": list_actions(row.state, owed=owed, rejected=counts["rejected"], uncertain=counts["uncertain"]),
    }


def list_actions(state: str, *, owed: int, rejected: int, uncertain: int) -> list[str]:
    """What the operator may do with an issue now: what control.py would neither refuse nor do for nothing."""
    can_run = state in (IssueState.RUNNING, IssueState.PAUSED)
    legal = {
        "pause": state == IssueState.RUNNING and owed > 0,
        "resume": state == IssueState.PAUSED,
        "cancel": can_run and (owed > 0 or state == IssueState.PAUSED),
        "retry": can_run and rejected > 0,
        "settle": uncertain > 0,
    }
    return [action for action, is_legal in legal.items() if is_legal]


def _describe_throughput(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    minutes: dict[datetime, dict[str, Any]] = {}
    for row in rows:
        told = minutes.setdefault(
            row.minute, {"at": row.minute, "accepted": 0, "deferred": 0, "rejected": 0, "uncertain": 0}
        )
        told[row.outcome] = row.n
    return list(minutes.values())


def measure_rate(throughput: Collection[dict[str, Any]], began_at: datetime, now: datetime) -> float:
    """Mails accepted a second over the last one to two minutes, of an issue that began then; 0 where it was none."""
    recent = [told for told in throughput if now - told["at"] < 2 * MINUTE]
    if not recent:
        return 0.0
    seconds = max(1.0, (now - max(recent[0]["at"], began_at)).total_seconds())
    return float(round(sum(told["accepted"] for told in recent) / seconds, 1))
