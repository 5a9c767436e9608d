"""The rows of a list of people, one at a time: CSV with a header, or JSON Lines.

A row that cannot be read is a value with its reason, and the rows after it are read all the same. Knows nothing of
what the columns mean; only `email` must be one.
"""

import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from newsletter.core.errors import ConfigError, ImportRowError

JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
EMAIL_CHARACTERS = 254
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What an undecodable byte becomes on reading (PEP 383)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRow:
    """A row by the names of its columns, or why it is none; `line` to `end` count from 1, the header included."""

    line: int
    end: int
    cells: Mapping[str, object]
    problem: str = ""

    def demand_cells(self) -> Mapping[str, object]:
        """The cells; ImportRowError where the row could not be read."""
        if self.problem:
            raise ImportRowError(self.problem)
        for column, cell in self.cells.items():
            if isinstance(cell, str) and not cell.isascii() and (wrong := _NOT_UTF8.search(cell)):
                raise ImportRowError(f"the {column} holds the byte {ord(wrong[0]) - 0xDC00:#04x}, which is not UTF-8")
        return self.cells

    @property
    def email(self) -> str:
        """What stands for the address, such as it is, fit to be shown."""
        return str(self.cells.get("email") or "").encode(errors="backslashreplace").decode()[:EMAIL_CHARACTERS]

    def explain(self, error: Exception) -> str:
        """The error in words, with the end of a row of several lines: a quote may have been left open."""
        return str(error) if self.end == self.line else f"{error} (the row ends in line {self.end})"


def read_rows(path: Path) -> Iterator[ListRow]:
    """All rows of a UTF-8 file (BOM allowed), by its suffix; an octet that is no UTF-8 is a lone surrogate.

    Raises ConfigError where the file or the header of a CSV cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _read_json_lines(file) if path.suffix.lower() in JSON_LINES else _read_csv(file, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the list: {error.strerror}") from error


def _read_json_lines(lines: Iterable[str]) -> Iterator[ListRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield ListRow(line=number, end=number, cells={}, problem="the line is not JSON")
            continue
        known = isinstance(value, dict)
        problem = "" if known else "the line is not a JSON object"
        yield ListRow(line=number, end=number, cells=value if known else {}, problem=problem)


def _read_csv(file: Iterable[str], path: Path) -> Iterator[ListRow]:
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ConfigError(f"{path}:1: the header cannot be read: {error}") from error
    named = [name for name in header if name]
    if "email" not in named or len(set(named)) < len(named):
        raise ConfigError(f"{path}:1: the header {','.join(header)[:200]!r} must name email, and no column twice")
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            lines.end_row_early()
            yield ListRow(line=line, end=line, cells={}, problem=f"the row cannot be read: {error}")
            continue
        if cells is None:
            return
        if cells:
            named_cells = dict(zip(header, cells, strict=False))
            many = f"the row has {len(cells)} cells, the header {len(header)}" if len(cells) > len(header) else ""
            yield ListRow(line=line, end=lines.number, cells=named_cells, problem=many)


class _Lines(Iterator[str]):
    """The lines of a file, counted. A quote left open swallows the rows after it: they can be read once more."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self.number = 0

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._row.append(line)
        self.number += 1
        return line

    def begin_row(self) -> int:
        """Forget the lines of the last row; returns the number of the next line."""
        self._row.clear()
        return self.number + 1

    def end_row_early(self) -> None:
        """Let the row have been its first line alone."""
        rest = self._row[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
