"""One person's row of a subscriber list or a sign-up form, checked and brought to its canonical form.

Uses core/address.py and core/schedule.py. Knows neither files nor the database: who else has the address, and what
they chose before, is the importer's business.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from newsletter.core.address import has_control_characters, parse_address
from newsletter.core.errors import ImportRowError
from newsletter.core.model import EVERY_STORY
from newsletter.core.schedule import Frequency, parse_frequency, parse_zone

NAME_CHARACTERS = 200
PREFERENCES = frozenset({"name", "topics", "frequency", "timezone", "language"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonRow:
    """A person as a row gives them; what it does not give stands at the default, and is not in `given`.

    `topics` are sorted ids, each once, or only `*`; `timezone` and `language` are None for the service's own.
    """

    email: str
    email_key: str
    name: str = ""
    topics: tuple[str, ...] = ()
    frequency: Frequency = Frequency.EACH
    timezone: str | None = None
    language: str | None = None
    given: frozenset[str] = frozenset()


def parse_row(row: Mapping[str, object], *, topics: Container[str], languages: Container[str]) -> PersonRow:
    """Check a row by the names of its columns; unknown columns are ignored, an empty cell (or null) is the default.

    `topics` and `languages` are the ids that exist. ImportRowError with a sentence and the column of a cell that does
    not fit.
    """
    column = ""
    try:
        address = parse_address(_read_email(row, column := "email"))
        return PersonRow(
            email=address.email,
            email_key=address.key,
            name=_parse_name(_read_text(row, column := "name")),
            topics=_parse_topics(row.get(column := "topics"), topics),
            frequency=parse_frequency(_read_text(row, column := "frequency").strip() or Frequency.EACH),
            timezone=_parse_timezone(_read_text(row, column := "timezone").strip()),
            language=_parse_language(_read_text(row, column := "language").strip(), languages),
            given=PREFERENCES & row.keys(),
        )
    except ValueError as error:
        raise ImportRowError(str(error), column) from None


def _read_text(row: Mapping[str, object], column: str) -> str:
    cell = row.get(column)
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(f"the {column} {cell!r:.80} is not text")
    return cell


def _read_email(row: Mapping[str, object], column: str) -> str:
    text = _read_text(row, column).strip(" ")
    if not text:
        raise ValueError("there is no email address")
    return text


def _parse_name(text: str) -> str:
    if has_control_characters(text):
        raise ValueError(f"the name {text[:80]!r} has control characters")
    name = text.strip()
    if len(name) > NAME_CHARACTERS:
        raise ValueError(f"the name {name[:40]!r}… has {len(name)} characters, {NAME_CHARACTERS} at most are allowed")
    return name


def _parse_topics(cell: object, topics: Container[str]) -> tuple[str, ...]:
    if isinstance(cell, str):
        cell = cell.split(";")
    if not isinstance(cell, list | None) or not all(isinstance(item, str) for item in cell or ()):
        raise ValueError(f"the topics {cell!r:.80} are not a list of topic ids")
    wanted = {item.strip() for item in cell or ()} - {""}
    for topic in sorted(wanted - {EVERY_STORY}):
        if topic not in topics:
            raise ValueError(f"there is no topic {topic[:80]!r}")
    return (EVERY_STORY,) if EVERY_STORY in wanted else tuple(sorted(wanted))


def _parse_timezone(text: str) -> str | None:
    return parse_zone(text).key if text else None


def _parse_language(text: str, languages: Container[str]) -> str | None:
    if text and text not in languages:
        raise ValueError(f"there is no language {text[:80]!r} in this service")
    return text or None
