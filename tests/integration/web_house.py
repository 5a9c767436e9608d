"""The pages and the API of a service with issues that were sent, asked over HTTP without a socket."""

import asyncio
import atexit
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from daemon_house import House
from smtp_server import SmtpServer

from newsletter.deliver import DeliveryRun
from newsletter.web import make_app
from newsletter.web.pulse import Pulse, write_pulse

PASSWORD = "correct horse battery staple"
REFUSALS = {
    "RCPT": {
        **{f"p{n}@example.org": f"550 5.1.1 <p{n}@example.org>: no such user" for n in range(3)},
        **{f"p{n}@example.org": f"450 4.2.0 greylisted, try again in {n} seconds" for n in range(3, 5)},
    }
}


def open_client(
    house: House,
    *,
    peer: str = "127.0.0.1",
    host: str = "127.0.0.1:8000",
    **settings: str,
) -> httpx2.AsyncClient:
    """A browser at the pages of the daemon; it follows no redirect."""
    pulse = Pulse()
    pulse.follow([write_pulse("newsletter_info 1.0\n")])
    transport = httpx2.ASGITransport(app=make_app(house.open(**settings), pulse), client=(peer, 50000))
    return httpx2.AsyncClient(transport=transport, base_url=f"http://{host}")


def make_sent_house(folder: Path) -> House:
    """Two issues for twelve readers: of the first three were refused and two greylisted; the second has not begun."""
    shutil.copytree(_make_model(), folder)
    return House(folder)


@cache
def _make_model() -> Path:
    """Made once a process: each test has a copy."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    house = House(folder / "house")
    house.add_people(*(f"p{n}@example.org" for n in range(12)))
    for name in ("one", "two"):
        house.add_brief(name, f"Brief {name}")
        published = house.service.make_publisher().publish(house.service.find_brief(name), now=house.now)
        if name == "one":
            deliver(house)
        assert published.issue is not None
    house.service.database.close()
    return house.folder


def deliver(house: House, **settings: str) -> None:
    """Send what is due into a server that refuses some."""
    server = SmtpServer(replies=REFUSALS)

    async def run() -> None:
        async with server:
            more = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none", **settings}
            delivery: DeliveryRun = house.open(**more).make_delivery(issue=None)
            await delivery.run()

    asyncio.run(run())


def read_csrf(page: httpx2.Response) -> str:
    """The secret in a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


async def post(client: httpx2.AsyncClient, path: str, **fields: Any) -> httpx2.Response:
    """Ask for an action on its page, and send the form that stands there."""
    page = await client.get(path)
    assert page.status_code == 200, page.text
    return await client.post(path, data={"csrf": read_csrf(page), **fields})
