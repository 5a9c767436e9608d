"""Moves an installation from SQLite to PostgreSQL: every row of every table, and then compares them one by one."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Table, Text, collate, exists, func, select, text, type_coerce

from newsletter.core.errors import StoreError
from newsletter.store import upkeep
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.postgres import REPLACEMENT, copy_rows, stop_counting
from newsletter.store.schema import Instant, metadata, service, shares, workers

PAGE = 5_000
LEFT_OUT = {workers.name, shares.name}
"""Who delivers where is no part of an installation."""


def copy_database(
    source: Database,
    target: Database,
    now: datetime,
    *,
    hold: bool,
    most_attempts: int,
) -> dict[str, int]:
    """Copy everything from a SQLite database into an empty PostgreSQL one; returns how many rows each table has.

    Nobody can write to the source meanwhile. StoreError, and nothing in the target, where a daemon delivers from the
    source, where the target is not empty, where a row does not fit, or where one differs after the copy.
    """
    if source.path is None:
        raise StoreError("db copy copies from SQLite: PostgreSQL has pg_dump for that")
    if target.path is not None:
        raise StoreError("db copy copies to PostgreSQL: for another SQLite file there is `newsletter db backup`")
    with DeliveryLock(source.path) as lock:
        if not lock.acquire():
            raise StoreError(f"a process delivers from {source.name} now: stop it first, lest a mail goes out twice")
        with source.write() as conn:
            upkeep.recover_claims(conn, now, hold=hold, most_attempts=most_attempts)
        # The source's write lock is held to the end, so that nothing is left behind in it.
        with source.write() as old, target.write() as new:
            _demand_empty(new, target.name)
            stop_counting(new)  # what was counted is copied
            new.execute(service.delete())
            counts = {table.name: _copy_table(old, new, table) for table in _tables()}
            for table in _tables():
                _compare(old, new, table)
                _continue_numbers(old, new, table)
            new.execute(text("ANALYZE"))
    return counts


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


def _demand_empty(conn: Connection, name: str) -> None:
    for table in _tables():
        if table is not service and conn.execute(select(exists(select(table)))).scalar():
            raise StoreError(f"database {name} is not empty: there are {table.name} in it")


def _copy_table(old: Connection, new: Connection, table: Table) -> int:
    names, copied = [column.name for column in table.c], 0
    for page in _read(old, table):
        copy_rows(new, table, names, (dict(zip(names, row, strict=True)) for row in page))
        copied += len(page)
    return copied


def _compare(old: Connection, new: Connection, table: Table) -> None:
    """StoreError naming the first row that is not the same on both sides."""
    there = _read(new, table)
    for page in _read(old, table):
        copied = next(there, [])
        if page != copied:
            row = next((row for row, other in zip(page, [*copied, *[None] * len(page)], strict=False) if row != other))
            raise StoreError(f"the copy is not the same: {table.name} has a row {row[:3]!r} that differs")
    if next(there, None):
        raise StoreError(f"the copy is not the same: {table.name} has more rows than there were")


def _read(conn: Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """All rows in the order of their keys, in pages; moments as the numbers that they are kept as."""
    is_postgresql = conn.dialect.name == "postgresql"
    keys = [
        collate(key, "C") if is_postgresql and isinstance(key.type, Text) else key for key in table.primary_key.columns
    ]
    plain = [type_coerce(column, BigInteger) if isinstance(column.type, Instant) else column for column in table.c]
    query = select(*plain).order_by(*keys).execution_options(yield_per=PAGE)
    for page in conn.execute(query).partitions():
        yield [tuple(_without_nul(value) for value in row) for row in page]


def _without_nul(value: Any) -> Any:
    """A text as PostgreSQL takes it."""
    return value.replace("\0", REPLACEMENT) if isinstance(value, str) else value


def _continue_numbers(old: Connection, new: Connection, table: Table) -> None:
    """Let new rows be numbered after all that there ever were: also after those that were deleted."""
    key = table.autoincrement_column
    if key is None:
        return
    last = old.execute(select(func.coalesce(func.max(key), 0))).scalar_one()
    if table.dialect_options["sqlite"]["autoincrement"]:
        given = old.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}).scalar()
        last = max(last, given or 0)
    new.execute(select(func.setval(func.pg_get_serial_sequence(table.name, key.name), last + 1, False)))
