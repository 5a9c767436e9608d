"""Fetching from a real HTTP server that misbehaves by name: what comes, what is refused, and in which words."""

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from feed_server import TLS, FeedServer, make_feed

from newsletter.core.errors import SourceError
from newsletter.sources import http
from newsletter.sources.http import MAX_REDIRECTS, Fetched, fetch
from newsletter.sources.inflate import undo_encoding
from newsletter.sources.network import Deadline, DeadlineError, is_public

FEED = make_feed("One", "Two")
SHORT = 0.3
"""Seconds, for tests in which the time must run out."""


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer().running() as running:
        yield running


def refuse(address: str, **options: object) -> str:
    """The reason why this address is not fetched."""
    with pytest.raises(SourceError) as caught:
        fetch(address, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert sentence.isprintable()
    shown, _, reason = sentence.partition(" cannot be fetched: ")
    assert shown.startswith("feed ")
    return reason


def test_a_feed_comes_with_what_says_whether_it_changed(server: FeedServer) -> None:
    address = server.offer("/feed?a=b", FEED, etag='"1"', last_modified="Mon, 23 Nov 2026 07:00:00 GMT")
    assert fetch(address) == Fetched(
        body=FEED,
        content_type="application/rss+xml",
        etag='"1"',
        last_modified="Mon, 23 Nov 2026 07:00:00 GMT",
    )
    (asked,) = server.asked
    assert asked.path == "/feed?a=b"
    assert re.fullmatch(r"newsletter/\d[\w.]*", asked.headers["user-agent"])
    assert "application/atom+xml" in asked.headers["accept"]
    assert asked.headers["accept-encoding"] == "gzip, deflate"
    assert not {"if-none-match", "if-modified-since", "authorization", "cookie"} & set(asked.headers)


def test_what_did_not_change_has_no_body(server: FeedServer) -> None:
    address = server.offer("/feed", FEED, etag='"1"')
    assert fetch(address, etag='"1"') == Fetched(body=None)
    assert fetch(address, etag='"0"').body == FEED
    address = server.offer("/feed", FEED, last_modified="Mon, 23 Nov 2026 07:00:00 GMT")
    assert fetch(address, last_modified="Mon, 23 Nov 2026 07:00:00 GMT") == Fetched(body=None)
    assert fetch(address, last_modified="Sun, 22 Nov 2026 07:00:00 GMT").body == FEED


def test_not_modified_without_having_been_asked_is_no_answer(server: FeedServer) -> None:
    assert refuse(server.offer("/feed", status=304)) == "it answers 304 (Not Modified)"


@pytest.mark.parametrize("etag", ["", "é", "x" * 2000])
def test_headers_that_cannot_be_sent_back_are_forgotten(server: FeedServer, etag: str) -> None:
    assert fetch(server.offer("/feed", FEED, headers={"ETag": etag})).etag is None


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate", "bare deflate"])
@pytest.mark.parametrize("quirk", ["", "chunked"])
@pytest.mark.parametrize("body", [FEED, b"", b"x"], ids=["feed", "empty", "one"])
def test_encodings(server: FeedServer, encoding: str, quirk: str, body: bytes) -> None:
    assert fetch(server.offer("/feed", body, encoding=encoding, quirk=quirk)).body == body


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_an_encoding_may_come_in_any_pieces(cut: int) -> None:
    packed = zlib.compress(FEED)
    pieces = [packed[start : start + cut] for start in range(0, len(packed), cut)]
    assert b"".join(undo_encoding(iter(pieces), "deflate")) == FEED


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", FEED, "its Content-Encoding is 'br', which was not asked for"),
        ("gzip, gzip", FEED, "its Content-Encoding is 'gzip, gzip', which was not asked for"),
        ("gzip", FEED, "its compressed content is broken (Error -3 while decompressing data: incorrect header check)"),
        ("gzip", zlib.compress(FEED, wbits=31)[:-10], "its compressed content breaks off"),
        ("deflate", b"", "its compressed content breaks off"),
    ],
)
def test_encodings_that_are_refused(server: FeedServer, encoding: str, body: bytes, reason: str) -> None:
    assert refuse(server.offer("/feed", body, headers={"Content-Encoding": encoding})) == reason


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_noticed_before_it_goes_off(server: FeedServer, encoding: str) -> None:
    address = server.offer("/bomb", b"\0" * 100_000_000, encoding=encoding)
    assert refuse(address) == "it is larger than 10 MB"


