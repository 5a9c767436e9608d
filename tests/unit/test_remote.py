"""What feeds at addresses are called and shown as, and how their content becomes a brief."""

import json
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from newsletter.core.errors import BriefError
from newsletter.core.model import Brief
from newsletter.sources.remote import (
    ID_LENGTH,
    find_address,
    is_address,
    name_feed,
    parse_remote,
    show_address,
    strip_password,
)

CHANGED_AT = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)


def parse(
    body: str | bytes, *, address: str = "https://news.example/feed", content_type: str | None = None, zone: str = "UTC"
) -> Brief:
    octets = body if isinstance(body, bytes) else body.encode()
    return parse_remote(
        octets, content_type=content_type, address=address, changed_at=CHANGED_AT, language="en", zone=ZoneInfo(zone)
    )


def rss(*items: str, link: str = "") -> str:
    inner = "".join(f"<item>{item}</item>" for item in items)
    return f'<rss version="2.0"><channel><title>F</title><link>{link}</link>{inner}</channel></rss>'


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.org/feed", "https://example.org/feed"),
        ("https://user:pass@example.org/feed", "https://***@example.org/feed"),
        ("https://user:pa@ss@example.org/feed", "https://***@example.org/feed"),
        ("https://social.example/@name.rss", "https://social.example/@name.rss"),
        ("https://user:pass@social.example/@name.rss", "https://***@name.rss"),
        ("briefs", "briefs"),
    ],
)
def test_an_address_is_shown_without_credentials(address: str, shown: str) -> None:
    assert show_address(address) == shown


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("https://example.org/feed?a=b#c", "https://example.org/feed?a=b"),
        ("https://user:pass@example.org:8080/feed", "https://user@example.org:8080/feed"),
        ("https://user:p@ss@example.org/@x", "https://user@example.org/@x"),
        ("https://:pass@example.org/", "https://@example.org/"),
    ],
)
def test_no_password_is_kept(address: str, known: str) -> None:
    assert strip_password(address) == known


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/news/feed", "example.org-news-feed"),
        ("http://example.org/news/feed/", "example.org-news-feed"),
        ("https://Example.ORG", "example.org"),
        ("https://example.org/a_b~c/atom.xml", "example.org-a_b~c-atom.xml"),
        ("http://127.0.0.1:8080/feed.xml", "127.0.0.1-8080-feed.xml"),
        ("http://[::1]:8080/feed", "1-8080-feed-"),
        ("https://example.org/feed?section=1", "example.org-feed-"),
        ("https://example.org/Feed", "example.org-feed-"),
        ("https://user:pass@example.org/feed", "example.org-feed-"),
        ("https://example.org/caf%C3%A9", "example.org-caf-c3-a9-"),
        ("https://新闻.example/", "example-"),
        ("https://example.org/" + "x" * 90, "example.org-" + "x" * (ID_LENGTH - 21) + "-"),
    ],
)
def test_the_name_of_a_feed(address: str, name: str) -> None:
    found = name_feed(address)
    assert found.startswith(name)
    assert len(found) == len(name) + (8 if name.endswith("-") else 0) <= ID_LENGTH
    assert found.isprintable()
    assert found.isascii()


def test_other_queries_and_users_are_other_feeds_but_other_passwords_are_not() -> None:
    addresses = [
        "https://e.org/f",
        "https://e.org/f?a=1",
        "https://e.org/f?a=2",
        "https://u:1@e.org/f",
        "https://e.org/F",
    ]
    assert len({name_feed(address) for address in addresses}) == len(addresses)
    assert name_feed("https://u:2@e.org/f") == name_feed("https://u:1@e.org/f")


def test_an_address_is_found_by_any_of_its_names() -> None:
    address = "https://user:pass@example.org/feed"
    sources = ("briefs", "https://example.org/other", address)
    for reference in (name_feed(address), address, "https://***@example.org/feed", "https://user@example.org/feed"):
        assert find_address(sources, reference) == address
    assert find_address(sources, "briefs") is None
    assert find_address(sources, "https://example.org/feed") is None
    assert [is_address(source) for source in (*sources, "HTTP://x")] == [False, True, True, True]


