"""Reading the books: the counts of an issue and whether they close, the delivery log, and who stands where."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, delete, exists, func, select, update

from newsletter.core.dkim import Identity
from newsletter.core.model import DeliveryState, IssueState
from newsletter.core.plan import WINDOW
from newsletter.store.schema import (
    attempts,
    blobs,
    deliveries,
    dkim_identities,
    editions,
    issue_stories,
    issues,
    relays,
    renderings,
    subscribers,
)

PAGE = 1_000
HELD_STATES = (DeliveryState.ACCEPTED, DeliveryState.UNCERTAIN, DeliveryState.QUEUED, DeliveryState.SENDING)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The books of one issue (None: only planned). `excluded` maps a reason to its count, reasons with zero absent."""

    issue: int | None
    selected: int
    accepted: int
    rejected: int
    queued: int
    deferred: int
    sending: int
    uncertain: int
    excluded: dict[str, int]
    balanced: bool

    @classmethod
    def opening(cls, *, queued: int, excluded: dict[str, int]) -> "Audit":
        """The books of an issue that is only planned."""
        return cls(
            issue=None,
            selected=queued + sum(excluded.values()),
            accepted=0,
            rejected=0,
            queued=queued,
            deferred=0,
            sending=0,
            uncertain=0,
            excluded=excluded,
            balanced=True,
        )


def audit_issue(conn: Connection, issue: Row[Any]) -> Audit:
    """Count an issue's rows and say whether the books close.

    Balanced: as many rows as were selected at publication, and every accepted or rejected row has its attempt
    (until attempts are pruned after their retention).
    """
    deferred = case((and_(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.attempts > 0), 1), else_=0)
    rows = conn.execute(
        select(deliveries.c.state, deferred.label("deferred"), deliveries.c.reason, func.count().label("n"))
        .where(deliveries.c.issue_id == issue.id)
        .group_by(deliveries.c.state, deferred, deliveries.c.reason)
    ).all()
    states: dict[str, int] = {}
    excluded: dict[str, int] = {}
    for row in rows:
        state = "deferred" if row.deferred else row.state
        states[state] = states.get(state, 0) + row.n
        if row.state == DeliveryState.EXCLUDED:
            excluded[row.reason] = excluded.get(row.reason, 0) + row.n
    complete = issue.state != IssueState.PREPARING and sum(states.values()) == issue.selected
    return Audit(
        issue=issue.id,
        selected=issue.selected,
        accepted=states.get("accepted", 0),
        rejected=states.get("rejected", 0),
        queued=states.get("queued", 0),
        deferred=states.get("deferred", 0),
        sending=states.get("sending", 0),
        uncertain=states.get("uncertain", 0),
        excluded=excluded,
        balanced=complete and (issue.pruned_at is not None or _count_unproven(conn, issue.id) == 0),
    )


def _count_unproven(conn: Connection, issue_id: int) -> int:
    """Accepted or rejected rows without the attempt that says so."""
    accepted = deliveries.c.state == DeliveryState.ACCEPTED
    proof = exists().where(
        attempts.c.issue_id == deliveries.c.issue_id,
        attempts.c.subscriber_id == deliveries.c.subscriber_id,
        ~accepted | (attempts.c.outcome == "accepted"),
    )
    settled = deliveries.c.state.in_([DeliveryState.ACCEPTED, DeliveryState.REJECTED])
    query = select(func.count()).where(deliveries.c.issue_id == issue_id, settled, ~proof)
    return int(conn.execute(query).scalar_one())


def list_names(conn: Connection, issue_id: int) -> Iterator[Row[Any]]:
    """Everyone selected for an issue, with state and reason; `email` is None for the forgotten."""
    query = (
        select(deliveries, subscribers.c.email)
        .outerjoin(subscribers, subscribers.c.id == deliveries.c.subscriber_id)
        .where(deliveries.c.issue_id == issue_id)
        .order_by(deliveries.c.subscriber_id)
    )
    yield from conn.execute(query.execution_options(yield_per=PAGE))


