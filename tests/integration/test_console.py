"""The console as an operator meets it: pages that are whole without a script, true numbers, actions that ask first."""

import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from daemon_house import House
from web_house import deliver, make_sent_house, open_client, post, read_csrf

from newsletter.store import tallies
from newsletter.subscribe import forget_subscriber, suppress_address

pytestmark = pytest.mark.anyio
PAGES = (
    *("/console", "/console/issues", "/console/issues/1", "/console/issues/2", "/console/issues/1/retry"),
    *("/console/pause", "/console/resume", "/console/deliveries", "/console/deliveries?q=state:rejected"),
    *("/console/deliveries/1-1", "/console/schedule", "/console/subscribers", "/console/subscribers?q=p1"),
    *("/console/subscribers/1", "/console/bounces", "/console/topics", "/console/settings", "/console/help"),
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = make_sent_house(tmp_path / "house")
    yield house
    house.service.database.close()


async def test_every_page_is_whole_answers_head_and_changes_nothing(house: House) -> None:
    async with open_client(house) as client:
        for path in PAGES:
            page = await client.get(path)
            assert page.status_code == 200, path
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "unsafe-inline" not in page.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
            assert not re.search(r"<script(?! type=\"module\" src=)|\son\w+=|\sstyle=|<style", page.text), path
            assert (await client.head(path)).status_code == 200
            assert (await client.get(path)).text == page.text, path


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/console/issues/99", 404, "there is no issue 99"),
        ("/console/issues/abc", 404, "there is no such page"),
        ("/console/issues/99999999999999", 404, "there is no such page"),
        ("/console/issues/1/explode", 422, "there is no action"),
        ("/console/deliveries/7", 422, "is no delivery"),
        ("/console/deliveries/7-7", 404, "there is no delivery 7-7"),
        ("/console/deliveries/7-7/mail", 404, "there is no mail of delivery 7-7"),
        ("/console/deliveries/export?q=state:odd", 422, "there is no such state"),
        ("/console/subscribers/99", 404, "there is no subscriber 99"),
        ("/console/subscribers?after=99", 404, "there is no subscriber 99"),
        ("/console/nothing", 404, "there is no such page"),
    ],
)
async def test_what_is_not_there_is_a_page_that_says_so(house: House, path: str, status: int, words: str) -> None:
    async with open_client(house) as client:
        page = await client.get(path)
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert words in page.text
        assert "Traceback" not in page.text


async def test_an_issue_shows_counts_that_close_and_its_errors_in_groups(house: House) -> None:
    async with open_client(house) as client:
        text = (await client.get("/console/issues/1")).text
        assert "The counts close" in text
        for state, n in (("accepted", 7), ("rejected", 3), ("deferred", 2)):
            assert f'state:{state}">{n}</a>' in text
        assert "…: no such user" in text
        assert "greylisted, try again in … seconds" in text
        assert text.count("retry these") == 2
        assert "as in: 5.1.1 &lt;p" in text
        assert re.search(r"<svg class=\"plot\".*?<title[^>]*>Attempts over time</title><desc", text, re.DOTALL)


async def test_only_what_is_legal_can_be_done_and_each_asks_first(house: House) -> None:
    async with open_client(house) as client:
        running = (await client.get("/console/issues/2")).text
        assert set(re.findall(r'class="button" href="/console/issues/2/([\w-]+)"', running)) == {"pause", "cancel"}
        asked = (await client.get("/console/issues/2/resume")).text
        assert "That cannot be done with it now" in asked
        assert "csrf" not in asked
        assert (await post(client, "/console/issues/2/pause")).headers["location"] == "/console/issues/2"
        paused = (await client.get("/console/issues/2")).text
        assert set(re.findall(r'href="/console/issues/2/([\w-]+)"', paused)) == {"resume", "cancel"}
        assert "9 are still owed" in (await client.get("/console/issues/2/resume")).text
        assert (await post(client, "/console/issues/2/cancel")).status_code == 303
        cancelled = (await client.get("/console/issues/2")).text
        assert "cancelled" in cancelled
        assert 'class="button"' not in cancelled
        late = await client.post(
            "/console/issues/2/resume", data={"csrf": read_csrf(await client.get("/console/pause"))}
        )
        assert (late.status_code, "that cannot be done with it any more" in late.text) == (409, True)


async def test_one_group_of_errors_is_tried_again(house: House) -> None:
    with house.service.database.read() as conn:
        kinds = {kind.wording: kind.id for kind in tallies.count_failures(conn, 1, most=5)}
    path = f"/console/issues/1/retry?reply={kinds['…: no such user']}"
    async with open_client(house) as client:
        page = await client.get(path)
        assert "…: no such user" in page.text
        answer = await client.post(
            "/console/issues/1/retry", data={"csrf": read_csrf(page), "reply": kinds["…: no such user"]}
        )
        assert answer.status_code == 303
        bad = await client.post("/console/issues/1/retry", data={"csrf": read_csrf(page), "reply": "x"})
        assert bad.status_code == 422
        assert 'state:deferred">5</a>' in (await client.get("/console/issues/1")).text


async def test_a_kind_of_reply_is_a_number(house: House) -> None:
    async with open_client(house) as client:
        asked = await client.get("/console/issues/1/retry")
        (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', asked.text)
        for reply in ("9" * 5_000, "x", "-1"):
            answer = await client.post("/console/issues/1/retry", data={"csrf": csrf, "reply": reply})
            assert (answer.status_code, "is no kind of reply" in answer.text) == (422, True)


async def test_the_daemons_own_words_answer_head(house: House) -> None:
    async with open_client(house) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.head(path)).status_code == 200


