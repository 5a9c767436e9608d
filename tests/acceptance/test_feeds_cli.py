"""Feeds over HTTP through the command line: shown, sent, sent again with their news only, and broken."""

from collections.abc import Iterator

import pytest
from feed_server import FeedServer, make_feed
from smtp_server import SmtpServer, run_in_thread
from workshop import Workshop, read_parts

COMET, MATCH, MUSEUM = "A comet passes", "A football match", "A museum opens"


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer().running() as running:
        yield running


@pytest.fixture
def relay(workshop: Workshop) -> Iterator[SmtpServer]:
    with run_in_thread(SmtpServer()) as running:
        workshop.use(running)
        workshop.run("subscribers", "import", "subscribers/list.csv")
        yield running


def name(server: FeedServer, path: str = "feed") -> str:
    return f"127.0.0.1-{server.port}-{path}"


def test_feeds_are_listed_beside_files_and_broken_ones_named(workshop: Workshop, server: FeedServer) -> None:
    one = server.offer("/one", make_feed(COMET))
    broken = server.url("/broken", login="user:hunter2@")
    workshop.configure(BRIEFS=f'["briefs","{one}","{broken}"]')
    ran = workshop.run("brief", "list", "--json")
    assert {row["id"]: row["source"] for row in ran.lines} == {
        "2026-11-23-monday": "briefs/2026-11-23-monday.md",
        name(server, "one"): one,
    }
    shown = f"http://***@127.0.0.1:{server.port}/broken"
    assert ran.err == f"warning: feed {shown} cannot be fetched: it answers 404 (Not Found)\n"
    assert name(server, "one") in workshop.run("brief", "list").out


def test_a_feed_is_shown_by_its_id_its_address_and_as_the_latest(workshop: Workshop, server: FeedServer) -> None:
    address = server.offer("/feed", make_feed(COMET, MATCH))
    workshop.configure(BRIEFS=address)
    for reference in (name(server), address, "latest"):
        shown = workshop.run("brief", "show", reference, "--json").json
        assert [story["title"] for story in shown["stories"]] == [COMET, MATCH]
        assert [topic["id"] for topic in shown["stories"][0]["topics"]] == ["science"]
    assert COMET in workshop.run("render", "--brief", address, "--topics", "*", "--format", "text").out
    assert [line["topic"] for line in workshop.run("topics", "explain", address, "--json").lines] == [
        "science",
        "sport",
        "sport",
    ]
    assert server.asked[1].headers.get("if-none-match") is None


def test_a_feed_that_fails_is_an_error_only_where_it_never_was_well(workshop: Workshop, server: FeedServer) -> None:
    workshop.configure(BRIEFS=server.url())
    for command in (("brief", "show", "latest"), ("brief", "show", server.url()), ("send",)):
        err = workshop.run(*command, code=1).err
        assert err == f"error: feed {server.url()} cannot be fetched: it answers 404 (Not Found)\n"
    server.offer("/feed", make_feed(COMET))
    workshop.run("brief", "list")
    server.offer("/feed", status=503)
    shown = workshop.run("brief", "show", server.url(), "--json").json
    assert [story["title"] for story in shown["stories"]] == [COMET]
    assert "it answers 503 (Service Unavailable); what it held at " in shown["warnings"][0]["message"]
    ran = workshop.run("brief", "list", "--json")
    assert [row["id"] for row in ran.lines] == [name(server)]
    assert ran.err.startswith(f"warning: feed {server.url()} cannot be fetched: it answers 503")


def test_private_addresses_need_a_setting(workshop: Workshop, server: FeedServer) -> None:
    server.offer("/feed", make_feed(COMET))
    server.redirect("/moved", server.url(host="localhost"))
    workshop.configure(BRIEFS=server.url("/moved"))
    assert "NEWSLETTER_ALLOW_PRIVATE_FEEDS=true" in workshop.run("brief", "show", "latest", code=1).err
    workshop.configure(ALLOW_PRIVATE_FEEDS="true")
    workshop.run("brief", "show", "latest")


def test_the_doctor_names_a_broken_feed(workshop: Workshop, server: FeedServer) -> None:
    broken = server.url("/broken", login="user:hunter2@")
    workshop.configure(BRIEFS=f'["briefs","{broken}"]')
    ran = workshop.run("doctor", "--json", code=1)
    (found,) = [line for line in ran.lines if line["check"] == "briefs" and line["state"] == "warn"]
    assert found["found"].endswith("cannot be fetched: it answers 404 (Not Found)")
    assert "hunter2" not in ran.out + ran.err


def test_a_feed_is_sent_again_with_its_news_only(workshop: Workshop, server: FeedServer, relay: SmtpServer) -> None:
    address = server.offer("/feed", make_feed(COMET, MATCH))
    workshop.configure(BRIEFS=address)
    assert workshop.run("send", "--json").json["issue"] == 1
    sent = len(relay.mails)
    # Nothing new, in whatever way it says so.
    for body in (make_feed(COMET, MATCH), make_feed(MATCH), make_feed(MATCH, COMET, text="Corrected.")):
        server.offer("/feed", body)
        again = workshop.run("send", "--brief", address, "--json").json
        assert (again["issue"], again["new"], again["audit"]["balanced"]) == (1, 0, True)
        planned = workshop.run("send", "--dry-run", "--json").json
        assert (planned["issue"], planned["new"]) == (1, 0)
    assert len(relay.mails) == sent
    server.offer("/feed", make_feed(MUSEUM, COMET, text="Corrected."))
    planned = workshop.run("send", "--dry-run", "--json").json
    assert (planned["issue"], planned["new"]) == (None, 4)
    assert workshop.run("send", "--json").json["issue"] == 2
    assert [story["title"] for story in workshop.run("issues", "show", "2", "--json").json["stories"]] == [MUSEUM]
    assert all(COMET not in read_parts(mail)[0] for mail in relay.mails[sent:])
    assert workshop.run("send", "--json").json["issue"] == 2
    assert workshop.run("audit", "1", "--json").json["balanced"]


def test_what_another_feed_told_is_no_news(workshop: Workshop, server: FeedServer, relay: SmtpServer) -> None:
    one, two = server.offer("/one", make_feed(COMET)), server.offer("/two", make_feed(COMET))
    workshop.configure(BRIEFS=f'["{one}","{two}"]')
    workshop.run("send", "--brief", one)
    assert "has no story that was not published before" in workshop.run("send", "--brief", two, code=1).err
    server.offer("/two", make_feed(COMET, MATCH))
    assert workshop.run("send", "--brief", two, "--json").json["issue"] == 2
    assert [story["title"] for story in workshop.run("issues", "show", "2", "--json").json["stories"]] == [MATCH]


def test_a_feed_that_is_down_still_goes_out_as_it_last_was(
    workshop: Workshop, server: FeedServer, relay: SmtpServer
) -> None:
    workshop.configure(BRIEFS=server.offer("/feed", make_feed(COMET)))
    workshop.run("brief", "list")
    server.offer("/feed", status=500)
    ran = workshop.run("send", "--json")
    assert ran.json["issue"] == 1
    assert f"warning: feed {server.url()} cannot be fetched: it answers 500 (Internal Server Error)" in ran.err
    assert relay.mails
