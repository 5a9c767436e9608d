"""Subscribers, their consents and suppressions, and the audience of an issue in keyset pages."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, Text, bindparam, cast, delete, func, select, update
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from newsletter.core.errors import StoreError
from newsletter.core.model import SubscriberState
from newsletter.core.plan import Reader
from newsletter.core.policy import FORGOTTEN
from newsletter.store.inserting import insert_ignoring
from newsletter.store.postgres import copy_rows, reserve_numbers
from newsletter.store.schema import (
    attempts,
    consents,
    issues,
    subscriber_versions,
    subscribers,
    suppressions,
    to_microseconds,
    topic_sets,
)

PAGE = 1_000


def select_people() -> Any:
    """People with their topics and their suppression (`reason`, `at`, `source`; None where there is none)."""
    return (
        select(subscribers, topic_sets.c.topics, suppressions.c.reason, suppressions.c.at, suppressions.c.source)
        .join(topic_sets, topic_sets.c.id == subscribers.c.topic_set_id)
        .outerjoin(suppressions, suppressions.c.address_hash == subscribers.c.address_hash)
    )


def find_subscriber(conn: Connection, email_key: str) -> Row[Any]:
    """The person with this folded address, with `topics` and their suppression; StoreError where there is none."""
    row = conn.execute(select_people().where(subscribers.c.email_key == email_key)).first()
    if row is None:
        raise StoreError(f"there is no subscriber {email_key}")
    return row


def find_by_id(conn: Connection, subscriber_id: int) -> Row[Any] | None:
    """The subscriber of this number; None where there is none, or none any more."""
    return conn.execute(select_people().where(subscribers.c.id == subscriber_id)).first()


def find_subscribers(conn: Connection, email_keys: Collection[str]) -> dict[str, Row[Any]]:
    """Those of these folded addresses that are known, by address."""
    return {row.email_key: row for row in conn.execute(select_people().where(subscribers.c.email_key.in_(email_keys)))}


def list_subscribers(conn: Connection, *, state: SubscriberState | None = None) -> Iterator[Row[Any]]:
    """Everyone, or those in one state, in the order of sign-up; read in pages."""
    for page in list_pages(conn, state=state):
        yield from page


def list_pages(conn: Connection, *, state: SubscriberState | None = None) -> Iterator[Sequence[Row[Any]]]:
    """The same, a page at a time."""
    query = select_people().order_by(subscribers.c.id)
    if state is not None:
        query = query.where(subscribers.c.state == state)
    yield from conn.execute(query.execution_options(yield_per=PAGE)).partitions()


def count_topic_sets(conn: Connection) -> list[tuple[str, int]]:
    """Each distinct topic set of active subscribers (ids joined by `;`, or `*`) with the number of its readers."""
    # In one string, since a million readers have some 60,000 sets: as rows they take three times as long.
    line = topic_sets.c.topics + " " + cast(topic_sets.c.readers, Text)
    query = select(func.aggregate_strings(line, "\n")).where(topic_sets.c.readers > 0)
    lines = (conn.execute(query).scalar() or "").split("\n")
    return [(topics, int(count)) for topics, space, count in (line.partition(" ") for line in lines) if space]


def list_languages(conn: Connection) -> list[str]:
    """The languages that active subscribers chose."""
    query = select(subscribers.c.language).where(
        subscribers.c.state == SubscriberState.ACTIVE, subscribers.c.language.is_not(None)
    )
    return list(conn.execute(query.distinct()).scalars())


def find_addresses(conn: Connection, words: str, *, most: int = 20) -> list[str]:
    """Some active subscribers whose address has these letters in it, in the order of sign-up."""
    query = select(subscribers.c.email).where(
        subscribers.c.state == SubscriberState.ACTIVE, subscribers.c.email_key.contains(words.lower(), autoescape=True)
    )
    return list(conn.execute(query.order_by(subscribers.c.id).limit(most)).scalars())


def find_neighbours(conn: Connection, subscriber_id: int) -> tuple[str | None, str | None]:
    """The addresses of the active subscribers before and after one, in the order of sign-up."""
    active = select(subscribers.c.email).where(subscribers.c.state == SubscriberState.ACTIVE).limit(1)
    before = active.where(subscribers.c.id < subscriber_id).order_by(subscribers.c.id.desc())
    after = active.where(subscribers.c.id > subscriber_id).order_by(subscribers.c.id)
    return conn.execute(before).scalar(), conn.execute(after).scalar()


def list_zones(conn: Connection) -> list[str]:
    """The time zones that active subscribers chose."""
    query = select(subscribers.c.timezone).where(
        subscribers.c.state == SubscriberState.ACTIVE, subscribers.c.timezone.is_not(None)
    )
    return list(conn.execute(query.distinct()).scalars())


def read_audience(conn: Connection, *, after: int, until: int | None, timezone: str, language: str) -> list[Reader]:
    """One page of the active subscribers with after < id <= until."""
    # The page first, and then what is joined to it: else PostgreSQL reads all topic sets for each page.
    people = (
        select(subscribers)
        .where(subscribers.c.id > after, subscribers.c.state == SubscriberState.ACTIVE)
        .order_by(subscribers.c.id)
        .limit(PAGE)
    )
    if until is not None:
        people = people.where(subscribers.c.id <= until)
    page = people.subquery()
    query = (
        select(
            page.c.id,
            topic_sets.c.topics,
            page.c.frequency,
            func.coalesce(page.c.timezone, timezone).label("timezone"),
            func.coalesce(page.c.language, language).label("language"),
            func.coalesce(page.c.last_mail_at, page.c.signed_up_at).label("since"),
            page.c.covered_issue_id,
            page.c.has_gap,
            page.c.paused_until,
            suppressions.c.at.is_not(None).label("suppressed"),
            page.c.lane,
        )
        .join(topic_sets, topic_sets.c.id == page.c.topic_set_id)
        .outerjoin(suppressions, suppressions.c.address_hash == page.c.address_hash)
        .order_by(page.c.id)
    )
    result = conn.execute(query)
    names = tuple(result.keys())
    return [Reader(**dict(zip(names, row, strict=True))) for row in result]


def advance_windows(
    conn: Connection, issue_id: int, *, mailed: Mapping[datetime, Sequence[int]], skipped: Sequence[int]
) -> None:
    """Note that readers who gather stories are covered up to an issue; those mailed, by when, are due again later."""
    covered: dict[str, Any] = {"covered_issue_id": issue_id, "has_gap": False}
    groups = [(ids, {**covered, "last_mail_at": due_at}) for due_at, ids in mailed.items()]
    groups.append((skipped, covered))
    for ids, values in groups:
        if ids:
            # Forward only: an older issue may be written after a newer one.
            behind = subscribers.c.covered_issue_id < issue_id
            conn.execute(update(subscribers).where(subscribers.c.id.in_(ids), behind).values(values))


def intern_topic_sets(conn: Connection, wanted: Collection[str]) -> dict[str, int]:
    """The ids of topic sets (sorted ids joined by `;`), written where they are new."""
    if not wanted:
        return {}
    conn.execute(insert_ignoring(conn, topic_sets), [{"topics": topics} for topics in sorted(wanted)])
    found = conn.execute(select(topic_sets.c.topics, topic_sets.c.id).where(topic_sets.c.topics.in_(wanted)))
    return {row.topics: row.id for row in found}


def last_issue(conn: Connection) -> tuple[int, datetime | None]:
    """The number of the newest issue (0 where there is none) and when it was due."""
    row = conn.execute(select(issues.c.id, issues.c.due_at).order_by(issues.c.id.desc()).limit(1)).first()
    return (row.id, row.due_at) if row else (0, None)


def insert_subscribers(conn: Connection, rows: Sequence[Mapping[str, Any]], consent: Mapping[str, Any]) -> None:
    """Write new people with the consent they gave; `topics` of the consent are each person's own."""
    if not rows:
        return
    keys = {row["email_key"]: row.get("topics", "") for row in rows}
    if conn.dialect.name == "postgresql":
        numbered = dict(zip(reserve_numbers(conn, subscribers, len(rows)), rows, strict=True))
        copy_rows(conn, subscribers, _FILLED, (_write_out({**row, "id": number}) for number, row in numbered.items()))
        agreed = {number: keys[row["email_key"]] for number, row in numbered.items()}
        insert_consents(conn, agreed, consent)
        return
    conn.execute(subscribers.insert(), [{k: v for k, v in row.items() if k != "topics"} for row in rows])
    found = conn.execute(select(subscribers.c.id, subscribers.c.email_key).where(subscribers.c.email_key.in_(keys)))
    insert_consents(conn, {row.id: keys[row.email_key] for row in found}, consent)


