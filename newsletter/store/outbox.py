"""Deliveries on their way: claiming them, marking the start of an attempt, and writing down what came of it.

A row goes on the wire only if `start_deliveries` hit it; the outcome of a connection's last mail and the start of its
next are committed together. Who delivers is named by an `owner` number, new at every start.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Row,
    Select,
    Update,
    and_,
    case,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)

from newsletter.core.dkim import Identity
from newsletter.core.model import DeliveryState, IssueState, Key, Outcome, SubscriberState
from newsletter.core.policy import Stage, lane_of
from newsletter.store import tallies
from newsletter.store.exclusions import exclude_forgotten, fresh_of, one_delivery
from newsletter.store.inserting import insert_ignoring
from newsletter.store.issues import StoredEdition
from newsletter.store.prepared import Prepared, insert_rows
from newsletter.store.schema import (
    Instant,
    attempts,
    batches,
    deliveries,
    dkim_identities,
    editions,
    issues,
    relays,
    service,
    subscribers,
    suppressions,
    to_microseconds,
    topic_sets,
)
from newsletter.store.throttles import ASIDE, shut_lanes

Held = Mapping[Key, datetime]
NOT_HELD: Held = MappingProxyType({})
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
    stage: Stage | None = None
    dkim_id: int | None = None
    signatures: bytes | None = None


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


def hold_deferred(
    conn: Connection, rows: Iterable[tuple[Claimed, datetime]], until: datetime
) -> list[tuple[Claimed, datetime]]:
    """Keep deferred deliveries from other workers until then; those that are this one's now."""
    found = {claimed.key: (replace(claimed, held_until=until), next_at) for claimed, next_at in rows}
    given = [
        {"i": key[0], "s": key[1], "due": to_microseconds(next_at), "until": to_microseconds(until)}
        for key, (_, next_at) in sorted(found.items(), key=itemgetter(0))
    ]
    return [found[issue, subscriber] for issue, subscriber in _HOLD.run(conn, given)]


def give_back(conn: Connection, held: Held, now: datetime) -> None:
    """Let deferred deliveries that were held, and not started, be due again for all."""
    _GIVE_BACK.run(conn, _with(held, held, {"now": to_microseconds(now)}))


def list_held(rows: Iterable[Claimed]) -> Held:
    """Until when those of these deliveries are kept from other workers that are."""
    return {claimed.key: claimed.held_until for claimed in rows if claimed.held_until is not None}


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


def start_deliveries(
    conn: Connection,
    keys: Collection[Key],
    owner: int,
    now: datetime,
    *,
    held: Held = NOT_HELD,
    even_if_issue_paused: bool = False,
) -> dict[Key, int]:
    """Mark deliveries as on the wire, before they are; returns those that may go, with their attempts so far.

    Will, suppression and the issue's state are read again here: whoever unsubscribed after publication gets nothing.
    `held` are the moments until which some are kept from other workers.
    """
    query = _START if even_if_issue_paused else _START_RUNNING
    common = {"by": owner, "now": to_microseconds(now)}
    found = query.run(conn, _with(held, sorted(set(keys)), common))
    return {(issue, subscriber): int(attempts) for issue, subscriber, attempts in found}


def list_started(conn: Connection, keys: Collection[Key], owner: int) -> tuple[dict[Key, int], datetime | None]:
    """Those of these deliveries that an owner has on the wire, with their attempts, and since when."""
    mine = and_(deliveries.c.owner == owner, tuple_(deliveries.c.issue_id, deliveries.c.subscriber_id).in_(keys))
    rows = conn.execute(deliveries.select().where(mine)).all() if keys else []
    started = {(row.issue_id, row.subscriber_id): row.attempts for row in rows}
    return started, max((row.started_at for row in rows), default=None)


