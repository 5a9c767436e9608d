"""Deliveries on their way: claiming them, marking the start of an attempt, and writing down what came of it.

A row goes on the wire only if `start_deliveries` hit it; the outcome of a connection's last mail and the start of its
next are committed together. Who delivers is named by an `owner` number, new at every start.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, exists, or_, select, tuple_, update

from newsletter.core.model import DeliveryState, IssueState, Key, Outcome, SubscriberState
from newsletter.store.exclusions import exclude_forgotten, fresh_of, one_delivery
from newsletter.store.issues import insert_ignoring
from newsletter.store.schema import (
    attempts,
    batches,
    deliveries,
    issues,
    relays,
    service,
    subscribers,
    suppressions,
    topic_sets,
)

BATCH_SIZE = 500
LEASE = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A delivery in the hands of this process, with what its mail is filled with."""

    issue_id: int
    subscriber_id: int
    edition_id: int
    batch_id: int
    attempts: int
    due_at: datetime
    email: str
    name: str
    topics: str
    address_hash: bytes
    domain: str

    @property
    def key(self) -> Key:
        """(issue, subscriber)."""
        return self.issue_id, self.subscriber_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """An attempt that is over: its log row, and where its delivery goes from here."""

    key: Key
    attempt: int
    at: datetime
    relay_id: int | None
    outcome: Outcome
    code: int | None
    enhanced: str | None
    response: str
    seconds: float
    digest: bytes | None
    state: DeliveryState
    due_at: datetime | None = None


def intern_relay(conn: Connection, name: str) -> int:
    """The id of a relay by its name `host:port`."""
    conn.execute(insert_ignoring(conn, relays), {"name": name})
    return int(conn.execute(select(relays.c.id).where(relays.c.name == name)).scalar_one())


def claim_batch(conn: Connection, owner: int, now: datetime, issue_id: int | None) -> Row[Any] | None:
    """Take the oldest free batch that is due, of one issue or of any that runs; None where there is none."""
    free = (
        select(batches)
        .join(issues, issues.c.id == batches.c.issue_id)
        .where(
            ~batches.c.done, batches.c.owner.is_(None), batches.c.due_at <= now, issues.c.state == IssueState.RUNNING
        )
        .order_by(batches.c.due_at, batches.c.id)
        .limit(1)
    )
    if issue_id is not None:
        free = free.where(batches.c.issue_id == issue_id)
    batch = conn.execute(free).first()
    if batch is not None:
        conn.execute(update(batches).where(batches.c.id == batch.id).values(owner=owner, lease_until=now + LEASE))
    return batch


def _claimable() -> Select[Any]:
    return (
        select(
            deliveries.c.issue_id,
            deliveries.c.subscriber_id,
            deliveries.c.edition_id,
            deliveries.c.batch_id,
            deliveries.c.attempts,
            batches.c.due_at,
            subscribers.c.email,
            subscribers.c.name,
            topic_sets.c.topics,
            subscribers.c.address_hash,
            issues.c.domain,
        )
        .join(issues, issues.c.id == deliveries.c.issue_id)
        .join(subscribers, subscribers.c.id == deliveries.c.subscriber_id)
        .join(topic_sets, topic_sets.c.id == subscribers.c.topic_set_id)
        .join(batches, batches.c.id == deliveries.c.batch_id)
        .where(deliveries.c.state == DeliveryState.QUEUED)
    )


def read_batch(conn: Connection, batch: Row[Any]) -> list[Claimed]:
    """The fresh deliveries of a claimed batch, by key range; those to erased people are excluded."""
    exclude_forgotten(conn, fresh_of(batch))
    return [Claimed(**row._mapping) for row in conn.execute(_claimable().where(fresh_of(batch)))]


def read_deferred(conn: Connection, now: datetime, issue_id: int | None) -> list[Claimed]:
    """Up to BATCH_SIZE deliveries whose next attempt is due, the longest waiting first; see `read_batch`."""
    exclude_forgotten(conn, deliveries.c.due_at <= now)
    query = _claimable().where(deliveries.c.due_at <= now, issues.c.state == IssueState.RUNNING)
    if issue_id is not None:
        query = query.where(deliveries.c.issue_id == issue_id)
    rows = conn.execute(query.order_by(deliveries.c.due_at).limit(BATCH_SIZE))
    return [Claimed(**row._mapping) for row in rows]


