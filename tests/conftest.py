"""What holds for every test: no setting of the developer's shell reaches it, and no property is judged by its speed.

With TEST_DATABASE=postgresql the same tests run on PostgreSQL: every address of a SQLite file is taken for a database
of its own there.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import postgres
import pytest
import uvloop
from hypothesis import settings
from sqlalchemy.engine import make_url
from workshop import Workshop, make_workshop

from newsletter.store import database

ON_POSTGRESQL = os.environ.get("TEST_DATABASE") == "postgresql"

for name in [name for name in os.environ if name.upper().startswith("NEWSLETTER_")]:
    del os.environ[name]

settings.register_profile("unhurried", deadline=None, max_examples=40)  # twice as many take half a minute of the five
settings.load_profile("unhurried")


@cache
def _make_empty_database() -> bytes:
    """One that the migrations made, before anything was written to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        url = make_url(f"sqlite:///{path}")
        made = database.Database(database._create_engine(url), url)
        migrate(made)
        made.close()
        return path.read_bytes()


migrate = database._migrate


def _migrate_quickly(opened: database.Database) -> None:
    """A new file is a copy of what the migrations made once: they take 40 ms, and a thousand tests open a new one."""
    path = opened.path
    if path is not None and not path.exists() and path.parent.is_dir():
        try:
            path.write_bytes(_make_empty_database())
        except OSError:  # the migrations shall meet what is wrong themselves
            path.unlink(missing_ok=True)
    migrate(opened)


setattr(database, "_migrate", _migrate_quickly)  # noqa: B010  mypy takes a function for a constant

if ON_POSTGRESQL:
    setattr(database, "_create_engine", postgres.create_in_place_of_sqlite)  # noqa: B010


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On PostgreSQL, what is about SQLite alone is left out."""
    if ON_POSTGRESQL:
        items[:] = [item for item in items if item.get_closest_marker("sqlite") is None]


def pytest_configure(config: pytest.Config) -> None:
    """What a test leaves open on purpose, SQLite closes silently."""
    if ON_POSTGRESQL:
        left_open = "Exception ignored in.*BaseConnection:pytest.PytestUnraisableExceptionWarning"
        config.addinivalue_line("filterwarnings", f"ignore:{left_open}")


@pytest.fixture(autouse=ON_POSTGRESQL)
def databases_in_place_of_sqlite(tmp_path: Path) -> Iterator[None]:
    """Take away the databases that a test made."""
    yield
    postgres.drop_databases_in_place_of_sqlite(tmp_path)


@pytest.fixture
def anyio_backend() -> str:
    """What tests marked `anyio` run on."""
    return "asyncio"


@pytest.fixture(params=["asyncio", "uvloop"])
def each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`asyncio.run` in the test runs on this kind of event loop."""
    if request.param == "uvloop":
        monkeypatch.setattr(asyncio, "run", uvloop.run)
    return str(request.param)


@pytest.fixture
def workshop(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A working folder of the test's own, and the process in it."""
    monkeypatch.chdir(tmp_path)
    return make_workshop(tmp_path, capsysbinary)


@pytest.fixture
def empty_postgresql(tmp_path: Path) -> Iterator[str]:
    """The address of a PostgreSQL database of the test's own, with the tables and nothing in them."""
    name = f"test_{os.getpid()}_{abs(hash(tmp_path)) % 10**9}"
    yield postgres.make_database(name)
    postgres.drop_database(name)
