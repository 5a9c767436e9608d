"""Lists of subscribers in and out: CSV and JSON Lines, in constant memory.

Good rows go in, a thousand a transaction; bad rows are named with line and reason and stop nothing. An import never
brings back someone who unsubscribed or is suppressed.
"""

import csv
import io
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Row

from newsletter.core.address import has_control_characters, parse_address
from newsletter.core.errors import ImportRowError, StoreError
from newsletter.core.model import SubscriberState
from newsletter.core.preferences import PersonRow, parse_row
from newsletter.core.tokens import hash_address
from newsletter.sources.rows import read_rows
from newsletter.store import subscribers
from newsletter.store.database import Database
from newsletter.store.joining import begin_window, find_changes, write_person

CHUNK = 1_000
COLUMNS = ("email", "name", "topics", "frequency", "timezone", "language")
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """A row that did not go in; `line` counts from 1, the header included."""

    line: int
    email: str
    reason: str


@dataclass(kw_only=True)
class ImportResult:
    """What an import came to. Every row of the file is in exactly one of the four."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many rows were not rejected."""
        return self.added + self.updated + self.unchanged

    def add(self, more: "ImportResult") -> None:
        """Count the rows of a chunk."""
        self.added += more.added
        self.updated += more.updated
        self.unchanged += more.unchanged


def import_file(
    database: Database,
    path: Path,
    *,
    topics: Container[str],
    languages: Container[str],
    now: datetime,
    dry_run: bool = False,
    observe: Callable[[ImportResult], None] = lambda result: None,
) -> ImportResult:
    """Take in a list of subscribers; with `dry_run` nothing is kept.

    ConfigError where the file or its header cannot be read; StoreError, which says how far it came, where the
    database cannot be written: whole chunks are in, and importing the file again goes on.
    """

    def parse(cells: Mapping[str, object]) -> PersonRow:
        return parse_row(cells, topics=topics, languages=languages)

    with database.rehearse() if dry_run else nullcontext(database) as kept:

        def save(people: Sequence[PersonRow]) -> ImportResult:
            saved = ImportResult()
            with kept.write() as conn:
                for distinct in _split_repeated(people):
                    save_rows(conn, kept.ledger_key, distinct, saved, now=now, source=path.name)
            return saved

        return _take_rows(path, parse, save, observe)


def add_person(database: Database, row: PersonRow, *, now: datetime, source: str) -> ImportResult:
    """Take in one person as active, or change what they chose.

    StoreError, and nothing changed, where they left or are suppressed: only they can sign up again.
    """
    saved = ImportResult()
    with database.write() as conn:
        save_rows(conn, database.ledger_key, [row], saved, now=now, source=source)
        person = subscribers.find_subscribers(conn, [row.email_key]).get(row.email_key)
        if person is None or person.at is not None:
            raise StoreError(f"{row.email} is suppressed: see `newsletter suppressions list`")
        if person.state != SubscriberState.ACTIVE:
            raise StoreError(f"{row.email} has unsubscribed: only they can sign up again")
    return saved


def import_suppressions(database: Database, path: Path, *, now: datetime) -> ImportResult:
    """Take in a list of addresses that get no mail: `email`, and where given `reason`, `at` and `source`.

    Errors as in `import_file`. An address that is suppressed already is unchanged.
    """

    def parse(cells: Mapping[str, object]) -> dict[str, Any]:
        return _parse_suppression(cells, now, path.name)

    def save(rows: Sequence[dict[str, Any]]) -> ImportResult:
        first: dict[bytes, dict[str, Any]] = {}
        for row in rows:
            first.setdefault(hash_address(database.ledger_key, row["email"]), row)
        with database.write() as conn:
            known = subscribers.find_suppressed(conn, first)
            new = [{**row, "address_hash": digest} for digest, row in first.items() if digest not in known]
            subscribers.insert_suppressions(conn, new)
        return ImportResult(added=len(new), unchanged=len(rows) - len(new))

    return _take_rows(path, parse, save, lambda result: None)


def _take_rows(
    path: Path,
    parse: Callable[[Mapping[str, object]], _Parsed],
    save: Callable[[Sequence[_Parsed]], ImportResult],
    observe: Callable[[ImportResult], None],
) -> ImportResult:
    result = ImportResult()
    chunk: list[_Parsed] = []

    def flush() -> None:
        try:
            result.add(save(chunk))
        except StoreError as error:
            raise StoreError(f"{error}, after {result.taken} rows of {path}: importing it again goes on") from error
        chunk.clear()
        observe(result)

    for row in read_rows(path):
        try:
            chunk.append(parse(row.demand_cells()))
        except ImportRowError as error:
            result.rejected.append(RejectedRow(line=row.line, email=row.email, reason=row.explain(error)))
            continue
        if len(chunk) == CHUNK:
            flush()
    flush()
    return result


