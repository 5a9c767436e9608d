"""Signing up and confirming: by people, by scanners that follow every link, by programs, by those who try addresses."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from daemon_house import House
from smtp_server import DROP, SmtpServer, Stall
from web_house import open_client
from workshop import parse_mail, read_parts

from newsletter.core.errors import StoreBusyError
from newsletter.core.policy import CONFIRM_WITHIN, NOTICES_A_DAY
from newsletter.core.throttle import Backoff
from newsletter.core.tokens import Purpose
from newsletter.daemon.postman import Postman
from newsletter.feedback import Feedback
from newsletter.report import describe_attempts, describe_subscriber
from newsletter.store import notices, subscribers, upkeep
from newsletter.store.schema import notices as notice_rows
from newsletter.store.throttles import Throttled, write_backoff
from newsletter.subscribe import forget_subscriber, remove_subscriber, suppress_address
from newsletter.web import make_app
from newsletter.web.pulse import Pulse

pytestmark = pytest.mark.anyio
FORM = {"email": "new@example.org", "topics": ["sport"], "frequency": "daily", "name": "Ann", "language": "de"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_people("reader@example.org")
    yield house
    house.service.database.close()


def carry(house: House, server: SmtpServer) -> None:
    """Let the service's own mails be sent into a server."""

    async def run() -> None:
        async with server:
            more = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
            await Postman(house.open(**more)).run()

    asyncio.run(run())


async def sign_up(house: House, fields: dict[str, Any], **headers: str) -> tuple[int, str]:
    async with open_client(house, peer="192.0.2.7") as client:
        answer = await client.post("/subscribe", data=fields, headers=headers)
    return answer.status_code, answer.text


async def fetch_link(house: House, server: SmtpServer | None = None) -> str:
    server = server or SmtpServer()
    await anyio.to_thread.run_sync(carry, house, server)
    found = re.search(r"http://127\.0\.0\.1:8000(/(?:confirm|preferences)/\S+)", read_parts(server.mails[-1])[0])
    assert found is not None
    return found[1]


def read_state(house: House, email: str) -> str:
    with house.service.database.read() as conn:
        found = subscribers.find_subscribers(conn, [email])
    return found[email].state if email in found else "unknown"


async def test_a_reader_is_who_confirms(house: House) -> None:
    status, text = await sign_up(house, FORM)
    assert (status, "Please look into your mailbox" in text) == (200, True)
    assert read_state(house, "new@example.org") == "pending"
    server = SmtpServer()
    link = await fetch_link(house, server)
    mail = parse_mail(server.mails[0])
    assert (mail["Auto-Submitted"], mail["To"]) == ("auto-generated", "new@example.org")
    async with open_client(house) as client:
        page = await client.get(link)
        assert (page.status_code, "<button" in page.text, '<html lang="de"' in page.text) == (200, True, True)
        assert read_state(house, "new@example.org") == "pending"
        for _ in range(2):
            done = await client.post(link, data={"by": "page"})
            assert (done.status_code, "Sie haben abonniert" in done.text) == (200, True)
    assert read_state(house, "new@example.org") == "active"
    with house.service.database.read() as conn:
        told = describe_subscriber(conn, subscribers.find_subscriber(conn, "new@example.org"))
    assert (told["topics"], told["frequency"], told["name"]) == (["sport"], "daily", "Ann")
    (consent,) = told["consent"]
    assert consent["confirmed_at"] == house.now
    assert "You agree that we send you News" in consent["wording"]
    assert "192.0.2.7" in consent["source"]


@pytest.mark.parametrize("language", ["en", "ar", "de"])
async def test_the_mail_is_seven_bit_in_short_lines_whatever_it_speaks(house: House, language: str) -> None:
    await sign_up(house, {**FORM, "language": language}, **{"Accept-Language": "en"})
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    (mail,) = server.mails
    assert mail.data.isascii()
    assert max(len(line) for line in mail.data.split(b"\r\n")) <= 78
    text, html = read_parts(mail)
    assert f'lang="{language}"' in html
    for part in (text, html):
        assert re.search(r"http://127\.0\.0\.1:8000/confirm/[a-z2-7]+", part)
        assert "&amp;" not in text


