"""The way to a relay: TLS in every mode, logins, and whatever can stand in the way; each against a real server."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from smtp_server import CA_FILE, DROP, Answer, SmtpServer, Stall

from newsletter.core.errors import TransportError
from newsletter.core.model import Outcome
from newsletter.transport.smtp import (
    Attempted,
    Envelope,
    Relay,
    RelayRefusedError,
    RelayUnreachableError,
    open_connection,
)

MAIL = b"Subject: hello\r\n\r\nthe end\r\n"
pytestmark = pytest.mark.usefixtures("each_loop")

HUGE = b"Subject: huge\r\n\r\n" + (b"x" * 998 + b"\r\n") * 32_000
ENVELOPE = Envelope(return_path="news@sender.example", recipient="reader@example.org")
USERS = {"editor": "s3cret"}


def relay_of(
    server: SmtpServer,
    tls: Literal["none", "opportunistic", "starttls", "implicit"],
    *,
    host: str = "localhost",
    ca_file: Path | None = CA_FILE,
    login: tuple[str, str] | None = None,
    timeout: float = 20,
) -> Relay:
    return Relay(
        host=host,
        port=server.port,
        tls=tls,
        ca_file=str(ca_file) if ca_file else None,
        username=login[0] if login else None,
        password=login[1] if login else None,
        timeout=timedelta(seconds=timeout),
    )


def send_one(
    server: SmtpServer,
    tls: Literal["none", "opportunistic", "starttls", "implicit"],
    *,
    host: str = "localhost",
    ca_file: Path | None = CA_FILE,
    login: tuple[str, str] | None = None,
    timeout: float = 20,
    mail: bytes = MAIL,
    stall: Stall | None = None,
) -> Attempted:
    """Connect, send one mail, quit."""

    async def run() -> Attempted:
        async with server:
            relay = relay_of(server, tls, host=host, ca_file=ca_file, login=login, timeout=timeout)
            connection = await open_connection(relay, local_hostname="sender.example")
            attempt = await connection.send(ENVELOPE, mail)
            await connection.quit()
            if stall is not None:
                stall.release()
            await server.wait_idle()
            return attempt

    return asyncio.run(run())


def refuse(server: SmtpServer, tls: Literal["none", "opportunistic", "starttls", "implicit"], **more: object) -> str:
    """Try it; the sentence of the refusal."""
    with pytest.raises(RelayRefusedError) as caught:
        send_one(server, tls, **more)  # type: ignore[arg-type]
    assert f":{server.port}" in str(caught.value)
    return str(caught.value)


def fail(server: SmtpServer, tls: Literal["none", "opportunistic", "starttls", "implicit"], **more: object) -> str:
    """Try it; the sentence of the failure that another try may mend."""
    with pytest.raises(RelayUnreachableError) as caught:
        send_one(server, tls, **more)  # type: ignore[arg-type]
    assert f":{server.port}" in str(caught.value)
    return str(caught.value)


def test_a_relay_is_named_and_keeps_its_password_to_itself() -> None:
    relay = Relay(host="mx.example", port=587, username="editor", password="s3cret")
    assert relay.name == "mx.example:587"
    assert "s3cret" not in repr(relay)


@pytest.mark.parametrize(
    ("offered", "tls", "encrypted"),
    [
        ("starttls", "none", False),
        ("starttls", "opportunistic", True),
        (None, "opportunistic", False),
        ("starttls", "starttls", True),
        ("implicit", "implicit", True),
    ],
)
def test_each_mode_of_tls(
    offered: Literal["starttls", "implicit"] | None,
    tls: Literal["none", "opportunistic", "starttls", "implicit"],
    encrypted: bool,
) -> None:
    server = SmtpServer(tls=offered)
    assert send_one(server, tls).outcome is Outcome.ACCEPTED
    (session,) = server.sessions
    assert session.encrypted is encrypted
    assert session.commands[0] == "EHLO sender.example"
    assert session.verbs.count("EHLO") == (2 if encrypted and offered == "starttls" else 1)
    assert server.mails[0].data == MAIL


def test_opportunistic_tls_asks_for_no_certificate() -> None:
    server = SmtpServer(tls="starttls")
    assert send_one(server, "opportunistic", host="127.0.0.1", ca_file=None).outcome is Outcome.ACCEPTED
    assert server.sessions[0].encrypted


def test_opportunistic_tls_goes_on_without_where_starttls_is_refused() -> None:
    server = SmtpServer(tls="starttls", replies={"STARTTLS": "454 4.7.0 not now"})
    assert send_one(server, "opportunistic").outcome is Outcome.ACCEPTED
    assert not server.sessions[0].encrypted


@pytest.mark.parametrize(("offered", "tls"), [("starttls", "starttls"), ("implicit", "implicit")])
@pytest.mark.parametrize(("host", "ca_file"), [("localhost", None), ("127.0.0.1", CA_FILE)])
def test_a_certificate_that_does_not_verify_is_refused(
    offered: Literal["starttls", "implicit"], tls: Literal["starttls", "implicit"], host: str, ca_file: Path | None
) -> None:
    server = SmtpServer(tls=offered)
    assert "certificate" in refuse(server, tls, host=host, ca_file=ca_file)
    assert server.mails == []


def test_starttls_that_is_demanded_must_be_offered() -> None:
    server = SmtpServer()
    assert "does not offer STARTTLS" in refuse(server, "starttls")
    assert "MAIL" not in server.sessions[0].verbs


def test_starttls_that_is_demanded_must_be_granted() -> None:
    assert "refuses STARTTLS: 502" in refuse(SmtpServer(tls="starttls", replies={"STARTTLS": "502 no"}), "starttls")
    assert "454 not now" in fail(SmtpServer(tls="starttls", replies={"STARTTLS": "454 not now"}), "starttls")


@pytest.mark.parametrize("tls", ["opportunistic", "starttls"])
@pytest.mark.parametrize("answer", [DROP, "421 bye", "220 go on, but not in TLS"])
def test_a_start_of_tls_that_fails_may_be_tried_again(
    tls: Literal["opportunistic", "starttls"], answer: Answer
) -> None:
    fail(SmtpServer(offers=["STARTTLS"], replies={"STARTTLS": answer}), tls)


def test_words_slipped_in_before_tls_are_not_taken_for_the_relays() -> None:
    server = SmtpServer(tls="starttls", replies={"STARTTLS": b"220 go on\r\n250-slipped in\r\n250 SIZE 1\r\n"})
    assert send_one(server, "starttls").outcome is Outcome.ACCEPTED


def test_tls_to_a_plain_port_fails() -> None:
    fail(SmtpServer(), "implicit")


@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_wrong_ca_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    sentence = refuse(SmtpServer(tls="implicit"), "implicit", ca_file=path)
    assert str(path) in sentence
    assert "CA_FILE" in sentence


@pytest.mark.parametrize("offers", [["AUTH PLAIN"], ["AUTH LOGIN"], ["AUTH=LOGIN PLAIN"]])
@pytest.mark.parametrize("tls", ["none", "starttls"])
def test_a_login_is_accepted(offers: list[str], tls: Literal["none", "starttls"]) -> None:
    server = SmtpServer(offers=offers, logins=USERS, login_demanded=True, tls="starttls")
    assert send_one(server, tls, login=("editor", "s3cret")).outcome is Outcome.ACCEPTED
    assert server.sessions[0].login == "editor"


def test_where_one_method_fails_the_next_is_tried() -> None:
    server = SmtpServer(offers=["AUTH PLAIN LOGIN"], logins=USERS, replies={"AUTH": ["535 5.7.8 not that way", None]})
    assert send_one(server, "none", login=("editor", "s3cret")).outcome is Outcome.ACCEPTED
    assert [command[:10] for command in server.sessions[0].commands[1:3]] == ["AUTH PLAIN", "AUTH LOGIN"]


@pytest.mark.parametrize("replies", [{}, {"AUTH": ["535 5.7.8 wrong", DROP]}])
def test_a_wrong_login_is_refused_and_the_password_not_told(replies: dict[str, Answer]) -> None:
    sentence = refuse(SmtpServer(logins=USERS, replies=replies), "none", login=("editor", "hunter2"))
    assert "'editor'" in sentence
    assert "535 5.7.8 wrong" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", DROP, "421 bye"])
def test_a_login_that_fails_for_now_may_be_tried_again(answer: Answer) -> None:
    fail(SmtpServer(logins=USERS, replies={"AUTH": answer}), "none", login=("editor", "s3cret"))


@pytest.mark.parametrize("offers", [[], ["AUTH GSSAPI"]])
def test_a_login_that_is_not_offered_is_refused(offers: list[str]) -> None:
    assert "offers no login" in refuse(SmtpServer(offers=offers), "none", login=("editor", "s3cret"))


def test_a_relay_that_demands_a_login_stops_everything() -> None:
    attempt = send_one(SmtpServer(logins=USERS, login_demanded=True), "none")
    assert attempt.verdict.stop
    assert not attempt.counted


def test_no_login_goes_in_clear_text_over_a_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network address but loopback")
        address = probe.getsockname()[0]
    server = SmtpServer(host="0.0.0.0", logins=USERS)
    assert "clear text" in refuse(server, "none", host=address, login=("editor", "s3cret"))
    assert "AUTH" not in server.sessions[0].verbs


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (SmtpServer(replies={"BANNER": "421 4.3.2 too many connections"}), "421 4.3.2 too many connections"),
        (SmtpServer(replies={"BANNER": "554 5.7.1 not\n554 5.7.1 you"}), "554 5.7.1 not 5.7.1 you"),
        (SmtpServer(replies={"BANNER": b"what?\r\n"}), "what?"),
        (SmtpServer(replies={"BANNER": DROP}), ""),
        (SmtpServer(drop_after={"BANNER"}), ""),
        (SmtpServer(replies={"EHLO": DROP}), ""),
        (SmtpServer(replies={"EHLO": "421 bye"}), "421 bye"),
        (SmtpServer(replies={"EHLO": "550 no", "HELO": "550 nor that"}), "550 nor that"),
        (SmtpServer(drop_after={"EHLO"}), ""),
    ],
)
def test_a_relay_that_turns_us_away_may_be_tried_again(server: SmtpServer, said: str) -> None:
    assert said in fail(server, "opportunistic")


def test_a_relay_that_wants_a_login_before_everything_is_refused() -> None:
    assert "530" in refuse(SmtpServer(replies={"EHLO": "530 log in", "HELO": "530 log in"}), "none")


@pytest.mark.parametrize("stage", ["BANNER", "EHLO"])
def test_a_relay_that_says_nothing_is_left_in_time(stage: str) -> None:
    assert "imed out" in fail(SmtpServer(replies={stage: Stall()}), "none", timeout=0.1)


def open_nowhere(relay: Relay, local_hostname: str | None = None) -> TransportError:
    with pytest.raises(TransportError) as caught:
        asyncio.run(open_connection(relay, local_hostname=local_hostname))
    assert relay.name in str(caught.value)
    return caught.value


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = open_nowhere(Relay(host="127.0.0.1", port=port))
    assert isinstance(error, RelayUnreachableError)
    assert str(error).endswith("cannot be reached: Connection refused")


def test_a_closed_port_at_several_addresses_is_told_as_simply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert str(open_nowhere(Relay(host="localhost", port=port))).endswith("cannot be reached: Connection refused")


def test_an_unknown_host_is_unreachable() -> None:
    error = open_nowhere(Relay(host="relay.invalid", port=25))
    assert isinstance(error, RelayUnreachableError)
    assert "Errno" not in str(error)


@pytest.mark.parametrize(("host", "own_name"), [("bad..host", None), ("127.0.0.1", "two words"), ("a\nb", None)])
def test_a_name_that_cannot_be_one_is_refused(host: str, own_name: str | None) -> None:
    assert isinstance(open_nowhere(Relay(host=host, port=25), own_name), RelayRefusedError)


def test_a_cancelled_connection_leaves_nothing_behind() -> None:
    stall = Stall()

    async def run() -> None:
        async with SmtpServer(replies={"EHLO": stall}) as server:
            opening = asyncio.create_task(open_connection(relay_of(server, "none")))
            await stall.wait_reached()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            stall.release()
            await server.wait_idle()
            assert server.sessions[0].finished

    asyncio.run(run())


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_over_tls_a_body_that_is_not_read_is_not_in_doubt(tls: Literal["starttls", "implicit"]) -> None:
    stall = Stall()
    server = SmtpServer(tls=tls, in_body=(1000, stall))
    attempt = send_one(server, tls, mail=HUGE, timeout=0.5, stall=stall)
    assert attempt.outcome is Outcome.DEFERRED
    assert server.mails == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_over_tls_a_body_arrives_whole_and_its_loss_is_in_doubt(tls: Literal["starttls", "implicit"]) -> None:
    server = SmtpServer(tls=tls, replies={"BODY": [None, DROP]})
    assert send_one(server, tls, mail=HUGE).outcome is Outcome.ACCEPTED
    assert server.mails[0].data == HUGE
    assert send_one(server, tls).outcome is Outcome.UNCERTAIN


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_over_tls_a_drop_inside_the_body_is_not_in_doubt(tls: Literal["starttls", "implicit"]) -> None:
    server = SmtpServer(tls=tls, in_body=(1000, DROP))
    assert send_one(server, tls, mail=HUGE).outcome is Outcome.DEFERRED
    assert server.mails == []
