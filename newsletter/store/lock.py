"""Who may deliver on a SQLite database: the process that holds a lock on a file beside it.

The system frees the lock when its holder dies, so whoever gets it knows that every earlier claim is dead.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from newsletter.core.errors import StoreError


class DeliveryLock:
    """An advisory lock on `DATABASE.lock`, held until closed or until the process ends."""

    def __init__(self, database: Path) -> None:
        real = database.resolve()  # one lock for one database, by whatever name it is opened
        self._path = real.with_name(real.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try to take the lock now; False where another process delivers. StoreError where no lock can be had."""
        try:
            # Not inherited by children (PEP 446): a child must not keep the lock of a parent that died.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreError(f"cannot lock {self._path}: {error.strerror}") from error
        self._descriptor = descriptor
        return True

    def is_held(self) -> bool:
        """Whether another process delivers now. Takes nothing from it, and makes no file."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask do not see each other
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