async def test_scanners_confirm_nothing(house: House) -> None:
    await sign_up(house, FORM)
    link = await fetch_link(house)
    async with open_client(house) as client:
        for _ in range(2):
            assert (await client.get(link)).status_code == 200
            assert (await client.head(link)).status_code == 200
    assert read_state(house, "new@example.org") == "pending"


async def test_the_page_says_the_same_whoever_it_is(house: House) -> None:
    suppress_address(house.service.database, "bad@example.org", reason="bounced", now=house.now, source="test")
    emails = ("new@example.org", "reader@example.org", "READER@example.org", "bad@example.org")
    answers = [await sign_up(house, {"email": email, "topics": ["sport"]}) for email in emails]
    assert len(set(answers)) == 1
    server = SmtpServer()
    await anyio.to_thread.run_sync(carry, house, server)
    told = {mail.recipient: read_parts(mail)[0] for mail in server.mails}
    assert set(told) == {"new@example.org", "reader@example.org"}
    assert "/preferences/" in told["reader@example.org"]
    assert "/confirm/" in told["new@example.org"]


async def test_an_address_gets_few_mails_however_often_it_is_asked_for(house: House) -> None:
    for number in range(NOTICES_A_DAY + 2):
        await sign_up(house, {**FORM, "name": f"Ann {number}"})
    server = SmtpServer()
    await anyio.to_thread.run_sync(carry, house, server)
    assert len(server.mails) == NOTICES_A_DAY
    house.now += timedelta(days=1, seconds=1)
    await sign_up(house, FORM)
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    assert len(server.mails) == 1


async def test_a_network_is_stopped_after_thirty_a_minute_and_others_are_not(house: House) -> None:
    async with open_client(house, peer="192.0.2.7") as client:
        codes = [(await client.post("/subscribe", data={"email": f"n{n}@example.org"})).status_code for n in range(40)]
        assert codes == [200] * 30 + [429] * 10
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        assert (await client.post("/subscribe", data={"email": "x@example.org"}, headers=forwarded)).status_code == 429
    assert (await sign_up(house, FORM))[0] == 200


async def test_who_fills_in_the_field_that_nobody_sees_gets_nothing(house: House) -> None:
    assert (await sign_up(house, {**FORM, "website": "http://spam.example"}))[0] == 200
    assert read_state(house, "new@example.org") == "unknown"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"email": "no address"}, "no email address"),
        ({"email": ""}, "no email address"),
        ({"email": "a@example.org", "topics": ["gardening"]}, "Something that you chose"),
        ({"email": "a@example.org", "frequency": "hourly"}, "Something that you chose"),
        ({"email": "a@example.org", "timezone": "Mars/Base"}, "Something that you chose"),
        ({"email": "a@example.org", "name": "x" * 201}, "This name is too long"),
        ({"email": "a@example.org\r\nBcc: b@example.org"}, "no email address"),
    ],
)
async def test_what_does_not_fit_is_told_and_the_form_comes_back_filled(
    house: House, wrong: dict[str, Any], sentence: str
) -> None:
    status, text = await sign_up(house, {**FORM, **wrong})
    assert (status, sentence in text, 'value="Ann"' in text or "name" in wrong) == (422, True, True)
    assert "Traceback" not in text


async def test_what_does_not_fit_is_told_in_the_language_of_the_page(house: House) -> None:
    async with open_client(house) as client:
        answer = await client.post("/subscribe", data={"email": "no address"}, headers={"Accept-Language": "de"})
    assert "An diese E-Mail-Adresse können wir nicht schreiben." in answer.text