def list_attempts(
    conn: Connection,
    *,
    issue_id: int | None = None,
    subscriber_id: int | None = None,
    state: str | None = None,
    since: datetime | None = None,
) -> Iterator[Row[Any]]:
    """The delivery log in the order of its keys, one row an attempt; `state` is that of the delivery today."""
    query = (
        select(
            attempts,
            relays.c.name.label("relay"),
            subscribers.c.email,
            deliveries.c.edition_id,
            issues.c.domain,
        )
        .join(issues, issues.c.id == attempts.c.issue_id)
        .join(
            deliveries,
            and_(deliveries.c.issue_id == attempts.c.issue_id, deliveries.c.subscriber_id == attempts.c.subscriber_id),
        )
        .outerjoin(subscribers, subscribers.c.id == attempts.c.subscriber_id)
        .outerjoin(relays, relays.c.id == attempts.c.relay_id)
        .order_by(attempts.c.issue_id, attempts.c.subscriber_id, attempts.c.attempt)
    )
    if issue_id is not None:
        query = query.where(attempts.c.issue_id == issue_id)
    if subscriber_id is not None:
        # By key, as in list_deliveries.
        query = query.where(attempts.c.issue_id.in_(select(issues.c.id)), attempts.c.subscriber_id == subscriber_id)
    if state == "deferred":
        query = query.where(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.attempts > 0)
    elif state is not None:
        query = query.where(deliveries.c.state == state)
    if since is not None:
        query = query.where(attempts.c.at >= since)
    yield from conn.execute(query.execution_options(yield_per=PAGE))


def read_dkim_identities(conn: Connection, dkim_id: int | None) -> list[Identity]:
    """Who signed an attempt's mail; nobody where `dkim_id` is None."""
    names = conn.execute(select(dkim_identities.c.names).where(dkim_identities.c.id == dkim_id)).scalar()
    return [Identity(**identity) for identity in json.loads(names or "[]")]


def list_last_replies(conn: Connection, issue_id: int, count: int) -> Sequence[Row[Any]]:
    """The last replies that an issue's attempts got, the newest first; reads all of the issue's attempts."""
    query = select(attempts).where(attempts.c.issue_id == issue_id).order_by(attempts.c.at.desc()).limit(count)
    return conn.execute(query).all()


def list_deliveries(conn: Connection, first: int, last: int) -> Sequence[Row[Any]]:
    """The deliveries of the people of an id range, newest issue first: by key, never by a scan."""
    # SQLite without statistics scans the deliveries where they are joined to issues; it looks up keys for an IN.
    query = deliveries.select().where(
        deliveries.c.issue_id.in_(select(issues.c.id)), deliveries.c.subscriber_id.between(first, last)
    )
    return conn.execute(query.order_by(deliveries.c.issue_id.desc())).all()


def find_delivery(conn: Connection, issue_id: int, subscriber_id: int) -> Row[Any] | None:
    """One delivery by its key."""
    query = deliveries.select().where(deliveries.c.issue_id == issue_id, deliveries.c.subscriber_id == subscriber_id)
    return conn.execute(query).first()


def list_rejected(
    conn: Connection, issue_id: int, subscriber_id: int | None = None, reply_id: int | None = None
) -> list[int]:
    """The readers, or the one reader, whose deliveries of an issue were given up; not those who were forgotten.

    With `reply_id`, those alone whose last attempt failed by this kind of reply.
    """
    query = (
        select(deliveries.c.subscriber_id)
        .join(subscribers, subscribers.c.id == deliveries.c.subscriber_id)
        .where(deliveries.c.issue_id == issue_id, deliveries.c.state == DeliveryState.REJECTED)
    )
    if subscriber_id is not None:
        query = query.where(deliveries.c.subscriber_id == subscriber_id)
    if reply_id is not None:
        last = and_(
            attempts.c.issue_id == deliveries.c.issue_id,
            attempts.c.subscriber_id == deliveries.c.subscriber_id,
            attempts.c.attempt == deliveries.c.attempts,
        )
        query = query.join(attempts, last).where(attempts.c.reply_id == reply_id)
    return list(conn.execute(query).scalars())


