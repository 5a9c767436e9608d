"""Briefs from folders of files: one file, all of a folder, or one by its name.

Uses core/briefs/parser.py and feed.py; reads only below the folders and paths it is given. Passes over the addresses
of feeds, which remote.py knows.
"""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from newsletter.core.briefs.parser import parse_brief
from newsletter.core.errors import BriefError, NewsletterError, SourceError
from newsletter.core.model import Brief
from newsletter.sources.feed import is_json_feed, parse_feed
from newsletter.sources.remote import is_address, show_address

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".txt"})
FEED_SUFFIXES = frozenset({".xml", ".rss", ".atom", ".rdf", ".json"})
LATEST = "latest"

_SUFFIXES = MARKDOWN_SUFFIXES | FEED_SUFFIXES
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NO_BRIEF = f"is no brief: its suffix is none of {' '.join(sorted(_SUFFIXES))}"


def read_brief(path: Path, *, language: str) -> Brief:
    """The brief in one file, by its suffix; `language` stands where it names none.

    Raises BriefError with the file's name, and the place where there is one: absent, unreadable, of another suffix,
    not UTF-8, or without a story.
    """
    return _parse(path, *_read_file(path), language)


def read_offered(path: Path, *, language: str) -> Brief | None:
    """The same for a file that lies in a folder of briefs: None for JSON that is no JSON Feed."""
    data, modified_at = _read_file(path)
    if path.suffix.lower() == ".json" and not is_json_feed(data):
        return None
    return _parse(path, data, modified_at, language)


def list_briefs(source: str, *, language: str) -> tuple[list[Brief], list[NewsletterError]]:
    """All briefs of a source, newest first by date and then by the file's time; and the errors of the broken ones.

    Hidden files, files of other suffixes and JSON that is no JSON Feed are no briefs. Raises SourceError where the
    folder cannot be read.
    """
    briefs: list[Brief] = []
    errors: list[NewsletterError] = []
    for path in list_files(Path(source)):
        try:
            if brief := read_offered(path, language=language):
                briefs.append(brief)
        except NewsletterError as error:
            errors.append(error)
    return sorted(briefs, key=tell_age, reverse=True), errors


def find_brief(sources: Sequence[str], reference: str, *, language: str) -> Brief:
    """The brief that a reference means: a path, or the id or file name of a brief in one of the folders.

    Raises BriefError where there is none; SourceError for an unreadable folder.
    """
    is_file = os.path.isfile(reference)  # unlike Path.is_file, False for a name that no file can have
    if is_file and Path(reference).suffix.lower() in _SUFFIXES:
        return read_brief(Path(reference), language=language)
    for folder in (Path(source) for source in sources if not is_address(source)):
        for path in list_files(folder):
            if reference in (path.stem, path.name):
                return read_brief(path, language=language)
    if is_file:
        raise BriefError(f"{reference} {_NO_BRIEF}")
    shown, where = show_address(reference), ", ".join(map(show_address, sources))
    raise BriefError(f"there is no brief {shown}: neither a file of that name nor a brief in {where}")


def choose_latest(briefs: Sequence[Brief], errors: Sequence[NewsletterError], *, sources: Sequence[str]) -> Brief:
    """The newest of what the sources offer, by date and then by the last change.

    Raises the first error where only broken ones are left, BriefError where there is nothing at all.
    """
    if briefs:
        return max(briefs, key=tell_age)
    if errors:
        raise errors[0]
    raise BriefError(f"there is no brief in {', '.join(map(show_address, sources))}")


def tell_age(brief: Brief) -> tuple[date, datetime, str]:
    """What briefs are sorted by: the date, then the last change."""
    return brief.date, brief.modified_at or _LONG_AGO, brief.id


def list_files(folder: Path) -> list[Path]:
    """The files of a folder that may be briefs; SourceError where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if _is_brief(path))
    except OSError as error:
        raise SourceError(f"the folder of briefs {folder} cannot be read: {error.strerror}") from error


def _is_brief(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read_file(path: Path) -> tuple[bytes, datetime]:
    if not str(path).isprintable():
        raise BriefError(
            f"{str(path)!a} is no name for a brief: rename the file, it has characters that cannot be shown"
        )
    try:
        return path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise BriefError(f"{path} cannot be read: {error.strerror}") from error


def _parse(path: Path, data: bytes, modified_at: datetime, language: str) -> Brief:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise BriefError(f"{path} {_NO_BRIEF}")
    if suffix in FEED_SUFFIXES:
        return parse_feed(data, brief_id=path.stem, source=str(path), modified_at=modified_at, language=language)
    text = _decode(path, data)
    return parse_brief(text, brief_id=path.stem, source=str(path), modified_at=modified_at, language=language)


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise BriefError(
            f"{path}, line {line}: byte 0x{byte:02x} at offset {error.start} is not UTF-8; save the file as UTF-8"
        ) from error
