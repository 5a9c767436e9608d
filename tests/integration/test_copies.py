"""What went out, on the web: a reader's edition without the reader, the archive, feeds; and an archive switched off."""

import re
from collections.abc import Iterator
from pathlib import Path

import feedparser
import pytest
from daemon_house import House
from web_house import make_sent_house, open_client

from newsletter import control
from newsletter.core.tokens import Purpose

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = make_sent_house(tmp_path / "house")
    yield house
    house.service.database.close()


async def test_a_copy_shows_the_edition_and_nothing_of_its_reader(house: House) -> None:
    token = house.service.signer.sign(Purpose.VIEW, 8, 1)
    async with open_client(house, peer="192.0.2.7") as client:
        page = await client.get(f"/view/{token}")
        assert page.status_code == 200
        assert "All about football" in page.text
        assert "p7@example.org" not in page.text
        for private in ("/unsubscribe/", "/preferences/"):
            assert private not in page.text
        assert "script" not in page.headers["content-security-policy"]
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        nobody = house.service.signer.sign(Purpose.VIEW, 999, 1)
        assert (await client.get(f"/view/{nobody}")).status_code == 404


async def test_the_archive_shows_what_was_published(house: House) -> None:
    control.cancel_issue(house.service.database, 2, now=house.now)
    async with open_client(house, peer="192.0.2.7") as client:
        listing = await client.get("/archive")
        assert 'href="/archive/1"' in listing.text
        assert 'href="/archive/2"' not in listing.text
        issue = await client.get("/archive/1")
        assert "All about football" in issue.text
        assert 'property="og:title" content="Brief one"' in issue.text
        assert 'property="og:title" content="Past issues: ' in (await client.get("/archive")).text
        assert "All about football" in (await client.get("/archive/1?topic=sport")).text
        assert "No story of these topics" in (await client.get("/archive/1?topic=art")).text
        for path in ("/archive/2", "/archive/99", "/archive/x", "/archive/%00", "/archive/99999999999"):
            assert (await client.get(path)).status_code == 404
        assert (await client.head("/archive")).status_code == 200


async def test_the_feed_is_atom_with_full_content(house: House) -> None:
    house.add_brief("evil", "A <b>bold</b> & brave", text="Football\x0b ]]> <script>alert(1)</script> & more.")
    house.service.make_publisher().publish(house.open().find_brief("evil"), now=house.now)
    async with open_client(house, peer="192.0.2.7") as client:
        answer = await client.get("/feed.xml")
        assert answer.headers["content-type"].startswith("application/atom+xml")
        feed = feedparser.parse(answer.content)
        assert not feed.bozo, feed.bozo_exception
        assert feed.version == "atom10"
        assert len(feed.entries) == 3
        assert len({entry.id for entry in feed.entries}) == 3
        assert "All about football" in feed.entries[-1].content[0].value
        assert '<content type="html">&lt;p dir=' in answer.text
        assert "<script" not in feed.entries[0].content[0].value
        assert feed.entries[-1].tags[0].term == "sport"
        assert feed.feed.updated
        topic = feedparser.parse((await client.get("/feed/sport.xml")).content)
        assert (topic.bozo, topic.feed.title) == (False, "News: Sport")
        assert (await client.get("/feed/nothing.xml")).status_code == 404


async def test_an_issue_that_was_cancelled_does_not_end_the_archive(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.web.copies.ISSUES_SHOWN", 1)
    control.cancel_issue(house.service.database, 2, now=house.now)
    async with open_client(house) as client:
        first = await client.get("/archive")
        assert 'href="/archive/1"' not in first.text
        (following,) = re.findall(r'href="(/archive\?before=\d+)"', first.text)
        assert 'href="/archive/1"' in (await client.get(following)).text


async def test_the_pictures_of_stories_may_be_shown(house: House) -> None:
    async with open_client(house) as client:
        policy = (await client.get("/archive/1")).headers["content-security-policy"]
        assert "img-src https: http: 'self' data:" in policy
        assert "https:" not in (await client.get("/archive")).headers["content-security-policy"]


async def test_robots_find_what_is_public(house: House) -> None:
    async with open_client(house, peer="192.0.2.7") as client:
        robots = await client.get("/robots.txt")
        assert "Disallow: /console" in robots.text
        assert "/archive/1</loc>" in (await client.get("/sitemap.xml")).text
        icon = await client.get("/favicon.ico")
        assert (icon.status_code, icon.content[:4]) == (200, b"\x00\x00\x01\x00")


async def test_an_archive_that_is_off_is_not_there(house: House) -> None:
    async with open_client(house, peer="192.0.2.7", ARCHIVE="false") as client:
        for path in ("/archive", "/archive/1", "/feed.xml", "/feed/sport.xml"):
            assert (await client.get(path)).status_code == 404
        assert "/archive" not in (await client.get("/sitemap.xml")).text
        assert "/archive" not in (await client.get("/")).text
