"""What SQLite needs of its own: WAL mode with synchronous=FULL, transactions begun by us, its write lock, backups.

NORMAL would lose committed outcomes on a power loss, and so double mails.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

BUSY_TIMEOUT_SECONDS = 30
WAL_RETRY_SECONDS = 0.02

READING: dict[str, Any] = {}
WRITING: dict[str, Any] = {"newsletter_begin": "BEGIN IMMEDIATE"}
BARE: dict[str, Any] = {"newsletter_begin": None}
"""For statements that SQLite refuses within a transaction."""


def create(url: URL) -> Engine:
    """An engine whose connections are set up."""
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, by us
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # the forgotten leave no bytes behind in free pages

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if begin := connection.get_execution_options().get("newsletter_begin", "BEGIN"):
            connection.exec_driver_sql(begin)

    return engine


def take_write_lock(conn: Connection) -> None:
    """BEGIN IMMEDIATE has taken it."""


def prepare_impatient(conn: Connection) -> None:
    """Its transactions write, and fail at once where another holds the write lock."""
    conn.execution_options(**BARE)
    conn.exec_driver_sql("PRAGMA busy_timeout=0")
    conn.rollback()
    conn.execution_options(**WRITING)


def is_busy(error: BaseException) -> bool:
    """Whether another process holds the write lock."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def is_closed(conn: Connection) -> bool:
    """A file has no other end that could go away."""
    return False


def back_up(conn: Connection, target: Path) -> None:
    """Write the database as it stands now into a new file."""
    conn.execution_options(**BARE).exec_driver_sql("VACUUM INTO ?", (str(target),))


def wipe_log(conn: Connection) -> None:
    """Empty the write-ahead log, as far as nobody reads of it."""
    conn = conn.execution_options(**BARE)
    conn.exec_driver_sql("PRAGMA busy_timeout=0")  # it would wait for every reader to end
    try:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        conn.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")


def _enter_wal(connection: Any) -> None:
    """Turn on the write-ahead log. SQLite waits for nobody here, and processes that open a new file at once collide."""
    given_up_at = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > given_up_at:
                raise
            time.sleep(WAL_RETRY_SECONDS)
