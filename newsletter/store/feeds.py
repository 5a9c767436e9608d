"""The last good state of each feed that is fetched over HTTP, and what is wrong with it now, by its address.

The addresses are those of `strip_password`: no password stands in the database.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from newsletter.store.inserting import insert_ignoring
from newsletter.store.schema import feeds


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedState:
    """What is known of a feed. `body` is the last good one, as it came, None before the first.

    `content_type`, `etag` and `last_modified` are the headers of that body; `changed_at` is when its stories last
    changed, `checked_at` when it was last asked for; `problem` is the sentence of the last failure, None when all is
    well.
    """

    body: bytes | None = None
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    checked_at: datetime | None = None
    changed_at: datetime | None = None
    problem: str | None = None


def read_feeds(conn: Connection, addresses: Collection[str]) -> dict[str, FeedState]:
    """The states of these feeds, by address; a feed that was never asked for has none."""
    rows = conn.execute(feeds.select().where(feeds.c.address.in_(addresses)))
    return {row.address: FeedState(**{name: getattr(row, name) for name in FeedState.__slots__}) for row in rows}


def write_feed(conn: Connection, address: str, state: FeedState) -> None:
    """Write down a new good state of a feed."""
    _write(conn, address, {name: getattr(state, name) for name in FeedState.__slots__})


def note_check(conn: Connection, address: str, *, now: datetime, problem: str | None) -> None:
    """Note that a feed was asked for, and what was wrong; its last good state stays."""
    _write(conn, address, {"checked_at": now, "problem": problem})


def _write(conn: Connection, address: str, values: dict[str, object]) -> None:
    conn.execute(insert_ignoring(conn, feeds).values(address=address))
    conn.execute(update(feeds).where(feeds.c.address == address).values(values))
