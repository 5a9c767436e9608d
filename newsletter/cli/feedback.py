"""`newsletter bounce`: what came back, read from files or standard input, also as the pipe of a mail server."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_json
from newsletter.core.errors import ConfigError

app = typer.Typer()

_MBOX = re.compile(rb"(?:(?<=\n\n)|(?<=\r\n\r\n))From \S+ +\w{3} \w{3} +\d{1,2} \d\d:\d\d")
MOST_FILE_OCTETS = 50_000_000


@app.command()
def bounce(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...|-", help="Messages as they came, or an mbox; `-`, or none, reads one."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Vouch for reports that carry no token of ours: they count by the address.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read bounce and complaint messages and apply them: dead addresses are suppressed, complaints unsubscribe."""
    from newsletter.feedback import Feedback, Trust

    unread: list[str] = []
    with open_from(ctx) as service:
        feedback = Feedback(database=service.database, signer=service.signer)
        for name, octets in _split_all(_read_all(files or ["-"], unread)):
            taken = feedback.take_message(
                octets,
                source=f"bounce {name}",
                now=service.now(),
                trust=Trust.EVERYBODY if trust else Trust.NOBODY,
                dry_run=dry_run,
            )
            for one in taken:
                told = one.describe()
                if as_json:
                    write_json(told)
                    continue
                why = f" ({told['note']})" if told["note"] else ""
                said = " ".join(str(part) for part in (told["status"], told["reason"]) if part)
                typer.echo(f"{name}: {told['kind']} {told['email'] or 'nobody'} {said}: {told['action']}{why}")
    if unread:
        raise ConfigError("; ".join(unread))


def _split_all(read: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The messages of each file, also where it is an mbox (RFC 4155)."""
    for name, octets in read:
        begins = [found.start() for found in _MBOX.finditer(octets)] if octets.startswith(b"From ") else []
        for start, end in zip([0, *begins], [*begins, len(octets)], strict=True):
            yield name, octets[start:end]


def _read_all(names: Sequence[str], unread: list[str]) -> Iterator[tuple[str, bytes]]:
    """What can be read; the others stop nothing, and are told in `unread`."""
    for name in names:
        if name == "-":
            yield "standard input", sys.stdin.buffer.read(MOST_FILE_OCTETS)
            continue
        try:
            with Path(name).open("rb") as file:
                yield name, file.read(MOST_FILE_OCTETS)
        except OSError as error:
            unread.append(f"{name}: cannot read the message: {error.strerror}")
