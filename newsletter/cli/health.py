"""Commands that say how the service does: status, doctor."""

from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.books import write_counts
from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_cell, write_json
from newsletter.core.bounces.report import Kind

if TYPE_CHECKING:
    from newsletter.doctor import Finding

app = typer.Typer()

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


@app.command()
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """What runs, what is owed, the next run, the last issue, alarms, and how relays and domains do."""
    from newsletter.report.status import describe_status

    with open_from(ctx) as service:
        told = describe_status(
            service.database,
            relays=service.make_relays(),
            limits=service.make_limits(),
            timetable=service.timetable,
            now=service.now(),
        )
    if as_json:
        write_json(told)
    else:
        _show_status(told)


def _show_status(told: dict[str, Any]) -> None:
    doing = "delivering" if told["running"] else "paused" if told["paused"] else "at rest"
    later = f", {told['deferred']} later, the first at {write_cell(told['next_due_at'])}" if told["deferred"] else ""
    typer.echo(f"{doing}; {told['owed']} deliveries are owed now{later}")
    for worker in told["workers"]:
        typer.echo(f"worker {worker['host']} (process {worker['pid']}) since {write_cell(worker['since'])}")
    if told["next_run"]:
        typer.echo(f"the next issue goes out at {write_cell(told['next_run'])}")
    back = told["came_back"]
    if kinds := [f"{back[kind]} {kind}" for kind in Kind if back.get(kind)]:
        typer.echo(f"came back in {back['days']} days: {', '.join(kinds)}")
        typer.echo("  " + ", ".join(f"{reason} {count}" for reason, count in back["reasons"].items()))
    for alarm in told["alarms"]:
        typer.echo(
            f"{typer.style('alarm', fg=typer.colors.RED)} since {write_cell(alarm['since'])}: {alarm['message']}"
        )
    if issue := told["last_issue"]:
        reason = f": {issue['reason']}" if issue["reason"] else ""
        typer.echo(f"last issue {issue['issue']} of {issue['date']}: {issue['title']} ({issue['state']}{reason})")
        write_counts(issue)
    for relay in told["relays"]:
        typer.echo(f"relay {relay['name']} (weight {relay['weight']}, {_tell_limits(relay)}): {_tell_health(relay)}")
    for domain in told["domains"]:
        if domain["state"] != "healthy":
            typer.echo(f"domain {domain['name']} ({_tell_limits(domain)}): {_tell_health(domain)}")
    limited = [f"{d['name']} {_tell_limits(d)}" for d in told["domains"] if d["state"] == "healthy"]
    if limited:
        typer.echo(f"limited: {'; '.join(limited)}")


def _tell_limits(told: dict[str, Any]) -> str:
    parts = [f"{told['connections']} connections"] if told["connections"] else []
    parts += [f"{told['rate']:g} mails/s"] if told["rate"] else []
    return ", ".join(parts) or "no limits"


def _tell_health(told: dict[str, Any]) -> str:
    if told["state"] == "healthy":
        return "healthy"
    until = f" until {write_cell(told['until_at'])}" if told["until_at"] else ""
    return f"{told['state']}, step {told['step']}{until}: {told['reason']}"


@app.command()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check settings, database, templates, relays, keys and DNS, and say how to mend each; exit 1 where one fails."""
    from dataclasses import asdict

    from newsletter.core.errors import NewsletterError
    from newsletter.doctor import examine

    failed = []
    with open_from(ctx) as service:
        for finding in examine(service):
            write_json(asdict(finding)) if as_json else _show_finding(finding)
            if finding.state == "fail":
                failed.append(finding.check)
    if failed:
        raise NewsletterError(f"{len(failed)} of the checks failed: {', '.join(dict.fromkeys(failed))}")


def _show_finding(finding: "Finding") -> None:
    about = f"{finding.about}: " if finding.about else ""
    remedy = f". {finding.remedy}" if finding.remedy else ""
    text = "".join(c if c.isprintable() else " " for c in f"{finding.check}: {about}{finding.found}{remedy}")
    typer.echo(f"{typer.style(f'{finding.state:<4}', fg=COLOURS[finding.state])}  {text}")
