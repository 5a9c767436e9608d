"""Rows of people who come or change what they chose, however they come: by a list, a form, a link."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from newsletter.core.model import SubscriberState
from newsletter.core.policy import lane_of
from newsletter.core.preferences import PersonRow
from newsletter.core.schedule import Frequency
from newsletter.store.schema import consents, subscribers, suppressions
from newsletter.store.subscribers import intern_topic_sets, last_issue, update_subscribers


def write_person(
    row: PersonRow,
    *,
    address_hash: bytes,
    topic_set: int,
    state: SubscriberState,
    now: datetime,
    last_issue: int,
) -> dict[str, Any]:
    """A new person's row; they are covered up to the newest issue: what went out before is not theirs."""
    return {
        "email": row.email,
        "email_key": row.email_key,
        "address_hash": address_hash,
        "name": row.name,
        "state": state,
        "topic_set_id": topic_set,
        "frequency": str(row.frequency),
        "timezone": row.timezone,
        "language": row.language,
        "lane": lane_of(row.email_key),
        "created_at": now,
        "signed_up_at": now,
        "covered_issue_id": last_issue,
    }


def insert_person(conn: Connection, values: Mapping[str, Any]) -> int:
    """Write a new person; returns their number."""
    return int(conn.execute(subscribers.insert().values(values).returning(subscribers.c.id)).scalar_one())


def find_changes(row: PersonRow, before: Row[Any], topic_set: int) -> dict[str, Any]:
    """The columns in which a person wants other than they have."""
    wanted: dict[str, Any] = {
        "name": row.name,
        "frequency": str(row.frequency),
        "timezone": row.timezone,
        "language": row.language,
    }
    changes = {name: wanted[name] for name in wanted if name in row.given and wanted[name] != getattr(before, name)}
    if "topics" in row.given and topic_set != before.topic_set_id:
        changes["topic_set_id"] = topic_set
    return changes


def begin_window(
    changes: Mapping[str, Any], before: Row[Any], last_issue: int, last_due: datetime | None
) -> dict[str, Any]:
    """What changes too where a reader of each issue gathers from now on: they were not tracked, and begin here."""
    if before.frequency != Frequency.EACH or changes.get("frequency", Frequency.EACH) == Frequency.EACH:
        return {}
    last_mail = max(last_due, before.signed_up_at) if last_due else None
    return {"covered_issue_id": last_issue, "last_mail_at": last_mail}


def take_choice(conn: Connection, person: Row[Any], row: PersonRow, now: datetime) -> bool:
    """Let a person have what they chose, and be a reader; who was none begins anew. Whether anything changed.

    What they had is kept for their earlier mails.
    """
    topics = ";".join(row.topics)
    topic_set = intern_topic_sets(conn, {topics})[topics]
    newest, newest_due = last_issue(conn)
    changes = find_changes(row, person, topic_set)
    if person.state == SubscriberState.ACTIVE:
        changes |= begin_window(changes, person, newest, newest_due)
    else:
        changes |= {"state": SubscriberState.ACTIVE, "signed_up_at": now, "covered_issue_id": newest}
        changes |= {"last_mail_at": None, "has_gap": False, "paused_until": None}
    if changes:
        update_subscribers(conn, [(person, changes)], now)
    return "topic_set_id" in changes or "state" in changes


def find_suppression(conn: Connection, address_hash: bytes) -> str | None:
    """Why an address is suppressed; None where it is not."""
    return conn.execute(select(suppressions.c.reason).where(suppressions.c.address_hash == address_hash)).scalar()


def confirm_consents(conn: Connection, subscriber_id: int, now: datetime) -> None:
    """Note that a person has confirmed what they agreed to."""
    open_ones = (consents.c.subscriber_id == subscriber_id, consents.c.confirmed_at.is_(None))
    conn.execute(update(consents).where(*open_ones, consents.c.withdrawn_at.is_(None)).values(confirmed_at=now))
