"""The moves of deliveries: started, finished, released, deferred, set aside, held; each many at once.

A row goes on the wire only if `start_deliveries` hit it; the outcome of a connection's last mail and the start of its
next are committed together. Each is one prepared statement (prepared.py): every mail needs them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Update, and_, case, exists, null, or_, tuple_, update

from newsletter.core.model import DeliveryState, IssueState, Key, Outcome, SubscriberState
from newsletter.core.policy import Stage
from newsletter.store import tallies
from newsletter.store.outbox import Claimed
from newsletter.store.prepared import Prepared, insert_rows
from newsletter.store.schema import attempts, deliveries, issues, service, subscribers, suppressions, to_microseconds
from newsletter.store.throttles import ASIDE

Held = Mapping[Key, datetime]
NOT_HELD: Held = MappingProxyType({})


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
