"""Finding deliveries among millions: by what selects few, else in windows of keys until the time for a page is over.

Order: the newest issue first, then the order of sign-up. A page ends with the key up to which it has looked, so that
the next goes on there, whether the page is full or not.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, false, func, literal, or_, select

from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState, Key
from newsletter.core.search import Search
from newsletter.store.schema import attempts, deliveries, editions, issue_stories, issues, replies, subscribers, tallies
from newsletter.store.schema import throughput as minutes
from newsletter.store.subscribers import select_people

WINDOW_ROWS = 50_000
"""So many keys are looked through at a time."""
STORIES_BACK = 5_000
"""An edition holds none but the latest stories up to its issue."""
FEW = 20_000
"""So many failed attempts of an issue, or matching people, are looked up one by one."""
NO_DELIVERY: Key = (2**62, 0)
"""Before the first of all."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of deliveries with their readers' addresses. `next` is where the next page begins, None at the end."""

    rows: Sequence[Row[Any]]
    next: Key | None


def search_deliveries(
    conn: Connection,
    search: Search,
    *,
    after: Key | None = None,
    most: int = 50,
    is_over: Callable[[], bool] = lambda: False,
) -> Found:
    """A page of what is asked for. Once `is_over` says so, it ends with what it has after the window it is in."""
    position = after or NO_DELIVERY
    rows: list[Row[Any]] = []
    for issue in _list_issues(conn, search, position[0]):
        begin = position[1] if issue.id == position[0] else 0
        filters = [*_filters(search), *([_holding(conn, search.topic, issue)] if search.topic else ())]
        for window in _list_windows(conn, search, issue, begin):
            condition = and_(deliveries.c.issue_id == issue.id, window.condition)
            query = _read().where(condition, *filters).order_by(deliveries.c.subscriber_id)
            rows += conn.execute(query.limit(most - len(rows))).all()
            if len(rows) == most:
                last = rows[-1]
                return Found(rows=rows, next=(last.issue_id, last.subscriber_id))
            if is_over():
                return Found(rows=rows, next=(issue.id, window.end))
    return Found(rows=rows, next=None)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Some deliveries of an issue: none after `end` belongs to it."""

    condition: ColumnElement[bool]
    end: int


def _read() -> Any:
    return select(deliveries, subscribers.c.email).outerjoin(
        subscribers, subscribers.c.id == deliveries.c.subscriber_id
    )


def _list_issues(conn: Connection, search: Search, newest: int) -> Sequence[Row[Any]]:
    """The issues that can hold what is asked for, newest first."""
    query = issues.select().where(issues.c.id <= newest).order_by(issues.c.id.desc())
    if search.issue is not None:
        query = query.where(issues.c.id == (search.issue or select(func.max(issues.c.id)).scalar_subquery()))
    if search.state:
        of_state = and_(tallies.c.issue_id == issues.c.id, tallies.c.state == search.state, tallies.c.n > 0)
        if search.reason:
            of_state = and_(of_state, tallies.c.reason == search.reason)
        query = query.where(exists().where(of_state))
    if search.since is not None:
        minute = search.since.replace(second=0, microsecond=0)
        query = query.where(exists().where(minutes.c.issue_id == issues.c.id, minutes.c.minute >= minute))
    return conn.execute(query).all()


def _list_windows(conn: Connection, search: Search, issue: Row[Any], begin: int) -> Iterator[_Window]:
    end = issue.audience_max_id
    selective = _find_people(conn, search) if search.to else None
    if selective is None and _is_about_failures(search) and issue.pruned_at is None:
        of_issue = (attempts.c.issue_id == issue.id, attempts.c.outcome != "accepted")
        if _count_failures(conn, issue.id) <= FEW:
            selective = deliveries.c.subscriber_id.in_(select(attempts.c.subscriber_id).where(*of_issue))
    if selective is not None:
        yield _Window(condition=and_(selective, deliveries.c.subscriber_id > begin), end=end)
        return
    while begin < end:
        upto = min(begin + WINDOW_ROWS, end)
        yield _Window(condition=and_(deliveries.c.subscriber_id > begin, deliveries.c.subscriber_id <= upto), end=upto)
        begin = upto


def _is_about_failures(search: Search) -> bool:
    """Whether every delivery that is asked for has an attempt that failed."""
    failed = (DeliveryState.REJECTED, DeliveryState.UNCERTAIN, "deferred")
    return search.state in failed or (bool(search.code) and not search.code.startswith("2"))


def _count_failures(conn: Connection, issue_id: int) -> int:
    failed = (minutes.c.issue_id == issue_id, minutes.c.outcome != "accepted")
    return int(conn.execute(select(func.coalesce(func.sum(minutes.c.n), 0)).where(*failed)).scalar_one())


def match_address(words: str) -> ColumnElement[bool]:
    """People by a whole address, a domain (`@example.org`), or what the address begins with; `words` are folded."""
    name, at, domain = words.rpartition("@")
    if name and "." in domain:
        return subscribers.c.email_key == words
    if at and not name:
        return subscribers.c.email_key.endswith(words, autoescape=True)
    return and_(subscribers.c.email_key >= words, subscribers.c.email_key < words + "\U0010ffff")


def list_people(conn: Connection, words: str, *, after: int, most: int) -> Sequence[Row[Any]]:
    """Some people by address, of those that `words` mean, after the person of that number (0: from the first on).

    StoreError where that person is there no more.
    """
    query = select_people().order_by(subscribers.c.email_key).limit(most)
    if words:
        query = query.where(match_address(words))
    if after:
        last = conn.execute(select(subscribers.c.email_key).where(subscribers.c.id == after)).scalar()
        if last is None:
            raise StoreError(f"there is no subscriber {after} to go on after: begin anew")
        query = query.where(subscribers.c.email_key > last)
    return conn.execute(query).all()


def list_rejected_addresses(conn: Connection, numbers: Sequence[int], most: int) -> list[str]:
    """The addresses of rejected attempts of these issues, of the newest issue first."""
    found: list[str] = []
    for number in numbers:
        query = (
            select(subscribers.c.email_key)
            .join(attempts, attempts.c.subscriber_id == subscribers.c.id)
            .where(attempts.c.issue_id == number, attempts.c.outcome != "accepted", attempts.c.outcome == "rejected")
            .limit(most - len(found))
        )
        found += conn.execute(query).scalars()
        if len(found) >= most:
            break
    return found


def _find_people(conn: Connection, search: Search) -> ColumnElement[bool] | None:
    """The deliveries of the people that are meant, where these are few."""
    query = select(subscribers.c.id).where(match_address(search.to)).limit(FEW + 1)
    found = list(conn.execute(query).scalars())
    if not found:
        return false()
    return deliveries.c.subscriber_id.in_(found) if len(found) <= FEW else None


def _filters(search: Search) -> Iterator[ColumnElement[bool]]:
    if search.to:
        yield match_address(search.to)
    if search.state == "deferred":
        yield and_(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.attempts > 0)
    elif search.state == DeliveryState.QUEUED:
        yield and_(deliveries.c.state == DeliveryState.QUEUED, deliveries.c.attempts == 0)
    elif search.state:
        yield deliveries.c.state == search.state
    if search.reason:
        yield deliveries.c.reason == search.reason
    if search.code or search.since is not None:
        yield exists().where(
            attempts.c.issue_id == deliveries.c.issue_id,
            attempts.c.subscriber_id == deliveries.c.subscriber_id,
            *_of_attempts(search),
        )


def _of_attempts(search: Search) -> Iterator[ColumnElement[bool]]:
    if "." in search.code:
        yield or_(
            attempts.c.enhanced == search.code, attempts.c.enhanced.startswith(f"{search.code}.", autoescape=True)
        )
    elif search.code:
        scale = 10 ** (3 - len(search.code))
        yield attempts.c.code.between(int(search.code) * scale, (int(search.code) + 1) * scale - 1)
    if search.since is not None:
        yield attempts.c.at >= search.since


def _holding(conn: Connection, topic: str, issue: Row[Any]) -> ColumnElement[bool]:
    """The deliveries of an issue whose edition holds a story of this topic."""
    rows = conn.execute(
        select(issue_stories.c.id, issue_stories.c.topics)
        .where(issue_stories.c.issue_id <= issue.id)
        .order_by(issue_stories.c.id.desc())
        .limit(STORIES_BACK)
    )
    stories = [row.id for row in rows if any(found["id"] == topic for found in json.loads(row.topics))]
    listed = literal(",") + editions.c.stories + ","
    holding = select(editions.c.id).where(
        editions.c.issue_id == issue.id, or_(false(), *(listed.contains(f",{story},") for story in stories))
    )
    return deliveries.c.edition_id.in_(holding)


def read_delivery(conn: Connection, key: Key) -> Row[Any] | None:
    """One delivery with its reader's address."""
    return conn.execute(_read().where(deliveries.c.issue_id == key[0], deliveries.c.subscriber_id == key[1])).first()


def read_last_attempts(conn: Connection, keys: Sequence[Key]) -> dict[Key, Row[Any]]:
    """The last attempt of each of these deliveries that had one."""
    # SQLite uses no index for an IN over pairs, and scans the log; it does for each column by itself.
    query = attempts.select().where(
        attempts.c.issue_id.in_({issue for issue, _ in keys}), attempts.c.subscriber_id.in_({who for _, who in keys})
    )
    rows = conn.execute(query.order_by(attempts.c.issue_id, attempts.c.subscriber_id, attempts.c.attempt))
    wanted = set(keys)
    found = {(row.issue_id, row.subscriber_id): row for row in rows}
    return {key: row for key, row in found.items() if key in wanted}


def find_reply(conn: Connection, reply_id: int) -> Row[Any] | None:
    """A kind of reply by its number."""
    return conn.execute(replies.select().where(replies.c.id == reply_id)).first()
