"""Several relays: shared by weight, each left alone while it is in trouble, and nobody's mail lost by that."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from crews import WallClock, deliver_over, make_crew, read_throttles, relay_to, wait_until
from smtp_server import DROP, SmtpServer, Stall
from smtp_talk import Answers
from test_deliver import NOW, RULES, SIGNER, count_mails, publish
from test_publish import make_publisher

from newsletter.deliver import Progress
from newsletter.publish import Publisher, audit
from newsletter.store.database import Database
from newsletter.transport.smtp import Relay

EVERYONE = {f"p{number}@x.org": 1 for number in range(60)}


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def assert_nobody_is_lost(database: Database, *servers: SmtpServer) -> None:
    """Each of the 60 got one mail, and the books say so; what failed on the way counts against nobody."""
    assert sum((count_mails(server) for server in servers), Counter()) == EVERYONE
    books = audit(database, None)
    assert (books.accepted, books.balanced) == (60, True)


def count_stalled(*servers: SmtpServer) -> int:
    """How many mails wait for their RCPT's reply, where all do."""
    return sum(session.verbs.count("RCPT") for server in servers for session in server.sessions)


def find_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("relays", "shares"),
    [
        ([{"connections": 9, "weight": 3}, {"connections": 9, "weight": 1}], [9, 3]),
        ([{"connections": 9, "weight": 2}, {"connections": 3, "weight": 2}], [9, 3]),
    ],
    ids=["by weight", "of one weight each has all it takes"],
)
def test_connections_and_mails_are_shared_out_by_weight(
    publisher: Publisher, relays: list[dict[str, int]], shares: list[int]
) -> None:
    """Each mail stalls until all the connections that there may be are open, so the shares are exact."""
    publish(publisher, 60)
    stall = Stall()
    servers = SmtpServer(replies={"RCPT": stall}), SmtpServer(replies={"RCPT": stall})

    async def run() -> list[int]:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            known = [relay_to(server, **changes) for server, changes in zip(servers, relays, strict=True)]
            task = asyncio.create_task(make_crew(publisher.database, known).run())
            await wait_until(lambda: count_stalled(*servers) == 12)
            open_at_once = [server.connections for server in servers]
            stall.release()
            await task
            return open_at_once

    assert asyncio.run(run()) == shares
    assert_nobody_is_lost(publisher.database, *servers)
    heavy, light = (len(server.mails) for server in servers)
    assert heavy > light >= 3


def test_a_single_relay_gets_all_its_connections_whatever_its_weight(publisher: Publisher) -> None:
    publish(publisher, 60)
    stall = Stall()
    server = SmtpServer(replies={"RCPT": stall})

    async def run() -> None:
        async with server:
            relays = [relay_to(server, connections=7, weight=3)]
            task = asyncio.create_task(make_crew(publisher.database, relays).run())
            await wait_until(lambda: count_stalled(server) == 7)
            stall.release()
            await task

    asyncio.run(run())
    assert server.most_connections == 7
    assert_nobody_is_lost(publisher.database, server)


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({"BANNER": DROP}, "cannot be reached"),
        ({"BANNER": "421 4.3.2 closed for today"}, "421"),
        ({"BANNER": "554 5.3.2 not for you"}, "554"),
        ({"EHLO": DROP}, "cannot be reached"),
        ({"MAIL": DROP}, "closed the connection"),
        ({"MAIL": "421 4.3.2 busy"}, "421 4.3.2 busy"),
        ({"MAIL": "530 5.7.0 log in first"}, "530 5.7.0 log in first"),
    ],
)
def test_another_relay_takes_over_from_one_in_trouble(publisher: Publisher, replies: Answers, said: str) -> None:
    publish(publisher, 60)
    bad, good = SmtpServer(replies=replies), SmtpServer()
    progress = deliver_over(publisher.database, bad, good, retry_delays=(timedelta(0), *RULES.retry_delays))
    assert progress.stopped is None
    assert bad.mails == []
    assert_nobody_is_lost(publisher.database, good)
    row = read_throttles(publisher.database)[f"127.0.0.1:{bad.port}"]
    assert said in row.reason
    assert good.most_connections == 4


def test_another_relay_takes_over_from_one_that_is_not_there(publisher: Publisher) -> None:
    publish(publisher, 60)
    server = SmtpServer()

    async def run() -> Progress:
        async with server:
            relays = [Relay(host="127.0.0.1", port=find_closed_port(), tls="none"), relay_to(server)]
            return await make_crew(publisher.database, relays).run()

    assert asyncio.run(run()).stopped is None
    assert_nobody_is_lost(publisher.database, server)


def test_another_relay_takes_over_from_one_that_refuses_the_login(publisher: Publisher) -> None:
    publish(publisher, 60)
    bad, good = SmtpServer(logins={"editor": "right"}), SmtpServer()
    login = {"username": "editor", "password": "wrong"}
    assert deliver_over(publisher.database, bad, good, relays=[login]).stopped is None
    assert len(bad.sessions) == 1
    assert_nobody_is_lost(publisher.database, good)