async def test_a_search_shows_what_it_finds_counts_on_chips_and_what_is_wrong(house: House) -> None:
    async with open_client(house) as client:
        page = await client.get("/console/deliveries", params={"q": "state:rejected issue:1"})
        assert re.findall(r'href="/console/deliveries/(1-\d)"', page.text) == ["1-1", "1-2", "1-3"]
        assert re.search(r'state%3Arejected" aria-current="true">.*rejected <b>3</b>', page.text)
        assert "550 5.1.1" in page.text
        wrong = await client.get("/console/deliveries", params={"q": "colour:red <b>"})
        assert (wrong.status_code, "there is no &#39;colour&#39; to search by" in wrong.text) == (200, True)
        export = await client.get("/console/deliveries/export", params={"q": "state:rejected issue:1"})
        assert export.headers["content-disposition"] == 'attachment; filename="deliveries.csv"'
        assert [line.split(",")[0] for line in export.text.splitlines()] == ["delivery", "1-1", "1-2", "1-3"]
        lines = await client.get("/console/deliveries/export", params={"q": "state:rejected", "format": "jsonl"})
        assert len(lines.text.splitlines()) == 3


async def test_a_delivery_opens_its_attempts_its_reasons_and_its_mail(house: House) -> None:
    async with open_client(house) as client:
        page = (await client.get("/console/deliveries/1-1")).text
        assert "550 5.1.1 &lt;p0@example.org&gt;: no such user" in page
        assert "Why these stories" in page
        mail = await client.get("/console/deliveries/1-8/mail")
        assert mail.headers["content-type"] == "message/rfc822"
        assert b"To: p7@example.org" in mail.content


async def test_people_are_told_with_why_they_get_no_mail_and_the_forgotten_with_nothing(house: House) -> None:
    suppress_address(house.service.database, "p3@example.org", reason="asked us to", now=house.now, source="test")
    forget_subscriber(house.service.database, "p4@example.org", now=house.now)
    async with open_client(house) as client:
        assert "asked us to" in (await client.get("/console/subscribers/4")).text
        assert "asked us to" in (await client.get("/console/subscribers", params={"q": "p3@example.org"})).text
        assert "(forgotten)" in (await client.get("/console/deliveries", params={"q": "issue:1"})).text
        assert "p4@" not in (await client.get("/console/deliveries/1-5")).text
        bounces = (await client.get("/console/bounces")).text
        assert "asked us to" in bounces
        assert "example.org" in bounces


async def test_settings_are_shown_and_no_secret(house: House) -> None:
    secrets = {"WEB__OPERATOR_PASSWORD": "hush hush hush", "SMTP__PASSWORD": "p4ssw0rd", "SMTP__USERNAME": "me"}
    async with open_client(house, **secrets) as client:
        page = await client.get("/console/settings", headers={"Authorization": "Basic OmhpdXNoIGh1c2ggaHVzaA=="})
        assert page.status_code == 401
        page = await client.get("/console/settings", headers={"Authorization": "Basic Omh1c2ggaHVzaCBodXNo"})
    assert "NEWSLETTER_SCHEDULE" in page.text
    assert "0 7 * * *" in page.text
    for secret in ("hush", "p4ssw0rd", "kkkk"):
        assert secret not in page.text


async def test_a_hostile_reply_and_title_are_text(house: House) -> None:
    house.add_brief("evil", "<script>alert(1)</script>")
    house.service.make_publisher().publish(house.open().find_brief("evil"), now=house.now)
    await anyio.to_thread.run_sync(deliver, house)
    async with open_client(house) as client:
        for path in ("/console", "/console/issues/3", "/console/issues/3/pause", "/console/topics"):
            assert "<script>alert" not in (await client.get(path)).text


async def test_the_live_part_is_sent_at_once_and_again_when_it_has_changed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.requests import Request

    from newsletter.web import pages as web_pages

    monkeypatch.setattr(web_pages, "LIVE_STEP_SECONDS", 0.01)
    monkeypatch.setattr(web_pages, "LIVE_SECONDS", 0.05)
    told = iter(["one", "one", "two", "two", "two"])
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept", b"text/event-stream")]}
    templates = web_pages.PageTemplates(None)
    monkeypatch.setattr(templates, "write_block", lambda name, block, context: context["text"])
    answer = web_pages.answer_page(Request(scope), templates, "x", lambda: {"text": next(told)})
    events = [part async for part in answer.body_iterator]  # type: ignore[attr-defined]
    assert events == ["retry: 2000\n\n", "event: live\ndata: one\n\n", "event: live\ndata: two\n\n"]


async def test_topics_tell_their_stories_and_the_keywords_that_never_fire(house: House) -> None:
    topics = '[topics.sport]\nname = "Sport"\nkeywords = ["football", "chess"]\n'
    topics += '[topics.art]\nname = "Art"\nkeywords = ["opera"]\n'
    (house.folder / "topics.toml").write_text(topics)
    house.add_brief("three", "Nothing", text="All about gardens.")
    service = house.open()
    await anyio.to_thread.run_sync(lambda: service.make_publisher().publish(service.find_brief("three"), now=house.now))
    async with open_client(house) as client:
        told = (await client.get("/api/topics")).json()
    by_id = {topic["id"]: topic for topic in told["topics"]}
    assert (told["issues"], told["stories"], told["every_story"]) == ([1, 2, 3], 3, 12)
    assert (by_id["sport"]["stories"], by_id["sport"]["silent"]) == ([1, 1, 0], ["chess"])
    assert (by_id["art"]["stories"], by_id["art"]["silent"]) == ([0, 0, 0], ["opera"])
    assert told["untaken"] == [{"issue": 3, "title": "Nothing: a story"}]
