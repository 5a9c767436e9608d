"""How many soft bounces in a row are too many for an address, and how many reports for an issue."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Connection

from newsletter.core.bounces.report import Kind, Reason, Report
from newsletter.core.policy import judge_reports, must_suppress_bounced
from newsletter.feedback.owners import Owner
from newsletter.store import issues, reports, tallies

TAKES_ITS_TIME = timedelta(days=5)
"""A bounce may come so late: an issue younger than that without one says nothing yet (RFC 5321 4.5.4.1)."""


def must_suppress_soft(conn: Connection, owner: Owner, report: Report, now: datetime) -> bool:
    """Whether a soft bounce, after those before it, is one too many."""
    if report.reason == Reason.DELAYED:
        return False
    moments = [now, *_list_in_a_row(conn, owner, now)]
    reason = Reason(report.reason)
    return must_suppress_bounced(reason, issues=len(moments), span=now - min(moments))


def _list_in_a_row(conn: Connection, owner: Owner, now: datetime) -> Iterator[datetime]:
    """When mails of other issues to a person came back softly, a moment each, back to the last that did not."""
    if owner.subscriber_id is None:
        return
    came_back: dict[int, datetime] = {}
    for row in reports.list_reports(conn, subscriber_id=owner.subscriber_id):
        is_soft = row.kind == Kind.SOFT and row.reason != Reason.DELAYED
        if is_soft and row.issue_id is not None and row.email == owner.email:
            came_back[row.issue_id] = row.at
    for issue in issues.list_latest(conn, 200):
        if issue.id == owner.issue:
            continue
        if issue.id in came_back:
            yield came_back[issue.id]
        elif issue.due_at < now - TAKES_ITS_TIME and reports.list_accepted(conn, owner.subscriber_id, [issue.id]):
            return


@contextmanager
def watch_issue(conn: Connection, number: int | None, kind: Kind) -> Iterator[None]:
    """Pause an issue of which too much has come back with what is written down here, where some is still to go out.

    Only what passes the bound of its kind does: an operator who lets the issue go on is not overruled by the next.
    """
    if number is None or kind not in (Kind.HARD, Kind.COMPLAINT):
        yield
        return
    before = find_reason_to_pause(conn, number, only=kind)
    yield
    reason = find_reason_to_pause(conn, number, only=kind)
    if reason is not None and before is None and tallies.is_unfinished(conn, number):
        issues.pause_running(conn, number, reason)


def find_reason_to_pause(conn: Connection, number: int, *, only: Kind | None = None) -> str | None:
    """Why an issue's readers should get no more of it, by all that came back or by one kind; None where they may."""
    told = reports.count_readers(conn, [number], (Kind.HARD, Kind.COMPLAINT))[number]
    counted = tallies.read_tallies(conn, [number])[number]
    accepted = sum(n for (state, _), n in counted.items() if state == "accepted")
    hard, complaints = (told[kind] if only in (None, kind) else 0 for kind in (Kind.HARD, Kind.COMPLAINT))
    return judge_reports(accepted=accepted, hard=hard, complaints=complaints)