def list_other_editions(
    conn: Connection, issue_id: int, since: datetime, subscriber_id: int | None = None
) -> Iterator[Row[Any]]:
    """The editions (`other_id`) of other issues since then that readers of rejected deliveries hold, or are owed."""
    other = deliveries.alias()
    query: Select[Any] = (
        select(deliveries.c.subscriber_id, deliveries.c.edition_id, other.c.edition_id.label("other_id"))
        .join(other, other.c.subscriber_id == deliveries.c.subscriber_id)
        .where(deliveries.c.issue_id == issue_id, deliveries.c.state == DeliveryState.REJECTED)
        # By key, as in list_deliveries.
        .where(other.c.issue_id.in_(select(issues.c.id).where(issues.c.due_at >= since, issues.c.id != issue_id)))
        .where(other.c.state.in_(HELD_STATES))
    )
    if subscriber_id is not None:
        query = query.where(deliveries.c.subscriber_id == subscriber_id)
    yield from conn.execute(query)


def prune_issues(conn: Connection, now: datetime, retain: timedelta) -> int:
    """Delete attempts and rendered mails of issues published so long ago; rows and counts stay. Returns how many.

    The text of stories stays as long as somebody may still get them.
    """
    before = now - retain
    old = conn.execute(
        select(issues.c.id).where(issues.c.published_at < before, issues.c.pruned_at.is_(None))
    ).scalars()
    pruned = list(old)
    for issue_id in pruned:
        conn.execute(delete(attempts).where(attempts.c.issue_id == issue_id))
        conn.execute(delete(renderings).where(renderings.c.issue_id == issue_id))
        conn.execute(update(issues).where(issues.c.id == issue_id).values(pruned_at=before))
    passed = select(issues.c.id).where(issues.c.pruned_at.is_not(None), issues.c.due_at < now - WINDOW)
    told = and_(issue_stories.c.issue_id.in_(passed), issue_stories.c.content != "{}")
    conn.execute(update(issue_stories).where(told).values(content="{}"))
    if pruned:
        kept_issues = select(issues.c.id).where(issues.c.pruned_at.is_(None))
        kept = select(renderings.c.sha256).union(select(editions.c.frame).where(editions.c.issue_id.in_(kept_issues)))
        conn.execute(delete(blobs).where(blobs.c.sha256.not_in(kept)))
    return len(pruned)


def read_held_editions(conn: Connection, issue_ids: Collection[int], first: int, last: int) -> dict[int, list[int]]:
    """The editions that readers of an id range got, or are still owed, in these issues: by reader."""
    query = select(deliveries.c.subscriber_id, deliveries.c.edition_id).where(
        deliveries.c.issue_id.in_(issue_ids),
        deliveries.c.subscriber_id.between(first, last),
        deliveries.c.state.in_(HELD_STATES),
    )
    held: dict[int, list[int]] = defaultdict(list)
    for row in conn.execute(query):
        held[row.subscriber_id].append(row.edition_id)
    return held


def list_held_content(conn: Connection, subscriber_id: int) -> set[str]:
    """The content keys of the stories that a person's accepted, uncertain or owed mails hold."""
    held = select(deliveries.c.edition_id).where(
        deliveries.c.issue_id.in_(select(issues.c.id)),
        deliveries.c.subscriber_id == subscriber_id,
        deliveries.c.edition_id.is_not(None),
        deliveries.c.state.not_in((DeliveryState.REJECTED, DeliveryState.EXCLUDED)),
    )
    listed = conn.execute(select(editions.c.stories).where(editions.c.id.in_(held))).scalars()
    numbers = {int(number) for stories in listed for number in stories.split(",")}
    return set(conn.execute(select(issue_stories.c.content_key).where(issue_stories.c.id.in_(numbers))).scalars())
