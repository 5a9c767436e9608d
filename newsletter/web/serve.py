"""The process that serves the pages: `python -m newsletter.web.serve DESCRIPTOR [ENV_FILE]`, begun by the daemon.

The descriptor is that of a listening socket; what the daemon says comes on stdin, whose end ends this process too.
"""

import logging
import socket
import sys
from pathlib import Path
from threading import Thread

import uvicorn

from newsletter.bootstrap import open_service
from newsletter.logs import configure_logging
from newsletter.settings import load_settings
from newsletter.web import make_app
from newsletter.web.pulse import Pulse

log = logging.getLogger("newsletter.web")

LAST_SECONDS = 3
"""How long the requests under way at the end may take."""


def main(descriptor: int, env_file: Path | None) -> None:
    """Serve until stdin ends, or until told to stop."""
    settings = load_settings(env_file)
    configure_logging(style=settings.log_format, level=settings.log_level, show_addresses=settings.log_addresses)
    pulse = Pulse()
    if first := sys.stdin.buffer.readline():  # from the first request on it is known that the daemon lives
        pulse.hear(first)
    with open_service(settings) as service, socket.socket(fileno=descriptor) as listening:
        config = uvicorn.Config(
            make_app(service, pulse),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        server = uvicorn.Server(config)

        def follow() -> None:
            try:
                pulse.follow(sys.stdin.buffer)
            finally:
                server.should_exit = True

        Thread(target=follow, daemon=True).start()
        log.info("the pages are served")
        server.run(sockets=[listening])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
