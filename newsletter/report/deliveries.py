"""Deliveries as the operator finds them: a page of a search, one with its attempts, or all of a search to take away."""

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState, Key, name_delivery, parse_delivery
from newsletter.core.search import Search
from newsletter.report import describe_attempts
from newsletter.store import issues
from newsletter.store.database import Database
from newsletter.store.search import read_delivery, read_last_attempts, search_deliveries

PAGE_SECONDS = 0.1
"""So long a page may look for deliveries before it shows what it has found."""
EXPORT_PAGE = 1_000
COLUMNS = (
    *("delivery", "issue", "email", "state", "reason", "attempts", "due_at"),
    *("last_at", "last_outcome", "last_code", "last_enhanced_code", "last_response"),
)


def find_deliveries(
    database: Database, search: Search, *, after: str = "", most: int = 50, seconds: float = PAGE_SECONDS
) -> dict[str, Any]:
    """A page of what is asked for. `next` is where the next page begins, None at the end.

    A page may hold fewer than `most`, even none, and have a next one: then time was up.
    """
    end = time.monotonic() + seconds
    with database.read() as conn:
        found = search_deliveries(
            conn,
            search,
            after=parse_delivery(after) if after else None,
            most=most,
            is_over=lambda: time.monotonic() >= end,
        )
        return {
            "deliveries": _describe(conn, found.rows),
            "next": name_delivery(found.next) if found.next else None,
        }


def _describe(conn: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    last = read_last_attempts(conn, [(row.issue_id, row.subscriber_id) for row in rows])
    return [_describe_row(row, last.get((row.issue_id, row.subscriber_id))) for row in rows]


def _describe_row(row: Row[Any], last: Row[Any] | None) -> dict[str, Any]:
    deferred = row.state == DeliveryState.QUEUED and row.attempts > 0
    return {
        "delivery": name_delivery((row.issue_id, row.subscriber_id)),
        "issue": row.issue_id,
        "subscriber": row.subscriber_id,
        "email": row.email,
        "state": "deferred" if deferred else row.state,
        "reason": row.reason,
        "edition": row.edition_id,
        "attempts": row.attempts,
        "due_at": row.due_at,
        "last_at": last.at if last else None,
        "last_outcome": last.outcome if last else None,
        "last_code": last.code if last else None,
        "last_enhanced_code": last.enhanced if last else None,
        "last_response": last.response if last else None,
    }


def describe_delivery(database: Database, key: Key) -> dict[str, Any]:
    """One delivery with every attempt; StoreError where there is none of this name."""
    with database.read() as conn:
        row = read_delivery(conn, key)
        if row is None:
            raise StoreError(f"there is no delivery {name_delivery(key)}")
        (told,) = _describe(conn, [row])
        title = issues.find_issue(conn, key[0]).title
    log = describe_attempts(database, issue_id=key[0], subscriber_id=key[1], state=None, since=None)
    return {**told, "title": title, "log": list(log)}


def export_deliveries(database: Database, search: Search, *, as_csv: bool) -> Iterator[str]:
    """Everything that a search finds, as CSV with a header or as JSON Lines.

    The rows are read in pages, each as it stands when it is read.
    """
    after: Key | None = None
    if as_csv:
        yield _write_csv(COLUMNS)
    while True:
        with database.read() as conn:
            found = search_deliveries(conn, search, after=after, most=EXPORT_PAGE)
            rows = _describe(conn, found.rows)
        yield "".join(_write_row(row, as_csv=as_csv) for row in rows)
        if found.next is None:
            return
        after = found.next


def _write_row(row: dict[str, Any], *, as_csv: bool) -> str:
    cells = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    if not as_csv:
        return json.dumps(cells, ensure_ascii=False) + "\n"
    return _write_csv([_disarm(cells[name]) for name in COLUMNS])


def _disarm(value: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula: what relays say comes from outside."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _write_csv(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
