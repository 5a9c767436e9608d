"""The edges of the checks: pages asked on a real HTTP server, and a real socket that speaks as spamd does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feed_server import FeedServer

from newsletter.bootstrap import open_service
from newsletter.checks import check_proof
from newsletter.core.checks.links import Answer, State
from newsletter.core.checks.spam import SpamReport
from newsletter.proof import make_proof
from newsletter.settings import Settings
from newsletter.sources.http import MAX_REDIRECTS
from newsletter.sources.probe import probe, probe_links
from newsletter.transport.spamd import ask_spamd

SHORT = 0.3


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer().running() as running:
        yield running


def ask(address: str, **options: object) -> Answer:
    return probe(address, allow_private=True, **options)  # type: ignore[arg-type]


def test_a_page_that_is_there_is_asked_by_head_alone(server: FeedServer) -> None:
    address = server.offer("/page?a=b", b"x" * 1000)
    assert ask(address.replace("//", "//user:secret@")) == Answer(State.ALIVE)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("HEAD", "/page?a=b")
    assert "authorization" not in asked.headers


def test_a_server_that_knows_get_only_is_asked_again(server: FeedServer) -> None:
    assert ask(server.offer("/page", b"x", quirk="get-only")) == Answer(State.ALIVE)
    assert [asked.method for asked in server.asked] == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("status", "state"), [(404, State.DEAD), (410, State.DEAD), (403, State.UNANSWERED), (500, State.UNANSWERED)]
)
def test_what_a_server_refuses(server: FeedServer, status: int, state: State) -> None:
    answer = ask(server.offer("/page", status=status))
    assert answer.state is state
    assert f"it answers {status} (" in answer.reason


def test_redirects_are_followed_to_their_end(server: FeedServer) -> None:
    server.offer("/new", b"x")
    assert ask(server.redirect("/old", "/new")).state is State.ALIVE
    assert ask(server.redirect("/lost", "/nowhere")).state is State.DEAD
    server.asked.clear()
    round_trip = ask(server.redirect("/again", "/again"))
    assert round_trip == Answer(State.UNANSWERED, "it redirects more than 5 times. Look at it in a browser")
    assert len(server.asked) == MAX_REDIRECTS + 1
    assert ask(server.redirect("/mail", "mailto:a@b.example")).state is State.UNANSWERED


@pytest.mark.parametrize("quirk", ["hang-up", "noise"])
def test_a_server_that_breaks_off(server: FeedServer, quirk: str) -> None:
    answer = ask(server.offer("/page", quirk=quirk))
    assert answer.state is State.UNANSWERED
    assert answer.reason.startswith("the connection failed")


def test_a_server_that_does_not_answer_in_time(server: FeedServer) -> None:
    for quirk in ("stall", "drip-head"):
        answer = ask(server.offer("/page", quirk=quirk), seconds=SHORT)
        assert answer == Answer(State.UNANSWERED, "it does not answer within 0.3 seconds. Look at it in a browser")


def test_private_addresses_are_not_asked_by_a_redirect_either(server: FeedServer) -> None:
    address = server.offer("/page", b"x")
    assert probe(address).state is State.PRIVATE
    assert probe("http://inside.example/", resolve=lambda host, port: ["10.0.0.1"]).state is State.PRIVATE
    assert server.asked == []


def test_a_host_that_does_not_exist_is_dead_and_one_that_cannot_be_looked_up_is_not() -> None:
    def refuse(number: int) -> Answer:
        def resolve(host: str, port: int) -> list[str]:
            raise socket.gaierror(number, "no answer")

        return probe("https://nowhere.invalid/", resolve=resolve)

    assert refuse(socket.EAI_NONAME) == Answer(State.DEAD, "there is no such host. Mend the link")
    assert refuse(socket.EAI_AGAIN).state is State.UNANSWERED
    assert probe("https://example.org:port/").state is State.UNANSWERED


def test_many_pages_are_asked_at_once(server: FeedServer) -> None:
    addresses = [server.offer(f"/{number}") for number in range(3)]
    assert probe_links(addresses) == dict.fromkeys(addresses, Answer(State.PRIVATE, probe(addresses[0]).reason))
    assert probe_links([]) == {}


@contextmanager
def spamd(reply: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one request whole, and replies so, or never."""
    heard: list[bytes] = []
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while piece := connection.recv(65536):
                heard.append(piece)
            if reply is None:
                done.wait()
            else:
                connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], heard
        done.set()
        thread.join()


def test_spamds_score_stands_among_the_findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    samples = Path(__file__).parents[2]
    settings = Settings(briefs=(str(samples / "briefs"),), topics=samples / "subscribers" / "topics.toml")
    with open_service(settings) as service, spamd(HEAD % (b"True ; 6.4 / 5.0", b"")) as (port, heard):
        brief = service.find_brief("latest")
        proof = make_proof(
            brief,
            ("*",),
            publisher=service.make_publisher(sample=True),
            signer=service.sample_signer,
            person=None,
            now=service.now(),
        )
        found = check_proof(brief, proof, catalogue=service.catalogue, spamd_port=port)
    assert (found[0].code, found[0].severity) == ("spam.rejected", "error")
    assert b"".join(heard).endswith(proof.eml)


HEAD = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 30\r\nSpam: %b\r\n\r\n%b"


def test_spamd_is_asked_for_score_and_rules() -> None:
    with spamd(HEAD % (b"True ; 6.4 / 5.0", b"HTML_MESSAGE,MPART_ALT_DIFF\r\n")) as (port, heard):
        assert ask_spamd(b"From: a\r\n\r\nx", port=port) == SpamReport(6.4, ("HTML_MESSAGE", "MPART_ALT_DIFF"))
    assert b"".join(heard) == b"SYMBOLS SPAMC/1.2\r\nContent-length: 12\r\n\r\nFrom: a\r\n\r\nx"


def test_spamd_may_score_below_nothing_and_name_no_rule() -> None:
    with spamd(HEAD % (b"False ; -1.9 / 5.0", b"")) as (port, _):
        assert ask_spamd(b"x", port=port) == SpamReport(-1.9)


@pytest.mark.parametrize(
    "reply", [b"", b"SSH-2.0-noise\r\n\r\n", b"SPAMD/1.0 76 Bad header line\r\n\r\n", b"SPAMD/1.1 " + b"x" * 70_000]
)
def test_what_is_not_spamds_reply_is_no_score(reply: bytes) -> None:
    with spamd(reply) as (port, _):
        assert ask_spamd(b"x", port=port) is None


def test_nobody_there_or_no_reply_is_no_score() -> None:
    with spamd(None) as (port, _):
        assert ask_spamd(b"x", port=port, seconds=SHORT) is None
    assert ask_spamd(b"x", port=port, seconds=SHORT) is None
