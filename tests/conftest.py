"""What holds for every test: no setting of the developer's shell reaches it, and no property is judged by its speed."""

import asyncio
import os
import tempfile
from functools import cache
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings
from sqlalchemy.engine import make_url
from workshop import Workshop, make_workshop

from newsletter.store import database

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
