"""Who may deliver on a SQLite database: one process, until it lets go or dies."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from newsletter.core.errors import StoreError
from newsletter.store.lock import DeliveryLock

HOLDER = """
import subprocess, sys
from pathlib import Path
from newsletter.store.lock import DeliveryLock
lock = DeliveryLock(Path(sys.argv[1]))
assert lock.acquire()
child = subprocess.Popen([sys.executable, "-c", "import sys; print('born', flush=True); sys.stdin.read()"])
sys.stdin.read()
"""


@contextmanager
def hold_elsewhere(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, and has a child that outlives it until our end of its stdin is closed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "born\n"
        yield holder
    holder.wait()


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = DeliveryLock(tmp_path / "n.db"), DeliveryLock(tmp_path / "n.db")
    with first:
        assert first.acquire()
        assert not second.acquire()
        with DeliveryLock(tmp_path / "other.db") as other:
            assert other.acquire()
    assert second.acquire()
    second.release()
    second.release()  # twice is no error
    assert (tmp_path / "n.db.lock").stat().st_mode & 0o777 == 0o600


def test_a_holder_that_dies_frees_the_lock_even_while_its_child_lives(tmp_path: Path) -> None:
    with DeliveryLock(tmp_path / "n.db") as lock, hold_elsewhere(tmp_path / "n.db") as holder:
        assert not lock.acquire()
        holder.kill()
        holder.wait()
        assert lock.acquire()


def test_a_lock_that_cannot_be_had_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "n.db.lock").mkdir()
    with pytest.raises(StoreError, match=rf"cannot lock {tmp_path / 'n.db.lock'}: Is a directory"):
        DeliveryLock(tmp_path / "n.db").acquire()
    with pytest.raises(StoreError, match=r"cannot lock .*: No such file"):
        DeliveryLock(tmp_path / "absent" / "n.db").acquire()


def test_a_file_system_without_locks_is_an_error_and_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, _: int) -> None:
        opened.append(descriptor)
        raise OSError(37, "No locks available")

    opened: list[int] = []
    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StoreError, match="No locks available"):
        DeliveryLock(tmp_path / "n.db").acquire()
    assert not Path(f"/proc/self/fd/{opened[0]}").exists()
