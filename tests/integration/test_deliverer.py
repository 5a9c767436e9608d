"""The daemon's delivery against a real SMTP server: what is due goes, what is asked for goes at once, failures pass."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from daemon_house import House
from smtp_server import SmtpServer, Stall
from sqlalchemy import Connection

from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState
from newsletter.daemon import deliverer as deliverer_room
from newsletter.daemon.deliverer import SHORTEST_PAUSE, Deliverer
from newsletter.deliver import DeliveryRun
from newsletter.store import issues, requests, upkeep
from newsletter.store.lock import DeliveryLock
from newsletter.store.moves import Finished
from newsletter.store.requests import Request
from newsletter.store.throttles import Throttled, read_backoffs

pytestmark = pytest.mark.anyio
ZONES = ("Europe/Berlin", "Asia/Tokyo", "Europe/London", "America/New_York")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_readers(*ZONES)
    house.add_brief("2026-11-25-wed", "Wednesday")
    yield house
    house.service.database.close()


def publish(house: House, *, paused: str | None = None) -> int:
    service = house.open()
    published = service.make_publisher().publish(service.find_brief("latest"), now=house.now, paused=paused)
    return published.issue


@asynccontextmanager
async def run_deliverer(house: House, server: SmtpServer, **more: str) -> AsyncIterator[Deliverer]:
    """A deliverer at work; at the end it is told to stop, and must."""
    service = house.open(SMTP__HOST=server.host, SMTP__PORT=str(server.port), SMTP__TLS="none", **more)
    deliverer = Deliverer(service=service, stop=asyncio.Event(), note=lambda _: None)
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        deliverer.stop.set()
        await task
        service.database.close()


async def wait_for(house: House, state: DeliveryState, count: int) -> None:
    """Until so many deliveries are in a state; the clock of the house goes on meanwhile."""
    async with asyncio.timeout(30):
        while house.count_in(state) < count:
            house.now += timedelta(seconds=1)
            await asyncio.sleep(0.02)


async def test_what_is_published_goes_out_and_each_attempt_is_told(house: House) -> None:
    async with SmtpServer() as server, run_deliverer(house, server) as deliverer:
        noted: list[Finished] = []
        deliverer.note = noted.append
        publish(house)
        await wait_for(house, DeliveryState.ACCEPTED, 4)
        publish_again = house.add_brief("2026-11-26-thu", "Thursday")
        assert publish_again.exists()
        publish(house)
        await wait_for(house, DeliveryState.ACCEPTED, 8)
        assert deliverer.is_active
    assert len(server.mails) == 8
    assert [finished.state for finished in noted] == [DeliveryState.ACCEPTED] * 8


@pytest.mark.sqlite
async def test_a_second_daemon_waits_and_takes_over_when_the_first_has_ended(house: House) -> None:
    async with SmtpServer() as server:
        with DeliveryLock(house.folder / "n.db") as lock:
            assert lock.acquire()
            async with run_deliverer(house, server) as deliverer:
                publish(house)
                await asyncio.sleep(0)
                assert not deliverer.is_active
                lock.release()
                await wait_for(house, DeliveryState.ACCEPTED, 4)
                assert deliverer.is_active


@pytest.mark.sqlite
async def test_send_and_deliver_beside_it_hand_their_work_over_and_follow_it(house: House) -> None:
    async with SmtpServer() as server, run_deliverer(house, server) as deliverer:
        await wait_until_active(deliverer)
        issue = publish(house)
        beside = house.open(SMTP__HOST="127.0.0.1", SMTP__PORT="1")
        progress = await beside.make_delivery(issue=issue).run()
        assert progress.stopped is None
        assert house.count_in(DeliveryState.ACCEPTED) == len(server.mails) == 4
        with house.service.database.read() as conn:
            assert requests.list_requests(conn) == []


@pytest.mark.sqlite
async def test_one_reader_of_a_paused_issue_is_handed_over_too(house: House) -> None:
    async with SmtpServer() as server, run_deliverer(house, server) as deliverer:
        await wait_until_active(deliverer)
        issue = publish(house, paused="sent to one reader only")
        await house.open().make_delivery(issue=issue, only=(issue, 2)).run()
        assert [mail.recipient for mail in server.mails] == ["tokyo-each@example.org"]


@pytest.mark.sqlite
async def test_a_relay_that_is_down_is_tried_again_when_its_time_has_come_or_when_asked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    down = {"EHLO": "421 4.3.2 down", "HELO": "421 4.3.2 down"}
    async with SmtpServer(replies=down) as server, run_deliverer(house, server, RETRY_DELAYS="[3600]") as deliverer:
        issue = publish(house)
        await until(lambda: deliverer.stopped is not None)
        tried = len(server.sessions)
        house.now += SHORTEST_PAUSE * 2
        progress = await house.open().make_delivery(issue=issue).run()
        assert progress.stopped is not None, "asked for by hand it is tried once more, and the reason is told"
        assert "421" in progress.stopped
        again = len(server.sessions)
        assert again > tried
        house.now += timedelta(minutes=20)
        seen = len(looks)
        await until(lambda: len(looks) > seen + 2)
        assert len(server.sessions) == again, "left alone until its time has come"
        with house.service.database.read() as conn:
            assert [b.step for b in read_backoffs(conn, Throttled.RELAY).values()] == [2]
        assert house.count_in(DeliveryState.QUEUED) == 4


async def test_told_to_stop_it_finishes_what_is_on_the_wire(house: House) -> None:
    stall = Stall()
    async with SmtpServer(replies={"BODY": stall}) as server:
        async with run_deliverer(house, server, SMTP__CONNECTIONS="1") as deliverer:
            publish(house)
            await asyncio.wrap_future(stall.reached)
            deliverer.stop.set()
            stall.release()
        assert len(server.mails) == 1
    assert house.count_in(DeliveryState.ACCEPTED) == 1
    assert house.count_in(DeliveryState.QUEUED) == 3


@pytest.mark.sqlite
async def test_a_failure_of_its_own_is_told_and_tried_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([StoreError("database n.db: disk is full"), ValueError("something else")])
    deliver = DeliveryRun.deliver

    async def fail(run: DeliveryRun) -> object:
        for error in failures:
            raise error
        return await deliver(run)

    monkeypatch.setattr(DeliveryRun, "deliver", fail)
    async with SmtpServer() as server, run_deliverer(house, server) as deliverer:
        publish(house)
        looks = count_looks(monkeypatch)
        await until(lambda: deliverer.stopped == "database n.db: disk is full")
        seen = len(looks)
        await until(lambda: len(looks) > seen + 2)
        assert deliverer.failures == 1, "not tried again before its pause is over"
        house.now += SHORTEST_PAUSE
        await until(lambda: deliverer.stopped == "something else")
        house.now += SHORTEST_PAUSE
        seen = len(looks)
        await until(lambda: len(looks) > seen + 2)
        assert deliverer.failures == 2, "each pause is twice as long"
        house.now += SHORTEST_PAUSE
        await wait_for(house, DeliveryState.ACCEPTED, 4)
        await until(lambda: (deliverer.failures, deliverer.stopped) == (0, None))
    assert "disk is full" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.sqlite
async def test_a_paused_service_sends_nothing_and_says_so_to_who_asks(house: House) -> None:
    async with SmtpServer() as server, run_deliverer(house, server) as deliverer:
        await wait_until_active(deliverer)
        with house.service.database.write() as conn:
            upkeep.set_paused(conn, True)
        issue = publish(house)
        progress = await house.open().make_delivery(issue=issue).run()
        assert progress.stopped is None
        assert not server.mails
        with house.service.database.write() as conn:
            upkeep.set_paused(conn, False)
        await wait_for(house, DeliveryState.ACCEPTED, 4)


@pytest.mark.sqlite
async def test_who_asks_and_finds_nobody_at_work_any_more_does_it_itself(house: House) -> None:
    async with SmtpServer() as server:
        with DeliveryLock(house.folder / "n.db") as lock:
            assert lock.acquire()
            issue = publish(house)
            beside = house.open(SMTP__HOST=server.host, SMTP__PORT=str(server.port), SMTP__TLS="none")
            task = asyncio.create_task(beside.make_delivery(issue=issue).run())
            await until(lambda: house.list_requests() != [])
            lock.release()
            assert sum((await task).outcomes.values()) == 4


@pytest.mark.sqlite
async def test_who_follows_may_be_stopped(house: House) -> None:
    with DeliveryLock(house.folder / "n.db") as lock:
        assert lock.acquire()
        issue = publish(house)
        run = house.open().make_delivery(issue=issue)
        task = asyncio.create_task(run.run())
        await until(lambda: house.list_requests() != [])
        run.halt("interrupted")
        assert (await task).stopped == "interrupted"
    assert house.list_requests() == []


def test_a_request_that_was_answered_says_how_it_ended(house: House) -> None:
    with house.service.database.write() as conn:
        name = requests.make_request(conn, Request())
        requests.answer_requests(conn, [name], "relay down")
        assert requests.read_request(conn, name) == Request(done=True, stopped="relay down")
        assert requests.read_request(conn, "request:none") is None
        assert issues.list_paused(conn) == []


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - no event of the test's: it looks into the database
            await asyncio.sleep(0.02)


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one whenever it is looked whether anything is due."""
    looks: list[None] = []
    is_work_due = upkeep.is_work_due

    def look(conn: Connection, now: datetime, **how: bool) -> bool:
        looks.append(None)
        return is_work_due(conn, now, **how)

    monkeypatch.setattr(upkeep, "is_work_due", look)
    monkeypatch.setattr(deliverer_room, "LOOK_SECONDS", 0.05)
    return looks


async def wait_until_active(deliverer: Deliverer) -> None:
    await until(lambda: deliverer.is_active)
