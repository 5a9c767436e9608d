"""The briefs that the sources hold, each file read once a state of it; a file still being written is left alone.

Feeds are fetched here, right before a run and now and then between. Publishes nothing.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.core.model import Brief
from newsletter.sources import folder
from newsletter.sources.remote import is_address

SETTLED_SECONDS = 2.0
"""A file that has not changed for so long, and that nobody holds open for writing, is taken for whole."""

log = logging.getLogger("newsletter.briefs")


@dataclass(kw_only=True)
class Found:
    """What the sources hold: briefs by source, newest first; what cannot be read, by its place; files half written."""

    sources: list[list[Brief]] = field(default_factory=list)
    broken: dict[str, NewsletterError] = field(default_factory=dict)
    half_written: list[Path] = field(default_factory=list)

    @property
    def newest(self) -> Brief | None:
        """The newest brief of all."""
        briefs = [brief for source in self.sources for brief in source[:1]]
        return max(briefs, key=folder.tell_age, default=None)


@dataclass(kw_only=True)
class Shelf:
    """Remembers each file as it was read; `clock` counts seconds since 1970, like the times of files."""

    clock: Callable[[], float] = time.time
    _known: dict[tuple[Path, int, int], Brief | NewsletterError | None] = field(default_factory=dict)

    def look(self, service: Service) -> Found:
        """Everything that the sources hold now. A folder or feed that cannot be read is among the broken."""
        found = Found()
        known, self._known = self._known, {}
        for source in service.settings.briefs:
            try:
                if is_address(source):
                    briefs, errors = service.offer.read_feed(source)
                    found.broken.update((source, error) for error in errors)
                else:
                    briefs = sorted(self._read(service, Path(source), known, found), key=folder.tell_age, reverse=True)
            except NewsletterError as error:
                briefs = []
                found.broken[source] = error
            found.sources.append(briefs)
        return found

    def _read(
        self,
        service: Service,
        place: Path,
        known: dict[tuple[Path, int, int], Brief | NewsletterError | None],
        found: Found,
    ) -> Iterator[Brief]:
        for path in folder.list_files(place):
            try:
                status = path.stat()
            except OSError:
                continue  # gone since
            if not self._is_whole(path, status):
                found.half_written.append(path)
                continue
            key = (path, status.st_mtime_ns, status.st_size)
            brief = known[key] if key in known else _read_file(path, service)
            self._known[key] = brief
            if isinstance(brief, NewsletterError):
                found.broken[str(path)] = brief
            elif brief is not None:
                yield brief

    def _is_whole(self, path: Path, status: os.stat_result) -> bool:
        since = self.clock() - status.st_mtime
        return not 0 <= since < SETTLED_SECONDS and not is_being_written(path)


def _read_file(path: Path, service: Service) -> Brief | NewsletterError | None:
    try:
        return folder.read_offered(path, language=service.settings.language)
    except NewsletterError as error:
        return error


def is_being_written(path: Path) -> bool:
    """Whether a process holds a file open for writing, as far as the system can tell (Linux, a file of our own)."""
    set_lease = getattr(fcntl, "F_SETLEASE", None)
    if set_lease is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, set_lease, fcntl.F_RDLCK)  # refused while anybody may write (fcntl(2), leases)
        fcntl.fcntl(descriptor, set_lease, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # not a file of ours, or a file system without leases
    finally:
        os.close(descriptor)
    return False
