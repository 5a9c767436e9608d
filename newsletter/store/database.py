"""Opens the database, brings its schema up to date, and hands out read and write transactions.

SQLite runs in WAL mode with synchronous=FULL (NORMAL loses committed outcomes on a power loss and so doubles mails).
A write transaction takes the write lock at its start; errors of the driver become StoreError.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from newsletter.core.errors import ConfigError, StoreBusyError, StoreError
from newsletter.settings.values import mask_credentials
from newsletter.store.schema import service

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_SECONDS = 30
WAL_RETRY_SECONDS = 0.02
HEAD = "0006"
LEDGER_KEY_OCTETS = 32


class Database:
    """One open database. `ledger_key` is its own secret: it keys address hashes and Message-IDs and never changes."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self.name = url.database or str(url)
        self.ledger_key = b""
        self._driver_errors: type[Exception] = engine.dialect.dbapi.Error if engine.dialect.dbapi else StoreError

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        return Path(self.name) if self._engine.dialect.name == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and takes no write lock."""
        with self.errors_named(), self._engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start.

        StoreError where the file cannot be written, StoreBusyError where another process held the lock too long.
        """
        with self.errors_named(), self._engine.connect() as conn:
            conn = conn.execution_options(newsletter_begin="BEGIN IMMEDIATE")
            with conn.begin():
                yield conn

    def back_up(self, target: Path) -> None:
        """Copy a SQLite database as it stands now, also while others write; StoreError where the target is there."""
        if self.path is None:
            raise StoreError(f"database {self.name}: PostgreSQL is backed up with its own pg_dump")
        if target.exists():
            raise StoreError(f"{target} is there already: name a new file")
        try:
            with self.errors_named(), self._connect_bare() as conn:
                conn.exec_driver_sql("VACUUM INTO ?", (str(target),))
        except StoreError as error:
            target.unlink(missing_ok=True)
            raise StoreError(f"{target}: no backup was made: {error}") from error

    def wipe_log(self) -> None:
        """Take what was deleted out of SQLite's write-ahead log too; what others still read of it goes later."""
        if self.path is None:
            return
        with self.errors_named(), self._connect_bare() as conn:
            conn.exec_driver_sql("PRAGMA busy_timeout=0")  # it would wait for every reader to end
            try:
                conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                conn.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")

    def _connect_bare(self) -> Connection:
        """A connection for statements that SQLite refuses within a transaction."""
        return self._engine.connect().execution_options(newsletter_begin=None)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def connect_impatiently(self) -> Connection:
        """A connection whose transactions write, and that gets StoreBusyError where another holds the write lock."""
        conn = self._engine.connect()
        if self.path is not None:
            conn.execution_options(newsletter_begin=None)
            conn.exec_driver_sql("PRAGMA busy_timeout=0")
            conn.rollback()
        return conn.execution_options(newsletter_begin="BEGIN IMMEDIATE")

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Turn what the driver raises into a StoreError that names the database."""
        try:
            yield
        except IntegrityError:
            raise  # a unique key at work: the caller's business
        except DBAPIError as error:
            busy = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            kind = StoreBusyError if busy else StoreError
            raise kind(f"database {self.name}: {error.orig}") from error
        except self._driver_errors as error:  # of prepared statements, which are the driver's own
            raise StoreError(f"database {self.name}: {error}") from error
        except OverflowError as error:  # raised by SQLite's driver itself, unwrapped
            raise StoreError(f"database {self.name}: no number is as large as one given here") from error


def open_database(address: str) -> Database:
    """Open the database at a `sqlite:///` or `postgresql://` address and apply what migrations it lacks.

    Raises ConfigError for an address that fits no database, StoreError for a database that cannot be opened,
    is of a newer version of the program, or cannot be written.
    """
    try:
        url = make_url(address)
        engine = _create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigError(f"NEWSLETTER_DATABASE_URL {mask_credentials(address)!r} cannot be used: {error}") from error
    database = Database(engine, url)
    try:
        with database.errors_named():
            _migrate(database)
            database.ledger_key = bytes.fromhex(_read_ledger_key(database))
    except StoreError:
        database.close()
        raise
    return database


def _create_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        raise ArgumentError("only sqlite:///FILE is supported yet")
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


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(database: Database) -> None:
    with database.read() as conn:
        revision = _revision(conn)
    if revision == HEAD:
        return
    if revision is not None and revision not in _known_revisions():
        raise StoreError(
            f"database {database.name} is of version {revision!r}, which this program ({HEAD}) does not know: "
            "run the newer program, or restore a backup"
        )
    with database.write() as conn:
        upgrade_schema(conn)


def upgrade_schema(conn: Connection) -> None:
    """Apply the migrations that are missing, inside the caller's transaction."""
    from alembic import command

    config = _migrations()
    config.attributes["connection"] = conn
    if _revision(conn) != HEAD:
        command.upgrade(config, "head")


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}


def _migrations() -> "Config":
    from alembic.config import Config  # here, since a database that is up to date does without it

    config = Config()
    config.set_main_option("script_location", "newsletter.store:migrations")
    return config


def _read_ledger_key(database: Database) -> str:
    wanted = service.select().where(service.c.key == "ledger_key")
    with database.read() as conn:
        row = conn.execute(wanted).first()
    if row:
        return str(row.value)
    with database.write() as conn:
        row = conn.execute(wanted).first()
        if row is None:
            key = secrets.token_hex(LEDGER_KEY_OCTETS)
            conn.execute(service.insert().values(key="ledger_key", value=key))
            return key
        return str(row.value)
