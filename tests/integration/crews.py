"""Runs of the delivery engine over several relays, for tests."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from smtp_server import SmtpServer
from test_deliver import NOW, RULES, SIGNER
from test_publish import make_brief, make_story, sign_up

from newsletter.core.throttle import Backoff
from newsletter.deliver import DeliveryRun, Progress
from newsletter.publish import Publisher
from newsletter.store.database import Database
from newsletter.store.throttles import Throttled, read_backoffs
from newsletter.transport.smtp import Relay


@dataclass
class WallClock:
    """The time of day, as the test turns it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


def relay_to(server: SmtpServer, **changes: Any) -> Relay:
    return Relay(
        **{
            "host": server.host,
            "port": server.port,
            "tls": "none",
            "timeout": timedelta(seconds=20),
            "connections": 4,
            **changes,
        }
    )


def make_crew(database: Database, relays: Sequence[Relay], **changes: Any) -> DeliveryRun:
    """A run over these relays; `changes` are of the run, or of its rules."""
    rules = replace(RULES, **{name: changes.pop(name) for name in list(changes) if hasattr(RULES, name)})
    settings = {"clock": WallClock(), **changes}
    return DeliveryRun(database=database, signer=SIGNER, relays=relays, rules=rules, **settings)


def deliver_over(
    database: Database, *servers: SmtpServer, relays: Sequence[dict[str, Any]] = (), **changes: Any
) -> Progress:
    """Run once over these servers; `relays` says what is special of each."""

    async def run() -> Progress:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            special = [*relays, *({} for _ in servers[len(relays) :])]
            known = [relay_to(server, **more) for server, more in zip(servers, special, strict=True)]
            return await make_crew(database, known, **changes).run()

    return asyncio.run(run())


def publish_for(publisher: Publisher, addresses: Sequence[str], name: str = "one", now: datetime = NOW) -> int:
    """An issue for these readers; its number."""
    sign_up(publisher.database, now, *(f"{address} science" for address in addresses))
    return publisher.publish(make_brief(name, now, make_story(f"Comet {name}", "science")), now=now).issue


def read_throttles(database: Database) -> dict[str, Backoff]:
    """What is backed off, by name."""
    with database.read() as conn:
        return {name: backoff for kind in Throttled for name, backoff in read_backoffs(conn, kind).items()}


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a server or the database comes to, of which neither tells."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
