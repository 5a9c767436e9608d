"""The deliveries that are owed, on their way into the hands of who delivers: batches are claimed, deliveries read.

What becomes of them then is in moves.py. Who delivers is named by an `owner` number, new at every start.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Row,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from newsletter.core.dkim import Identity
from newsletter.core.model import DeliveryState, IssueState, Key
from newsletter.core.policy import lane_of
from newsletter.store.exclusions import exclude_forgotten, fresh_of, one_delivery
from newsletter.store.inserting import insert_ignoring
from newsletter.store.issues import StoredEdition
from newsletter.store.schema import (
    Instant,
    batches,
    deliveries,
    dkim_identities,
    editions,
    issues,
    relays,
    subscribers,
    topic_sets,
)
from newsletter.store.throttles import ASIDE, shut_lanes

BATCH_SIZE = 500
DEFERRED_SIZE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A delivery in the hands of this process, with what its mail is filled with; `lane` is its great provider's."""

    issue_id: int
    subscriber_id: int
    edition_id: int
    language: str
    frame: bytes
    stories: str
    batch_id: int
    attempts: int
    due_at: datetime
    email: str
    name: str
    topics: str
    address_hash: bytes
    lane: str
    timezone: str = ""
    held_until: datetime | None = None
    """Where many may deliver, the moment that keeps a deferred one from the others."""

    @property
    def edition(self) -> StoredEdition:
        """The edition, read together with the delivery: most have few readers."""
        return StoredEdition(self.edition_id, self.issue_id, self.language, self.frame, self.stories)

    @property
    def key(self) -> Key:
        """(issue, subscriber)."""
        return self.issue_id, self.subscriber_id


def intern_relay(conn: Connection, name: str) -> int:
    """The id of a relay by its name `host:port`."""
    conn.execute(insert_ignoring(conn, relays), {"name": name})
    return int(conn.execute(select(relays.c.id).where(relays.c.name == name)).scalar_one())


def intern_dkim_identities(conn: Connection, identities: Sequence[Identity]) -> int | None:
    """The id of those who sign, None where nobody does."""
    if not identities:
        return None
    names = json.dumps([asdict(identity) for identity in identities])
    conn.execute(insert_ignoring(conn, dkim_identities), {"names": names})
    return int(conn.execute(select(dkim_identities.c.id).where(dkim_identities.c.names == names)).scalar_one())


def claim_batch(
    conn: Connection,
    owner: int,
    now: datetime,
    issue_id: int | None,
    *,
    but: Collection[str] = (),
    batch_id: int | None = None,
) -> Row[Any] | None:
    """Take the oldest free batch that is due, of one issue or of any that runs, or a certain one; None where none is.

    The lanes `but`, and those to which nothing may go now, are passed over.
    """
    free = (
        select(batches)
        .join(issues, issues.c.id == batches.c.issue_id)
        .where(
            ~batches.c.done, batches.c.owner.is_(None), batches.c.due_at <= now, issues.c.state == IssueState.RUNNING
        )
        .where(batches.c.lane.not_in(shut_lanes(now)), batches.c.lane.not_in(but))
        .order_by(batches.c.due_at, batches.c.id)
        .limit(1)
        .with_for_update(of=batches, skip_locked=True)
    )
    if issue_id is not None:
        free = free.where(batches.c.issue_id == issue_id)
    if batch_id is not None:
        free = free.where(batches.c.id == batch_id)
    batch = conn.execute(free).first()
    if batch is not None:
        conn.execute(update(batches).where(batches.c.id == batch.id).values(owner=owner))
    return batch


def read_lane(conn: Connection, batch_id: int) -> str | None:
    """The lane of a batch; None where there is no such batch."""
    return conn.execute(select(batches.c.lane).where(batches.c.id == batch_id)).scalar()


