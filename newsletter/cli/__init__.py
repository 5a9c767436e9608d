"""The door: all commands, their errors as one sentence, their exit codes.

Each command imports what it needs when it runs, so that `--help` is quick.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli import (
    access,
    books,
    briefs,
    checks,
    daemon,
    delivery,
    feedback,
    health,
    issues,
    people,
    preview,
    setup,
)
from newsletter.core.errors import NewsletterError

app = typer.Typer(
    name="newsletter",
    help="A brief becomes one mail per reader with just their topics, and a log that closes like a ledger.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(setup.app)
app.add_typer(briefs.app, name="brief")
app.add_typer(briefs.topics_app, name="topics")
app.add_typer(people.app, name="subscribers")
app.add_typer(people.suppressions_app, name="suppressions")
app.add_typer(briefs.render_app)
app.add_typer(checks.app)
app.add_typer(delivery.app)
app.add_typer(daemon.app)
app.add_typer(preview.app)
app.add_typer(books.app)
app.add_typer(issues.app, name="issues")
app.add_typer(feedback.app)
app.add_typer(health.app)
app.add_typer(access.tokens_app, name="tokens")
app.add_typer(access.app)
app.add_typer(setup.db_app, name="db")

ERROR, INTERRUPTED = 1, 3
TYPER_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("newsletter"))
        raise typer.Exit


@app.callback()
def _begin(
    ctx: typer.Context,
    env_file: Annotated[Path | None, typer.Option("--env-file", help="Read this file instead of ./.env.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = env_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 error, 2 wrong usage, 3 stopped with deliveries still owed."""
    from typer.exceptions import TyperException

    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk still becomes a sentence
    except NewsletterError as error:
        _fail(str(error), ERROR)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer keeps the class to itself; its message is the help
            typer.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        _fail(error.format_message(), error.exit_code)
    except typer.Abort:
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read us has heard enough
        _drop_output()
        sys.exit(ERROR)
    except OSError as error:
        _drop_output()
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", ERROR)
    if code == TYPER_INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """What cannot be written must not be tried again when the interpreter ends."""
    with suppress(OSError, ValueError):  # there may be no descriptor behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(sentence: str, code: int) -> None:
    typer.echo(f"error: {' '.join(sentence.split())}", err=True)
    sys.exit(code)
