"""What every command begins with: the settings of `--env-file` or `./.env`, and the service built from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from newsletter.bootstrap import Service


@contextmanager
def open_from(ctx: typer.Context) -> Iterator["Service"]:
    """The service as the settings describe it, closed at the end of the command."""
    from newsletter.bootstrap import open_service
    from newsletter.settings import load_settings

    with open_service(load_settings(ctx.obj)) as service:
        yield service
