"""How commands speak: data to stdout (`--json`: one object, or JSON Lines), talk to stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer

PLAIN_LINE_SECONDS = 5.0
BAR_SECONDS = 0.1
TABLE_ROWS = 1_000
"""After so many rows a table begins anew, so that a long list takes no more memory than a short one."""
PIPE_COLUMNS = 250
"""How wide a table is where there is no terminal, so that a line of a log stays a line."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, or JSON Lines, and nothing else.")]


def write_json(value: Any) -> None:
    """One JSON value on a line of its own; times are ISO 8601 in UTC."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=_write_value))


def _write_value(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def write_rows(rows: Iterable[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str], empty: str = "") -> None:
    """A list: JSON Lines of the whole rows, or a table of some columns."""
    if as_json:
        for row in rows:
            write_json(row)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    source = iter(rows)
    page = list(islice(source, TABLE_ROWS))
    if not page and empty:
        say(empty)
    while page:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in page:
            table.add_row(*(Text(write_cell(row.get(column))) for column in columns))
        console.print(table)
        page = list(islice(source, TABLE_ROWS))


def write_cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(write_cell, value))
    return str(value)


def say(text: str) -> None:
    """A line of talk, to stderr."""
    typer.echo(text, err=True)


def write_bytes(data: bytes) -> None:
    """Exactly these bytes to stdout."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class ProgressLine:
    """How far a run is: a bar with rate and time left on a terminal, else a plain line every 5 s, none with --json."""

    def __init__(self, unit: str, *, quiet: bool, clock: Callable[[], float]) -> None:
        self._unit = unit
        self._clock = clock
        self._quiet = quiet
        self._started = self._last = clock()
        self._on_terminal = sys.stderr.isatty()
        self._pause = BAR_SECONDS if self._on_terminal else PLAIN_LINE_SECONDS
        self._bar: Any = None
        self._task: Any = None

    def is_due(self) -> bool:
        """Whether it is time for another line, or for another state of the bar."""
        return not self._quiet and self._clock() - self._last >= self._pause

    def update(self, done: int, total: int, detail: str) -> None:
        """Show that `done` of `total` are done; a line, only if it is time for another."""
        if self._quiet or not (self._on_terminal or self.is_due()):
            return
        self._last = self._clock()
        if self._on_terminal:
            self._draw(done, total, detail)
        else:
            rate = done / max(self._last - self._started, 0.001)
            say(f"{done} of {total} done, {rate:.0f} {self._unit}/s; {detail}")

    def _draw(self, done: int, total: int, detail: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(detail, total=total)
            self._bar.start()
        rate = done / max(self._clock() - self._started, 0.001)
        self._bar.update(
            self._task, completed=done, total=max(total, done), description=f"{rate:.0f} {self._unit}/s; {detail}"
        )

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
