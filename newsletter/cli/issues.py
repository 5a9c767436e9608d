"""Commands about an issue's life: list, show, pause, resume, cancel, settle, retry."""

from typing import Annotated, Any

import typer

from newsletter.cli.books import write_audit
from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_json, write_rows

app = typer.Typer(help="An issue's life.", no_args_is_help=True)

IssueNumber = Annotated[int, typer.Argument(metavar="N", help="Number of the issue.")]


@app.command("list")
def list_issues(ctx: typer.Context, as_json: Json = False) -> None:
    """All issues, newest first."""
    from newsletter.report import describe_issue
    from newsletter.store import issues

    with open_from(ctx) as service, service.database.read() as conn:
        rows = [describe_issue(conn, row) for row in issues.list_issues(conn)]
    write_rows(rows, as_json=as_json, columns=("issue", "date", "title", "state", "reason", "selected", "accepted"))


@app.command("show")
def show_issue(ctx: typer.Context, number: IssueNumber, as_json: Json = False) -> None:
    """An issue: its stories, its editions, its books, and what waits for a decision."""
    from newsletter.publish import audit as audit_issue
    from newsletter.report import describe_issue_fully

    with open_from(ctx) as service, service.database.read() as conn:
        told = describe_issue_fully(conn, number)
        books = audit_issue(service.database, number)
    if as_json:
        write_json(told)
        return
    typer.echo(f"issue {told['issue']} of {told['date']}: {told['title']} ({told['state']})")
    for story in told["stories"]:
        typer.echo(f"  {story['title']}  [{', '.join(story['topics'])}]")
    write_audit(books)
    for held in told["uncertain"]:
        typer.echo(f"uncertain: {held['delivery']} {held['email']} (issues settle {number} --as sent|resend)")


def _change_issue(ctx: typer.Context, number: int, verb: str, as_json: bool, **more: Any) -> None:
    from newsletter import control

    with open_from(ctx) as service:
        told = getattr(control, verb)(service.database, number, now=service.now(), **more)
    write_json(told) if as_json else typer.echo(", ".join(f"{name} {value}" for name, value in told.items()))


@app.command("pause")
def pause_issue(ctx: typer.Context, number: IssueNumber, as_json: Json = False) -> None:
    """Pause an issue."""
    _change_issue(ctx, number, "pause_issue", as_json)


@app.command("resume")
def resume_issue(ctx: typer.Context, number: IssueNumber, as_json: Json = False) -> None:
    """Let a paused issue go on."""
    _change_issue(ctx, number, "resume_issue", as_json)


@app.command("cancel")
def cancel_issue(ctx: typer.Context, number: IssueNumber, as_json: Json = False) -> None:
    """Cancel what an issue still owes."""
    _change_issue(ctx, number, "cancel_issue", as_json)


@app.command("settle")
def settle_issue(
    ctx: typer.Context,
    number: IssueNumber,
    decision: Annotated[str, typer.Option("--as", metavar="sent|resend", help="What to take them for.")],
    email: Annotated[str | None, typer.Option("--email", help="This subscriber's delivery alone.")] = None,
    as_json: Json = False,
) -> None:
    """Decide on uncertain deliveries that are held."""
    if decision not in ("sent", "resend"):
        raise typer.BadParameter(f"--as {decision!r} is neither `sent` nor `resend`")
    with open_from(ctx) as service:
        subscriber = service.find_person(email).id if email else None
        after = service.settings.expire_after
    _change_issue(
        ctx, number, "settle_issue", as_json, resend=decision == "resend", subscriber_id=subscriber, expire_after=after
    )


@app.command("retry")
def retry_issue(
    ctx: typer.Context,
    number: IssueNumber,
    email: Annotated[str | None, typer.Option("--email", help="This subscriber's delivery alone.")] = None,
    as_json: Json = False,
) -> None:
    """Put rejected deliveries back into the queue, due now."""
    with open_from(ctx) as service:
        subscriber = service.find_person(email).id if email else None
        after = service.settings.expire_after
    _change_issue(ctx, number, "retry_issue", as_json, subscriber_id=subscriber, expire_after=after)
