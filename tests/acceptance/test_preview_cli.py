"""`preview` as an editor has it: a process, an address, and pages that Chromium shows without sideways scroll."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from workshop import Workshop

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


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


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_in_chromium_nothing_is_refused_and_the_mail_is_drawn(workshop: Workshop, width: int) -> None:
    """A page that loads nothing from elsewhere, breaks no rule of its own policy, and whose script has run."""
    workshop.configure(FROM="", SECRET_KEY="")
    with run_preview() as address:
        page = f"{address}/2026-11-23-monday?topics=sport&width=375"
        flags = [*FLAGS, f"--window-size={width},900", "--timeout=10000", "--enable-logging=stderr", "--dump-dom"]
        ran = subprocess.run([str(CHROMIUM), *flags, page], capture_output=True, text=True, timeout=120, check=False)
    assert re.search(r'data-drawn="[1-9]', ran.stdout), ran.stderr
    said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert said == []
