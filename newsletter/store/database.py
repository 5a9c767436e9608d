"""Opens the database, brings its schema up to date, and hands out read and write transactions.

A write transaction takes the write lock at its start; errors of the driver become StoreError. What SQLite and
PostgreSQL need each is said in sqlite.py and postgres.py.
"""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from newsletter.core.errors import ConfigError, StoreBusyError, StoreError
from newsletter.settings.values import mask_credentials
from newsletter.store import postgres, sqlite
from newsletter.store.schema import service

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"
LEDGER_KEY_OCTETS = 32


class Database:
    """One open database. `ledger_key` is its own secret: it keys address hashes and Message-IDs and never changes.

    `skew` is how far the database's clock is ahead of this machine's: on many machines the database's counts.
    """

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self.name = url.database or str(url)
        self.ledger_key = b""
        self.skew = timedelta()
        self._dialect = sqlite if engine.dialect.name == "sqlite" else postgres
        self._driver_errors: type[Exception] = engine.dialect.dbapi.Error if engine.dialect.dbapi else StoreError

    @property
    def address(self) -> str:
        """Where a PostgreSQL database is, as its own library reads it; with the password."""
        return self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database; None where it is PostgreSQL, which many machines may share."""
        return Path(self.name) if self._dialect is sqlite else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and takes no write lock."""
        with self.errors_named(), self._engine.connect() as conn:
            conn = conn.execution_options(**self._dialect.READING)
            with conn.begin():
                yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start.

        StoreError where the database cannot be written, StoreBusyError where another held the lock too long.
        """
        with self.errors_named(), self._engine.connect() as conn:
            conn = conn.execution_options(**self._dialect.WRITING)
            with conn.begin():
                self._dialect.take_write_lock(conn)
                yield conn

    @contextmanager
    def act(self) -> Iterator[Connection]:
        """A transaction on PostgreSQL that writes rows of its own only, and so takes no write lock; else as `write`."""
        if self.path is not None:
            with self.write() as conn:
                yield conn
            return
        with self.errors_named(), self._engine.connect() as conn, conn.begin():
            postgres.end_when_idle(conn, postgres.IDLE_SECONDS)
            yield conn

    @contextmanager
    def rehearse(self) -> Iterator["Database"]:
        """A database to try something on: nobody has to wait for it, and nothing of it is kept."""
        if self.path is not None:
            with TemporaryDirectory(prefix="newsletter-") as folder:
                copy = Path(folder) / "trial.db"
                self.back_up(copy)
                with closing(open_database(f"sqlite:///{copy}")) as trial:
                    yield trial
            return
        with self.errors_named(), self._engine.connect() as conn, conn.begin() as transaction:
            postgres.stop_counting(conn)
            yield _Rehearsal(self, conn)
            transaction.rollback()

    def now(self) -> datetime:
        """The time by the database's clock, which all machines share."""
        return datetime.now(UTC) + self.skew

    def back_up(self, target: Path) -> None:
        """Copy a SQLite database as it stands now, also while others write; StoreError where the target is there."""
        if self.path is None:
            raise StoreError(f"database {self.name}: PostgreSQL is backed up with its own pg_dump")
        if target.exists():
            raise StoreError(f"{target} is there already: name a new file")
        try:
            with self.errors_named(), self._engine.connect() as conn:
                sqlite.back_up(conn, target)
        except StoreError as error:
            target.unlink(missing_ok=True)
            raise StoreError(f"{target}: no backup was made: {error}") from error

    def wipe_log(self) -> None:
        """Take what was deleted out of SQLite's write-ahead log too; what others still read of it goes later."""
        if self.path is not None:
            with self.errors_named(), self._engine.connect() as conn:
                sqlite.wipe_log(conn)

    def measure_skew(self) -> None:
        """Look at the database's clock again."""
        if self.path is None:
            with self.errors_named(), self._engine.connect() as conn:
                self.skew = postgres.measure_skew(conn)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def is_lost(self, conn: Connection) -> bool:
        """Whether the server is not at the other end of a connection any more."""
        return conn.closed or conn.invalidated or self._dialect.is_closed(conn)

    def connect_impatiently(self) -> Connection:
        """A connection whose transactions write, and that gets StoreBusyError where another holds the write lock.

        On PostgreSQL they take no such lock: those who deliver only touch rows that are theirs.
        """
        conn = self._engine.connect()
        self._dialect.prepare_impatient(conn)
        return conn

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Turn what the driver raises into a StoreError that names the database."""
        try:
            yield
        except IntegrityError:
            raise  # a unique key at work: the caller's business
        except PoolTimeoutError as error:
            raise StoreBusyError(f"database {self.name}: all connections are in use") from error
        except DBAPIError as error:
            kind = StoreBusyError if error.orig and self._dialect.is_busy(error.orig) else StoreError
            raise kind(f"database {self.name}: {_tell(error.orig)}") from error
        except self._driver_errors as error:  # of prepared statements, which are the driver's own
            kind = StoreBusyError if self._dialect.is_busy(error) else StoreError
            raise kind(f"database {self.name}: {_tell(error)}") from error
        except OverflowError as error:  # raised by SQLite's driver itself, unwrapped
            raise StoreError(f"database {self.name}: no number is as large as one given here") from error


class _Rehearsal(Database):
    """All transactions on one connection, within one that is never committed."""

    def __init__(self, database: Database, conn: Connection) -> None:
        self.__dict__ |= database.__dict__
        self._conn = conn

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.errors_named(), self._conn.begin_nested():
            yield self._conn


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
            database.measure_skew()
            database.ledger_key = bytes.fromhex(_read_ledger_key(database))
    except StoreError:
        database.close()
        raise
    return database


def _tell(error: object) -> str:
    """What a driver says, on one line."""
    return " ".join(str(error).split())


def _create_engine(url: URL) -> Engine:
    match url.get_backend_name():
        case "sqlite":
            return sqlite.create(url)
        case "postgresql":
            return postgres.create(url)
    raise ArgumentError("only sqlite:///FILE and postgresql://USER:PASSWORD@HOST/DATABASE are supported")


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
