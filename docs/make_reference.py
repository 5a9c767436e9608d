"""Writes into docs/reference.md what can be made from the code: each command's options, the settings, the codes.

The parts stand between `<!-- made: … -->` and `<!-- end -->`; all other text is written by hand and stays. A test
demands that the page is as this program would leave it. Run: .venv/bin/python docs/make_reference.py
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from newsletter.cli import app
from newsletter.core.checks.findings import CODES
from newsletter.settings import describe_settings

PAGE = Path(__file__).parent / "reference.md"
PART = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def walk_commands() -> Iterator[tuple[str, Any]]:
    """Each command by its full name without `newsletter`, in the order of --help; the program itself as ''."""
    yield "", typer.main.get_command(app)
    yield from _walk(typer.main.get_command(app), ())


def _walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _walk(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def write_command(name: str, command: Any) -> str:
    """What a command does, its usage, and a table of its arguments and options (`--json` is the same everywhere)."""
    full_name = f"newsletter {name}".strip()
    context = command.make_context(full_name, [], resilient_parsing=True)
    usage, rows = [full_name], []
    for parameter in command.params:
        shown, meaning = parameter.get_help_record(context)
        if parameter.param_type_name == "argument":
            shown = parameter.metavar
        usage.append(shown if parameter.required or shown.startswith("[") else f"[{shown}]")
        if shown != "--json":
            rows.append((f"`{shown}`", re.sub(r" *\[required]", "", meaning).replace("  ", " ")))
    text = f"{command.help}\n\n```\n{' '.join(usage)}\n```\n"
    return f"{text}\n{write_table(('argument or option', 'meaning'), rows)}" if rows else text


def write_settings() -> str:
    """The table of all settings, without their common prefix."""
    rows = [
        (f"`{row.name.removeprefix('NEWSLETTER_')}`", f"`{row.default}`" if row.default else "–", row.meaning)
        for row in describe_settings()
    ]
    return write_table(("setting", "default", "meaning"), rows)


def write_codes() -> str:
    """The table of the codes of `newsletter check`."""
    rows = [(f"`{code}`", row.severity, row.meaning) for code, row in CODES.items()]
    return write_table(("code", "severity", "what was found"), rows)


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; outside code, `<` must not begin a tag."""
    lines = [head, ["---"] * len(head), *([_escape(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escape(cell: str) -> str:
    return (cell if cell.startswith("`") else cell.replace("<", r"\<")).replace("|", r"\|")


def make_page(text: str) -> str:
    """The page with its made parts as the code is now; KeyError for a part of a command that does not exist."""
    parts = {f"newsletter {name}".strip(): write_command(name, command) for name, command in walk_commands()}
    parts["settings"] = write_settings()
    parts["codes"] = write_codes()
    return PART.sub(lambda found: found[1] + parts[found[2]] + found[3], text)


if __name__ == "__main__":
    PAGE.write_text(make_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
