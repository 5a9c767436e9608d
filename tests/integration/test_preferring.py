"""Preferences by the link in every mail: what readers change, and that nobody else does."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from daemon_house import House
from smtp_server import SmtpServer
from sqlalchemy import Row
from test_joining import carry
from web_house import open_client
from workshop import read_parts

from newsletter.core.tokens import Purpose
from newsletter.store import notices, subscribers
from newsletter.subscribe import forget_subscriber, remove_subscriber, suppress_address

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_people("ann@example.org", "ben@example.org")
    yield house
    house.service.database.close()


def link_of(house: House, email: str = "ann@example.org") -> str:
    return f"/preferences/{house.service.signer.sign(Purpose.PREFERENCES, house.service.find_person(email).id)}"


def person(house: House, email: str = "ann@example.org") -> Row[Any]:
    return house.service.find_person(email)


async def change(house: House, **fields: Any) -> tuple[int, str]:
    async with open_client(house, peer="192.0.2.7") as client:
        answer = await client.post(link_of(house), data=fields)
    return answer.status_code, answer.text


async def test_looking_changes_nothing(house: House) -> None:
    before = person(house)
    async with open_client(house) as client:
        for path in ("", "/preview?topics=sport", "/data"):
            assert (await client.get(link_of(house) + path)).status_code == 200
            assert (await client.head(link_of(house) + path)).status_code == 200
    assert person(house) == before


async def test_what_is_chosen_is_kept_and_agreed_to(house: House) -> None:
    status, text = await change(
        house, topics=["sport"], frequency="weekly:fri", name="Ann", language="fr", timezone="Asia/Tokyo"
    )
    assert (status, "Enregistré." in text) == (200, True)
    now = person(house)
    chosen = (now.topics, now.frequency, now.name, now.language, now.timezone)
    assert chosen == ("sport", "weekly:fri", "Ann", "fr", "Asia/Tokyo")
    with house.service.database.read() as conn:
        consents = subscribers.list_consents(conn, now.id, now.id)
    assert [(consent.source, consent.topics) for consent in consents] == [("test", "*"), ("preferences link", "sport")]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"topics": ["gardening"]}, "Something that you chose"),
        ({"frequency": "hourly"}, "Something that you chose"),
        ({"timezone": "x"}, "Something that you chose"),
        ({"name": "x" * 201}, "This name is too long"),
    ],
)
async def test_what_does_not_fit_changes_nothing(house: House, wrong: dict[str, Any], sentence: str) -> None:
    before = person(house)
    status, text = await change(house, **{"topics": ["sport"], **wrong})
    assert (status, sentence in text) == (422, True)
    assert person(house) == before


async def test_a_pause_begins_and_ends(house: House) -> None:
    status, text = await change(house, action="pause", until="2026-12-24")
    assert (status, "You get nothing until" in text) == (200, True)
    assert person(house).paused_until is not None
    await change(house, action="resume")
    assert person(house).paused_until is None
    for wrong in ("2026-01-01", "2036-01-01", "9999-12-31", "0001-01-01", "soon", ""):
        status, text = await change(house, action="pause", until=wrong)
        assert (status, "Please choose a day to come" in text) == (422, True), wrong


async def test_another_address_is_theirs_once_it_is_confirmed_from_there(house: House) -> None:
    assert (await change(house, action="address", email="New@example.org"))[0] == 200
    await change(house, action="address", email="ben@example.org")  # somebody else's: nothing is sent, nothing is told
    server = SmtpServer()
    await anyio.to_thread.run_sync(carry, house, server)
    assert [mail.recipient for mail in server.mails] == ["New@example.org"]
    found = re.search(r"(/confirm/\S+)", read_parts(server.mails[0])[0])
    assert found is not None
    number = person(house).id
    async with open_client(house) as client:
        assert (await client.get(found[1])).status_code == 200
        assert person(house).email == "ann@example.org"
        assert "Your new address is confirmed" in (await client.post(found[1])).text
    assert person(house, "new@example.org").id == number
    assert (await change_wrong_address(house))[0] == 422


async def change_wrong_address(house: House) -> tuple[int, str]:
    async with open_client(house) as client:
        answer = await client.post(link_of(house, "new@example.org"), data={"action": "address", "email": "nonsense"})
    return answer.status_code, answer.text


async def test_erasing_asks_whether_they_are_sure(house: House) -> None:
    assert (await change(house, action="erase"))[0] == 422
    status, text = await change(house, action="erase", sure="yes")
    assert (status, "You are erased" in text) == (200, True)
    with house.service.database.read() as conn:
        assert subscribers.find_subscribers(conn, ["ann@example.org"]) == {}


async def test_their_data_is_all_that_is_held(house: House) -> None:
    async with open_client(house) as client:
        answer = await client.get(f"{link_of(house)}/data")
    assert answer.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    assert answer.json()["email"] == "ann@example.org"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_what_they_would_have_got_last_time(house: House) -> None:
    async with open_client(house) as client:
        assert "Nothing was published yet" in (await client.get(f"{link_of(house)}/preview?topics=*")).text
        house.add_brief("one", "Brief one")
        service = house.open()
        await anyio.to_thread.run_sync(
            lambda: service.make_publisher().publish(service.find_brief("one"), now=house.now)
        )
        assert "Brief one: a story" in (await client.get(f"{link_of(house)}/preview?topics=sport")).text
        assert "No story of these topics" in (await client.get(f"{link_of(house)}/preview?topics=art")).text


async def test_leaving_offers_less_and_the_way_back(house: House) -> None:
    token = house.service.signer.sign(Purpose.UNSUBSCRIBE, person(house).id)
    async with open_client(house) as client:
        page = await client.post(f"/unsubscribe/{token}", data={"List-Unsubscribe": "One-Click"})
        assert "Fewer topics, or weekly" in page.text
        assert person(house).state == "unsubscribed"
        assert "You get no mail from us now" in (await client.get(link_of(house))).text
        await client.post(link_of(house), data={"topics": ["sport"], "frequency": "weekly:mon"})
    assert (person(house).state, person(house).frequency) == ("active", "weekly:mon")


async def test_a_link_serves_its_own_purpose_and_outlives_a_change_of_keys(house: House) -> None:
    number = person(house).id
    async with open_client(house) as client:
        for purpose, path in ((Purpose.UNSUBSCRIBE, "preferences"), (Purpose.PREFERENCES, "unsubscribe")):
            token = house.service.signer.sign(purpose, number)
            assert (await client.get(f"/{path}/{token}")).status_code == 404
    link = link_of(house)
    async with open_client(house, SECRET_KEY=f'["{"n" * 32}","{"k" * 32}"]') as client:
        assert (await client.get(link)).status_code == 200
    async with open_client(house, SECRET_KEY="n" * 32) as client:
        assert (await client.get(link)).status_code == 404


async def test_a_reader_who_gathers_from_now_on_begins_now(house: House) -> None:
    house.add_brief("one", "Brief one")
    service = house.open()
    await anyio.to_thread.run_sync(lambda: service.make_publisher().publish(service.find_brief("one"), now=house.now))
    house.now += timedelta(hours=1)
    await change(house, topics=["*"], frequency="weekly:mon")
    assert person(house).covered_issue_id == 1


@pytest.mark.parametrize("fields", [{}, {"action": "nonsense"}, {"language": "de"}])
async def test_who_left_comes_back_by_choosing_topics_and_by_nothing_else(house: House, fields: dict[str, Any]) -> None:
    remove_subscriber(house.service.database, "ann@example.org", now=house.now, channel="test")
    assert (await change(house, **fields))[0] == (422 if "action" in fields else 200)
    now = person(house)
    assert (now.state, now.topics, now.language) == ("unsubscribed", "*", fields.get("language"))
    assert (await change(house, topics=["sport"]))[0] == 200
    assert (person(house).state, person(house).topics) == ("active", "sport")


async def test_what_a_form_does_not_bring_stays(house: House) -> None:
    assert (await change(house, language="de"))[0] == 200
    assert (person(house).topics, person(house).language) == ("*", "de")
    await change(house, shown="topics", language="de")  # the page's own form, and no box ticked
    assert person(house).topics == ""


async def test_who_gets_no_mail_can_pause_nothing(house: House) -> None:
    remove_subscriber(house.service.database, "ann@example.org", now=house.now, channel="test")
    for action in ("pause", "resume", "address"):
        status, text = await change(house, action=action, until="2026-12-24", email="x@example.org")
        assert (status, "You get no mail from us now" in text) == (409, True)


async def test_what_was_typed_is_still_there_when_something_does_not_fit(house: House) -> None:
    _, text = await change(house, topics=["sport"], name="Ann the First", timezone="Mars/Base")
    assert 'value="Ann the First"' in text
    assert 'value="sport" checked' in text
    assert 'value="*" checked' not in text


async def test_a_reader_to_whom_nothing_is_sent_is_told(house: House) -> None:
    suppress_address(house.service.database, "ann@example.org", reason="bounced", now=house.now, source="test")
    async with open_client(house) as client:
        assert "Nothing is sent to this address any more" in (await client.get(link_of(house))).text


async def test_an_address_of_somebody_erased_gets_mail_again_and_a_dead_one_none(house: House) -> None:
    forget_subscriber(house.service.database, "ben@example.org", now=house.now)
    suppress_address(house.service.database, "bad@example.org", reason="bounced", now=house.now, source="test")
    for email in ("bad@example.org", "ben@example.org"):
        status, text = await change(house, action="address", email=email)
        assert (status, "If we may write to this address" in text) == (200, True)
    with house.service.database.read() as conn:
        (notice,) = notices.list_notices(conn, person(house).id)
        assert notice.email == "ben@example.org"
    async with open_client(house) as client:
        told = (await client.get(f"{link_of(house)}/data")).json()
        assert [mail["email"] for mail in told["mails"]] == ["ben@example.org"]
        token = house.service.signer.sign(
            Purpose.CONFIRM, person(house).id, notice.id, expires_at=house.now + timedelta(days=1)
        )
        assert (await client.post(f"/confirm/{token}")).status_code == 200
    assert person(house, "ben@example.org").reason is None


async def test_the_preview_without_a_script_puts_nothing_of_a_reader_into_an_address(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get(link_of(house))
        assert 'formmethod="get"' not in page.text
        shown = await client.post(f"{link_of(house)}/preview", data={"topics": ["sport"], "name": "Ann"})
        assert (shown.status_code, person(house).name) == (200, "")
