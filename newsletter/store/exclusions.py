"""Queued deliveries that are not to be sent, with the reason, and what that means for their readers' windows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, select, update

from newsletter.core.model import DeliveryState, Exclusion, IssueState, Key, SubscriberState
from newsletter.store.schema import deliveries, issues, subscribers, suppressions


def fresh_of(batch: Any) -> Any:
    """The deliveries of a batch that were never started, by key range."""
    return and_(
        deliveries.c.issue_id == batch.issue_id,
        deliveries.c.subscriber_id.between(batch.first_subscriber, batch.last_subscriber),
        deliveries.c.batch_id == batch.id,
        deliveries.c.state == DeliveryState.QUEUED,
        deliveries.c.due_at.is_(None),
    )


def one_delivery(key: Key) -> Any:
    """The delivery of this key."""
    return and_(deliveries.c.issue_id == key[0], deliveries.c.subscriber_id == key[1])


def belongs_to(subscriber_id: int) -> Any:
    """The deliveries of one person, by a key look-up an issue and never by a scan."""
    return and_(deliveries.c.issue_id.in_(select(issues.c.id)), deliveries.c.subscriber_id == subscriber_id)


def exclude_deliveries(conn: Connection, reason: Exclusion, which: Any) -> int:
    """Exclude queued deliveries for a reason, and open their readers' windows again; returns how many."""
    queued = and_(which, deliveries.c.state == DeliveryState.QUEUED)
    reopen_windows(conn, queued)
    done = conn.execute(
        update(deliveries).where(queued).values(state=DeliveryState.EXCLUDED, reason=reason, due_at=None, owner=None)
    )
    return int(done.rowcount)


def exclude_forgotten(conn: Connection, which: Any) -> int:
    """Exclude queued deliveries to people who were erased since publication."""
    gone = ~exists().where(subscribers.c.id == deliveries.c.subscriber_id)
    return exclude_deliveries(conn, Exclusion.UNSUBSCRIBED, and_(which, gone))


def exclude_cancelled(conn: Connection) -> int:
    """Exclude what was on the wire when its issue was cancelled, and came back deferred."""
    cancelled = select(issues.c.id).where(issues.c.state == IssueState.CANCELLED)
    which = and_(deliveries.c.due_at.is_not(None), deliveries.c.issue_id.in_(cancelled))
    return exclude_deliveries(conn, Exclusion.CANCELLED, which)


def reopen_windows(conn: Connection, which: Any) -> None:
    """Readers who did not get what was covered are offered it again: set their window back and note the gap."""
    lost = (
        select(deliveries.c.subscriber_id, func.min(deliveries.c.since_issue_id).label("since"))
        .where(which, deliveries.c.since_issue_id.is_not(None))
        .group_by(deliveries.c.subscriber_id)
    )
    rows = [{"s": row.subscriber_id, "since": row.since} for row in conn.execute(lost)]
    if rows:
        conn.execute(
            update(subscribers)
            .where(subscribers.c.id == bindparam("s"), subscribers.c.covered_issue_id > bindparam("since"))
            .values(covered_issue_id=bindparam("since"), has_gap=True),
            rows,
        )


def reopen_window_of(conn: Connection, key: Key) -> None:
    """The same for one delivery that was given up."""
    reopen_windows(conn, one_delivery(key))


def settle_unstarted(conn: Connection, keys: Iterable[Key], now: datetime) -> None:
    """Deliveries that could not be started: excluded where the reader left, was suppressed or paused since
    publication; else (the issue or the service is paused) they wait, due now."""
    for key in keys:
        reader = conn.execute(
            select(subscribers.c.state, subscribers.c.paused_until, suppressions.c.at)
            .outerjoin(suppressions, suppressions.c.address_hash == subscribers.c.address_hash)
            .where(subscribers.c.id == key[1])
        ).first()
        if reader is None or reader.state != SubscriberState.ACTIVE:
            reason = Exclusion.UNSUBSCRIBED
        elif reader.at is not None:
            reason = Exclusion.SUPPRESSED
        elif reader.paused_until is not None and reader.paused_until > now:
            reason = Exclusion.PAUSED
        else:
            waiting = and_(one_delivery(key), deliveries.c.state == DeliveryState.QUEUED, deliveries.c.due_at.is_(None))
            conn.execute(update(deliveries).where(waiting).values(due_at=now))
            continue
        exclude_deliveries(conn, reason, one_delivery(key))