def insert_consents(conn: Connection, topics: Mapping[int, str], consent: Mapping[str, Any]) -> None:
    """Write down that people agreed, each (by id) to topics of their own."""
    if topics:
        rows = [{**consent, "subscriber_id": number, "topics": chosen} for number, chosen in topics.items()]
        if conn.dialect.name == "postgresql":
            copy_rows(conn, consents, list(rows[0]), (_write_out(row) for row in rows))
        else:
            conn.execute(consents.insert(), rows)


_FILLED = [column.name for column in subscribers.c if column.name not in ("paused_until", "last_mail_at")]
_DEFAULTS = {
    column.name: column.default.arg
    for column in subscribers.c
    if isinstance(column.default, ScalarElementColumnDefault)
}


def _write_out(row: Mapping[str, Any]) -> dict[str, Any]:
    """A new person, or consent, as COPY takes it: with the defaults, and times as numbers."""
    return {
        name: to_microseconds(value) if isinstance(value, datetime) else value
        for name, value in (_DEFAULTS | dict(row)).items()
    }


def update_subscribers(conn: Connection, changed: Sequence[tuple[Row[Any], Mapping[str, Any]]], now: datetime) -> None:
    """Change people (as they were, and their new values), and keep what their earlier mails were filled with."""
    versions = [
        {
            "subscriber_id": before.id,
            "until_at": now,
            "email": before.email,
            "name": before.name,
            "topic_set_id": before.topic_set_id,
            "timezone": before.timezone,
        }
        for before, values in changed
        if not values.keys().isdisjoint(("email", "name", "topic_set_id", "timezone"))
    ]
    if versions:
        conn.execute(insert_ignoring(conn, subscriber_versions), versions)
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for before, values in changed:
        alike[tuple(sorted(values))].append({"who": before.id, **{f"new_{name}": values[name] for name in values}})
    for names, rows in alike.items():
        query = update(subscribers).where(subscribers.c.id == bindparam("who"))
        conn.execute(query.values({name: bindparam(f"new_{name}") for name in names}), rows)


