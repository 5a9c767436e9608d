"""What came back: messages taken once, and what each says of a person; how much of it, by issue, reason and day."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, or_, select, update

from newsletter.core.bounces.report import Kind
from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState, Key
from newsletter.store.inserting import insert_ignoring
from newsletter.store.schema import deliveries, inbound, reports

COUNTED = ("hard", "soft", "complaint", "unsubscribe", "auto-reply")
"""The kinds that say something of a person."""


def take_message(conn: Connection, digest: bytes, source: str, now: datetime) -> int | None:
    """Note that a message came; its number, or None where it was taken before."""
    values = {"digest": digest, "at": now, "source": source}
    number: int | None = conn.execute(insert_ignoring(conn, inbound).returning(inbound.c.id), values).scalar()
    return number


def drop_unclear(conn: Connection, digest: bytes) -> bool:
    """Forget a message that was taken before and carried nothing of ours, so that it can be vouched for now."""
    ours = select(reports.c.inbound_id).where(reports.c.is_ours)
    this = (inbound.c.digest == digest, inbound.c.id.not_in(ours))
    return conn.execute(delete(inbound).where(*this)).rowcount > 0


def was_clear(conn: Connection, digest: bytes) -> bool:
    """Whether a message that was taken before carried something of ours, or was an auto-reply."""
    clear = or_(reports.c.is_ours, reports.c.kind == Kind.AUTO_REPLY)
    said = select(reports.c.id).join(inbound, inbound.c.id == reports.c.inbound_id)
    return conn.execute(said.where(inbound.c.digest == digest, clear).limit(1)).first() is not None


def insert_reports(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write down what a message says."""
    if rows:
        conn.execute(reports.insert(), rows)


def list_reports(
    conn: Connection,
    *,
    subscriber_id: int | None = None,
    key: Key | None = None,
    unclear: bool = False,
    since: datetime | None = None,
    most: int = 1_000,
) -> Sequence[Row[Any]]:
    """Reports with where they came from, the latest first: of a person, of a delivery, or those of nobody of ours."""
    query = select(reports, inbound.c.source).join(inbound, inbound.c.id == reports.c.inbound_id)
    if subscriber_id is not None:
        query = query.where(reports.c.subscriber_id == subscriber_id)
    if key is not None:
        query = query.where(reports.c.issue_id == key[0], reports.c.subscriber_id == key[1])
    if unclear:
        query = query.where(~reports.c.is_ours, reports.c.email.is_not(None))
    if since is not None:
        query = query.where(reports.c.at >= since)
    return conn.execute(query.order_by(reports.c.id.desc()).limit(most)).all()


def find_report(conn: Connection, number: int) -> Row[Any]:
    """A report by its number, with where it came from; StoreError where there is none."""
    query = select(reports, inbound.c.source).join(inbound, inbound.c.id == reports.c.inbound_id)
    row = conn.execute(query.where(reports.c.id == number)).first()
    if row is None:
        raise StoreError(f"there is no report {number}")
    return row


def update_report(conn: Connection, number: int, changes: Mapping[str, Any]) -> None:
    """Write down what became of a report."""
    conn.execute(update(reports).where(reports.c.id == number).values(changes))


def list_of_deliveries(
    conn: Connection, *, issue_id: int | None = None, subscriber_id: int | None = None
) -> Iterator[Row[Any]]:
    """The reports of deliveries, oldest first: of an issue, of a person, or all."""
    query = reports.select().where(reports.c.issue_id.is_not(None), reports.c.subscriber_id.is_not(None))
    if issue_id is not None:
        query = query.where(reports.c.issue_id == issue_id)
    if subscriber_id is not None:
        query = query.where(reports.c.subscriber_id == subscriber_id)
    yield from conn.execute(query.order_by(reports.c.id))


def count_readers(conn: Connection, issue_ids: Collection[int], kinds: Sequence[str]) -> dict[int, dict[str, int]]:
    """How many readers of issues are reported on, by issue and kind; each counts once."""
    wanted = (reports.c.issue_id.in_(issue_ids), reports.c.kind.in_(kinds), reports.c.is_ours)
    rows = conn.execute(
        select(reports.c.issue_id, reports.c.kind, func.count(reports.c.subscriber_id.distinct()).label("n"))
        .where(*wanted)
        .group_by(reports.c.issue_id, reports.c.kind)
    )
    counted: dict[int, dict[str, int]] = {number: dict.fromkeys(kinds, 0) for number in issue_ids}
    for row in rows:
        counted[row.issue_id][row.kind] = row.n
    return counted


def count_by(conn: Connection, column: str, since: datetime, most: int) -> Sequence[Row[Any]]:
    """How many reports of ours since then, by kind and a column (`reason`, `domain`), the most first."""
    by, n = reports.c[column].label("by"), func.count().label("n")
    counted = select(reports.c.kind, by, n).where(*_lately(since)).group_by(reports.c.kind, by)
    return conn.execute(counted.order_by(n.desc(), by).limit(most)).all()


def list_moments(conn: Connection, since: datetime) -> list[tuple[datetime, str]]:
    """When reports of ours came and of which kind, oldest first."""
    query = select(reports.c.at, reports.c.kind).where(*_lately(since)).order_by(reports.c.at)
    return [(row.at, row.kind) for row in conn.execute(query)]


def _lately(since: datetime) -> tuple[ColumnElement[bool], ...]:
    return reports.c.at >= since, reports.c.is_ours, reports.c.kind.in_(COUNTED)


def list_accepted(conn: Connection, subscriber_id: int, issue_ids: Collection[int]) -> list[int]:
    """The issues of these that a relay took for a person, the latest first."""
    mine = (deliveries.c.issue_id.in_(issue_ids), deliveries.c.subscriber_id == subscriber_id)
    query = select(deliveries.c.issue_id).where(*mine, deliveries.c.state == DeliveryState.ACCEPTED)
    return list(conn.execute(query.order_by(deliveries.c.issue_id.desc())).scalars())


def forget_reports(conn: Connection, subscriber_id: int, email_key: str) -> None:
    """Take everything of a person out of the reports; that they came, and what they led to, stays."""
    of_person = or_(reports.c.subscriber_id == subscriber_id, func.lower(reports.c.email) == email_key)
    conn.execute(update(reports).where(of_person).values(email=None, text=""))


def prune_reports(conn: Connection, before: datetime) -> int:
    """Delete messages that came before then, with what they say; returns how many."""
    return int(conn.execute(delete(inbound).where(inbound.c.at < before)).rowcount)