@pytest.mark.parametrize("quirk", ["", "chunked", "endless"])
def test_what_is_too_large_is_refused(server: FeedServer, quirk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_OCTETS", 1_000_000)
    assert refuse(server.offer("/feed", b"x" * 1_000_001, quirk=quirk)) == "it is larger than 1 MB"
    if quirk != "endless":
        assert len(fetch(server.offer("/feed", b"x" * 1_000_000, quirk=quirk)).body or b"") == 1_000_000


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "it answers 404 (Not Found)"),
        (500, "it answers 500 (Internal Server Error)"),
        (204, "it answers 204 (No Content)"),
        (299, "it answers 299"),
    ],
)
def test_other_answers_are_named_by_their_code(server: FeedServer, status: int, reason: str) -> None:
    assert refuse(server.offer("/feed", status=status)) == reason


@pytest.mark.parametrize(
    ("quirk", "reason"),
    [
        ("cut", "its answer is broken (peer closed connection without sending complete message body"),
        ("hang-up", "its answer is broken (Server disconnected without sending a response"),
        ("noise", "its answer is broken (illegal status line"),
    ],
)
def test_broken_answers(server: FeedServer, quirk: str, reason: str) -> None:
    assert refuse(server.offer("/feed", FEED, quirk=quirk)).startswith(reason)


@pytest.mark.parametrize("quirk", ["drip", "drip-head", "stall"])
def test_no_server_holds_us_up(server: FeedServer, quirk: str) -> None:
    assert refuse(server.offer("/feed", FEED, quirk=quirk), seconds=SHORT) == "it takes longer than 0.3 seconds"


def test_the_deadline_is_of_all_redirects_together(server: FeedServer) -> None:
    address = server.redirect("/a", "/b")
    server.redirect("/b", "/feed")
    server.offer("/feed", FEED)
    clock = count(step=1)
    assert refuse(address, seconds=8, clock=lambda: next(clock)) == "it takes longer than 8 seconds"
    assert fetch(address, seconds=1000, clock=lambda: next(clock)).body == FEED


def test_a_deadline() -> None:
    times = iter([10.0, 11.0, 15.0])
    deadline = Deadline(5, lambda: next(times))
    assert deadline.left() == 4
    with pytest.raises(DeadlineError):
        deadline.left()


def test_a_name_server_that_does_not_answer_does_not_hold_us_up(server: FeedServer) -> None:
    def never(host: str, port: int) -> Sequence[str]:
        server.closing.wait()
        return []

    assert refuse("http://example.org/", seconds=SHORT, resolve=never) == "it takes longer than 0.3 seconds"


def test_hosts_that_cannot_be_found_or_reached() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("Name not known")

    assert refuse("http://nowhere.invalid/", resolve=unknown) == "nowhere.invalid cannot be found (Name not known)"
    assert refuse("http://example.org/", resolve=lambda host, port: []) == "example.org cannot be found"
    assert refuse("http://127.0.0.1:1/") == "the connection failed ([Errno 111] Connection refused)"
    assert refuse("http://[::1/").startswith("it is not an address (")


def test_addresses_of_a_host_are_tried_one_after_another(server: FeedServer) -> None:
    server.offer("/feed", FEED)
    address = server.url(host="feeds.example")
    found = fetch(address, allow_private=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    assert found.body == FEED
    assert server.asked[0].headers["host"] == f"feeds.example:{server.port}"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: FeedServer, status: int) -> None:
    server.offer("/new/feed", FEED, etag='"1"')
    address = server.redirect("/old", "new/feed", status=status)
    assert fetch(address).body == FEED
    assert fetch(address, etag='"1"').body is None