def _with(held: Held, keys: Iterable[Key], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Keys as the parameters of a statement, each with the moment until which it is held."""
    return [
        {"i": key[0], "s": key[1], "held": to_microseconds(held[key]) if key in held else None, **common}
        for key in keys
    ]


def finish_attempts(conn: Connection, finished: Sequence[Finished]) -> None:
    """Append attempts to the log and move their deliveries on, in one go."""
    kinds = tallies.intern_replies(
        conn, [(f.code, f.enhanced, f.response) for f in finished if f.outcome is not Outcome.ACCEPTED]
    )
    _LOG.run(conn, (_write_log_row(f, kinds.get((f.code, f.enhanced, f.response))) for f in finished))
    tallies.add_throughput(conn, [(f.key[0], f.at, f.outcome) for f in finished])
    _move(conn, [(f.key, f.state, f.due_at, f.attempt) for f in finished])


def _write_log_row(f: Finished, reply_id: int | None) -> dict[str, Any]:
    return {
        "issue_id": f.key[0],
        "subscriber_id": f.key[1],
        "attempt": f.attempt,
        "at": to_microseconds(f.at),
        "relay_id": f.relay_id,
        "outcome": f.outcome,
        "code": f.code,
        "enhanced": f.enhanced,
        "response": f.response,
        "seconds": f.seconds,
        "digest": f.digest,
        "stage": f.stage,
        "dkim_id": f.dkim_id,
        "signatures": f.signatures,
        "reply_id": reply_id,
    }


def release_deliveries(conn: Connection, rows: Iterable[tuple[Key, int]], due_at: datetime) -> None:
    """Put deliveries back into the queue as if they had not been started: nothing is counted against them."""
    _move(conn, [(key, DeliveryState.QUEUED, due_at, counted) for key, counted in rows])


def defer_unstarted(conn: Connection, keys: Iterable[Key], due_at: datetime, held: Held = NOT_HELD) -> None:
    """Let deliveries that are queued wait until `due_at` at least; nothing is counted against them."""
    due = to_microseconds(due_at)
    _WAIT.run(conn, _with(held, keys, {"due": due}))


def set_aside(conn: Connection, keys: Iterable[Key], domain: str, now: datetime, held: Held = NOT_HELD) -> None:
    """Put deliveries that are queued into the line of their domain alone, as due as they are; nothing is counted."""
    common = {"lane": f"{ASIDE}{domain}", "now": to_microseconds(now)}
    _ASIDE.run(conn, _with(held, keys, common))


def _move(conn: Connection, moves: Sequence[tuple[Key, DeliveryState, datetime | None, int]]) -> None:
    rows = [
        {"i": key[0], "s": key[1], "to": state, "due": due_at and to_microseconds(due_at), "n": n}
        for key, state, due_at, n in moves
    ]
    _MOVE.run(conn, rows)


def _one(given: Any) -> Any:
    return and_(deliveries.c.issue_id == given.i, deliveries.c.subscriber_id == given.s)


def _is_due(given: Any) -> Any:
    # Claimed twice, it may have been tried and deferred meanwhile.
    due_at = deliveries.c.due_at
    return or_(due_at.is_(None), due_at <= given.now, due_at == given.held)


def _start(given: Any) -> Update:
    willing = exists().where(
        subscribers.c.id == deliveries.c.subscriber_id,
        subscribers.c.state == SubscriberState.ACTIVE,
        or_(subscribers.c.paused_until.is_(None), subscribers.c.paused_until <= given.now),
        ~exists().where(suppressions.c.address_hash == subscribers.c.address_hash),
    )
    service_runs = ~exists().where(service.c.key == "paused")
    return (
        update(deliveries)
        .where(_one(given), deliveries.c.state == DeliveryState.QUEUED, _is_due(given), willing, service_runs)
        .values(state=DeliveryState.SENDING, owner=given.by, started_at=given.now, due_at=null())
        .returning(deliveries.c.issue_id, deliveries.c.subscriber_id, deliveries.c.attempts)
    )


def _start_running(given: Any) -> Update:
    running = exists().where(issues.c.id == deliveries.c.issue_id, issues.c.state == IssueState.RUNNING)
    return _start(given).where(running)


def _earlier(moment: Any, now: Any) -> Any:
    """The moment, or now where that is earlier or there is none: what was held longer is not."""
    return case((moment < now, moment), else_=now)


def _change(given: Any, **values: Any) -> Update:
    return update(deliveries).where(_one(given), deliveries.c.state == DeliveryState.QUEUED).values(**values)


_COLUMNS = deliveries.c
_KEY = {"i": _COLUMNS.issue_id, "s": _COLUMNS.subscriber_id}
_HELD = {**_KEY, "held": _COLUMNS.due_at}
_STARTED = {**_HELD, "by": _COLUMNS.owner, "now": _COLUMNS.due_at}
_START = Prepared(_STARTED, _start)
_START_RUNNING = Prepared(_STARTED, _start_running)
_MOVE = Prepared(
    {**_KEY, "to": _COLUMNS.state, "due": _COLUMNS.due_at, "n": _COLUMNS.attempts},
    lambda given: (
        update(deliveries).where(_one(given)).values(state=given.to, due_at=given.due, attempts=given.n, owner=null())
    ),
)
_WAIT = Prepared(
    {**_HELD, "due": _COLUMNS.due_at},
    lambda given: _change(given, due_at=given.due).where(
        or_(_COLUMNS.due_at.is_(None), _COLUMNS.due_at < given.due, _COLUMNS.due_at == given.held)
    ),
)
_ASIDE = Prepared(
    {**_HELD, "lane": _COLUMNS.lane, "now": _COLUMNS.due_at},
    lambda given: _change(given, lane=given.lane, due_at=_earlier(_COLUMNS.due_at, given.now)).where(_is_due(given)),
)
_HOLD = Prepared(
    {**_KEY, "due": _COLUMNS.due_at, "until": _COLUMNS.due_at},
    lambda given: (
        _change(given, due_at=given.until)
        .where(_COLUMNS.due_at == given.due)
        .returning(_COLUMNS.issue_id, _COLUMNS.subscriber_id)
    ),
)
_GIVE_BACK = Prepared(
    {**_HELD, "now": _COLUMNS.due_at},
    lambda given: _change(given, due_at=given.now).where(_COLUMNS.due_at == given.held),
)
_LOG = insert_rows(attempts, [column.name for column in attempts.c])
