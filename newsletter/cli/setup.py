"""Commands that set up: init, demo, db."""

import shutil
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.books import write_audit
from newsletter.cli.context import open_from
from newsletter.cli.delivery import run_delivery
from newsletter.cli.output import Json, say, write_json, write_rows
from newsletter.core.errors import ConfigError

if TYPE_CHECKING:
    from newsletter.demo import DemoResult


app = typer.Typer()
db_app = typer.Typer(help="The database.", no_args_is_help=True)


@app.command()
def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The working folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a working folder: .env with a fresh secret, briefs/, subscribers/, templates/; never overwrites."""
    from newsletter.sources.workfolder import write_working_folder

    with open_from(ctx):  # a wrong setting stops every command, this one too
        told = write_working_folder(folder)
    if as_json:
        write_json(told)
        return
    for path in told["created"]:
        typer.echo(f"created {path}")
    for path in told["kept"]:
        typer.echo(f"kept {path}")
    say(f"next: set NEWSLETTER_FROM in {folder / '.env'}, then `newsletter subscribers import`, `newsletter send`")


@app.command()
def demo(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Option("--dir", help="Where the demo's files go.")] = Path("demo"),
    serve: Annotated[bool, typer.Option("--serve", help="Keep the pages of the mails up, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """The whole main job on embedded parts: sample briefs and subscribers, and an SMTP server of its own."""
    from newsletter.demo import run_demo, serve_pages

    with open_from(ctx):  # as in init
        result = run_demo(folder, lambda service, issue: run_delivery(service, issue=issue, quiet=as_json))
    if as_json:
        write_json({"issue": result.published.issue, "audit": asdict(result.audit), "dir": str(result.folder)})
    else:
        _show_demo(result)
    if serve:
        with serve_pages(result.folder) as server, suppress(KeyboardInterrupt):
            say(f"serving http://127.0.0.1:{server.server_port}/ until Ctrl-C")
            server.serve_forever()


def _show_demo(result: "DemoResult") -> None:
    """Who got what and why, the audit, and how to look further."""
    for row in result.imported.rejected:
        typer.echo(f"not imported: line {row.line}: {row.reason}")
    rows = [
        {
            "email": told["email"],
            "topics": told["topics"],
            "state": told["state"],
            "stories": len(told["stories"]),
            "why": told["reason"] or _count_topics(told),
        }
        for told in result.told
    ]
    write_rows(rows, as_json=False, columns=("email", "topics", "state", "stories", "why"))
    typer.echo()
    write_audit(result.audit)
    folder = result.folder
    typer.echo(f"\nThe mails, as the SMTP server got them: {folder / 'mails'}/*.eml")
    typer.echo(f"In a browser: {(folder / 'pages' / 'index.html').as_uri()} (or newsletter demo --serve)")
    command = "newsletter" if shutil.which("newsletter") else Path(sys.executable).with_name("newsletter")
    typer.echo(f"Look further: cd {folder}, then {command} log, audit --names, explain --email ada@example.org")


def _count_topics(told: dict[str, Any]) -> str:
    """Which of the chosen topics the stories have, each with their number."""
    counts = Counter(topic for story in told["stories"] for topic in story["topics"] if topic in told["topics"])
    return ", ".join(f"{topic} {count}" for topic, count in counts.most_common()) or "every story"


@db_app.command("upgrade")
def upgrade(ctx: typer.Context, as_json: Json = False) -> None:
    """Apply migrations; commands apply them by themselves too."""
    from newsletter.store.database import HEAD

    with open_from(ctx) as service:
        name = service.database.name
    told = {"database": name, "version": HEAD}
    write_json(told) if as_json else typer.echo(f"{name}: version {HEAD}")


@db_app.command("backup")
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; must not exist.")],
    as_json: Json = False,
) -> None:
    """A consistent copy of the database while it is in use."""
    with open_from(ctx) as service:
        service.database.back_up(file)
    told = {"backup": str(file), "bytes": file.stat().st_size}
    write_json(told) if as_json else typer.echo(f"{file}: {told['bytes']} bytes")


@db_app.command("copy")
def copy(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The empty PostgreSQL database: postgresql://…")],
    as_json: Json = False,
) -> None:
    """Copy everything from SQLite into an empty PostgreSQL database, and compare it row by row."""
    from contextlib import closing

    from newsletter.move import copy_database
    from newsletter.settings.values import mask_credentials, parse_database_url
    from newsletter.store.database import open_database

    began = time.monotonic()
    try:
        address = parse_database_url(to)
    except ValueError as error:
        raise ConfigError(f"--to {error}") from None
    with open_from(ctx) as service, closing(open_database(address)) as target:
        rules = service.make_rules()
        most = len(rules.retry_delays) + 1
        counts = copy_database(service.database, target, service.now(), hold=rules.hold, most_attempts=most)
        told = {"to": target.name, "rows": sum(counts.values()), "tables": counts}
    told["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        write_json(told)
        return
    typer.echo(f"{told['rows']} rows of {len(counts)} tables were copied and compared, in {told['seconds']} s")
    say(f"next: set NEWSLETTER_DATABASE_URL to {mask_credentials(address)}; the SQLite file is left as it is")
