"""What PostgreSQL needs of its own: psycopg 3, one state seen by a reader, a write lock, and its clock.

Who writes anything but deliveries takes one advisory lock, as on SQLite: what is read before writing still holds when
it is written. Those who deliver take none (store/fleet.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+psycopg"
LOCK_TIMEOUT_SECONDS = 30
IMPATIENT_LOCK_SECONDS = 1
CONNECT_TIMEOUT_SECONDS = 10
IDLE_SECONDS, WRITE_IDLE_SECONDS = 5, 60
"""How long a transaction may be idle: of who delivers, whose rows others may have to take over, and of all others."""

POOL = {"pool_size": 5, "max_overflow": 20, "pool_pre_ping": True}

REPLACEMENT = "\ufffd"
"""Stands where a text had a NUL."""

LOCKS = 0x6E6C
"""The class of our advisory locks, the first of the two numbers of each."""
WRITE_LOCK, EXCHANGE_LOCK = 0, 1

CLOCKS_AGREE = timedelta(seconds=1)

READING: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
WRITING: dict[str, Any] = {"isolation_level": "READ COMMITTED"}


def create(url: URL) -> Engine:
    """An engine that waits neither for a server nor for a lock without end; ImportError where the driver is missing."""
    try:
        import procrastinate  # noqa: F401  both or neither are installed
        from psycopg.types.string import StrDumper
    except ImportError:
        raise ImportError("PostgreSQL needs more packages: pip install 'newsletter[postgres]'") from None
    if url.drivername not in ("postgresql", DRIVER):
        raise ArgumentError(f"PostgreSQL is reached by psycopg alone: postgresql://…, not {url.drivername}://…")
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c timezone=UTC -c client_connection_check_interval=1s"
        # The server is to notice a cut link too: in the middle of a step it waits for what comes next.
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000",
        # A cut link is noticed after some 10 s, not after hours: by who waits for an answer, and by who sends.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "newsletter",
    }
    engine = create_engine(url.set(drivername=DRIVER), connect_args=arguments, **POOL)

    class Text(StrDumper):
        """PostgreSQL knows no NUL in a text, and what comes by mail may have any character."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", REPLACEMENT))

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.adapters.register_dumper(str, Text)

    return engine


def take_write_lock(conn: Connection) -> None:
    """Wait until nobody else writes; held to the end of the transaction."""
    end_when_idle(conn, WRITE_IDLE_SECONDS)
    take_lock(conn, WRITE_LOCK)


def take_lock(conn: Connection, number: int) -> None:
    """Wait for one of our advisory locks; held to the end of the transaction."""
    conn.execute(text(f"SELECT pg_advisory_xact_lock({LOCKS}, {number})"))


def stop_counting(conn: Connection) -> None:
    """Let the triggers count nothing for the rest of the transaction: nobody shall wait for the rows they count in."""
    conn.execute(text("SELECT set_config('newsletter.counting', 'off', true)"))


def end_when_idle(conn: Connection, seconds: int) -> None:
    """Let the server end the session where nothing is heard of the transaction for so long.

    Its locks are free then: of a host that was stopped, or dropped off the network, the system hears for hours.
    """
    conn.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'"))


def prepare_impatient(conn: Connection) -> None:
    """Its transactions write rows of their own, take no lock that others wait for, and wait for none for long."""
    conn.execution_options(**WRITING)
    with conn.begin():
        conn.execute(text(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"))
        conn.execute(text(f"SET lock_timeout = '{IMPATIENT_LOCK_SECONDS}s'"))


def is_busy(error: BaseException) -> bool:
    """Whether another held a lock for too long, or each waited for the other: later it may go through."""
    return getattr(error, "sqlstate", None) in ("55P03", "40P01")


def is_closed(conn: Connection) -> bool:
    """Whether the server has ended the connection, or the way to it was cut."""
    return bool(getattr(conn.connection.driver_connection, "closed", True))


def measure_skew(conn: Connection) -> timedelta:
    """How far the server's clock is ahead of ours; nothing where they are as near as clocks that are kept right."""
    before = datetime.now(UTC)
    there: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.now(UTC)
    skew = there - (before + (after - before) / 2)
    return skew if abs(skew) > CLOCKS_AGREE else timedelta()


@contextmanager
def in_one_go(conn: Connection) -> Iterator[None]:
    """On PostgreSQL, prepared statements are sent one after another without waiting for each one's answer."""
    if conn.dialect.name != "postgresql":
        yield
        return
    driver: Any = conn.connection.driver_connection
    with driver.pipeline():
        yield


def copy_rows(conn: Connection, table: Table, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write many rows by COPY. Values are what the driver takes: times as microseconds."""
    columns = ", ".join(f'"{name}"' for name in names)
    copying: Any = conn.connection.cursor()
    with copying.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])


def reserve_numbers(conn: Connection, table: Table, count: int) -> list[int]:
    """So many numbers for new rows of a table, given out to nobody else."""
    sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
    query = text(f"SELECT nextval({sequence}) FROM generate_series(1, :count)")  # noqa: S608  a name of our own
    return list(conn.execute(query, {"count": count}).scalars())
