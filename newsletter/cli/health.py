"""Commands that say how the service does: status."""

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_cell, write_json

app = typer.Typer()


@app.command()
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """What runs, what is owed, the last issue, and how relays and domains do."""
    from newsletter.report import describe_status

    with open_from(ctx) as service:
        told = describe_status(service.database, service.make_relays(), now=service.now())
    if as_json:
        write_json(told)
        return
    doing = "delivering" if told["running"] else "paused" if told["paused"] else "at rest"
    typer.echo(f"{doing}; {told['owed']} deliveries are owed now")
    if issue := told["last_issue"]:
        typer.echo(f"last issue {issue['issue']} of {issue['date']}: {issue['title']} ({issue['state']})")
    for relay in told["relays"]:
        rate = f", {relay['rate']:g} mails/s" if relay["rate"] else ""
        limits = f"weight {relay['weight']}, {relay['connections']} connections{rate}"
        typer.echo(f"relay {relay['name']} ({limits}): {_name_health(relay)}")
    for domain in told["domains"]:
        typer.echo(f"domain {domain['name']}: {_name_health(domain)}")


def _name_health(told: dict[str, object]) -> str:
    if told["state"] == "healthy":
        return "healthy"
    until = f" until {write_cell(told['until_at'])}" if told["until_at"] else ""
    return f"{told['state']}, step {told['step']}{until}: {told['reason']}"
