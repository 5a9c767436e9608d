"""Commands that prove what happened: audit, log, explain, mail."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, write_bytes, write_json, write_rows
from newsletter.core.errors import NewsletterError

if TYPE_CHECKING:
    from newsletter.store.ledger import Audit

app = typer.Typer()

_SECONDS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", *(f"{s}{more}" for s in _SECONDS for more in ("", ".%f", "%z", ".%f%z"))]
"""ISO 8601 as people write it, and as the log itself does."""

IssueOption = Annotated[int | None, typer.Option("--issue", help="Number of the issue.")]
Email = Annotated[str, typer.Option("--email", help="Address of a subscriber.")]


def write_audit(books: "Audit") -> None:
    """The books of an issue for people."""
    write_counts(asdict(books))


def write_counts(books: Mapping[str, Any]) -> None:
    """The same of books that are JSON-ready values already."""
    parts = [f"{name} {books[name]}" for name in ("accepted", "rejected", "queued", "deferred")]
    parts += [f"{name} {books[name]}" for name in ("sending", "uncertain") if books[name]]
    parts += [f"{reason.replace('_', ' ')} {count}" for reason, count in sorted(books["excluded"].items())]
    verdict = "the books close" if books["balanced"] else "THE BOOKS DO NOT CLOSE"
    typer.echo(f"selected {books['selected']} = {' + '.join(parts)}; {verdict}")


@app.command()
def audit(
    ctx: typer.Context,
    issue: Annotated[str, typer.Argument(metavar="[N|latest]")] = "latest",
    names: Annotated[bool, typer.Option("--names", help="List everyone.")] = False,
    as_json: Json = False,
) -> None:
    """Close the books of an issue; exit 1 if they do not balance."""
    from newsletter.core.model import name_delivery
    from newsletter.publish import audit as audit_issue
    from newsletter.store import ledger

    if issue != "latest" and not issue.isdecimal():
        raise typer.BadParameter(f"{issue!r} is neither the number of an issue nor `latest`")
    with open_from(ctx) as service:
        books = audit_issue(service.database, None if issue == "latest" else int(issue))
        with service.database.read() as conn:
            rows = list(ledger.list_names(conn, books.issue or 0)) if names else []
    people = [
        {
            "email": r.email,
            "delivery": name_delivery((r.issue_id, r.subscriber_id)),
            "state": r.state,
            "reason": r.reason,
        }
        for r in rows
    ]
    if as_json:
        write_json({**asdict(books), **({"names": people} if names else {})})
    else:
        write_audit(books)
        if names:
            write_rows(people, as_json=False, columns=("delivery", "email", "state", "reason"))
    if not books.balanced:
        raise NewsletterError(f"the books of issue {books.issue} do not balance")


@app.command()
def log(
    ctx: typer.Context,
    issue: IssueOption = None,
    email: Annotated[str | None, typer.Option("--email", help="Address of a subscriber.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="State that the delivery is in now.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", formats=TIME_FORMATS, help="Attempts at or after this time (UTC).")
    ] = None,
    as_json: Json = False,
) -> None:
    """The delivery log: one line an attempt."""
    from newsletter.core.model import DeliveryState
    from newsletter.report import describe_attempts
    from newsletter.store import issues

    states = [*DeliveryState, "deferred"]
    if state is not None and state not in states:
        raise typer.BadParameter(f"--state {state!r} is none of {', '.join(states)}")
    with open_from(ctx) as service:
        person = service.find_person(email) if email else None
        if issue is not None:
            with service.database.read() as conn:
                issues.find_issue(conn, issue)
        rows = describe_attempts(
            service.database,
            issue_id=issue,
            subscriber_id=person.id if person else None,
            state=state,
            since=since.replace(tzinfo=UTC) if since and since.tzinfo is None else since,
        )
        columns = ("delivery", "email", "attempt", "at", "relay", "outcome", "code", "enhanced_code", "response")
        write_rows(rows, as_json=as_json, columns=columns, empty="no attempt was made yet")


@app.command()
def explain(ctx: typer.Context, email: Email, issue: IssueOption = None, as_json: Json = False) -> None:
    """Why this person got these stories, or none."""
    from newsletter.report import explain_delivery

    with open_from(ctx) as service:
        person = service.find_person(email)
        told = explain_delivery(service.database, service.catalogue, person, issue)
    if as_json:
        write_json(told)
        return
    why = f" ({told['reason']})" if told["reason"] else ""
    chosen = ", ".join(told["topics"]) or "no topic"
    typer.echo(f"{told['email']} and issue {told['issue']}: {told['state']}{why}; chose {chosen}")
    for report in told["reports"]:
        said = " ".join(filter(None, (report["status"], report["reason"])))
        typer.echo(f"came back {report['at']:%Y-%m-%d %H:%M} UTC: {report['kind']} {said}: {report['action']}")
    for mark, part in (("+", "stories"), ("-", "left_out")):
        for story in told[part]:
            typer.echo(f"{mark} {story['title']}")
            for reason in story["because"]:
                typer.echo(f"    {reason}")


@app.command()
def mail(
    ctx: typer.Context, delivery: Annotated[str, typer.Argument(metavar="ID", help="The `delivery` of a log line.")]
) -> None:
    """The exact bytes of a delivery, again."""
    from newsletter.compose import reproduce_mail
    from newsletter.core.errors import QueryError, StoreError
    from newsletter.core.model import NOTICE, parse_delivery

    if delivery.startswith(NOTICE):
        raise StoreError(f"{delivery} is a mail of the service's own: it stands in no issue, and is not kept")
    try:
        key = parse_delivery(delivery)
    except QueryError as error:
        raise typer.BadParameter(str(error)) from None
    with open_from(ctx) as service:
        made = reproduce_mail(service.database, service.signer, key)
    write_bytes(made)
