"""The preview asked over HTTP: every look of a mail, why each story is there, errors as pages, nobody else let in."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from daemon_house import House
from starlette.requests import Request

from newsletter.web import make_preview_app
from newsletter.web.access import Access, Operator
from newsletter.web.desk import Desk
from newsletter.web.pages import PageTemplates
from newsletter.web.preview import make_preview

pytestmark = pytest.mark.anyio
TWO = """\
# Two stories

## A football match

They scored. ![A ball](https://example.org/ball.png)

## Something else {{ 7*7 }} <script>alert(1)</script>

Nobody knows.
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", settings={"FROM": "", "SECRET_KEY": "", "SCHEDULE": ""})
    (house.folder / "briefs" / "2026-11-25-two.md").write_text(TWO)
    yield house
    if "database" in house.service.__dict__:
        house.service.database.close()


def open_client(house: House, *, peer: str = "127.0.0.1", **more: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=make_preview_app(house.open(**more)), client=(peer, 50000))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def get(house: House, path: str, status: int = 200, **more: str) -> httpx2.Response:
    async with open_client(house, **more) as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer


async def test_a_folder_with_briefs_and_topics_is_enough(house: House) -> None:
    listing = await get(house, "/preview")
    assert "Two stories" in listing.text
    page = await get(house, "/preview/2026-11-25-two")
    assert 'sandbox="allow-same-origin"' in page.text
    assert "Sport: keyword “football” in the title" in page.text
    assert "every story was asked for" in page.text
    assert not (house.folder / "n.db").exists(), "looking makes no database"
    root = await get(house, "/", 307)
    assert root.headers["location"] == "/preview"


async def test_why_a_story_is_in_a_mail_or_not(house: House) -> None:
    page = await get(house, "/preview/2026-11-25-two?topics=sport")
    assert "it has no topic: only readers of everything get it" in page.text
    empty = await get(house, "/preview/2026-11-25-two?topics=sport", TOPICS=str(write_topics(house, "chess")))
    assert "no story has any of the topics sport" in empty.text
    assert "<iframe" not in empty.text


def write_topics(house: House, keyword: str) -> Path:
    path = house.folder / f"{keyword}.toml"
    path.write_text(f'[topics.sport]\nname = "Sport"\nkeywords = ["{keyword}"]\n')
    return path


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        ("html", "text/html", "Two stories"),
        ("text", "text/plain", "A football match"),
        ("headers", "text/plain", "List-Unsubscribe: <http"),
        ("mjml", "text/plain", "<mj-body"),
        ("source", "text/plain", "<!doctype html"),
        ("eml", "message/rfc822", "Content-Type: multipart/alternative"),
    ],
)
async def test_every_part_of_a_mail(house: House, part: str, kind: str, words: str) -> None:
    answer = await get(house, f"/preview/2026-11-25-two?part={part}")
    assert answer.headers["content-type"].startswith(kind)
    assert words in answer.text


async def test_the_frame_has_a_policy_of_its_own_and_nothing_hostile_in_it(house: House) -> None:
    frame = await get(house, "/preview/2026-11-25-two?part=html")
    assert "sandbox allow-same-origin" in frame.headers["content-security-policy"]
    assert "allow-scripts" not in frame.headers["content-security-policy"]
    assert "img-src https: http: data:" in frame.headers["content-security-policy"]
    assert "<script" not in frame.text
    assert "{{ 7*7 }}" in frame.text
    without = await get(house, "/preview/2026-11-25-two?part=html&images=off&scheme=dark")
    assert "img-src 'none'" in without.headers["content-security-policy"]
    assert "prefers-color-scheme" not in without.text
    page = await get(house, "/preview/2026-11-25-two")
    assert "<script>alert" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe-inline" not in page.headers["content-security-policy"]


async def test_many_looks_side_by_side(house: House) -> None:
    page = await get(house, "/preview/2026-11-25-two/compare?topics=sport")
    assert page.text.count("<iframe") == 5
    assert "scheme=forced" in page.text
    empty = await get(house, "/preview/2026-11-25-two/compare?topics=sport", TOPICS=str(write_topics(house, "chess")))
    assert "<iframe" not in empty.text


