"""What keeps the outbox in order: expiry, the claims of dead processes, held deliveries, what is owed, the pause."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, func, or_, select, true, update

from newsletter.core.model import DeliveryState, Exclusion, IssueState, Key, Outcome
from newsletter.store.exclusions import exclude_deliveries, fresh_of, one_delivery, reopen_windows
from newsletter.store.moves import Finished, finish_attempts
from newsletter.store.outbox import close_batch
from newsletter.store.schema import batches, deliveries, issues, service, tallies
from newsletter.store.throttles import ASIDE, Throttled, read_backoffs, shut_lanes

DIED_RESPONSE = "the process ended before the reply was known"


def expire_deliveries(conn: Connection, now: datetime, expire_after: timedelta) -> int:
    """Give up what is too old: never attempted is excluded as expired, attempted is rejected. Returns how many."""
    too_old = batches.c.due_at <= now - expire_after
    late_batches = conn.execute(select(batches).where(~batches.c.done, too_old)).all()
    expired = 0
    for batch in late_batches:
        expired += exclude_deliveries(conn, Exclusion.EXPIRED, fresh_of(batch))
        close_batch(conn, batch.id)
    of_late_batch = exists().where(batches.c.id == deliveries.c.batch_id, too_old)
    deferred = and_(deliveries.c.due_at.is_not(None), of_late_batch)
    tried = and_(deferred, deliveries.c.attempts > 0)
    reopen_windows(conn, tried)
    given_up = conn.execute(
        update(deliveries).where(tried).values(state=DeliveryState.REJECTED, reason="expired", due_at=None)
    )
    return expired + int(given_up.rowcount) + exclude_deliveries(conn, Exclusion.EXPIRED, deferred)


def recover_claims(conn: Connection, now: datetime, *, hold: bool, most_attempts: int) -> int:
    """Take over what a dead process left: free its batches; what it had on the wire is uncertain. Returns how many.

    What may be tried again is due at once; what has used up its attempts is given up. Call it only when no other
    process can be delivering (the lock beside the database is held).
    """
    conn.execute(update(batches).values(owner=None).where(batches.c.owner.is_not(None)))
    lost = conn.execute(deliveries.select().where(deliveries.c.owner.is_not(None))).all()
    return _give_up_on(conn, lost, now, hold=hold, most_attempts=most_attempts)


def take_over(
    conn: Connection, owner: int, keys: Sequence[Key], now: datetime, *, hold: bool, most_attempts: int
) -> int:
    """The same of what one dead worker had on the wire, where there are many: `keys`. Its batches are still its own."""
    lost: list[Row[Any]] = []
    for key in keys:
        was_sending = and_(one_delivery(key), deliveries.c.owner == owner)
        lost += conn.execute(deliveries.select().where(was_sending).with_for_update()).all()
    return _give_up_on(conn, lost, now, hold=hold, most_attempts=most_attempts)


def _give_up_on(conn: Connection, lost: Sequence[Row[Any]], now: datetime, *, hold: bool, most_attempts: int) -> int:
    def decide(attempt: int) -> DeliveryState:
        if hold:
            return DeliveryState.UNCERTAIN
        return DeliveryState.QUEUED if attempt < most_attempts else DeliveryState.REJECTED

    finish_attempts(
        conn,
        [
            Finished(
                key=(row.issue_id, row.subscriber_id),
                attempt=row.attempts + 1,
                at=row.started_at,
                relay_id=None,
                outcome=Outcome.UNCERTAIN,
                code=None,
                enhanced=None,
                response=DIED_RESPONSE,
                seconds=max(0.0, (now - row.started_at).total_seconds()),
                digest=None,
                state=decide(row.attempts + 1),
                due_at=now if decide(row.attempts + 1) is DeliveryState.QUEUED else None,
            )
            for row in lost
        ],
    )
    for row in lost:
        if decide(row.attempts + 1) is DeliveryState.REJECTED:
            reopen_windows(conn, one_delivery((row.issue_id, row.subscriber_id)))
    return len(lost)


def count_owed(conn: Connection, now: datetime, issue_id: int | None) -> int:
    """How many deliveries are owed now, of one issue or of all: the fresh ones of open batches, and deferred ones.

    What a domain that is shut for now keeps waiting is owed only later.
    """
    may_go = and_(batches.c.due_at <= now, batches.c.lane.not_in(shut_lanes(now)))
    deferred = select(func.count()).where(deliveries.c.due_at <= now, deliveries.c.lane.not_in(shut_lanes(now)))
    if issue_id is not None:
        deferred = deferred.where(deliveries.c.issue_id == issue_id)
    due = int(conn.execute(deferred).scalar_one())
    if conn.dialect.name == "sqlite":
        return due + _count_fresh(conn, may_go, issue_id)
    # Of ten million it would take seconds: what is kept is counted, and what may not go yet is usually little.
    return due + _count_kept_fresh(conn, issue_id) - _count_fresh(conn, ~may_go, issue_id)


def _count_fresh(conn: Connection, of: Any, issue_id: int | None) -> int:
    """The fresh deliveries of open batches such as these, row by row."""
    fresh = (
        select(func.count())
        .select_from(batches)
        .join(deliveries, and_(deliveries.c.issue_id == batches.c.issue_id, _in_range()))
        .where(~batches.c.done, of, deliveries.c.batch_id == batches.c.id)
        .where(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.due_at.is_(None))
    )
    if issue_id is not None:
        fresh = fresh.where(batches.c.issue_id == issue_id)
    return int(conn.execute(fresh).scalar_one())


def _count_kept_fresh(conn: Connection, issue_id: int | None) -> int:
    """All fresh deliveries: those that wait, but for those that wait for a moment of their own."""
    kept = select(func.coalesce(func.sum(tallies.c.n), 0)).where(tallies.c.state.in_(("queued", "deferred")))
    moments = select(func.count()).where(deliveries.c.due_at.is_not(None))
    if issue_id is not None:
        kept, moments = kept.where(tallies.c.issue_id == issue_id), moments.where(deliveries.c.issue_id == issue_id)
    return int(conn.execute(kept).scalar_one()) - int(conn.execute(moments).scalar_one())


def is_work_due(conn: Connection, now: datetime, *, issue_id: int | None = None, deferred_only: bool = False) -> bool:
    """Whether a delivery could be claimed now, or one that is deferred; costs the same however many are owed."""
    running = exists().where(issues.c.id == batches.c.issue_id, issues.c.state == IssueState.RUNNING)
    fresh = exists().where(~batches.c.done, batches.c.due_at <= now, running, batches.c.lane.not_in(shut_lanes(now)))
    deferred = exists().where(
        deliveries.c.due_at <= now,
        deliveries.c.lane.not_in(shut_lanes(now)),
        exists().where(issues.c.id == deliveries.c.issue_id, issues.c.state == IssueState.RUNNING),
    )
    if issue_id is not None:
        fresh, deferred = fresh.where(batches.c.issue_id == issue_id), deferred.where(deliveries.c.issue_id == issue_id)
    due = deferred if deferred_only else or_(fresh, deferred)
    return not is_paused(conn) and bool(conn.execute(select(due)).scalar())


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """How many deliveries are owed now, how many only later, and when the first of these is due."""

    owed: int = 0
    deferred: int = 0
    next_due_at: datetime | None = None


def survey_queue(conn: Connection, now: datetime) -> Queue:
    """Everything that is owed, by when it may go: `count_owed`, and what that leaves out."""
    later = [(due_at, count) for due_at, count in _list_due(conn, now) if due_at > now]
    return Queue(
        owed=count_owed(conn, now, None),
        deferred=sum(count for _, count in later),
        next_due_at=min((due_at for due_at, _ in later), default=None),
    )


def _list_due(conn: Connection, now: datetime) -> Iterator[tuple[datetime, int]]:
    """When queued deliveries are due, the first of each group, with their number; a shut lane makes them wait.

    Fresh ones that may go now are left out.
    """
    backoffs = read_backoffs(conn, Throttled.DOMAIN)
    opens_at = {lane: backoffs[lane.removeprefix(ASIDE)].until_at for lane in conn.execute(shut_lanes(now)).scalars()}
    fresh = (
        select(batches.c.lane, batches.c.due_at, func.count())
        .join(deliveries, and_(deliveries.c.issue_id == batches.c.issue_id, _in_range()))
        .where(~batches.c.done, deliveries.c.batch_id == batches.c.id)
        .where(or_(batches.c.due_at > now, batches.c.lane.in_(shut_lanes(now))))
        .where(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.due_at.is_(None))
        .group_by(batches.c.lane, batches.c.due_at)
    )
    deferred = (
        select(deliveries.c.lane, func.min(deliveries.c.due_at), func.count())
        .where(deliveries.c.due_at.is_not(None))
        .group_by(deliveries.c.lane, deliveries.c.due_at > now)
    )
    for query in (fresh, deferred):
        for lane, due_at, count in conn.execute(query):
            yield max(due_at, opens_at.get(lane) or due_at), count


def _in_range() -> Any:
    """A delivery's key lies in the range of its batch."""
    return deliveries.c.subscriber_id.between(batches.c.first_subscriber, batches.c.last_subscriber)