async def test_a_program_may_send_multipart(house: House) -> None:
    async with open_client(house) as client:
        answer = await client.post("/subscribe", files={"email": (None, "new@example.org"), "topics": (None, "sport")})
    assert (answer.status_code, read_state(house, "new@example.org")) == (200, "pending")


async def test_who_left_may_come_back_by_confirming(house: House) -> None:
    remove_subscriber(house.service.database, "reader@example.org", now=house.now, channel="link")
    await sign_up(house, {"email": "reader@example.org", "topics": ["sport"]})
    assert read_state(house, "reader@example.org") == "unsubscribed"
    link = await fetch_link(house)
    async with open_client(house) as client:
        assert (await client.post(link)).status_code == 200
    assert read_state(house, "reader@example.org") == "active"
    with house.service.database.read() as conn:
        assert subscribers.find_subscriber(conn, "reader@example.org").topics == "sport"


async def test_who_was_erased_may_come_back_too(house: House) -> None:
    forget_subscriber(house.service.database, "reader@example.org", now=house.now)
    await sign_up(house, {"email": "reader@example.org"})
    link = await fetch_link(house)
    async with open_client(house) as client:
        assert (await client.post(link)).status_code == 200
    person = house.service.find_person("reader@example.org")
    assert (person.state, person.topics, person.at) == ("active", "*", None)


async def test_a_link_is_valid_for_seven_days_and_then_the_person_is_forgotten(house: House) -> None:
    await sign_up(house, FORM)
    link = await fetch_link(house)
    house.now += CONFIRM_WITHIN - timedelta(seconds=1)
    postman = Postman(house.open())
    assert postman.tidy() == 0
    async with open_client(house) as client:
        assert (await client.get(link)).status_code == 200
        house.now += timedelta(seconds=2)
        assert (await client.get(link)).status_code == 404
        assert (await client.post(link)).status_code == 404
    assert postman.tidy() == 1
    assert read_state(house, "new@example.org") == "unknown"
    assert read_state(house, "reader@example.org") == "active"


@pytest.mark.parametrize("token", ["", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "%00", "é", "a" * 200])
async def test_a_forged_link_is_not_found_and_says_nothing(house: House, token: str) -> None:
    async with open_client(house) as client:
        for path in ("confirm", "preferences", "unsubscribe", "view"):
            answer = await client.get(f"/{path}/{token}")
            assert answer.status_code == 404
            assert "example.org" not in answer.text


async def test_a_mail_that_is_deferred_goes_again_and_all_attempts_are_in_the_log(house: House) -> None:
    await sign_up(house, FORM)
    answers = {"RCPT": {"new@example.org": ["450 4.2.0 greylisted"]}}
    await anyio.to_thread.run_sync(carry, house, SmtpServer(replies=answers))
    await anyio.to_thread.run_sync(carry, house, quiet := SmtpServer())
    assert quiet.mails == []
    house.now += timedelta(minutes=6)
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    assert len(server.mails) == 1
    lines = list(describe_attempts(house.service.database, issue_id=None, subscriber_id=None, state=None, since=None))
    assert [(line["issue"], line["email"], line["outcome"], line["code"]) for line in lines] == [
        (None, "new@example.org", "deferred", 450),
        (None, "new@example.org", "accepted", 250),
    ]


@pytest.mark.parametrize("replies", [{"RCPT": "550 5.1.1 no such user"}, {"BODY": DROP}])
async def test_a_mail_that_fails_is_written_down(house: House, replies: dict[str, str]) -> None:
    await sign_up(house, FORM)
    await anyio.to_thread.run_sync(carry, house, SmtpServer(replies=replies))
    with house.service.database.read() as conn:
        (attempt,) = notices.list_attempts(conn)
        row = conn.execute(notice_rows.select()).one()
    assert (attempt.outcome, row.due_at is None) in (("rejected", True), ("uncertain", False))