async def test_what_is_wrong_with_a_mail(house: House) -> None:
    page = await get(house, "/preview/2026-11-25-two/checks")
    assert "<code>postal_address" in page.text or "postal" in page.text
    found = (await get(house, "/preview/2026-11-25-two/checks?format=json")).json()
    assert found
    assert all(set(finding) == {"code", "severity", "place", "message"} for finding in found)
    empty = await get(house, "/preview/2026-11-25-two/checks?topics=sport", TOPICS=str(write_topics(house, "chess")))
    assert "no story has any of the topics" in empty.text


async def test_as_a_subscriber_before_or_after_another(house: House) -> None:
    house.add_readers("Europe/Berlin", "Asia/Tokyo", "Europe/London")
    page = await get(house, "/preview/2026-11-25-two?as=tokyo-each@example.org")
    assert "‹ berlin-each@example.org" in page.text
    assert "london-each@example.org ›" in page.text
    found = await get(house, "/preview/people?q=TOKYO")
    assert found.json() == ["tokyo-each@example.org"]
    first = await get(house, "/preview/2026-11-25-two?as=berlin-each@example.org&part=headers")
    assert "To: berlin-each@example.org" in first.text
    missing = await get(house, "/preview/2026-11-25-two?as=nobody@example.org", 404)
    assert "there is no subscriber nobody@example.org" in missing.text


async def test_without_a_database_nobody_is_found(house: House) -> None:
    assert (await get(house, "/preview/people?q=a")).json() == []
    assert "Two stories" in (await get(house, "/preview/2026-11-25-two?as=ada@example.org")).text


async def test_the_mail_of_who_gathers_and_what_they_had_already(house: House) -> None:
    house.add_readers("Europe/Berlin", frequency="weekly")
    house.add_brief("2026-11-23-mon", "Monday")
    house.add_brief("2026-11-10-old", "Too old")
    person = "as=berlin-weekly@example.org"
    gathered = await get(house, f"/preview/2026-11-25-two?{person}&gathered=on&part=text")
    assert "Monday: a story" in gathered.text
    assert "Too old" not in gathered.text
    service = house.open(FROM="N <n@example.org>", SECRET_KEY="k" * 32)
    service.make_publisher().publish(service.find_brief("2026-11-23-mon"), now=house.now)
    service.database.close()
    rest = await get(house, f"/preview/2026-11-25-two?{person}&gathered=on&held=out&part=text")
    assert "Monday: a story" not in rest.text
    page = await get(house, f"/preview/2026-11-25-two?{person}&gathered=on&held=out")
    assert "an earlier mail holds it" in page.text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/preview/nothing", 404, "there is no brief nothing"),
        ("/preview/2026-11-25-two?part=pdf", 404, "there is no part"),
        ("/preview/2026-11-25-two?width=1", 422, "no number of pixels"),
        ("/preview/2026-11-25-two?topics=chess", 404, "there is no topic"),
    ],
)
async def test_what_cannot_be_shown_is_a_sentence(house: House, path: str, status: int, words: str) -> None:
    assert words in (await get(house, path, status)).text


async def test_a_broken_file_is_a_page_with_its_lines_and_heals(house: House) -> None:
    templates = house.folder / "own"
    story = templates / "brief" / "story.mjml.j2"
    story.parent.mkdir(parents=True)
    async with open_client(house, TEMPLATES=str(templates)) as client:
        story.write_text("one\ntwo {{ | }}\nthree\n")
        broken = await client.get("/preview/2026-11-25-two")
        assert broken.status_code == 422
        assert f"{story}, line 2" in broken.text
        assert "<mark>   2  two {{ | }}</mark>" in broken.text
        assert "/static/preview.js" in broken.text
        story.unlink()
        assert (await client.get("/preview/2026-11-25-two")).status_code == 200
    (house.folder / "briefs" / "bad.md").write_bytes(b"# Bad\n\n\xff\n")
    assert "bad.md, line 3" in (await get(house, "/preview")).text
    assert "bad.md, line 3" in (await get(house, "/preview/bad", 422)).text