def test_a_feed_is_a_brief_of_the_day_it_changed() -> None:
    brief = parse(rss("<title>One</title><guid>https://a.example/1</guid>"), address="https://u:p@a.example/2026-01-02")
    assert (brief.id[:20], brief.title, brief.date) == ("a.example-2026-01-02", "F", date(2026, 11, 23))
    assert (brief.source, brief.modified_at) == ("https://***@a.example/2026-01-02", CHANGED_AT)
    assert brief.is_continuous
    assert parse(rss("<title>One</title>"), zone="Asia/Tokyo").date == date(2026, 11, 24)
    with pytest.raises(BriefError, match=r"^https://news\.example/feed is not a feed: neither RSS nor Atom"):
        parse("<html>")


def guids(body: str, address: str = "https://news.example/feed") -> list[str | None]:
    return [story.guid for story in parse(body, address=address).stories]


@pytest.mark.parametrize("guid", ["https://a.example/?p=1", "tag:a.example,2026:1", "urn:uuid:1225c695", "doi:10.1/x"])
def test_an_id_that_is_a_uri_counts_everywhere(guid: str) -> None:
    assert guids(rss(f"<title>T</title><guid>{guid}</guid>")) == [guid]


@pytest.mark.parametrize("guid", ["123", "Post: 5", "1:2"])
def test_any_other_id_counts_within_its_host(guid: str) -> None:
    item = rss(f"<title>T</title><guid isPermaLink='false'>{guid}</guid>")
    assert guids(item) == guids(item, "http://u:p@news.example:81/other") == [f"news.example {guid}"]
    assert guids(item, "https://else.example/feed") == [f"else.example {guid}"]


def test_an_item_without_id_is_known_by_its_link_and_title() -> None:
    def one(title: str, link: str, text: str = "Text.", address: str = "https://news.example/feed") -> str | None:
        (guid,) = guids(rss(f"<title>{title}</title><link>{link}</link><description>{text}</description>"), address)
        return guid

    link = "https://a.example/1"
    assert one("A title", link) == one("a  TITLE", link, "Corrected.", "https://else.example/")
    assert len({one("A title", link), one("Another", link), one("A title", link + "2")}) == 3
    assert one("A title", "") == one("A title", "")
    assert len({one("T", ""), one("T", "", "Other."), one("T", "", address="https://else.example/")}) == 3


def test_an_item_that_stands_twice_is_one_story() -> None:
    brief = parse(rss(*(f"<title>{title}</title><guid>tag:{guid}</guid>" for title, guid in ("A1", "B2", "C1"))))
    assert [story.title for story in brief.stories] == ["A", "B"]


def test_links_may_be_relative_to_the_feeds_own_address() -> None:
    item = "<title>T</title><link>/one</link>"
    assert parse(rss(item)).stories[0].url == "https://news.example/one"
    assert parse(rss(item, link="/home/")).stories[0].url == "https://news.example/one"
    assert parse(rss(item, link="https://b.example/")).stories[0].url == "https://b.example/one"
    assert parse(rss(item, link="http://[")).stories[0].url == "https://news.example/one"
    said = {"version": "https://jsonfeed.org/version/1.1", "items": [{"id": 1, "title": "T", "url": "one"}]}
    assert parse(json.dumps(said)).stories[0].url == "https://news.example/one"


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/rss+xml; charset=windows-1251", "windows-1251"),
        ("text/html;charset=utf-8", "utf-8"),
        ("text/xml", "utf-8"),
        ("application/rss+xml; charset=nonsense", "utf-8"),
        ("application/rss+xml; charset=us-ascii", "utf-8"),
        ('application/rss+xml; charset=\x00"', "utf-8"),
        (";;;", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_charsets(content_type: str | None, charset: str) -> None:
    body = rss("<title>Газета</title>").encode(charset)
    assert parse(body, content_type=content_type).stories[0].title == "Газета"