def test_one_that_dies_in_the_middle_is_one_step_backed_off_and_not_hammered(publisher: Publisher) -> None:
    """Its four connections are lost at once, and none is had again: one trouble, one step."""
    publish(publisher, 60)
    dying = SmtpServer(drop_after={"BODY"}, replies={"BANNER": [None] * 4 + [DROP] * 1_000})
    good = SmtpServer()
    assert deliver_over(publisher.database, dying, good).stopped is None
    assert_nobody_is_lost(publisher.database, dying, good)
    row = read_throttles(publisher.database)[f"127.0.0.1:{dying.port}"]
    assert (row.step, row.until_at) == (1, NOW + RULES.retry_delays[0])
    assert len(dying.sessions) <= 8


def test_several_connections_that_say_421_are_one_step_too(publisher: Publisher) -> None:
    publish(publisher, 60)
    closing = SmtpServer(replies={"MAIL": "421 4.3.2 closing"})
    deliver_over(publisher.database, closing, SmtpServer(), relays=[{"connections": 9}])
    assert read_throttles(publisher.database)[f"127.0.0.1:{closing.port}"].step == 1


def test_it_comes_back_in_the_same_run_when_its_time_is_over(publisher: Publisher) -> None:
    """The good relay stalls, so that the rest can only go over the one that was down and is tried again."""
    publish(publisher, 60)
    clock, stall = WallClock(), Stall()
    ill = SmtpServer(replies={"BANNER": [DROP]})
    good = SmtpServer(replies={"RCPT": stall})

    async def run() -> Progress:
        async with ill, good:
            crew = make_crew(publisher.database, [relay_to(ill), relay_to(good)], clock=clock)
            task = asyncio.create_task(crew.run())
            await stall.wait_reached()
            await wait_until(lambda: any(session.finished for session in ill.sessions))
            await wait_until(lambda: count_stalled(good) == 4)
            clock.turn(minutes=6)
            await wait_until(lambda: len(ill.mails) >= 56)
            stall.release()
            return await task

    assert asyncio.run(run()).stopped is None
    assert_nobody_is_lost(publisher.database, ill, good)


def test_it_is_healthy_again_after_some_mails(publisher: Publisher) -> None:
    database = publisher.database
    publish(publisher, 60)
    server = SmtpServer(replies={"BANNER": [DROP]})
    assert deliver_over(database, server).stopped is not None
    assert read_throttles(database)[f"127.0.0.1:{server.port}"].step == 1
    assert deliver_over(database, server).stopped is None
    assert read_throttles(database) == {}
    assert_nobody_is_lost(database, server)


def test_by_hand_one_that_is_backed_off_is_tried_once_and_its_back_off_grows(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 60)
    server = SmtpServer(replies={"BANNER": DROP})
    steps = []
    for tries in range(1, 9):
        progress = deliver_over(database, server)
        assert progress.stopped is not None
        assert len(server.sessions) == tries
        row = read_throttles(database)[f"127.0.0.1:{server.port}"]
        assert row.reason in progress.stopped
        steps.append(row.step)
    assert steps == [1, 2, 3, 4, 5, 6, 6, 6]
    books = audit(database, issue)
    assert (books.queued, books.deferred, books.sending) == (60, 0, 0)


def test_all_down_stops_with_every_reason_and_nothing_is_counted(publisher: Publisher) -> None:
    database, issue = publisher.database, publish(publisher, 60)
    down = SmtpServer(replies={"BANNER": DROP})
    strict = SmtpServer(logins={"editor": "right"})
    closing = SmtpServer(replies={"MAIL": DROP})
    login = {"username": "editor", "password": "wrong"}
    progress = deliver_over(database, down, strict, closing, relays=[{}, login, {}])
    assert progress.stopped is not None
    for server in (down, strict, closing):
        assert f"127.0.0.1:{server.port}" in progress.stopped
    books = audit(database, issue)
    assert (books.queued, books.deferred, books.rejected, books.sending) == (60, 0, 0, 0)
    assert not progress.outcomes
    good = SmtpServer()
    assert deliver_over(database, good).stopped is None
    assert_nobody_is_lost(database, good)


@pytest.mark.parametrize("delays", [(), (timedelta(0),) * 3])
@pytest.mark.parametrize("stage", ["BANNER", "EHLO", "MAIL"])
def test_without_delays_a_relay_that_is_down_stops_the_run_too(
    publisher: Publisher, delays: tuple[timedelta, ...], stage: str
) -> None:
    publish(publisher, 60)
    server = SmtpServer(replies={stage: DROP})
    assert deliver_over(publisher.database, server, retry_delays=delays).stopped is not None
    assert len(server.sessions) <= 12
    assert audit(publisher.database, None).rejected == 0


def test_one_that_allows_fewer_connections_works_on_through_those(publisher: Publisher) -> None:
    publish(publisher, 60)
    stall = Stall()
    server = SmtpServer(replies={"BANNER": [None, None] + ["421 4.7.0 too many connections"] * 99, "RCPT": [stall]})

    async def run() -> Progress:
        async with server:
            task = asyncio.create_task(make_crew(publisher.database, [relay_to(server, connections=9)]).run())
            await stall.wait_reached()
            await wait_until(lambda: len(server.mails) >= 59)
            stall.release()
            return await task

    assert asyncio.run(run()).stopped is None
    assert_nobody_is_lost(publisher.database, server)
    assert len(server.sessions) <= 10
    assert read_throttles(publisher.database) == {}