def find_version(conn: Connection, subscriber_id: int, at: datetime) -> Row[Any] | None:
    """What a person's mails were filled with at this time; None where the person was forgotten."""
    versions = list_versions(conn, subscriber_id)
    held = [version for version in versions[1:] if version.until_at > at]
    return held[-1] if held else next(iter(versions), None)


def list_versions(conn: Connection, subscriber_id: int) -> list[Row[Any]]:
    """What a person's mails were or are filled with (email, name, topics, zone), today's first, then the latest."""

    def filled(people: Table) -> Select[Any]:
        zone = func.coalesce(people.c.timezone, "").label("timezone")
        return select(people.c.email, people.c.name, topic_sets.c.topics, zone).join(
            topic_sets, topic_sets.c.id == people.c.topic_set_id
        )

    now = filled(subscribers)
    before = (
        filled(subscriber_versions)
        .add_columns(subscriber_versions.c.until_at)
        .order_by(subscriber_versions.c.until_at.desc())
    )
    return [
        *conn.execute(now.where(subscribers.c.id == subscriber_id)),
        *conn.execute(before.where(subscriber_versions.c.subscriber_id == subscriber_id)),
    ]


def list_consents(conn: Connection, first: int, last: int) -> Sequence[Row[Any]]:
    """The consents of the people of an id range, oldest first."""
    query = consents.select().where(consents.c.subscriber_id.between(first, last)).order_by(consents.c.id)
    return conn.execute(query).all()


