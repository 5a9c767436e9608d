"""Leaving by the links of a mail: as a person does, as Gmail's one click does, as scanners and forgers do."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx2
import pytest
from daemon_house import START, House

from newsletter.core.tokens import Purpose
from newsletter.store import subscribers
from newsletter.store.subscribers import list_consents
from newsletter.subscribe import forget_subscriber
from newsletter.web import make_app
from newsletter.web.pulse import Pulse

pytestmark = pytest.mark.anyio
ADA = "berlin-each@example.org"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", settings={"BASE_URL": "https://news.ledger.dev", "NAME": "The <Brief>"})
    house.add_readers("Europe/Berlin", "Asia/Tokyo")
    yield house
    house.service.database.close()


def open_client(house: House) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=make_app(house.service, Pulse()), client=("192.0.2.7", 50000))
    return httpx2.AsyncClient(transport=transport, base_url="https://news.ledger.dev")


def person(house: House) -> Any:
    with house.service.database.read() as conn:
        found = subscribers.find_subscriber(conn, ADA)
        return found.state, [(row.withdrawn_at, row.withdrawn_by) for row in list_consents(conn, found.id, found.id)]


def make_link(house: House, purpose: Purpose = Purpose.UNSUBSCRIBE) -> str:
    return f"/unsubscribe/{house.service.signer.sign(purpose, 1)}"


def list_links(house: House) -> list[str]:
    """All links of the mail that Ada gets, and those of its headers."""
    from newsletter.proof import make_proof

    house.add_brief("2026-11-25-wed", "Wednesday")
    service = house.service
    with service.database.read() as conn:
        reader = subscribers.find_subscriber(conn, ADA)
    proof = make_proof(
        service.find_brief("latest"),
        ["*"],
        publisher=service.make_publisher(),
        signer=service.signer,
        person=reader,
        now=START,
    )
    mail = message_from_bytes(proof.eml, policy=policy.default)
    header = str(mail["List-Unsubscribe"]).strip("<>")
    return [header, proof.links.unsubscribe]


async def test_scanners_that_fetch_every_link_twice_change_nothing(house: House) -> None:
    async with open_client(house) as client:
        for link in list_links(house) * 2:
            assert link.startswith("https://news.ledger.dev/unsubscribe/")
            page = await client.get(link)
            assert page.status_code == 200
            assert "Leave The &lt;Brief&gt;?" in page.text
            assert ADA not in page.text
            assert (await client.head(link)).status_code == 200
    assert person(house) == ("active", [(None, None)])


@pytest.mark.parametrize(
    ("sent", "channel"),
    [
        ({"data": {"List-Unsubscribe": "One-Click"}}, "one click"),
        ({"files": {"List-Unsubscribe": (None, "One-Click")}}, "one click"),
        ({"content": b"x" * 100_000}, "one click"),
        ({"data": {"by": "page"}}, "link"),
        ({}, "one click"),
    ],
)
async def test_one_click_and_the_button_leave_at_once_and_again_changes_nothing(
    house: House, sent: dict[str, Any], channel: str
) -> None:
    async with open_client(house) as client:
        for _ in range(2):
            answer = await client.post(make_link(house), **sent)
            assert (answer.status_code, answer.is_redirect) == (200, False)
            assert "set-cookie" not in answer.headers
            assert "You have left" in answer.text
            house.now = START.replace(hour=20)
    assert person(house) == ("unsubscribed", [(START, channel)])


async def test_a_token_that_is_not_ours_gets_404_and_no_reason(house: House) -> None:
    links = [
        "/unsubscribe/nonsense",
        make_link(house)[:-1],
        make_link(house, Purpose.PREFERENCES),
        f"/unsubscribe/{'a' * 5000}",
    ]
    async with open_client(house) as client:
        answers = [await client.request(verb, link) for link in links for verb in ("GET", "POST")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert person(house)[0] == "active"


async def test_who_was_erased_may_click_too(house: House) -> None:
    link = make_link(house)
    forget_subscriber(house.service.database, ADA, now=START)
    async with open_client(house) as client:
        assert (await client.post(link)).status_code == 200


async def test_the_pages_tell_nobody_where_a_reader_was(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get(make_link(house))
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in page.headers["x-robots-tag"]
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text


async def test_mails_of_an_older_key_lead_out_too(house: House) -> None:
    link = make_link(house)
    keys = f'["{"n" * 32}","{"k" * 32}"]'
    newer = house.open(SECRET_KEY=keys)
    transport = httpx2.ASGITransport(app=make_app(newer, Pulse()))
    async with httpx2.AsyncClient(transport=transport, base_url="https://news.ledger.dev") as client:
        assert (await client.post(link)).status_code == 200
    newer.database.close()
    assert person(house)[0] == "unsubscribed"
