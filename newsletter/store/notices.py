"""The service's own mails to persons, and the log of their attempts: what is due, and what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, select, update

from newsletter.core.model import SubscriberState
from newsletter.store.schema import notice_attempts, notices, relays, subscribers


class NoticeKind(StrEnum):
    """Why the service writes to a person."""

    CONFIRM = "confirm"
    KNOWN = "known"
    ADDRESS = "address"


def insert_notice(conn: Connection, values: Mapping[str, Any], now: datetime) -> int:
    """Write down a mail that is to go now; returns its number."""
    row = {**values, "created_at": now, "due_at": now}
    return int(conn.execute(notices.insert().values(row).returning(notices.c.id)).scalar_one())


def count_notices(conn: Connection, subscriber_id: int, since: datetime) -> int:
    """How many mails of ours a person was to get since then."""
    of_person = (notices.c.subscriber_id == subscriber_id, notices.c.created_at > since)
    return int(conn.execute(select(func.count()).where(*of_person)).scalar_one())


def find_notice(conn: Connection, number: int) -> Row[Any] | None:
    """A mail by its number."""
    return conn.execute(notices.select().where(notices.c.id == number)).first()


def list_due(conn: Connection, now: datetime, most: int) -> Sequence[Row[Any]]:
    """The mails that are due, the longest waiting first."""
    return conn.execute(notices.select().where(notices.c.due_at <= now).order_by(notices.c.due_at).limit(most)).all()


def start_notice(conn: Connection, row: Row[Any], again_at: datetime) -> bool:
    """Write an attempt down before it is made: should we die, it goes again then. False where another was quicker."""
    done = update(notices).where(notices.c.id == row.id, notices.c.attempts == row.attempts)
    return conn.execute(done.values(attempts=row.attempts + 1, due_at=again_at)).rowcount > 0


def finish_notice(conn: Connection, attempt: Mapping[str, Any], due_at: datetime | None) -> None:
    """Append an attempt to the log; it is due again at `due_at`, or never."""
    conn.execute(notice_attempts.insert().values(attempt))
    conn.execute(update(notices).where(notices.c.id == attempt["notice_id"]).values(due_at=due_at))


def confirm_notice(conn: Connection, number: int, now: datetime) -> None:
    """Note that what a mail asked for was confirmed."""
    conn.execute(update(notices).where(notices.c.id == number).values(confirmed_at=now, due_at=None))


def list_attempts(
    conn: Connection, *, subscriber_id: int | None = None, since: datetime | None = None
) -> Iterator[Row[Any]]:
    """The attempts, oldest first, with the address and the relay's name."""
    query = (
        select(notice_attempts, notices.c.email, relays.c.name.label("relay"))
        .join(notices, notices.c.id == notice_attempts.c.notice_id)
        .outerjoin(relays, relays.c.id == notice_attempts.c.relay_id)
        .order_by(notice_attempts.c.at)
    )
    if subscriber_id is not None:
        query = query.where(notices.c.subscriber_id == subscriber_id)
    if since is not None:
        query = query.where(notice_attempts.c.at >= since)
    yield from conn.execute(query)


def delete_unconfirmed(conn: Connection, before: datetime) -> int:
    """Forget who signed up before then and never confirmed; returns how many. They were never anybody's reader."""
    newer = exists().where(notices.c.subscriber_id == subscribers.c.id, notices.c.created_at >= before)
    stale = (subscribers.c.state == SubscriberState.PENDING, subscribers.c.created_at < before, ~newer)
    return int(conn.execute(delete(subscribers).where(*stale)).rowcount)
