"""What stands in contrib/, judged by the programs that would read it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "contrib" / "newsletter.service"
WORKER_UNIT = ROOT / "contrib" / "newsletter-worker.service"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="Debian's package systemd is not installed"
)


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("given", [UNIT, WORKER_UNIT])
def test_systemd_takes_the_unit(tmp_path: Path, given: Path) -> None:
    unit = tmp_path / given.name
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", given.read_text()))
    ran = analyze("verify", unit)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@needs_systemd
def test_the_unit_is_hardened() -> None:
    ran = analyze("security", "--offline=true", "--threshold=20", UNIT)
    assert ran.returncode == 0, ran.stdout


def test_the_unit_and_the_image_start_the_daemon_and_give_it_time_to_end() -> None:
    unit, image = UNIT.read_text(), (ROOT / "contrib" / "Containerfile").read_text()
    assert re.search(r"^ExecStart=\S+/newsletter run$", unit, re.MULTILINE)
    assert re.sub("#.*", "", WORKER_UNIT.read_text()).count("worker") == 2, "it differs by name and command alone"
    assert 'CMD ["newsletter", "run"]' in image
    assert "TimeoutStopSec=20" in unit
    assert "--stop-timeout 20" in image
    assert "KillMode=mixed" in unit


def test_the_image_is_built_of_what_is_there() -> None:
    image = (ROOT / "contrib" / "Containerfile").read_text()
    for path in re.findall(r"/src/([\w./-]+)", image):
        assert (ROOT / path).exists()
    pattern = re.search(r"grep -oE '(.+?)' /src/requirements.lock", image)
    assert pattern is not None
    pinned = re.findall(pattern[1], (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert {line.partition("==")[0] for line in pinned} >= {"jinja2", "sqlalchemy", "uvicorn"}
