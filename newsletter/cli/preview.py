"""The command that shows mails in a browser: preview."""

import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import say

app = typer.Typer()


@app.command()
def preview(
    ctx: typer.Context,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Instead of NEWSLETTER_WEB__PORT.")] = None,
) -> None:
    """Show every brief as each reader would get it, in the browser; a saved file redraws the page. Needs no daemon."""
    import uvicorn

    from newsletter.web import make_preview_app
    from newsletter.web.listening import listen

    with open_from(ctx) as service:
        web = service.settings.web
        listening = listen(web.host, web.port if port is None else port)
        host, number = listening.getsockname()[:2]
        config = uvicorn.Config(
            make_preview_app(service), lifespan="off", log_level="warning", timeout_graceful_shutdown=1
        )
        say(f"the preview is at http://{host}:{number}/preview; Ctrl-C ends it")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with listening, suppress(KeyboardInterrupt):  # uvicorn ends well, and then hands the signal on
            uvicorn.Server(config).run(sockets=[listening])
