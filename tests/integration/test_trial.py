"""Sending a test from the preview: to allowed addresses alone, with every line of the conversation and no password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_house import House
from smtp_server import DROP, SmtpServer
from web_house import open_client, read_csrf
from workshop import parse_mail, read_parts

from newsletter.core.tokens import Purpose

pytestmark = pytest.mark.anyio
ALLOWED = '["editor@example.org","boss@example.org"]'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_people("ann@example.org")
    house.add_brief("one", "Brief one")
    yield house
    house.service.database.close()


def use(server: SmtpServer) -> dict[str, str]:
    return {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none", "TEST_TO": ALLOWED}


async def send(house: House, server: SmtpServer, to: str, query: str = "", **more: str) -> tuple[int, str]:
    async with server, open_client(house, **{**use(server), **more}) as client:
        page = await client.get(f"/preview/one/test{query}")
        assert page.status_code == 200, page.text
        answer = await client.post(f"/preview/one/test{query}", data={"csrf": read_csrf(page), "to": to})
    return answer.status_code, answer.text


async def test_an_allowed_address_gets_the_mail_and_the_page_shows_the_conversation(house: House) -> None:
    server = SmtpServer()
    status, text = await send(house, server, "editor@example.org", "?as=ann@example.org")
    assert (status, "✓ accepted" in text) == (200, True)
    lines = ("EHLO", "MAIL FROM:&lt;news@example.org&gt;", "RCPT TO:&lt;editor@example.org&gt;", "DATA", "QUIT")
    for line in lines:
        assert f"C: {line}" in text
    assert "S: 250" in text
    assert "(the mail, " in text
    (mail,) = server.mails
    assert mail.recipient == "editor@example.org"
    assert parse_mail(mail)["To"] == "editor@example.org"
    assert "All about football" in read_parts(mail)[0]


async def test_its_links_are_nobodys(house: House) -> None:
    server = SmtpServer()
    await send(house, server, "editor@example.org", "?as=ann@example.org")
    link = parse_mail(server.mails[0])["List-Unsubscribe"].strip("<>")
    claim = house.service.signer.verify(link.rpartition("/")[2], Purpose.UNSUBSCRIBE, now=house.now)
    assert claim.subscriber == 0
    async with open_client(house) as client:
        assert (await client.post("/unsubscribe/" + link.rpartition("/")[2])).status_code in (200, 404)
    assert house.service.find_person("ann@example.org").state == "active"


async def test_two_tests_are_two_mails(house: House) -> None:
    ids = set()
    for _ in range(2):
        server = SmtpServer()
        await send(house, server, "boss@example.org")
        ids.add(parse_mail(server.mails[0])["Message-ID"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    "to", ["ann@example.org", "", "editor@example.org\r\nBcc: x@example.org", "EDITOR@example.org"]
)
async def test_no_other_address_gets_one(house: House, to: str) -> None:
    server = SmtpServer()
    status, text = await send(house, server, to)
    assert (status, "is none of the addresses that NEWSLETTER_TEST_TO names" in text) == (422, True)
    assert server.mails == []


async def test_without_allowed_addresses_there_is_no_form(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get("/preview/one/test")
        assert "NEWSLETTER_TEST_TO" in page.text
        assert "<form method" not in page.text.partition("<main")[2]


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ({"RCPT": "550 5.7.1 not here"}, "✗ rejected: 550 5.7.1 not here"),
        ({"RCPT": "450 4.2.0 greylisted"}, "↻ deferred: 450 4.2.0 greylisted"),
        ({"BODY": DROP}, "? uncertain"),
        ({"BANNER": "554 no service"}, "554 no service"),
    ],
)
async def test_what_the_relay_says_is_shown(house: House, replies: dict[str, str], words: str) -> None:
    status, text = await send(house, SmtpServer(replies=replies), "editor@example.org")
    assert status == 200
    assert words in text


async def test_a_relay_that_is_not_there_is_a_sentence(house: House) -> None:
    server = SmtpServer()
    more = {"SMTP__PORT": "1"}
    status, text = await send(house, server, "editor@example.org", **more)
    assert (status, "cannot be reached" in text) == (200, True)


async def test_a_login_is_shown_without_its_password(house: House) -> None:
    server = SmtpServer(logins={"me": "hush-hush"})
    more = {"SMTP__USERNAME": "me", "SMTP__PASSWORD": "hush-hush"}
    _, text = await send(house, server, "editor@example.org", **more)
    assert "C: AUTH" in text
    assert "S: 235" in text
    assert "hush" not in text
    assert len(server.mails) == 1


async def test_a_form_of_another_page_sends_nothing(house: House) -> None:
    server = SmtpServer()
    async with server, open_client(house, **use(server)) as client:
        answer = await client.post("/preview/one/test", data={"to": "editor@example.org"})
    assert answer.status_code == 403
    assert server.mails == []
