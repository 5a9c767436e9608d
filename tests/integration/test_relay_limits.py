"""The limits of relays: their rate, and whether they take addresses that are not ASCII."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crews import deliver_over, make_crew, publish_for, relay_to, wait_until
from smtp_server import DROP, SmtpServer
from test_deliver import NOW, SIGNER, count_mails, publish
from test_publish import make_publisher, sign_up

from newsletter.deliver import Progress
from newsletter.publish import Publisher, audit


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def test_a_relays_rate_goes_for_all_its_connections_together(publisher: Publisher) -> None:
    """100 mails a second over three connections: the last of 60 is not there before its turn by the loop's clock."""
    publish(publisher, 60)
    server = SmtpServer()

    async def run() -> Progress:
        async with server:
            crew = make_crew(publisher.database, [relay_to(server, connections=3, rate=100.0)])
            loop = asyncio.get_running_loop()
            began = loop.time()
            progress = await crew.run()
            assert loop.time() - began >= 59 / 100
            return progress

    assert asyncio.run(run()).stopped is None
    assert sum(count_mails(server).values()) == 60


def test_what_waits_for_a_rate_has_its_last_outcome_written_down_and_stops_at_once(publisher: Publisher) -> None:
    """A mail an hour: the first goes, and its outcome does not wait for the second's turn."""
    publish(publisher, 3)
    server = SmtpServer()

    async def run() -> Progress:
        async with server:
            crew = make_crew(publisher.database, [relay_to(server, rate=1 / 3600)])
            task = asyncio.create_task(crew.run())
            await wait_until(lambda: audit(publisher.database, None).accepted == 1)
            crew.halt("enough")
            return await task

    assert asyncio.run(run()).stopped == "enough"
    books = audit(publisher.database, None)
    assert (books.accepted, books.queued, books.sending) == (1, 2, 0)


def smtputf8_offers(*, offered: bool) -> tuple[str, ...]:
    return ("PIPELINING", "8BITMIME", *(["SMTPUTF8"] if offered else []))


def test_addresses_that_need_smtputf8_go_to_the_relay_that_offers_it(publisher: Publisher) -> None:
    addresses = [f"{name}{number}@x.org" for number in range(20) for name in ("kim", "zoë")]
    publish_for(publisher, addresses)
    plain, able = SmtpServer(offers=smtputf8_offers(offered=False)), SmtpServer(offers=smtputf8_offers(offered=True))
    assert deliver_over(publisher.database, plain, able).stopped is None
    assert count_mails(plain) + count_mails(able) == dict.fromkeys(addresses, 1)
    assert all(mail.recipient.isascii() for mail in plain.mails)


@pytest.mark.parametrize("more", [{}, {"drop_after": {"BODY"}}, {"replies": {"BODY": "451 4.3.0 later"}}])
def test_where_no_relay_offers_smtputf8_such_addresses_are_refused_and_nothing_hangs(
    publisher: Publisher, more: dict[str, Any]
) -> None:
    publish_for(publisher, ["kim@x.org", "zoë@x.org", "jürgen@y.org"])
    server = SmtpServer(offers=smtputf8_offers(offered=False), **more)
    assert deliver_over(publisher.database, server).stopped is None
    assert audit(publisher.database, None).rejected == 2


def test_where_the_relay_that_may_offer_smtputf8_is_down_nothing_hangs(publisher: Publisher) -> None:
    sign_up(publisher.database, NOW, "early@x.org science")
    publish_for(publisher, ["kim@x.org", "zoë@x.org"])
    down = SmtpServer(replies={"BANNER": DROP})
    plain = SmtpServer(offers=smtputf8_offers(offered=False), drop_after={"BODY"})
    stopped = deliver_over(publisher.database, down, plain).stopped
    assert count_mails(plain) == {"early@x.org": 1, "kim@x.org": 1}
    assert stopped is not None
    assert f"127.0.0.1:{down.port}" in stopped
    books = audit(publisher.database, None)
    assert (books.queued, books.rejected) == (1, 0)
    deliver_over(publisher.database, able := SmtpServer(), plain)
    assert count_mails(able)["zoë@x.org"] == 1


def test_a_relay_that_refuses_us_altogether_is_not_waited_for(publisher: Publisher) -> None:
    publish_for(publisher, ["kim@x.org", "zoë@x.org"])
    refusing = SmtpServer(replies={"BANNER": "535 5.7.8 go away"})
    plain = SmtpServer(offers=smtputf8_offers(offered=False))
    deliver_over(publisher.database, refusing, plain)
    assert audit(publisher.database, None).rejected == 1
