"""Relays on a free port of loopback that take every mail and forget it: Postfix's smtp-sink, and a slow one."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 10
BACKLOG = "256"


class SinkMissingError(Exception):
    """smtp-sink is not installed, or does not start."""


@contextmanager
def run_sink() -> Iterator[int]:
    """Run it while the block lasts; gives its port."""
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SinkMissingError("smtp-sink is not here (Debian package postfix)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    argv = [program, *as_nobody, "-c", f"127.0.0.1:{port}", BACKLOG]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


@contextmanager
def run_slow_sink() -> Iterator[int]:
    """The same of a relay that takes 50 ms for each mail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, str(Path(__file__).with_name("_slow_sink.py")), str(port)]) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SinkMissingError("smtp-sink does not start")
