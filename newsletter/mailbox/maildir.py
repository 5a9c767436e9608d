"""A maildir (a folder with new/, cur/ and tmp/) as Postfix, Dovecot and others deliver into; folders are Maildir++."""

import os
from collections.abc import Iterator
from pathlib import Path

from newsletter.core.bounces.opening import MOST_OCTETS
from newsletter.core.errors import MailboxError

PARTS = ("new", "cur", "tmp")


class Maildir:
    """Reads and moves; a message is renamed, never written."""

    def __init__(self, path: Path) -> None:
        """MailboxError where there is no maildir."""
        self._path = path
        if not all((path / part).is_dir() for part in ("new", "cur")):
            raise MailboxError(f"{path} is no maildir: it has no new/ and cur/")

    def list_messages(self) -> Iterator[tuple[str, bytes]]:
        """What has arrived, oldest first by the names that maildirs give; one that goes meanwhile is passed over."""
        try:
            entries = [(part, entry) for part in ("new", "cur") for entry in os.scandir(self._path / part)]
            names = [f"{part}/{entry.name}" for part, entry in entries if entry.is_file()]
        except OSError as error:
            raise MailboxError(f"{self._path}: cannot read the maildir: {error.strerror}") from None
        for name in sorted(names, key=lambda name: name.partition("/")[2]):
            try:
                with (self._path / name).open("rb") as file:
                    octets = file.read(MOST_OCTETS)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise MailboxError(f"{self._path / name}: cannot read the message: {error.strerror}") from None
            yield name, octets

    def move_message(self, name: str, folder: str) -> None:
        """Rename a message into the folder's cur/, as seen."""
        target = self._path / f".{folder}"
        try:
            for part in PARTS:
                (target / part).mkdir(parents=True, exist_ok=True)
            base = name.partition("/")[2].partition(":")[0]
            (self._path / name).rename(target / "cur" / f"{base}:2,S")
        except FileNotFoundError:
            return  # another was quicker
        except OSError as error:
            raise MailboxError(f"{self._path / name}: cannot move the message: {error.strerror}") from None

    def wait(self, seconds: float) -> bool:
        """A maildir tells of nothing: it is looked at again."""
        return False

    def close(self) -> None:
        """Nothing is held."""
