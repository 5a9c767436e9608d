"""`preview` as an editor has it: a process, an address, and no database (Chromium: test_console_in_browser.py)."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

from workshop import Workshop


@contextmanager
def run_preview() -> Iterator[str]:
    """Its address; at the end it is told to end, and must do so well."""
    command = [sys.executable, "-m", "newsletter", "preview", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            yield found[0].removesuffix(";")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_shows_the_briefs_of_a_folder_and_makes_no_database(workshop: Workshop) -> None:
    workshop.configure(FROM="", SECRET_KEY="")
    with run_preview() as address, urlopen(address, timeout=20) as answer:
        assert "2026-11-23-monday" in answer.read().decode()
    assert not (workshop.folder / "newsletter.db").exists()
