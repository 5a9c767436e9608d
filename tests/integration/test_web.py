"""The pages so far, asked over HTTP as a monitor would: health, readiness, numbers, and who may see them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from daemon_house import House

from newsletter.core.errors import StoreError
from newsletter.store import upkeep
from newsletter.store.database import Database
from newsletter.web import make_app
from newsletter.web.access import host_of, is_loopback
from newsletter.web.pulse import FRESH_SECONDS, Pulse, write_pulse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", settings={"BASE_URL": "https://news.example.org"})
    yield house
    house.service.database.close()


pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that the test turns."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def make_client(
    house: House, *, heard: bool = True, host: str = "127.0.0.1:8000", peer: str = "127.0.0.1", **more: str
) -> tuple[httpx2.AsyncClient, Clock]:
    clock = Clock()
    pulse = Pulse(clock=clock)
    if heard:
        pulse.follow([write_pulse("newsletter_info 1.0\n")])
    service = house.open(**more)
    transport = httpx2.ASGITransport(app=make_app(service, pulse), client=(peer, 50000))
    return httpx2.AsyncClient(transport=transport, base_url=f"http://{host}"), clock


async def test_healthy_while_the_daemon_is_heard_of(house: House) -> None:
    client, clock = make_client(house)
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    clock.seconds += FRESH_SECONDS
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "stalled"})
    assert (await make_client(house, heard=False)[0].get("/healthz")).status_code == 503


async def test_ready_while_the_database_can_be_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = make_client(house)
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, True)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "paused": True})
    assert (await make_client(house, heard=False)[0].get("/readyz")).json()["status"] == "stalled"

    def fail(_: Database) -> None:
        raise StoreError("database n.db: disk I/O error")

    monkeypatch.setattr(Database, "read", fail)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "failing")


async def test_the_numbers_are_shown_to_this_machine_alone(house: House) -> None:
    answer = await make_client(house)[0].get("/metrics")
    assert (answer.status_code, answer.text) == (200, "newsletter_info 1.0\n")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (await make_client(house, host="localhost")[0].get("/metrics")).status_code == 200
    assert (await make_client(house, host="[::1]:8000", peer="::1")[0].get("/metrics")).status_code == 200
    assert (await make_client(house, peer="192.0.2.7")[0].get("/metrics")).status_code == 401
    assert (await make_client(house, host="news.example.org")[0].get("/metrics")).status_code == 401
    forwarded = await make_client(house)[0].get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"})
    assert forwarded.status_code == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Basic " + base64.b64encode(b"op:s3cret, with: all").decode(), 200),
        ("basic " + base64.b64encode(b":s3cret, with: all").decode(), 200),
        ("Basic " + base64.b64encode(b"op:wrong").decode(), 401),
        ("Basic ???", 401),
        ("Bearer s3cret", 401),
        ("", 401),
    ],
)
async def test_with_a_password_it_opens_the_numbers_from_anywhere_and_nothing_else_does(
    house: House, authorization: str, status: int
) -> None:
    client, _ = make_client(
        house, peer="192.0.2.7", host="news.example.org", WEB__OPERATOR_PASSWORD="s3cret, with: all"
    )
    assert (await client.get("/metrics", headers={"Authorization": authorization})).status_code == status


@pytest.mark.parametrize("host", ["evil.example", "news.example.org.evil.example", "", "[::1", "169.254.169.254"])
async def test_a_foreign_host_is_refused(house: House, host: str) -> None:
    client, _ = make_client(house)
    assert (await client.get("/healthz", headers={"Host": host})).status_code == 421
    assert (await client.get("/healthz", headers={"Host": "NEWS.example.org:443"})).status_code == 200


def test_reads_hosts() -> None:
    assert host_of("Localhost:80") == "localhost"
    assert host_of("[::1]:80") == "::1"
    assert host_of("[") is None
    assert is_loopback("127.9.9.9")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback(None)


def test_the_pulse_is_one_line() -> None:
    line = write_pulse("a 1\nb 2\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"metrics": "a 1\nb 2\n"}
