"""The operator's hand on an issue: pause it, let it go on, cancel it, decide what is in doubt, try again."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection

from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState, Exclusion, IssueState
from newsletter.core.plan import WINDOW
from newsletter.core.policy import has_expired
from newsletter.store import exclusions, issues, ledger, tallies, upkeep
from newsletter.store.database import Database
from newsletter.store.schema import deliveries

SETTLED_RESPONSE = "settled by the operator as sent"


def pause_issue(database: Database, number: int, *, now: datetime) -> dict[str, Any]:
    """Stop an issue's deliveries until it is resumed; StoreError where it was cancelled, or is still being written."""
    with database.write() as conn:
        _demand(conn, number, IssueState.RUNNING, IssueState.PAUSED)
        _demand_unfinished(conn, number)
        issues.set_issue_state(conn, number, IssueState.PAUSED, f"by the operator at {now:%Y-%m-%d %H:%M} UTC")
    return {"issue": number, "state": IssueState.PAUSED}


def resume_issue(database: Database, number: int, *, now: datetime) -> dict[str, Any]:
    """Let a paused issue go on; StoreError where it was cancelled."""
    with database.write() as conn:
        _demand(conn, number, IssueState.RUNNING, IssueState.PAUSED)
        issues.set_issue_state(conn, number, IssueState.RUNNING)
        return {"issue": number, "state": IssueState.RUNNING, "owed": upkeep.count_owed(conn, now, number)}


def cancel_issue(database: Database, number: int, *, now: datetime) -> dict[str, Any]:
    """Exclude everything an issue still owes, for good; what is on the wire is finished."""
    with database.write() as conn:
        _demand(conn, number, IssueState.RUNNING, IssueState.PAUSED, IssueState.CANCELLED)
        _demand_unfinished(conn, number)
        issues.set_issue_state(conn, number, IssueState.CANCELLED, f"by the operator at {now:%Y-%m-%d %H:%M} UTC")
        count = exclusions.exclude_deliveries(conn, Exclusion.CANCELLED, deliveries.c.issue_id == number)
    return {"issue": number, "state": IssueState.CANCELLED, "excluded": count}


def settle_issue(
    database: Database,
    number: int,
    *,
    now: datetime,
    resend: bool,
    expire_after: timedelta,
    subscriber_id: int | None = None,
) -> dict[str, Any]:
    """Decide on uncertain deliveries of an issue, or on one reader's: send them again, or take them for sent.

    StoreError where they cannot be sent again: the issue was cancelled, or is older than `expire_after`.
    """
    with database.write() as conn:
        issue = issues.find_issue(conn, number)
        if resend:
            _demand(conn, number, IssueState.RUNNING, IssueState.PAUSED)
            if has_expired(issue.due_at, now, expire_after):
                raise StoreError(f"issue {number} is too old to be sent again: settle it --as sent")
        which = {"issue_id": number, "state": DeliveryState.UNCERTAIN, "subscriber_id": subscriber_id}
        if resend:
            count = upkeep.make_due(conn, which, now)
        else:
            count = upkeep.settle_as_sent(conn, which, now, SETTLED_RESPONSE)
    return {"issue": number, "settled": count, "as": "resend" if resend else "sent"}


def retry_issue(
    database: Database,
    number: int,
    *,
    now: datetime,
    expire_after: timedelta,
    subscriber_id: int | None = None,
    reply_id: int | None = None,
) -> dict[str, Any]:
    """Put rejected deliveries of an issue, one reader's, or those of one kind of reply, back into the queue.

    Their attempts count on.

    Who has had one of the stories in another mail since is left alone, for nobody gets a story twice. StoreError where
    the issue was cancelled, or is older than `expire_after`.
    """
    with database.write() as conn:
        _demand(conn, number, IssueState.RUNNING, IssueState.PAUSED)
        issue = issues.find_issue(conn, number)
        if has_expired(issue.due_at, now, expire_after):
            raise StoreError(f"issue {number} is too old to be sent again: its news are older than EXPIRE_AFTER allows")
        given_up = ledger.list_rejected(conn, number, subscriber_id, reply_id)
        served = _find_served(conn, number, issue.due_at - WINDOW, subscriber_id)
        keys = [(number, reader) for reader in given_up if reader not in served]
        upkeep.retry_deliveries(conn, keys, now)
    return {"issue": number, "retried": len(keys), "left_out": len(given_up) - len(keys)}


def _find_served(conn: Connection, number: int, since: datetime, subscriber_id: int | None) -> set[int]:
    """The readers of rejected deliveries who hold, or are owed, one of its stories in a mail of another issue."""

    @cache
    def stories_of(edition_id: int) -> frozenset[int]:
        return issues.read_edition_stories(conn, edition_id)

    others = ledger.list_other_editions(conn, number, since, subscriber_id)
    return {row.subscriber_id for row in others if stories_of(row.edition_id) & stories_of(row.other_id)}


def _demand(conn: Connection, number: int, *legal: IssueState) -> None:
    state = issues.find_issue(conn, number).state
    if state == IssueState.PREPARING:  # paused now, it would go on without the readers that have no row yet
        raise StoreError(f"issue {number} is still being written: `newsletter deliver` goes on with it")
    if state not in legal:
        raise StoreError(f"issue {number} is {state}: that cannot be done with it any more")


def _demand_unfinished(conn: Connection, number: int) -> None:
    """StoreError where nothing is owed or in doubt any more: what went out cannot be called back."""
    is_running = issues.find_issue(conn, number).state == IssueState.RUNNING
    if is_running and not tallies.is_unfinished(conn, number):
        raise StoreError(f"issue {number} is finished: that cannot be done with it any more")
