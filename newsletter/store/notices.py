"""The service's own mails to persons, and the log of their attempts: what is due, and what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, select, update

from newsletter.core.model import Outcome, SubscriberState
from newsletter.store.schema import notice_attempts, notices, relays, subscribers
from newsletter.store.upkeep import DIED_RESPONSE


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


def is_waiting(conn: Connection, subscriber_id: int, kind: NoticeKind, choice: str) -> bool:
    """Whether just such a mail to a person waits for its first attempt."""
    same = (notices.c.subscriber_id == subscriber_id, notices.c.kind == kind, notices.c.choice == choice)
    return (
        conn.execute(select(notices.c.id).where(*same, notices.c.attempts == 0, notices.c.due_at.is_not(None))).first()
        is not None
    )


def list_notices(conn: Connection, subscriber_id: int) -> Sequence[Row[Any]]:
    """The mails to a person, oldest first."""
    return conn.execute(notices.select().where(notices.c.subscriber_id == subscriber_id).order_by(notices.c.id)).all()


def find_notice(conn: Connection, number: int) -> Row[Any] | None:
    """A mail by its number."""
    return conn.execute(notices.select().where(notices.c.id == number)).first()


def list_due(conn: Connection, now: datetime, most: int) -> Sequence[Row[Any]]:
    """The mails that are due, the longest waiting first."""
    return conn.execute(notices.select().where(notices.c.due_at <= now).order_by(notices.c.due_at).limit(most)).all()


def start_notice(conn: Connection, row: Row[Any], attempt: Mapping[str, Any], again_at: datetime) -> bool:
    """Write an attempt down before it is made, as in doubt; should we die, it goes again at `again_at`.

    False where another was quicker, or it is not to go any more.
    """
    still = update(notices).where(
        notices.c.id == row.id, notices.c.attempts == row.attempts, notices.c.due_at == row.due_at
    )
    if not conn.execute(still.values(attempts=row.attempts + 1, due_at=again_at)).rowcount:
        return False
    doubt = {"outcome": Outcome.UNCERTAIN, "response": DIED_RESPONSE, "seconds": 0.0}
    conn.execute(
        notice_attempts.insert().values({"notice_id": row.id, "attempt": row.attempts + 1, **doubt, **attempt})
    )
    return True


def finish_notice(conn: Connection, row: Row[Any], result: Mapping[str, Any], due_at: datetime | None) -> None:
    """What came of the attempt that was begun; it is due again at `due_at`, or never."""
    this = (notice_attempts.c.notice_id == row.id, notice_attempts.c.attempt == row.attempts + 1)
    conn.execute(update(notice_attempts).where(*this).values(result))
    conn.execute(_of(row).values(due_at=due_at))


def take_back(conn: Connection, row: Row[Any]) -> None:
    """Undo a beginning that the relay never answered: nothing is counted."""
    this = (notice_attempts.c.notice_id == row.id, notice_attempts.c.attempt == row.attempts + 1)
    conn.execute(delete(notice_attempts).where(*this))
    conn.execute(_of(row).values(attempts=row.attempts, due_at=row.due_at))


def drop_notice(conn: Connection, row: Row[Any]) -> None:
    """Let a mail not go any more."""
    conn.execute(_of(row).values(due_at=None))


def _of(row: Row[Any]) -> Any:
    """The mail, unless it was confirmed meanwhile: then it is owed no more."""
    return update(notices).where(notices.c.id == row.id, notices.c.confirmed_at.is_(None))


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
