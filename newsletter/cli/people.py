"""Commands about persons: subscribers and suppressions."""

import csv
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, ProgressLine, write_json, write_rows
from newsletter.core.address import has_control_characters
from newsletter.core.errors import ConfigError

if TYPE_CHECKING:
    from newsletter.transfer import ImportResult

app = typer.Typer(help="The people who read.", no_args_is_help=True)
suppressions_app = typer.Typer(help="The addresses that get no mail, and why.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Address of a subscriber.")]
ListFile = Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, or JSON Lines.")]


class ListFormat(StrEnum):
    """The formats of a list."""

    CSV = "csv"
    JSONL = "jsonl"


@app.command("import")
def import_subscribers(
    ctx: typer.Context,
    file: ListFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, keep nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take in a list: good rows go in, bad rows are named, none is lost silently."""
    from newsletter.transfer import ImportResult, import_file

    line = ProgressLine("rows", quiet=as_json, clock=time.monotonic)

    def observe(result: ImportResult) -> None:
        done = result.taken + len(result.rejected)
        line.update(done, done, "rows")

    with open_from(ctx) as service:
        try:
            result = import_file(
                service.database,
                file,
                topics=service.known_topics(),
                languages=service.languages,
                now=service.now(),
                dry_run=dry_run,
                observe=observe,
            )
        finally:
            line.close()
    if as_json:
        write_json(asdict(result))
        return
    counts = f"{result.added} added, {result.updated} updated, {result.unchanged} unchanged"
    typer.echo(f"{counts}, {len(result.rejected)} rejected{' (dry run: nothing was kept)' if dry_run else ''}")
    _echo_rejected(file, result)


def _echo_rejected(file: Path, result: "ImportResult") -> None:
    for row in result.rejected:
        typer.echo(f"{file}:{row.line}: {row.reason}")


@app.command("export")
def export_subscribers(
    ctx: typer.Context,
    format_: Annotated[ListFormat, typer.Option("--format", help="CSV or JSON Lines.")] = ListFormat.CSV,
) -> None:
    """The active subscribers who may get mail, readable back by import without change."""
    from newsletter.core.model import SubscriberState
    from newsletter.store import subscribers
    from newsletter.transfer import export_rows

    with open_from(ctx) as service, service.database.read() as conn:
        people = (p for p in subscribers.list_subscribers(conn, state=SubscriberState.ACTIVE) if p.at is None)
        for text in export_rows(people, as_csv=format_ is ListFormat.CSV):
            typer.echo(text, nl=False)


@app.command("add")
def add_subscriber(
    ctx: typer.Context,
    email: Email,
    topics: Annotated[str | None, typer.Option("--topics", help="Topic ids, as in `a,b`; `*` is every story.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name, as mails are addressed to it.")] = None,
    frequency: Annotated[str | None, typer.Option("--frequency", help="each, daily, weekly[:day] or monthly.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="IANA zone, such as Europe/Berlin.")] = None,
    language: Annotated[str | None, typer.Option("--language", help="Language of the mail around the stories.")] = None,
    as_json: Json = False,
) -> None:
    """Add one person as active, or change what they chose."""
    from newsletter.core.preferences import parse_row
    from newsletter.report import describe_subscriber
    from newsletter.store import subscribers
    from newsletter.transfer import add_person

    cells: dict[str, str | None] = {
        "email": email,
        "topics": topics.replace(",", ";") if topics is not None else None,
        "name": name,
        "frequency": frequency,
        "timezone": timezone,
        "language": language,
    }
    given = {column: cell for column, cell in cells.items() if cell is not None}
    with open_from(ctx) as service:
        row = parse_row(given, topics=service.catalogue, languages=service.languages)
        result = add_person(service.database, row, now=service.now(), source="command line")
        with service.database.read() as conn:
            told = describe_subscriber(conn, subscribers.find_subscriber(conn, row.email_key))
    outcome = "added" if result.added else "updated" if result.updated else "unchanged"
    write_json(told) if as_json else typer.echo(f"{row.email}: {outcome}")


@app.command("list")
def list_subscribers(ctx: typer.Context, as_json: Json = False) -> None:
    """Everyone, in the order of sign-up."""
    from newsletter.report import describe_subscribers
    from newsletter.store import subscribers

    with open_from(ctx) as service, service.database.read() as conn:
        rows = (told for page in subscribers.list_pages(conn) for told in describe_subscribers(conn, page))
        columns = ("email", "name", "state", "topics", "frequency", "timezone", "language")
        write_rows(rows, as_json=as_json, columns=columns, empty="there is no subscriber yet")


@app.command("show")
def show_subscriber(ctx: typer.Context, email: Email, as_json: Json = False) -> None:
    """Everything held on a person."""
    from newsletter.report import describe_subscriber

    with open_from(ctx) as service:
        person = service.find_person(email)
        with service.database.read() as conn:
            told = describe_subscriber(conn, person)
    if as_json:
        write_json(told)
        return
    for name, value in told.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"{name}:")
            for entry in value:
                typer.echo("  " + ", ".join(f"{key} {cell}" for key, cell in entry.items() if cell not in (None, "")))
        else:
            typer.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


@app.command("remove")
def remove_subscriber(ctx: typer.Context, email: Email, as_json: Json = False) -> None:
    """Unsubscribe a person."""
    from newsletter.report import describe_subscriber
    from newsletter.subscribe import remove_subscriber as remove

    with open_from(ctx) as service:
        remove(service.database, service.find_person(email).email_key, now=service.now(), channel="operator")
        person = service.find_person(email)
        with service.database.read() as conn:
            told = describe_subscriber(conn, person)
    write_json(told) if as_json else typer.echo(f"{person.email}: unsubscribed")


@app.command("forget")
def forget_subscriber(ctx: typer.Context, email: Email, as_json: Json = False) -> None:
    """Erase a person; nameless rows stay, so that past books still close."""
    from newsletter.subscribe import forget_subscriber as forget

    with open_from(ctx) as service:
        person = service.find_person(email)
        forget(service.database, person.email_key, now=service.now())
    write_json({"email": person.email, "forgotten": True}) if as_json else typer.echo(f"{person.email}: forgotten")


@suppressions_app.command("list")
def list_suppressions(ctx: typer.Context, as_json: Json = False) -> None:
    """The list, oldest first; of a forgotten person only the fact is left."""
    from newsletter.store import subscribers

    with open_from(ctx) as service, service.database.read() as conn:
        rows = (
            {"email": row.email, "reason": row.reason, "at": row.at, "source": row.source}
            for row in subscribers.list_suppressions(conn)
        )
        columns = ("email", "reason", "at", "source")
        write_rows(rows, as_json=as_json, columns=columns, empty="no address is suppressed")


@suppressions_app.command("add")
def add_suppression(
    ctx: typer.Context,
    email: Email,
    reason: Annotated[str, typer.Option("--reason", help="Why this address gets no mail.")] = "by the operator",
    as_json: Json = False,
) -> None:
    """Send no more mail to an address, whoever has it."""
    from newsletter.subscribe import suppress_address

    with open_from(ctx) as service:
        address = service.parse_address(email)
        if has_control_characters(reason):
            raise ConfigError(f"the reason {reason[:80]!r} has control characters")
        suppress_address(service.database, address.key, reason=reason, now=service.now(), source="command line")
    _tell(as_json, {"email": address.email, "suppressed": True})


@suppressions_app.command("remove")
def remove_suppression(ctx: typer.Context, email: Email, as_json: Json = False) -> None:
    """Take an address off the list."""
    from newsletter.subscribe import lift_suppression

    with open_from(ctx) as service:
        address = service.parse_address(email)
        lift_suppression(service.database, address.key)
    _tell(as_json, {"email": address.email, "suppressed": False})


@suppressions_app.command("import")
def import_suppressions(ctx: typer.Context, file: ListFile, as_json: Json = False) -> None:
    """Take in a list with the column email, and reason, at and source where it has them."""
    from newsletter.transfer import import_suppressions as take_in

    with open_from(ctx) as service:
        result = take_in(service.database, file, now=service.now())
    if as_json:
        told = asdict(result)
        write_json({name: told[name] for name in ("added", "unchanged", "rejected")})
        return
    typer.echo(f"{result.added} added, {result.unchanged} unchanged, {len(result.rejected)} rejected")
    _echo_rejected(file, result)


@suppressions_app.command("export")
def export_suppressions(ctx: typer.Context) -> None:
    """The list as CSV, readable back by import; the forgotten, of whom no address is kept, are left out."""
    import sys

    from newsletter.store import subscribers

    writer = csv.writer(sys.stdout, lineterminator="\n")
    with open_from(ctx) as service, service.database.read() as conn:
        writer.writerow(("email", "reason", "at", "source"))
        for row in subscribers.list_suppressions(conn):
            if row.email is not None:
                writer.writerow((row.email, row.reason, row.at.isoformat(), row.source))


def _tell(as_json: bool, told: dict[str, Any]) -> None:
    write_json(told) if as_json else typer.echo(", ".join(f"{name} {value}" for name, value in told.items()))