def _split_repeated(people: Sequence[PersonRow]) -> list[list[PersonRow]]:
    """Lots to be saved one after the other: none has a person twice, and a person's rows keep their order."""
    lots: list[dict[str, PersonRow]] = []
    for person in people:
        lot = next((lot for lot in lots if person.email_key not in lot), None)
        if lot is None:
            lot = {}
            lots.append(lot)
        lot[person.email_key] = person
    return [list(lot.values()) for lot in lots]


def _parse_suppression(cells: Mapping[str, object], now: datetime, source: str) -> dict[str, Any]:
    given = {name: str(cells.get(name) or "").strip() for name in ("email", "reason", "at", "source")}
    try:
        for name in ("reason", "source"):
            if has_control_characters(given[name]):
                raise ValueError(f"the {name} {given[name][:80]!r} has control characters")
        at = datetime.fromisoformat(given["at"]) if given["at"] else now
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        return {
            "email": parse_address(given["email"]).key,
            "reason": given["reason"] or "imported",
            "at": at,
            "source": given["source"] or source,
        }
    except OverflowError:
        raise ImportRowError(f"the time {given['at']!r} is before or after all years") from None
    except ValueError as error:
        raise ImportRowError(str(error)) from None


def save_rows(
    conn: Connection,
    ledger_key: bytes,
    rows: Sequence[PersonRow],
    result: ImportResult,
    *,
    now: datetime,
    source: str,
) -> None:
    """Write rows of distinct people, as consented by `source`, and count them in `result`."""
    known = subscribers.find_subscribers(conn, [row.email_key for row in rows])
    hashes = {row.email_key: hash_address(ledger_key, row.email_key) for row in rows if row.email_key not in known}
    suppressed = subscribers.find_suppressed(conn, list(hashes.values()))
    topic_sets = subscribers.intern_topic_sets(conn, {";".join(row.topics) for row in rows})
    last_issue, last_due = subscribers.last_issue(conn)
    new: list[dict[str, Any]] = []
    changed: list[tuple[Row[Any], dict[str, Any]]] = []
    for row in rows:
        before = known.get(row.email_key)
        topics = ";".join(row.topics)
        if before is None and hashes[row.email_key] not in suppressed:
            person = write_person(
                row,
                address_hash=hashes[row.email_key],
                topic_set=topic_sets[topics],
                state=SubscriberState.ACTIVE,
                now=now,
                last_issue=last_issue,
            )
            new.append({**person, "topics": topics})
            continue
        changes = _find_changes(row, before, topic_sets[topics]) if before is not None else {}
        if before is None or not changes:
            result.unchanged += 1
            continue
        changes |= begin_window(changes, before, last_issue, last_due)
        changed.append((before, changes))
    consent = {"at": now, "source": source, "wording": "imported by the operator", "confirmed_at": now}
    subscribers.update_subscribers(conn, changed, now)
    agreed = {row.email_key: ";".join(row.topics) for row in rows}
    confirmed = {before.id: agreed[before.email_key] for before, changes in changed if "state" in changes}
    subscribers.insert_consents(conn, confirmed, consent)
    subscribers.insert_subscribers(conn, new, consent)
    result.updated += len(changed)
    result.added += len(new)


def _find_changes(row: PersonRow, before: Row[Any], topic_set: int) -> dict[str, Any]:
    """The columns that a row changes; none for someone who left or is suppressed."""
    if before.state == SubscriberState.UNSUBSCRIBED or before.at is not None:
        return {}
    changes = find_changes(row, before, topic_set)
    if before.state == SubscriberState.PENDING:
        changes["state"] = SubscriberState.ACTIVE
    return changes


def export_rows(people: Iterable[Row[Any]], *, as_csv: bool) -> Iterator[str]:
    """The lines of a list that import reads back without change."""
    if as_csv:
        yield _write_csv(COLUMNS)
    for person in people:
        shown = (person.email, person.name, person.topics, person.frequency, person.timezone, person.language)
        cells: dict[str, Any] = {name: value or "" for name, value in zip(COLUMNS, shown, strict=True)}
        if as_csv:
            yield _write_csv(cells.values())
        else:
            cells["topics"] = person.topics.split(";") if person.topics else []
            yield json.dumps(cells, ensure_ascii=False) + "\n"


def _write_csv(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