async def test_without_a_relay_it_waits(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await sign_up(house, FORM)
    postman = Postman(house.open(SMTP__HOST="127.0.0.1", SMTP__PORT="1", SMTP__TLS="none"))
    for _ in range(3):
        await postman.run()
    assert [record.message for record in caplog.records] == ["a mail to a person could not be sent"]
    house.now += timedelta(seconds=31)
    await postman.run()
    assert len(caplog.records) == 2
    assert (await fetch_link(house)).startswith("/confirm/")


async def test_the_home_page_offers_topics_and_speaks_the_browsers_language(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get("/", headers={"Accept-Language": "ar;q=0.9, xx, en;q=0.1"})
        assert '<html lang="ar" dir="rtl">' in page.text
        assert 'value="sport"' in page.text
        assert "noindex" not in page.text
        assert not re.search(r"(src|href|action)=\"https?://(?!127\.0\.0\.1:8000)", page.text)
        english = await client.get("/", headers={"Accept-Language": "xx;q=nonsense"})
        assert '<html lang="en" dir="ltr">' in english.text


async def test_a_link_that_was_used_does_not_say_subscribed_of_who_has_left_since(house: House) -> None:
    await sign_up(house, FORM)
    link = await fetch_link(house)
    async with open_client(house) as client:
        assert (await client.post(link)).status_code == 200
        remove_subscriber(house.service.database, "new@example.org", now=house.now, channel="link")
        assert (await client.post(link)).status_code == 404
    assert read_state(house, "new@example.org") == "unsubscribed"


async def test_who_confirms_twice_what_they_chose_twice_gathers_from_now_on(house: House) -> None:
    await sign_up(house, {**FORM, "frequency": "each"})
    first = await fetch_link(house)
    await sign_up(house, {**FORM, "frequency": "weekly:mon"})
    second = await fetch_link(house)
    async with open_client(house) as client:
        await client.post(first)
        house.add_brief("one", "Brief one")
        service = house.open()
        await anyio.to_thread.run_sync(
            lambda: service.make_publisher().publish(service.find_brief("one"), now=house.now)
        )
        await client.post(second)
    person = house.service.find_person("new@example.org")
    assert (person.frequency, person.covered_issue_id) == ("weekly:mon", 1)


async def test_who_comes_back_begins_anew_by_either_link(house: House) -> None:
    """A pause and what was covered before they left are of their earlier time."""
    database = house.service.database
    for way in ("confirm", "preferences"):
        person = house.service.find_person("reader@example.org")
        with database.write() as conn:
            subscribers.update_subscribers(
                conn, [(person, {"paused_until": house.now + timedelta(days=9), "has_gap": True})], house.now
            )
        remove_subscriber(database, "reader@example.org", now=house.now, channel="link")
        async with open_client(house) as client:
            if way == "confirm":
                await sign_up(house, {"email": "reader@example.org", "topics": ["sport"]})
                await client.post(await fetch_link(house))
            else:
                token = house.service.signer.sign(Purpose.PREFERENCES, person.id)
                await client.post(f"/preferences/{token}", data={"topics": ["sport"]})
        person = house.service.find_person("reader@example.org")
        assert (person.state, person.paused_until, person.has_gap) == ("active", None, False)


ODD = ("é@example.org", "user@bücher.example", "a+b=c@example.org", "o'neil@example.org", "x" * 64 + "@example.org")


async def test_no_address_that_may_sign_up_keeps_the_others_waiting(house: House) -> None:
    for email in (*ODD, "last@example.org"):
        assert (await sign_up(house, {"email": email, "topics": ["sport"]}))[0] == 200, email
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer(offers=("8BITMIME",)))
    got = {mail.recipient for mail in server.mails}
    assert {"last@example.org", "user@xn--bcher-kva.example", "a+b=c@example.org", "o'neil@example.org"} <= got
    with house.service.database.read() as conn:
        outcomes = {row.email: row.outcome for row in notices.list_attempts(conn)}
    assert outcomes["é@example.org"] == "rejected"  # this relay offers no SMTPUTF8
    assert set(outcomes) == {*ODD, "last@example.org"}


async def test_an_attempt_is_in_the_log_before_its_end_is_known(house: House) -> None:
    """Killed or cancelled while the relay keeps still, it stands there in doubt, and goes again with the same id."""
    await sign_up(house, FORM)

    async def interrupt() -> None:
        async with SmtpServer(replies={"BODY": (stall := Stall())}) as server:
            more = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
            running = asyncio.create_task(Postman(house.open(**more)).run())
            await stall.wait_reached()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    await anyio.to_thread.run_sync(asyncio.run, interrupt())
    with house.service.database.read() as conn:
        (begun,) = notices.list_attempts(conn)
    assert begun.outcome == "uncertain"
    house.now += timedelta(minutes=5, seconds=1)
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    with house.service.database.read() as conn:
        assert [row.outcome for row in notices.list_attempts(conn)] == ["uncertain", "accepted"]
    assert parse_mail(server.mails[0])["Message-ID"] == begun.message_id


async def test_a_relay_that_hangs_up_before_it_answers_costs_no_attempt(house: House) -> None:
    await sign_up(house, FORM)
    await anyio.to_thread.run_sync(carry, house, SmtpServer(replies={"MAIL": DROP}))
    with house.service.database.read() as conn:
        assert list(notices.list_attempts(conn)) == []
    assert (await fetch_link(house)).startswith("/confirm/")


async def test_nothing_goes_while_the_service_is_paused_or_the_relay_is_backed_off(house: House) -> None:
    await sign_up(house, FORM)
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, True)
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    assert server.mails == []
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, False)
    async with SmtpServer() as server:
        with house.service.database.write() as conn:
            shut = Backoff(step=1, until_at=house.now + timedelta(minutes=5), reason="test")
            write_backoff(conn, Throttled.RELAY, f"{server.host}:{server.port}", shut)
        more = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
        await Postman(house.open(**more)).run()
        assert server.sessions == []
    assert (await fetch_link(house)).startswith("/confirm/")