def read_delivery(conn: Connection, key: Key, now: datetime) -> Claimed | None:
    """One queued delivery whose next attempt is due, whatever its issue's state."""
    due = or_(deliveries.c.due_at.is_(None), deliveries.c.due_at <= now)
    row = conn.execute(_claimable().where(one_delivery(key), due)).first()
    return Claimed(**row._mapping) if row else None


def free_batches(conn: Connection, owner: int) -> None:
    """Give back the batches that this process did not finish."""
    conn.execute(update(batches).where(batches.c.owner == owner).values(owner=None, lease_until=None))


def close_batch(conn: Connection, batch_id: int) -> None:
    """Mark a batch done: each of its deliveries has been started once; what is owed of it now has a `due_at`."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(done=True, owner=None, lease_until=None))


def start_deliveries(
    conn: Connection, keys: Sequence[Key], owner: int, now: datetime, *, even_if_issue_paused: bool = False
) -> dict[Key, int]:
    """Mark deliveries as on the wire, before they are; returns those that may go, with their attempts so far.

    Will, suppression and the issue's state are read again here: whoever unsubscribed after publication gets nothing.
    """
    query = _START if even_if_issue_paused else _START_RUNNING
    started = conn.execute(query, {"keys": keys, "by": owner, "now": now})
    return {(row.issue_id, row.subscriber_id): row.attempts for row in started}


def finish_attempts(conn: Connection, finished: Sequence[Finished]) -> None:
    """Append attempts to the log and move their deliveries on, in one go."""
    if not finished:
        return
    conn.execute(
        _LOG,
        [
            {
                "issue_id": f.key[0],
                "subscriber_id": f.key[1],
                "attempt": f.attempt,
                "at": f.at,
                "relay_id": f.relay_id,
                "outcome": f.outcome,
                "code": f.code,
                "enhanced": f.enhanced,
                "response": f.response,
                "seconds": f.seconds,
                "digest": f.digest,
            }
            for f in finished
        ],
    )
    _move(conn, [(f.key, f.state, f.due_at, f.attempt) for f in finished])


def release_deliveries(conn: Connection, rows: Iterable[tuple[Key, int]], due_at: datetime) -> None:
    """Put deliveries back into the queue as if they had not been started: nothing is counted against them."""
    _move(conn, [(key, DeliveryState.QUEUED, due_at, counted) for key, counted in rows])


def _move(conn: Connection, moves: Sequence[tuple[Key, DeliveryState, datetime | None, int]]) -> None:
    if not moves:
        return
    conn.execute(
        _MOVE, [{"i": key[0], "s": key[1], "to": state, "due": due_at, "n": n} for key, state, due_at, n in moves]
    )


# The statements that every mail needs are built once: building them anew took most of the ledger's time (measured).
_NOW = bindparam("now", type_=deliveries.c.due_at.type)
_WILLING = exists().where(
    subscribers.c.id == deliveries.c.subscriber_id,
    subscribers.c.state == SubscriberState.ACTIVE,
    or_(subscribers.c.paused_until.is_(None), subscribers.c.paused_until <= _NOW),
    ~exists().where(suppressions.c.address_hash == subscribers.c.address_hash),
)
_RUNNING = exists().where(issues.c.id == deliveries.c.issue_id, issues.c.state == IssueState.RUNNING)
_START = (
    update(deliveries)
    .where(
        tuple_(deliveries.c.issue_id, deliveries.c.subscriber_id).in_(bindparam("keys", expanding=True)),
        deliveries.c.state == DeliveryState.QUEUED,
        # Claimed twice, it may have been tried and deferred meanwhile.
        or_(deliveries.c.due_at.is_(None), deliveries.c.due_at <= _NOW),
        _WILLING,
        ~exists().where(service.c.key == "paused"),
    )
    .values(state=DeliveryState.SENDING, owner=bindparam("by"), started_at=_NOW, due_at=None)
    .returning(deliveries.c.issue_id, deliveries.c.subscriber_id, deliveries.c.attempts)
)
_START_RUNNING = _START.where(_RUNNING)
_MOVE = (
    update(deliveries)
    .where(deliveries.c.issue_id == bindparam("i"), deliveries.c.subscriber_id == bindparam("s"))
    .values(state=bindparam("to"), due_at=bindparam("due"), attempts=bindparam("n"), owner=None)
)
_LOG = attempts.insert()