def _claimable() -> Select[Any]:
    return (
        select(
            deliveries.c.issue_id,
            deliveries.c.subscriber_id,
            deliveries.c.edition_id,
            editions.c.language,
            editions.c.frame,
            editions.c.stories,
            deliveries.c.batch_id,
            deliveries.c.attempts,
            batches.c.due_at,
            subscribers.c.email,
            subscribers.c.name,
            topic_sets.c.topics,
            func.coalesce(subscribers.c.timezone, "").label("timezone"),
            subscribers.c.address_hash,
            deliveries.c.lane,
        )
        .join(issues, issues.c.id == deliveries.c.issue_id)
        .join(subscribers, subscribers.c.id == deliveries.c.subscriber_id)
        .join(topic_sets, topic_sets.c.id == subscribers.c.topic_set_id)
        .join(batches, batches.c.id == deliveries.c.batch_id)
        .join(editions, editions.c.id == deliveries.c.edition_id)
        .where(deliveries.c.state == DeliveryState.QUEUED)
    )


def _read_claimed(result: CursorResult[Any]) -> list[Claimed]:
    names = tuple(result.keys())
    return [Claimed(**dict(zip(names, row, strict=True))) for row in result]


def read_batch(conn: Connection, batch: Row[Any]) -> list[Claimed]:
    """The fresh deliveries of a claimed batch, by key range; those to erased people are excluded."""
    exclude_forgotten(conn, fresh_of(batch))
    return _read_claimed(conn.execute(_claimable().where(fresh_of(batch))))


def list_due_lanes(conn: Connection) -> list[str]:
    """The lanes in which deliveries wait for a moment; one look into the index for each."""
    has_moment = deliveries.c.due_at.is_not(None)
    first = select(func.min(deliveries.c.lane).label("lane")).where(has_moment).cte(recursive=True)
    following = select(func.min(deliveries.c.lane)).where(has_moment, deliveries.c.lane > first.c.lane)
    lanes = first.union_all(select(following.scalar_subquery()).where(first.c.lane.is_not(None)))
    return list(conn.execute(select(lanes.c.lane).where(lanes.c.lane.is_not(None))).scalars())


def read_deferred(
    conn: Connection,
    lane: str,
    now: datetime,
    issue_id: int | None,
    *,
    after: tuple[datetime, Key] | None = None,
    most: int = DEFERRED_SIZE,
    tidy: bool = True,
) -> list[tuple[Claimed, datetime]]:
    """Some deliveries of an open lane whose next attempt is due, each with that moment, the longest waiting first.

    `after` is the moment and the key up to which they were read already. With `tidy`, those to erased people are
    excluded first; they are never read.
    """
    if after is None and tidy:
        exclude_forgotten(conn, and_(deliveries.c.lane == lane, deliveries.c.due_at <= now))
    due = (deliveries.c.due_at, deliveries.c.issue_id, deliveries.c.subscriber_id)
    query = (
        _claimable()
        .add_columns(deliveries.c.due_at.label("next_at"))
        .where(deliveries.c.lane == lane, deliveries.c.due_at <= now, issues.c.state == IssueState.RUNNING)
        .where(deliveries.c.lane.not_in(shut_lanes(now)))
        .order_by(*due)
        .limit(most)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    if issue_id is not None:
        query = query.where(deliveries.c.issue_id == issue_id)
    if after is not None:
        query = query.where(tuple_(*due) > tuple_(literal(after[0], Instant), *after[1]))
    rows = [dict(row._mapping) for row in conn.execute(query)]
    found = [(Claimed(**{k: v for k, v in row.items() if k != "next_at"}), row["next_at"]) for row in rows]
    if lane.startswith(ASIDE):
        found = [(replace(claimed, lane=lane_of(claimed.email)), next_at) for claimed, next_at in found]
    return found


def read_delivery(conn: Connection, key: Key, now: datetime) -> Claimed | None:
    """One queued delivery whose next attempt is due, whatever its issue's state."""
    due = or_(deliveries.c.due_at.is_(None), deliveries.c.due_at <= now)
    row = conn.execute(_claimable().where(one_delivery(key), due)).first()
    return Claimed(**row._mapping) if row else None


def free_batches(conn: Connection, owner: int) -> None:
    """Give back the batches that this process did not finish."""
    conn.execute(update(batches).where(batches.c.owner == owner).values(owner=None))


def close_batch(conn: Connection, batch_id: int) -> None:
    """Mark a batch done: each of its deliveries has been started once; what is owed of it now has a `due_at`."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(done=True, owner=None))