async def test_a_mail_that_waited_too_long_or_whose_address_was_suppressed_goes_no_more(house: House) -> None:
    await sign_up(house, FORM)
    await sign_up(house, {"email": "bad@example.org"})
    suppress_address(house.service.database, "bad@example.org", reason="bounced", now=house.now, source="test")
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer(replies={"RCPT": "450 4.2.0 later"}))
    assert len(server.sessions) == 2
    house.now += timedelta(days=1, minutes=6)
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    assert server.mails == []
    with house.service.database.read() as conn:
        assert notices.list_due(conn, house.now + timedelta(days=99), 9) == []


async def test_the_mail_of_a_reader_who_is_known_says_that_all_stays(house: House) -> None:
    await sign_up(house, {"email": "reader@example.org"})
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    text, _ = read_parts(server.mails[0])
    assert "You need do nothing: all stays as it is." in text
    assert "nothing will be sent" not in text


async def test_a_letter_that_folds_into_others_is_another_address(house: House) -> None:
    """No mail with a reader's link goes to an address that only looks like theirs to a machine."""
    house.add_people("jess@example.org")
    await sign_up(house, {**FORM, "email": "jeß@example.org"})
    assert (await fetch_link(house)).startswith("/confirm/")
    assert read_state(house, "jeß@example.org") == "pending"


async def test_a_mail_to_a_reader_goes_to_the_address_that_is_held_and_speaks_their_language(house: House) -> None:
    with house.service.database.write() as conn:
        subscribers.update_subscribers(
            conn, [(house.service.find_person("reader@example.org"), {"language": "ar"})], house.now
        )
    await sign_up(house, {**FORM, "email": "READER@example.org"}, **{"Accept-Language": "fr"})
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    (mail,) = server.mails
    assert mail.recipient == "reader@example.org"
    assert 'lang="ar"' in read_parts(mail)[1]


