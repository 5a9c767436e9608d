"""Briefs from folders of files: one file, all of a folder, or one by its name or as the latest.

Uses core/briefs/parser.py and feed.py; reads only below the folders and paths it is given. Refuses addresses of the
network.
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from newsletter.core.briefs.parser import parse_brief
from newsletter.core.errors import BriefError, NewsletterError, SourceError
from newsletter.core.model import Brief
from newsletter.settings.values import mask_credentials
from newsletter.sources.feed import is_json_feed, parse_feed

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".txt"})
FEED_SUFFIXES = frozenset({".xml", ".rss", ".atom", ".rdf", ".json"})
LATEST = "latest"

_SUFFIXES = MARKDOWN_SUFFIXES | FEED_SUFFIXES
_NO_BRIEF = f"is no brief: its suffix is none of {' '.join(sorted(_SUFFIXES))}"
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def read_brief(path: Path, *, language: str) -> Brief:
    """The brief in one file, by its suffix; `language` stands where it names none.

    Raises BriefError with the file's name, and the place where there is one: absent, unreadable, of another suffix,
    not UTF-8, or without a story.
    """
    return _parse(path, *_read_file(path), language)


def list_briefs(source: str, *, language: str) -> tuple[list[Brief], list[NewsletterError]]:
    """All briefs of a source, newest first by date and then by the file's time; and the errors of the broken ones.

    Hidden files, files of other suffixes and JSON that is no JSON Feed are no briefs. Raises SourceError where the
    folder cannot be read.
    """
    briefs: list[Brief] = []
    errors: list[NewsletterError] = []
    for path in list_files(_folder_of(source)):
        try:
            data, modified_at = _read_file(path)
            if path.suffix.lower() != ".json" or is_json_feed(data):
                briefs.append(_parse(path, data, modified_at, language))
        except NewsletterError as error:
            errors.append(error)
    return sorted(briefs, key=age_of, reverse=True), errors


def find_brief(sources: Sequence[str], reference: str, *, language: str) -> Brief:
    """The brief that a reference means: `latest`, a path, or the id or file name of a brief in one of the folders.

    Raises BriefError where there is none, or where only broken ones are left; SourceError for an unreadable source.
    """
    folders = [_folder_of(source) for source in sources]
    if reference == LATEST:
        return _find_latest(folders, language)
    is_file = os.path.isfile(reference)  # unlike Path.is_file, False for a name that no file can have
    if is_file and Path(reference).suffix.lower() in _SUFFIXES:
        return read_brief(Path(reference), language=language)
    for folder in folders:
        for path in list_files(folder):
            if reference in (path.stem, path.name):
                return read_brief(path, language=language)
    if is_file:
        raise BriefError(f"{reference} {_NO_BRIEF}")
    where = ", ".join(str(folder) for folder in folders)
    raise BriefError(f"there is no brief {reference}: neither a file of that name nor a brief in {where}")


def _find_latest(folders: Sequence[Path], language: str) -> Brief:
    briefs: list[Brief] = []
    errors: list[NewsletterError] = []
    for folder in folders:
        found, broken = list_briefs(str(folder), language=language)
        briefs += found
        errors += broken
    if briefs:
        return max(briefs, key=age_of)
    if errors:
        raise errors[0]
    raise BriefError(f"there is no brief in {', '.join(str(folder) for folder in folders)}")


def age_of(brief: Brief) -> tuple[object, object, str]:
    """What briefs are ordered by: the newest date is the latest, then the file changed last."""
    return brief.date, brief.modified_at, brief.id


def is_address(source: str) -> bool:
    """Whether a source is a feed's address rather than a folder."""
    return _ADDRESS.match(source) is not None


def _folder_of(source: str) -> Path:
    if is_address(source):
        shown = mask_credentials(source)
        raise SourceError(f"{shown}: fetching feeds over HTTP comes with the daemon; save the feed to a file for now")
    return Path(source)


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