def is_sending(conn: Connection, issue_id: int | None) -> bool:
    """Whether any mail is on the wire now, of one issue or of any."""
    return count_sending(conn, issue_id) > 0


def count_sending(conn: Connection, issue_id: int | None = None) -> int:
    """How many mails are on the wire now, of one issue or of all."""
    query = select(func.coalesce(func.sum(tallies.c.n), 0)).where(tallies.c.state == DeliveryState.SENDING)
    if issue_id is not None:
        query = query.where(tallies.c.issue_id == issue_id)
    return int(conn.execute(query).scalar_one())


def is_claimed(conn: Connection, issue_id: int | None) -> bool:
    """Whether a worker has a batch, or a mail on the wire: of one issue or of any."""
    claimed = exists().where(batches.c.owner.is_not(None), ~batches.c.done)
    if issue_id is not None:
        claimed = claimed.where(batches.c.issue_id == issue_id)
    return is_sending(conn, issue_id) or bool(conn.execute(select(claimed)).scalar())


def is_deferred(conn: Connection, now: datetime, until: datetime, issue_id: int | None) -> bool:
    """Whether a delivery is due between these moments: of one issue or of any that runs."""
    running = exists().where(issues.c.id == deliveries.c.issue_id, issues.c.state == IssueState.RUNNING)
    waits = exists().where(deliveries.c.due_at > now, deliveries.c.due_at <= until, running)
    if issue_id is not None:
        waits = waits.where(deliveries.c.issue_id == issue_id)
    return bool(conn.execute(select(waits)).scalar())