async def test_the_same_form_sent_again_before_its_mail_went_is_one_mail(house: House) -> None:
    for _ in range(5):
        assert (await sign_up(house, FORM))[0] == 200
    await anyio.to_thread.run_sync(carry, house, server := SmtpServer())
    assert len(server.mails) == 1


async def test_who_must_wait_is_told_how_long(house: House) -> None:
    async with open_client(house, peer="192.0.2.9") as client:
        answers = [await client.post("/subscribe", data={"email": f"n{n}@example.org"}) for n in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


async def test_a_link_that_was_used_says_nothing_of_who_left_since(house: House) -> None:
    await sign_up(house, FORM)
    link = await fetch_link(house)
    async with open_client(house) as client:
        await client.post(link)
        assert (await client.get(link)).status_code == 200
        remove_subscriber(house.service.database, "new@example.org", now=house.now, channel="test")
        assert ((await client.get(link)).status_code, (await client.post(link)).status_code) == (404, 404)


async def test_a_database_that_is_busy_for_a_while_loses_no_sign_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def sign_up_when_free(*arguments: Any, **named: Any) -> None:
        tries.append("try")
        if len(tries) < 3:
            raise StoreBusyError("the database is busy")
        joining.sign_up(*arguments, **named)

    joining = import_module("newsletter.subscribe.signup")
    monkeypatch.setattr("newsletter.web.joining.sign_up", sign_up_when_free)
    await sign_up(house, FORM)
    assert (len(tries), read_state(house, "new@example.org")) == (3, "pending")


async def test_what_goes_wrong_beside_the_operators_pages_is_told_to_readers(house: House) -> None:
    async with open_client(house, peer="192.0.2.7") as client:
        client.headers["Accept-Language"] = "de"
        pages = [
            (await client.get("/nothing"), 404),
            (await client.get("/archive?before=abc"), 404),
            (await client.get("/subscribe"), 405),
            (await client.post("/subscribe", content=b"x" * 20_000), 413),
        ]
    for page, status in pages:
        assert (page.status_code, 'lang="de"' in page.text) == (status, True), page.url
        assert "/console" not in page.text
        assert "sign-in" not in page.text


async def test_a_page_that_breaks_has_all_headers_and_no_detail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr("newsletter.web.reading.ReaderPages.offer_choices", fail)
    pulse = Pulse()
    transport = httpx2.ASGITransport(app=make_app(house.service, pulse), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        page = await client.get("/")
    assert (page.status_code, page.headers["X-Content-Type-Options"]) == (500, "nosniff")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "secret" not in page.text


async def test_a_busy_database_is_told_with_when_to_come_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StoreBusyError("the database newsletter.db is busy")

    monkeypatch.setattr("newsletter.web.leaving.leave", fail)
    token = house.service.signer.sign(Purpose.UNSUBSCRIBE, house.service.find_person("reader@example.org").id)
    async with open_client(house, peer="192.0.2.7") as client:
        page = await client.post(f"/unsubscribe/{token}")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "60")
    assert "newsletter.db" not in page.text


async def test_a_confirmation_that_comes_back_is_its_persons(house: House) -> None:
    await sign_up(house, FORM)
    bouncing = House(house.folder, settings={"BOUNCE_DOMAIN": "bounces.example.org"}, now=house.now)
    await anyio.to_thread.run_sync(carry, bouncing, server := SmtpServer())
    (mail,) = server.mails
    assert re.fullmatch(r"b\+[a-z2-7]+@bounces\.example\.org", mail.return_path)
    bounce = f"Delivered-To: {mail.return_path}\nFrom: MAILER-DAEMON@mx.example\nSubject: failure notice\n\n"
    feedback = Feedback(database=house.service.database, signer=house.service.signer)
    octets = f"{bounce}<new@example.org>: 550 5.1.1 user unknown\n".encode()
    (taken,) = feedback.take_message(octets, source="test", now=house.now)
    assert (taken.report.email, taken.action) == ("new@example.org", "suppressed")
    bouncing.service.database.close()