def test_too_many_redirects(server: FeedServer) -> None:
    address = server.redirect("/loop", "/loop")
    assert refuse(address) == "it redirects more than 5 times"
    assert len(server.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", ["ftp://example.org/", "file:///etc/passwd", ""])
def test_redirects_to_what_is_no_web_address(server: FeedServer, location: str) -> None:
    reason = refuse(server.redirect("/feed", location))
    assert reason == f"it redirects to {location!r}, which is no http or https address"


def test_a_redirect_to_what_is_no_address_at_all(server: FeedServer) -> None:
    reason = refuse(server.redirect("/feed", "http://[::1"))
    assert reason == "it is not an address (Invalid port: ':1')"


def test_credentials_go_to_their_own_origin_only(server: FeedServer) -> None:
    with FeedServer().running() as other:
        server.redirect("/first", "/second")
        server.redirect("/second", other.url("/feed"))
        other.redirect("/feed", server.url("/last"))
        server.offer("/last", FEED)
        assert fetch(server.url("/first", login="us%40r:pa%3Ass@")).body == FEED
        login = "Basic dXNAcjpwYTpzcw=="
        assert [asked.headers.get("authorization") for asked in server.asked] == [login, login, login]
        assert [asked.headers.get("authorization") for asked in other.asked] == [None]


def test_no_message_shows_credentials(server: FeedServer) -> None:
    address = server.url("/feed", login="user:hunter2@")
    server.redirect("/feed", "ftp://other:hunter2@example.org/")
    for reason in ("redirect", "status"):
        with pytest.raises(SourceError) as caught:
            fetch(address)
        assert f"feed http://***@127.0.0.1:{server.port}/feed cannot be fetched: it " in str(caught.value), reason
        assert "hunter2" not in str(caught.value)
        server.offer("/feed", status=403)


def test_the_environment_names_no_proxy(server: FeedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert fetch(server.offer("/feed", FEED)).body == FEED


# Private addresses

PRIVATE = "is not a public address (NEWSLETTER_ALLOW_PRIVATE_FEEDS=true allows it)"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:7f00:1::80ff:fffe"),
        *("::127.0.0.1", "2001:0:4136:e378:8000:63bf:f5ff:fffe"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert refuse("http://example.org/", resolve=lambda host, port: ["93.184.215.14", address]) == (
        f"example.org is at {address}, which {PRIVATE}"
    )


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e", "2002:5db8:d70e::"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_that_names_this_machine_is_the_operators_will(server: FeedServer, host: str) -> None:
    server.redirect("/feed", server.url("/again", host=host))
    server.offer("/again", FEED)
    assert fetch(server.url("/feed", host=host)).body == FEED


def test_a_name_that_leads_here_is_refused_unless_it_is_allowed(server: FeedServer) -> None:
    server.offer("/feed", FEED)
    address = server.url(host="feeds.example")
    assert (
        refuse(address, resolve=lambda host, port: ["127.0.0.1"]) == f"feeds.example is at 127.0.0.1, which {PRIVATE}"
    )
    assert fetch(address, resolve=lambda host, port: ["127.0.0.1"], allow_private=True).body == FEED
    assert "is not a public address" in refuse(server.url(host="127.1"))
    assert len(server.asked) == 1


def test_redirects_to_other_private_hosts_are_refused_unless_they_are_allowed(server: FeedServer) -> None:
    server.offer("/feed", FEED)
    elsewhere = server.url(host="localhost")
    address = server.redirect("/old", elsewhere)
    reason = refuse(address)
    assert re.fullmatch(
        rf"it redirects to {elsewhere}: localhost is at (127\.0\.0\.1|::1), which {re.escape(PRIVATE)}", reason
    )
    metadata = server.redirect("/cloud", "http://169.254.169.254/latest")
    assert refuse(metadata) == f"it redirects to http://169.254.169.254/latest: 169.254.169.254 {PRIVATE}"
    assert fetch(address, allow_private=True).body == FEED


def test_a_name_is_asked_for_once_a_connection(server: FeedServer) -> None:
    server.offer("/feed", FEED)
    asked = []

    def rebind(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

    assert fetch(server.url(host="feeds.example"), resolve=rebind, allow_private=True).body == FEED
    assert asked == ["feeds.example"]


# TLS


def test_tls_is_verified_by_the_name_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with FeedServer(tls=True).running() as server:
        server.offer("/feed", FEED)
        assert "certificate verify failed" in refuse(server.url(host="localhost"))
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
        assert fetch(server.url(host="localhost")).body == FEED
        assert "certificate verify failed" in refuse(server.url(host="127.0.0.1"))
