"""Who comes in: sessions, passwords, tokens, limits on tries, forms of our own pages alone."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from daemon_house import House
from hypothesis import given
from hypothesis import strategies as st
from web_house import PASSWORD, make_sent_house, open_client, post, read_csrf

from newsletter.core.passwords import SALT_OCTETS, hash_password, is_hashed, verify_password
from newsletter.store import tokens
from newsletter.web.forms import MOST_OCTETS
from newsletter.web.sessions import (
    COOKIE,
    LIFETIME_SECONDS,
    MOST_NETWORKS,
    MOST_TRIES,
    TRIES_SECONDS,
    Sessions,
    Tries,
    network_of,
)

pytestmark = pytest.mark.anyio
AWAY = {"peer": "192.0.2.7", "host": "news.example.org"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = make_sent_house(tmp_path / "house")
    house.settings = {"BASE_URL": "https://news.example.org"}
    yield house
    house.service.database.close()


@pytest.mark.parametrize(
    "path", ["/console", "/console/issues/1", "/preview", "/themes", "/metrics", "/api/status", "/api/nothing"]
)
async def test_without_a_password_it_opens_to_this_machine_alone(house: House, path: str) -> None:
    async with open_client(house, **AWAY) as away, open_client(house) as here:
        assert (await away.get(path)).status_code in (401, 404 if path == "/api/nothing" else 401)
        assert "this machine alone" in (await away.get("/console")).text
        assert (await here.get(path)).status_code == (404 if path == "/api/nothing" else 200)
        assert (await here.get(path, headers={"X-Forwarded-For": "192.0.2.7"})).status_code in (401, 404)


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"],
)
async def test_any_word_of_a_proxy_closes_it(house: House, header: str) -> None:
    async with open_client(house) as here:
        assert (await here.get("/console", headers={header: "x"})).status_code == 401


@pytest.mark.parametrize("host", ["evil.example@127.0.0.1", "127.0.0.1/../x", "127.0.0.1:abc", "127.0.0.1#evil", ""])
async def test_a_host_that_is_none_is_refused(house: House, host: str) -> None:
    async with open_client(house) as here:
        assert (await here.get("/console", headers={"Host": host})).status_code == 421
        assert (await here.get("/console", headers={"Host": "[::1]:8000"})).status_code == 200


def test_an_ipv4_address_within_ipv6_is_a_network_of_its_own() -> None:
    assert network_of("::ffff:198.51.100.7") == "198.51.100.7"
    assert network_of("2001:db8::7") == "2001:db8::/64"


@pytest.mark.parametrize("kept", ["plain", "hashed"])
async def test_the_password_opens_a_session_that_ends(house: House, kept: str) -> None:
    password = PASSWORD if kept == "plain" else hash_password(PASSWORD, b"s" * SALT_OCTETS)
    async with open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=password) as client:
        asked = await client.get("/console/issues?before=9")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Bearer")  # Basic would open the browser's own dialogue
        assert 'value="/console/issues?before=9"' in asked.text
        wrong = await client.post("/sign-in", data={"password": "guess", "target": "/console"})
        assert (wrong.status_code, COOKIE in client.cookies) == (401, False)
        right = await client.post("/sign-in", data={"password": PASSWORD, "target": "/console/issues?before=9"})
        assert (right.status_code, right.headers["location"]) == (303, "/console/issues?before=9")
        assert re.search(r"HttpOnly.*SameSite=strict", right.headers["set-cookie"], re.IGNORECASE)
        assert PASSWORD not in right.headers["set-cookie"]
        page = await client.get("/console")
        assert page.status_code == 200
        house.now += timedelta(seconds=LIFETIME_SECONDS - 1)
        assert (await client.get("/console")).status_code == 200
        house.now += timedelta(seconds=2)
        assert (await client.get("/console")).status_code == 401


async def test_signing_out_ends_every_session_of_every_process(house: House) -> None:
    async with (
        open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD) as one,
        open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD) as other,
    ):
        await one.post("/sign-in", data={"password": PASSWORD})
        other.cookies = one.cookies
        page = await other.get("/console")
        assert page.status_code == 200
        assert (await other.post("/sign-out", data={"csrf": "guess"})).status_code == 403
        assert (await other.post("/sign-out", data={"csrf": read_csrf(page)})).status_code == 303
        assert (await one.get("/console")).status_code == 401
        house.now += timedelta(seconds=1)
        await one.post("/sign-in", data={"password": PASSWORD})
        assert (await one.get("/console")).status_code == 200


async def test_another_password_ends_the_sessions_too(house: House) -> None:
    async with open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD) as client:
        await client.post("/sign-in", data={"password": PASSWORD})
        cookies = client.cookies
    async with open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD + "!") as client:
        client.cookies = cookies
        assert (await client.get("/console")).status_code == 401


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "console", "", "/a\nb"]
)
async def test_signing_in_leads_to_no_page_of_others(house: House, target: str) -> None:
    async with open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD) as client:
        answer = await client.post("/sign-in", data={"password": PASSWORD, "target": target})
        assert answer.headers["location"] == "/console"


async def test_wrong_tries_are_limited_by_network_and_the_right_one_waits_too(house: House) -> None:
    async with open_client(house, **AWAY, WEB__OPERATOR_PASSWORD=PASSWORD) as client:
        for _ in range(MOST_TRIES):
            assert (await client.post("/sign-in", data={"password": "guess"})).status_code == 401
        for password in ("guess", PASSWORD):
            refused = await client.post("/sign-in", data={"password": password})
            assert refused.status_code == 429
            assert 0 < int(refused.headers["retry-after"]) <= TRIES_SECONDS
        bearer = await client.get("/api/status", headers={"Authorization": "Bearer guess"})
        assert bearer.status_code == 429


def test_tries_are_forgotten_in_time_and_never_more_than_can_be_kept() -> None:
    seconds = 0.0
    tries = Tries(lambda: seconds)
    for _ in range(MOST_TRIES):
        assert tries.wait("2001:db8::1") == 0
        tries.note("2001:db8::1")
    assert tries.wait("2001:db8::ffff:2") == TRIES_SECONDS  # the same /64
    assert tries.wait("2001:db8:1::1") == 0
    seconds = TRIES_SECONDS
    assert tries.wait("2001:db8::1") == 0
    for number in range(MOST_NETWORKS + 5):
        tries.note(f"peer {number}")
    assert len(tries._wrong) == MOST_NETWORKS
    assert network_of("192.0.2.9") == "192.0.2.9"


@given(st.text(max_size=80))
def test_no_text_is_a_session_that_we_did_not_make(text: str) -> None:
    sessions = Sessions(b"k" * 32)
    assert not sessions.is_valid(text, 1000.0, 0.0)
    token = sessions.begin(1000.0)
    assert sessions.is_valid(token, 1001.0, 999.0)
    assert not sessions.is_valid(token, 1001.0, 1000.0)
    assert not Sessions(b"l" * 32).is_valid(token, 1001.0, 0.0)
    assert not sessions.is_valid(f"{token[:-1]}{'0' if token[-1] != '0' else '1'}", 1001.0, 0.0)


def test_a_password_is_kept_as_a_hash_that_tells_nothing() -> None:
    kept = hash_password(PASSWORD, b"s" * SALT_OCTETS)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert is_hashed(kept)
    assert verify_password(PASSWORD, kept)
    assert not verify_password(kept, kept)
    assert not verify_password("", kept)
    assert not verify_password(PASSWORD, "$argon2id$broken")
    assert verify_password("plain", "plain")
    assert not verify_password("plain", "other")


async def test_a_bearer_token_opens_everything_until_it_is_revoked_or_expires(house: House) -> None:
    now = house.now
    with house.service.database.write() as conn:
        number = tokens.insert_token(conn, name="ci", secret="nl_one", now=now, expires_at=None)
        tokens.insert_token(conn, name="old", secret="nl_old", now=now, expires_at=now + timedelta(hours=1))
    one, old = {"Authorization": "Bearer nl_one"}, {"Authorization": "bearer nl_old"}
    async with open_client(house, **AWAY) as client:
        for path in ("/api/status", "/console", "/metrics"):
            assert (await client.get(path, headers=one)).status_code == 200
        assert (await client.get("/api/status", headers=old)).status_code == 200
        house.now += timedelta(hours=1)
        assert (await client.get("/api/status", headers=old)).status_code == 401
        with house.service.database.read() as conn:
            assert [row.used_at for row in tokens.list_tokens(conn)] == [now, now]
        with house.service.database.write() as conn:
            assert tokens.delete_token(conn, number) == "ci"
        refused = await client.get("/api/status", headers=one)
        assert (refused.status_code, refused.json()["detail"]) == (401, "the token is not valid, or not any more")
        assert (await client.get("/api/status", headers={"Authorization": "Bearer "})).status_code == 401


async def test_a_form_of_another_page_does_nothing(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get("/console/pause")
        fields = {"csrf": read_csrf(page)}
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
        ):
            assert (await client.post("/console/pause", data=fields, headers=headers)).status_code == 403
            assert (await client.post("/api/pause", headers=headers)).status_code == 403
        for given in ("", "guess", "é"):
            assert (await client.post("/console/pause", data={"csrf": given})).status_code == 403
        assert (await client.post("/console/pause")).status_code == 403
        assert (await client.get("/api/status")).json()["paused"] is False
        same = {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"}
        assert (await client.post("/console/pause", data=fields, headers=same)).status_code == 303
        assert (await client.get("/api/status")).json()["paused"] is True


async def test_a_form_that_is_too_long_is_not_read(house: House) -> None:
    async with open_client(house) as client:
        assert (await client.post("/sign-in", content=b"x" * (MOST_OCTETS + 1))).status_code == 413


async def test_the_preview_alone_knows_sessions_without_a_database(house: House) -> None:
    import httpx2

    from newsletter.web import make_preview_app

    database = f"sqlite:///{house.folder / 'none.db'}"
    app = make_preview_app(house.open(WEB__OPERATOR_PASSWORD=PASSWORD, DATABASE_URL=database))
    transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 5))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/preview")).status_code == 401
        answer = await client.post("/sign-in", data={"password": PASSWORD})
        assert answer.headers["location"] == "/preview"
        page = await client.get("/preview")
        assert page.status_code == 200
        assert (await client.post("/sign-out", data={"csrf": read_csrf(page)})).status_code == 303
        assert (await client.get("/preview")).status_code == 401
    assert not (house.folder / "none.db").exists()


async def test_what_a_page_asks_for_is_done(house: House) -> None:
    async with open_client(house) as client:
        assert (await post(client, "/console/pause")).status_code == 303
        assert "The service is paused" in (await client.get("/console")).text
        assert (await post(client, "/console/resume")).status_code == 303
        assert "The service is paused" not in (await client.get("/console")).text