def unsubscribe(conn: Connection, subscriber_id: int, now: datetime, channel: str) -> None:
    """Write down that a person leaves, when, and by which channel."""
    conn.execute(
        update(subscribers).where(subscribers.c.id == subscriber_id).values(state=SubscriberState.UNSUBSCRIBED)
    )
    conn.execute(
        update(consents)
        .where(consents.c.subscriber_id == subscriber_id, consents.c.withdrawn_at.is_(None))
        .values(withdrawn_at=now, withdrawn_by=channel)
    )


def forget_subscriber(conn: Connection, subscriber_id: int) -> None:
    """Erase a person: row, consents, earlier versions, and what relays said of them in the log."""
    conn.execute(delete(subscriber_versions).where(subscriber_versions.c.subscriber_id == subscriber_id))
    conn.execute(delete(consents).where(consents.c.subscriber_id == subscriber_id))
    numbers = list(conn.execute(select(issues.c.id)).scalars())
    conn.execute(
        update(attempts)
        .where(attempts.c.issue_id.in_(numbers), attempts.c.subscriber_id == subscriber_id)
        .values(response="")
    )
    conn.execute(delete(subscribers).where(subscribers.c.id == subscriber_id))


def suppress(
    conn: Connection, address_hash: bytes, email: str | None, *, reason: str, source: str, now: datetime
) -> None:
    """Put an address on the suppression list; the first reason stays. `email` is None where only the hash is kept."""
    row = {"address_hash": address_hash, "email": email, "reason": reason, "source": source, "at": now}
    insert_suppressions(conn, [row])


def insert_suppressions(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put addresses on the suppression list; whoever is on it stays there as they are."""
    if rows:
        conn.execute(insert_ignoring(conn, suppressions), rows)


def keep_only_hash(conn: Connection, address_hash: bytes, *, now: datetime) -> None:
    """Suppress an address of which nothing may be known any more, not even why it was suppressed before."""
    lift_suppression(conn, address_hash)
    suppress(conn, address_hash, None, reason=FORGOTTEN, source="operator", now=now)


def lift_suppression(conn: Connection, address_hash: bytes) -> bool:
    """Take an address off the suppression list; False where it was not on it."""
    return conn.execute(delete(suppressions).where(suppressions.c.address_hash == address_hash)).rowcount > 0


def list_suppressions(conn: Connection) -> Iterator[Row[Any]]:
    """The suppression list, oldest first; `email` is None for the forgotten."""
    yield from conn.execute(suppressions.select().order_by(suppressions.c.at).execution_options(yield_per=PAGE))


def count_suppressions(conn: Connection) -> list[tuple[str, int]]:
    """How many addresses are suppressed for each reason, the commonest first."""
    query = select(suppressions.c.reason, func.count()).group_by(suppressions.c.reason).order_by(func.count().desc())
    return [(reason, count) for reason, count in conn.execute(query.limit(50))]


def find_suppressed(conn: Connection, hashes: Collection[bytes]) -> set[bytes]:
    """Which of these address hashes are suppressed."""
    query = select(suppressions.c.address_hash).where(suppressions.c.address_hash.in_(hashes))
    return set(conn.execute(query).scalars())