async def test_topics_are_read_anew_when_they_change(house: House) -> None:
    async with open_client(house) as client:
        assert "keyword “football”" in (await client.get("/preview/2026-11-25-two")).text
        (house.folder / "topics.toml").write_text('[topics.sport]\nname = "Games"\nkeywords = ["scored"]\n')
        assert "Games: keyword “scored”" in (await client.get("/preview/2026-11-25-two")).text


async def test_a_page_of_the_operators_own_that_is_wrong_is_a_sentence(house: House) -> None:
    web = house.folder / "own" / "web"
    web.mkdir(parents=True)
    (web / "briefs.html").write_text("{% for %}")
    assert "briefs.html, line 1" in (await get(house, "/preview", 422, TEMPLATES=str(web.parent))).text
    (web / "briefs.html").write_text("{{ nothing }}")
    assert "briefs.html: " in (await get(house, "/preview", 422, TEMPLATES=str(web.parent))).text


async def test_nobody_but_the_operator_sees_it(house: House) -> None:
    async with open_client(house, peer="192.0.2.7") as client:
        for path in ("/preview", "/preview/2026-11-25-two", "/preview/people", "/preview/events"):
            assert (await client.get(path)).status_code == 401
        assert (await client.get("/static/site.css")).status_code == 200


async def test_a_saved_brief_is_told_at_once(house: House) -> None:
    desk = Desk(house.open())
    access = Access(desk.service, has_database=lambda: False, clock=time.monotonic)
    router = make_preview(desk, PageTemplates(None), access)
    events: Any
    (events,) = [route.endpoint for route in router.routes if getattr(route, "path", "") == "/preview/events"]  # type: ignore[attr-defined]
    asked = Request({"type": "http", "method": "GET", "path": "/preview/events", "headers": []})
    stream = (await events(Operator(way="loopback"), asked)).body_iterator
    assert "retry" in await anext(stream)
    told = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(30):
        while not told.done():  # the watch begins some time after it was asked for
            (house.folder / "briefs" / "2026-11-25-two.md").write_text(TWO)
            await asyncio.wait([told], timeout=0.2)
    assert "event: change" in told.result()
    await stream.aclose()


async def test_every_theme_is_shown_with_a_sample_and_its_contrasts(house: House) -> None:
    own = house.folder / "own" / "harbour"
    own.mkdir(parents=True)
    (own / "theme.toml").write_text('base = "cards"\n[light]\nlink = "#aaaaaa"\n')
    async with open_client(house, TEMPLATES=str(own.parent), THEME="harbour") as client:
        listing = await client.get("/themes")
        assert [name in listing.text for name in ("/themes/brief", "/themes/cards", "/themes/harbour")] == [True] * 3
        page = await client.get("/themes/harbour")
        assert "✗ 2.3" in page.text
        assert str(own / "theme.toml") in page.text
        mail = await client.get("/themes/harbour?part=html&scheme=dark")
        assert "color:#aaaaaa" in mail.text
        assert 'src="data:image/svg+xml' in mail.text
        assert "sandbox" in mail.headers["content-security-policy"]
        assert "A sample of everything" in (await client.get("/themes/cards?part=text")).text
        (own / "theme.toml").write_text('base = "cards"\n\n[light]\nlink = "red"\n')
        broken = await client.get("/themes/harbour")
        assert broken.status_code == 422
        assert f"{own / 'theme.toml'}, line 4: light.link" in broken.text
        (own / "theme.toml").write_text("")
        assert "✗ 2.3" not in (await client.get("/themes/harbour")).text
    assert "there is no theme" in (await get(house, "/themes/nothing", 404)).text


async def test_a_brief_is_shown_in_another_theme(house: House) -> None:
    page = await get(house, "/preview/2026-11-25-two?theme=cards&width=phone")
    assert 'href="/preview/2026-11-25-two?theme=brief&amp;width=375"' in page.text
    cards = await get(house, "/preview/2026-11-25-two?theme=cards&part=html")
    assert "border-radius:12px" in cards.text
    assert "border-radius:12px" not in (await get(house, "/preview/2026-11-25-two?part=html")).text
    assert "there is no theme" in (await get(house, "/preview/2026-11-25-two?theme=x", 404)).text
