"""Commands of what stays running: run, worker, schedule."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from typing import Annotated

import typer

from newsletter.cli.context import open_from
from newsletter.cli.delivery import choose_loop
from newsletter.cli.output import Json, write_json

app = typer.Typer()


@app.command()
def run(
    ctx: typer.Context,
    no_web: Annotated[bool, typer.Option("--no-web", help="Serve no web pages.")] = False,
    no_delivery: Annotated[bool, typer.Option("--no-delivery", help="Publish, but leave delivery to others.")] = False,
) -> None:
    """Run the daemon: publish by the schedule, deliver, serve the pages. SIGTERM or Ctrl-C ends it."""
    from newsletter.daemon import Daemon
    from newsletter.logs import configure_logging

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # before the daemon runs there is nothing to finish
    with open_from(ctx) as service:
        settings = service.settings
        configure_logging(style=settings.log_format, level=settings.log_level, show_addresses=settings.log_addresses)
        daemon = Daemon(service=service, env_file=ctx.obj, web=not no_web, delivery=not no_delivery)
        gc.freeze()
        with asyncio.Runner(loop_factory=choose_loop(service)) as runner:
            runner.run(daemon.run())
    _end()


def _end() -> None:
    """End at once where a thread is still at work: an interpreter that shuts down under it may abort (SIGABRT)."""
    logging.shutdown()
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(0)


@app.command()
def worker(ctx: typer.Context) -> None:
    """Deliver only, on this host beside others: needs PostgreSQL. SIGTERM or Ctrl-C ends it."""
    from newsletter.daemon.worker import run_worker
    from newsletter.logs import configure_logging

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # before the worker runs there is nothing to finish
    with open_from(ctx) as service:
        settings = service.settings
        configure_logging(style=settings.log_format, level=settings.log_level, show_addresses=settings.log_addresses)
        gc.freeze()
        with asyncio.Runner(loop_factory=choose_loop(service)) as runner:
            runner.run(run_worker(service))
    _end()


@app.command()
def schedule(
    ctx: typer.Context,
    count: Annotated[int, typer.Option("--next", min=1, max=1000, metavar="N", help="How many runs to show.")] = 10,
    as_json: Json = False,
) -> None:
    """When the next issues go out, in UTC and in the schedule's own zone."""
    from newsletter.core.cron import next_occurrence
    from newsletter.core.runs import tell_clock_change

    with open_from(ctx) as service:
        table, moment = service.timetable, service.now()
        if table is None:
            if not as_json:
                typer.echo("no schedule is set (NEWSLETTER_SCHEDULE): `newsletter run` only delivers what is owed")
            return
        for _ in range(count):
            occurrence = next_occurrence(table.cron, table.zone, moment)
            moment = occurrence.at
            local = moment.astimezone(table.zone)
            note = tell_clock_change(table.zone, occurrence)
            if as_json:
                told = {"utc": moment.isoformat(), "local": local.isoformat(), "zone": str(table.zone), "note": note}
                write_json(told)
            else:
                extra = f"  ({note})" if note else ""
                typer.echo(f"{local:%a %Y-%m-%d %H:%M %z} {table.zone}   {moment:%Y-%m-%d %H:%M} UTC{extra}")
        if table.local and not as_json:
            typer.echo("LOCAL_TIME is on: each reader gets it when clocks in their own zone show that time")
