"""Commands that send: send, deliver, pause, resume."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.books import IssueOption, write_audit
from newsletter.cli.context import open_from
from newsletter.cli.output import Json, ProgressLine, say, write_json

if TYPE_CHECKING:
    from newsletter.bootstrap import Service
    from newsletter.deliver import Progress
    from newsletter.publish import Planned, Published
    from newsletter.store.ledger import Audit

STOPPED = 3
"""Exit code: stopped with deliveries still owed now; nothing is lost."""

app = typer.Typer()


@app.command()
def send(
    ctx: typer.Context,
    brief: Annotated[str, typer.Option(help="Path or id of a brief, or `latest`.")] = "latest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan everything, write and send nothing.")] = False,
    only: Annotated[str | None, typer.Option(metavar="EMAIL", help="Deliver to this subscriber alone.")] = None,
    reissue: Annotated[bool, typer.Option("--reissue", help="Send what is new in a brief published before.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a brief and deliver it until nothing is due now; the same brief again mails nobody twice."""
    began = time.monotonic()
    with open_from(ctx) as service:
        found = service.find_brief(brief)
        for error in service.list_briefs()[1] if brief == "latest" else ():
            say(f"warning: {error}")  # it is left out; the latest that can be read goes
        for warning in found.warnings:
            say(f"warning: {found.source}:{warning.line or 1}: {warning.message}")
        publisher = service.make_publisher()
        service.make_relays()  # a wrong setting of the relay, or a wrong key, shows before anything is published
        service.make_dkim_keys()
        now = service.now()
        if dry_run:
            planned = publisher.plan(found, now=now, reissue=reissue)
            _report_send(planned, planned.audit, began, as_json=as_json)
            return
        person = service.find_person(only) if only else None
        published = publisher.publish(
            found, now=now, reissue=reissue, paused="sent to one reader only" if only else None
        )
        key = (published.issue, person.id) if person else None
        progress = run_delivery(service, issue=published.issue, only=key, quiet=as_json)
        if key and not progress.outcomes and not progress.stopped:
            say(f"nothing is owed to {only}")
        _finish(service, published, progress, began, scope=published.issue, only=bool(only), as_json=as_json)


@app.command()
def deliver(ctx: typer.Context, issue: IssueOption = None, as_json: Json = False) -> None:
    """Deliver what is due, of one issue or of all."""
    from newsletter.publish import Published
    from newsletter.store import issues

    began = time.monotonic()
    with open_from(ctx) as service:
        with service.database.read() as conn:
            number = issues.find_issue(conn, issue).id if issue or issues.list_issues(conn) else None
            preparing = issues.list_preparing(conn)
        new = service.make_publisher().finish_preparing(now=service.now()) if preparing else 0
        with service.database.read() as conn:
            editions = issues.count_editions(conn, number or 0)
        if number is None:
            write_json({"issue": None, "new": 0, "editions": 0, "audit": None, "seconds": 0.0}) if as_json else say(
                "nothing was published yet"
            )
            return
        progress = run_delivery(service, issue=issue, quiet=as_json)
        published = Published(issue=number, new=new, editions=editions)
        _finish(service, published, progress, began, scope=issue, as_json=as_json)


def run_delivery(
    service: "Service", *, issue: int | None, only: tuple[int, int] | None = None, quiet: bool
) -> "Progress":
    """Deliver, showing how far it is. The first Ctrl-C finishes what is on the wire, the second stops at once."""
    line = ProgressLine("mails", quiet=quiet, clock=time.monotonic)

    def observe(progress: "Progress") -> None:
        if line.is_due():
            show(progress)

    def show(progress: "Progress") -> None:
        detail = ", ".join(f"{count} {outcome}" for outcome, count in progress.outcomes.items())
        line.update(sum(progress.outcomes.values()), progress.owed, detail)

    async def run() -> "Progress":
        delivery = service.make_delivery(issue=issue, only=only, observe=observe)
        task = asyncio.create_task(delivery.run())

        def interrupt() -> None:
            if delivery.stop.is_set():
                task.cancel()
            else:
                say("stopping when what is on the wire is finished; once more stops at once")
            delivery.halt("interrupted")

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        try:
            return await task
        except asyncio.CancelledError:
            return delivery.progress
        finally:
            show(delivery.progress)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    gc.freeze()  # what is here stays to the end; looking through it again and again takes 5 % of a run
    try:
        with asyncio.Runner(loop_factory=choose_loop(service)) as runner:
            return runner.run(run())
    finally:
        line.close()


def choose_loop(service: "Service") -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """uvloop where it is installed, which takes less CPU a mail; None for asyncio's own loop.

    That too where TLS comes first on a connection: what lies below it, uvloop does not show (see transport/wire.py).
    """
    try:
        import uvloop
    except ImportError:
        return None
    implicit = any(relay.tls == "implicit" for relay in service.make_relays())
    return None if implicit else uvloop.new_event_loop


def _finish(
    service: "Service",
    published: "Published",
    progress: "Progress",
    began: float,
    *,
    scope: int | None,
    only: bool = False,
    as_json: bool,
) -> None:
    from newsletter.publish import audit
    from newsletter.store import upkeep

    books = audit(service.database, published.issue)
    _report_send(published, books, began, as_json=as_json)
    with service.database.read() as conn:
        owed = upkeep.count_owed(conn, service.now(), scope)
        paused = upkeep.is_paused(conn)
    for alarm in progress.alarms:
        say(f"warning: {alarm}")
    if progress.stopped:
        say(f"stopped: {progress.stopped}; {owed} deliveries are still owed, `newsletter deliver` goes on")
        raise typer.Exit(STOPPED)
    if owed and (paused or not only):
        why = "the service is paused" if paused else "paused, or taken up elsewhere"
        say(f"{owed} deliveries are still owed now ({why})")
        raise typer.Exit(STOPPED)


def _report_send(published: "Published | Planned", books: "Audit", began: float, *, as_json: bool) -> None:
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        write_json({**asdict(published), "audit": asdict(books), "seconds": seconds})
        return
    name = f"issue {published.issue}" if published.issue else "a new issue (planned only)"
    typer.echo(f"{name}: {published.new} new deliveries, {published.editions} editions, {seconds} s")
    write_audit(books)


@app.command()
def pause(ctx: typer.Context, as_json: Json = False) -> None:
    """Pause the whole service; it stays paused until `resume`."""
    _set_paused(ctx, True, as_json)


@app.command()
def resume(ctx: typer.Context, as_json: Json = False) -> None:
    """Let the whole service go on."""
    _set_paused(ctx, False, as_json)


def _set_paused(ctx: typer.Context, paused: bool, as_json: bool) -> None:
    from newsletter.store import upkeep

    with open_from(ctx) as service, service.database.write() as conn:
        upkeep.set_paused(conn, paused)
    write_json({"paused": paused}) if as_json else typer.echo(f"the service is {'paused' if paused else 'running'}")
