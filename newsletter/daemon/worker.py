"""A worker: a process that only delivers, on any host, with nothing but the database's address and the secrets."""

import asyncio
import logging
import signal

from newsletter.bootstrap import Service
from newsletter.core.errors import ConfigError
from newsletter.daemon.deliverer import Deliverer, finish

log = logging.getLogger("newsletter.worker")


async def run_worker(service: Service) -> None:
    """Deliver until a signal comes. ConfigError before anything begins, where a setting does not work."""
    if service.settings.database_url.startswith("sqlite:"):
        raise ConfigError(
            "a worker needs a PostgreSQL database (NEWSLETTER_DATABASE_URL): on SQLite, `newsletter run` delivers"
        )
    _ = service.signer
    service.make_relays()
    service.make_dkim_keys()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    delivering = asyncio.create_task(
        Deliverer(service=service, stop=stop, note=lambda finished: None, is_daemon=False).run()
    )
    log.info("the worker runs")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, delivering], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await finish(delivering)
    log.info("the worker has ended")