def _matching(which: Mapping[str, Any]) -> Any:
    """Deliveries by `issue_id`, `state` and, where it is not None, `subscriber_id`."""
    return and_(true(), *(deliveries.c[name] == value for name, value in which.items() if value is not None))


def make_due(conn: Connection, which: Mapping[str, Any], now: datetime) -> int:
    """Put held deliveries back into the queue, due now; returns how many."""
    values = {"state": DeliveryState.QUEUED, "due_at": now, "reason": None}
    return int(conn.execute(update(deliveries).where(_matching(which)).values(values)).rowcount)


def retry_deliveries(conn: Connection, keys: Sequence[Key], now: datetime) -> None:
    """Put deliveries that were given up back into the queue, due now."""
    values = {"state": DeliveryState.QUEUED, "due_at": now, "reason": None}
    one = and_(deliveries.c.issue_id == bindparam("i"), deliveries.c.subscriber_id == bindparam("s"))
    if keys:
        conn.execute(update(deliveries).where(one).values(values), [{"i": key[0], "s": key[1]} for key in keys])


def settle_as_sent(conn: Connection, which: Mapping[str, Any], now: datetime, response: str) -> int:
    """Take uncertain deliveries for accepted; the log says that it was decided so. Returns how many."""
    held = conn.execute(deliveries.select().where(_matching(which))).all()
    finish_attempts(
        conn,
        [
            Finished(
                key=(row.issue_id, row.subscriber_id),
                attempt=row.attempts + 1,
                at=row.started_at or now,
                relay_id=None,
                outcome=Outcome.ACCEPTED,
                code=None,
                enhanced=None,
                response=response,
                seconds=0.0,
                digest=None,
                state=DeliveryState.ACCEPTED,
            )
            for row in held
        ],
    )
    return len(held)


def is_paused(conn: Connection) -> bool:
    """Whether the operator has paused the whole service."""
    return conn.execute(select(service.c.value).where(service.c.key == "paused")).scalar() is not None


def set_paused(conn: Connection, paused: bool) -> None:
    """Pause the whole service, or let it go on."""
    conn.execute(delete(service).where(service.c.key == "paused"))
    if paused:
        conn.execute(service.insert().values(key="paused", value="yes"))


def probe_write(conn: Connection) -> None:
    """Write something that changes nothing, so that a file or a disk that takes no writing shows."""
    conn.execute(update(service).values(value=service.c.value))
