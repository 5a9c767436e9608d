"""The command that checks a mail before it goes out: check."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_json

if TYPE_CHECKING:
    from newsletter.checks import Finding

app = typer.Typer()

COLOURS = {"error": typer.colors.RED, "warning": typer.colors.YELLOW, "info": typer.colors.BLUE}


@app.command("check")
def check(
    ctx: typer.Context,
    brief: Annotated[str, typer.Argument(metavar="BRIEF", help="Path or id of a brief, or `latest`.")],
    topics: Annotated[
        str, typer.Option("--topics", help="Check the mail for these topics, as in `a,b`; `*` is every story.")
    ] = "*",
    online: Annotated[bool, typer.Option("--online", help="Ask for every page that the mail links to, too.")] = False,
    as_json: Json = False,
) -> None:
    """Check the mail of a brief, and say how to mend what is found; exit 1 where there is an error."""
    from newsletter.checks import Severity, check_brief
    from newsletter.core.errors import NewsletterError

    with open_from(ctx) as service:
        found = check_brief(
            service.find_brief(brief),
            service.parse_topics(topics),
            catalogue=service.catalogue,
            make_typesetter=service.make_typesetter,
            signer=service.sample_signer,
            now=service.now(),
            online=online,
        )
    for finding in found:
        write_json(_describe(finding)) if as_json else _show(finding)
    if errors := [finding.code for finding in found if finding.severity is Severity.ERROR]:
        many = "1 error was" if len(errors) == 1 else f"{len(errors)} errors were"
        raise NewsletterError(f"{many} found: {', '.join(dict.fromkeys(errors))}")


def _describe(finding: "Finding") -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "place": finding.place,
        "message": finding.message,
    }


def _show(finding: "Finding") -> None:
    severity = typer.style(f"{finding.severity:<7}", fg=COLOURS[finding.severity])
    typer.echo(f"{severity}  {finding.place}: {finding.message} [{finding.code}]")
