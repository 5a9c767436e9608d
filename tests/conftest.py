"""What holds for every test: no setting of the developer's shell reaches it, and no property is judged by its speed."""

import asyncio
import os
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings
from workshop import Workshop, make_workshop

for name in [name for name in os.environ if name.upper().startswith("NEWSLETTER_")]:
    del os.environ[name]

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


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
