"""Transactions against a real SMTP server that misbehaves in every named way."""

import asyncio
import smtplib
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from smtp_server import DROP, OFFERS, Answer, SmtpServer, Stall, run_in_thread
from smtp_talk import Answers

from newsletter.core.model import Outcome
from newsletter.core.policy import Cause, Reply, Stage
from newsletter.transport.smtp import Attempted, Envelope, Relay, open_connection

pytestmark = pytest.mark.usefixtures("each_loop")

MAIL = b"Subject: hello\r\n\r\n..a line with a dot\r\nthe end\r\n"
RECEIVED = b"Subject: hello\r\n\r\n.a line with a dot\r\nthe end\r\n"
HUGE = b"Subject: huge\r\n\r\n" + (b"x" * 998 + b"\r\n") * 32_000
"""More than the system's socket buffers hold, so that a part stays in ours."""

DEFAULTS = SmtpServer.__init__.__kwdefaults__
STEP_BY_STEP = tuple(offer for offer in OFFERS if offer != "PIPELINING")

READER = "reader@example.org"
OTHER = "other@example.org"
SENDER = "news@sender.example"


@pytest.fixture(params=[OFFERS, STEP_BY_STEP], ids=["at once", "step by step"], autouse=True)
def offers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """What servers offer unless a test says otherwise: every transaction is tried with and without PIPELINING."""
    chosen: Sequence[str] = request.param
    monkeypatch.setattr(SmtpServer.__init__, "__kwdefaults__", {**(DEFAULTS or {}), "offers": chosen})
    return chosen


def relay_of(server: SmtpServer, *, timeout: float = 20, final: float = 20) -> Relay:
    return Relay(
        host=server.host,
        port=server.port,
        tls="none",
        timeout=timedelta(seconds=timeout),
        final_timeout=timedelta(seconds=final),
    )


def envelope_to(recipient: str, **more: str) -> Envelope:
    return Envelope(return_path=more.pop("return_path", SENDER), recipient=recipient, **more)


def try_mails(
    server: SmtpServer,
    envelopes: Sequence[Envelope] = (envelope_to(READER),),
    *,
    mail: bytes = MAIL,
    timeout: float = 20,
    final: float = 20,
    stall: Stall | None = None,
) -> tuple[list[Attempted], list[bool]]:
    """Send one mail after another on one connection; the attempts, and after each whether it was still open.

    `stall` is released when we have left, so that the server does whatever it would still do.
    """

    async def run() -> tuple[list[Attempted], list[bool]]:
        async with server:
            connection = await open_connection(relay_of(server, timeout=timeout, final=final))
            attempts, states = [], []
            for envelope in envelopes:
                attempts.append(await connection.send(envelope, mail))
                states.append(connection.is_open)
            await connection.quit()
            assert not connection.is_open
            assert not connection.in_doubt
            if stall is not None:
                stall.release()
            await server.wait_idle()
            return attempts, states

    return asyncio.run(run())


def test_a_mail_arrives_byte_for_byte() -> None:
    server = SmtpServer(replies={"BODY": "250 2.0.0 queued as 42"})
    (attempt,), (still_open,) = try_mails(server)
    assert attempt.outcome is Outcome.ACCEPTED
    assert attempt.reply == Reply(250, "2.0.0", "2.0.0 queued as 42")
    assert (attempt.stage, attempt.counted, still_open) == (Stage.BODY, True, True)
    assert attempt.seconds > 0
    (mail,) = server.mails
    assert (mail.return_path, mail.recipient, mail.data) == (SENDER, READER, RECEIVED)
    assert server.sessions[0].verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_many_mails_share_a_connection() -> None:
    server = SmtpServer()
    readers = [f"reader{n}@example.org" for n in range(20)]
    attempts, _ = try_mails(server, [envelope_to(reader) for reader in readers])
    assert {attempt.outcome for attempt in attempts} == {Outcome.ACCEPTED}
    assert [mail.recipient for mail in server.mails] == readers
    (session,) = server.sessions
    assert session.verbs.count("EHLO") == 1
    assert "RSET" not in session.verbs


def test_connections_work_side_by_side() -> None:
    stalls = {f"reader{n}@example.org": Stall() for n in range(5)}

    async def send(server: SmtpServer, reader: str) -> int:
        connection = await open_connection(relay_of(server))
        await connection.send(envelope_to(reader), MAIL)
        await connection.quit()
        return connection.mails_sent

    async def run() -> list[int]:
        async with server, asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(server, reader)) for reader in stalls]
            for stall in stalls.values():
                await stall.wait_reached()
            for stall in stalls.values():
                stall.release()
            return [await task for task in tasks]

    server = SmtpServer(replies={"BODY": stalls})
    assert asyncio.run(run()) == [1] * 5
    assert server.most_connections == 5
    assert len(server.mails) == 5


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    ("line", "outcome", "cause"),
    [
        ("450 4.2.1 later", Outcome.DEFERRED, Cause.GREYLISTED),
        ("550 5.7.1 spam", Outcome.REJECTED, Cause.OUR_FAULT),
        ("552 5.3.4 too large", Outcome.REJECTED, Cause.OUR_MESSAGE),
    ],
)
def test_a_refusal_is_counted_and_the_connection_goes_on(
    stage: Stage, line: str, outcome: Outcome, cause: Cause
) -> None:
    server = SmtpServer(replies={stage.value: {READER: line, "bad@sender.example": line}})
    bad = envelope_to(READER, return_path="bad@sender.example")
    (attempt, second), states = try_mails(server, [bad, envelope_to(OTHER)])
    assert (attempt.outcome, attempt.verdict.cause, attempt.stage, attempt.counted) == (outcome, cause, stage, True)
    assert f"{attempt.reply.code} {attempt.reply.text}" == line
    assert second.outcome is Outcome.ACCEPTED
    assert states == [True, True]
    assert [mail.recipient for mail in server.mails] == [OTHER]
    assert server.sessions[0].verbs.count("RSET") == 1


def test_an_unknown_user_is_suppressed() -> None:
    (attempt,), _ = try_mails(SmtpServer(replies={"RCPT": {READER: "550 5.1.1 no such user"}}))
    assert attempt.verdict.suppress
    assert attempt.reply.enhanced == "5.1.1"


def test_greylisting_asks_for_a_time_and_then_gives_way() -> None:
    server = SmtpServer(greylist="451 4.7.1 greylisted, try again in 60 seconds")
    (first, second), _ = try_mails(server, [envelope_to(READER)] * 2)
    assert (first.outcome, first.verdict.retry_after) == (Outcome.DEFERRED, timedelta(seconds=60))
    assert second.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("stage", list(Stage))
def test_421_ends_the_connection_at_any_place(stage: Stage) -> None:
    server = SmtpServer(replies={stage.value: "421 4.3.2 shutting down"})
    (attempt, next_one), states = try_mails(server, [envelope_to(READER), envelope_to(OTHER)])
    assert (attempt.outcome, attempt.verdict.cause, attempt.stage) == (Outcome.DEFERRED, Cause.RELAY, stage)
    assert (attempt.counted, attempt.reply.code) == (True, 421)
    assert (next_one.outcome, next_one.counted, next_one.reply.code) == (Outcome.DEFERRED, False, None)
    assert states == [False, False]
    assert server.mails == []


@pytest.mark.parametrize("stage", list(Stage))
def test_a_demand_for_login_stops_everything_and_counts_nothing(stage: Stage) -> None:
    (attempt,), _ = try_mails(SmtpServer(replies={stage.value: "530 5.7.0 log in first"}))
    assert attempt.verdict.stop
    assert not attempt.counted
    assert attempt.outcome is Outcome.DEFERRED


@pytest.mark.parametrize(
    ("stage", "outcome", "counted"),
    [
        (Stage.MAIL, Outcome.DEFERRED, False),
        (Stage.RCPT, Outcome.DEFERRED, True),
        (Stage.DATA, Outcome.DEFERRED, True),
        (Stage.BODY, Outcome.UNCERTAIN, True),
    ],
)
@pytest.mark.parametrize("answer", [DROP, b"what?\r\n", b"25\r\n", b"2500 ok\r\n", b"\xff\xfe\r\n"])
def test_a_lost_or_senseless_reply(stage: Stage, outcome: Outcome, counted: bool, answer: Answer) -> None:
    server = SmtpServer(replies={stage.value: answer})
    (attempt,), states = try_mails(server)
    assert (attempt.outcome, attempt.counted, attempt.stage) == (outcome, counted, stage)
    assert attempt.verdict.cause is Cause.RELAY
    assert attempt.reply.code is None
    assert attempt.reply.text
    assert states == [False]
    assert server.mails == []


@pytest.mark.parametrize(
    ("stage", "outcome", "counted", "arrived"),
    [
        (Stage.MAIL, Outcome.DEFERRED, False, 0),
        (Stage.RCPT, Outcome.DEFERRED, True, 0),
        (Stage.DATA, Outcome.DEFERRED, True, 0),
        (Stage.BODY, Outcome.UNCERTAIN, True, 1),
    ],
)
def test_a_reply_that_does_not_come_in_time(stage: Stage, outcome: Outcome, counted: bool, arrived: int) -> None:
    stall = Stall()
    server = SmtpServer(replies={stage.value: stall})
    final = stage is Stage.BODY
    (attempt,), states = try_mails(server, timeout=20 if final else 0.1, final=0.1 if final else 20, stall=stall)
    assert (attempt.outcome, attempt.counted, attempt.stage, states) == (outcome, counted, stage, [False])
    assert attempt.reply == Reply(None, None, f"{stage}: no reply within 0.1 s")
    assert len(server.mails) == arrived


@pytest.mark.parametrize(
    ("stage", "line", "outcome"),
    [
        (Stage.MAIL, "354 go on", Outcome.DEFERRED),
        (Stage.RCPT, "354 go on", Outcome.DEFERRED),
        (Stage.DATA, "250 ok", Outcome.DEFERRED),
        (Stage.BODY, "354 go on", Outcome.UNCERTAIN),
    ],
)
def test_a_reply_of_the_wrong_class_ends_the_connection(stage: Stage, line: str, outcome: Outcome) -> None:
    (attempt,), states = try_mails(SmtpServer(replies={stage.value: line}))
    assert (attempt.outcome, attempt.counted, attempt.stage, states) == (outcome, True, stage, [False])
    assert attempt.reply.code == int(line[:3])


def test_a_drop_right_after_mail_is_counted() -> None:
    (attempt,), _ = try_mails(SmtpServer(drop_after={"MAIL"}))
    assert (attempt.outcome, attempt.stage, attempt.counted) == (Outcome.DEFERRED, Stage.RCPT, True)
    assert "closed the connection" in attempt.reply.text


@pytest.mark.parametrize(
    ("server", "outcome", "code"),
    [
        (SmtpServer(drop_after={"DATA"}), Outcome.DEFERRED, None),
        (SmtpServer(in_body=(1000, DROP)), Outcome.DEFERRED, None),
        (SmtpServer(in_body=(1000, "552 5.3.4 too large")), Outcome.REJECTED, 552),
        (SmtpServer(in_body=(1000, "451 4.3.0 no room")), Outcome.DEFERRED, 451),
        (SmtpServer(in_body=(1000, "250 2.0.0 that is enough")), Outcome.DEFERRED, 250),
        (SmtpServer(in_body=(1000, b"what?\r\n")), Outcome.DEFERRED, None),
    ],
)
def test_what_ends_inside_the_body_is_never_uncertain(server: SmtpServer, outcome: Outcome, code: int | None) -> None:
    (attempt,), states = try_mails(server, mail=HUGE)
    assert (attempt.outcome, attempt.stage, attempt.counted) == (outcome, Stage.BODY, True)
    assert attempt.reply.code == code
    assert states == [False]
    assert server.mails == []


def test_a_relay_that_stops_reading_gets_no_byte_more() -> None:
    stall = Stall()
    server = SmtpServer(in_body=(1000, stall))
    (attempt,), states = try_mails(server, mail=HUGE, timeout=0.2, stall=stall)
    assert (attempt.outcome, attempt.stage, attempt.counted, states) == (Outcome.DEFERRED, Stage.BODY, True, [False])
    assert "stopped reading" in attempt.reply.text
    assert server.mails == []


def test_a_relay_that_takes_its_time_still_gets_the_whole_body() -> None:
    stall = Stall()

    async def run() -> Attempted:
        async with server:
            connection = await open_connection(relay_of(server))
            sending = asyncio.create_task(connection.send(envelope_to(READER), HUGE))
            await stall.wait_reached()
            assert not connection.in_doubt
            stall.release()
            attempt = await sending
            await connection.quit()
            return attempt

    server = SmtpServer(in_body=(1000, stall))
    assert asyncio.run(run()).outcome is Outcome.ACCEPTED
    assert server.mails[0].data == HUGE


def test_an_answer_that_came_with_354_spares_the_body() -> None:
    server = SmtpServer(replies={"DATA": b"354 go on\r\n552 5.3.4 too large after all\r\n"})
    (attempt,), states = try_mails(server)
    assert (attempt.outcome, attempt.stage, attempt.reply.code) == (Outcome.REJECTED, Stage.BODY, 552)
    assert states == [False]


@pytest.mark.parametrize(
    "said", [b"250 ok\r\n421 idle for too long\r\n", b"250 ok\r\nand so", b"250 ok\r\n250-and\r\n"]
)
def test_a_relay_that_speaks_between_mails_is_left_and_nothing_is_counted(said: bytes) -> None:
    server = SmtpServer(replies={"BODY": [said]})
    (first, second), _ = try_mails(server, [envelope_to(READER), envelope_to(OTHER)])
    assert first.outcome is Outcome.ACCEPTED
    assert (second.outcome, second.counted, second.stage) == (Outcome.DEFERRED, False, Stage.MAIL)
    assert "out of turn" in second.reply.text
    assert server.sessions[0].verbs.count("MAIL") == 1


@pytest.mark.parametrize("answer", ["550 no", DROP, b"what?\r\n", "421 bye"])
def test_where_rset_fails_the_connection_is_dead_and_nothing_is_counted(answer: Answer) -> None:
    server = SmtpServer(replies={"RCPT": {READER: "550 5.1.1 no such user"}, "RSET": answer})
    (first, second), states = try_mails(server, [envelope_to(READER), envelope_to(OTHER)])
    assert first.outcome is Outcome.REJECTED
    assert (second.outcome, second.counted) == (Outcome.DEFERRED, False)
    assert states == [True, False]
    assert server.mails == []


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("550 5.1.1 The account\n550 5.1.1 does not exist", Reply(550, "5.1.1", "5.1.1 The account does not exist")),
        (b"550-first\n550 second\n", Reply(550, None, "first second")),
        (b"550\r\n", Reply(550, None, "")),
        (b"550-\r\n550\r\n", Reply(550, None, "")),
        (b"450-mixed\r\n550 classes\r\n", Reply(550, None, "mixed classes")),
        ("550 red \x1b[31m and\x07 bell", Reply(550, None, "red [31m and bell")),
        (b"550 na\xefve\r\n", Reply(550, None, "na�ve")),
        ("550 " + "x" * 5000, Reply(550, None, "x" * 1000)),
    ],
)
def test_replies_of_every_shape_become_one_clean_line(answer: Answer, reply: Reply) -> None:
    (attempt,), states = try_mails(SmtpServer(replies={"RCPT": answer}))
    assert attempt.reply == reply
    assert states == [True]


@pytest.mark.parametrize("said", [b"250-and so on\r\n" * 5000, b"x" * 40_000])
def test_a_reply_that_never_ends_is_cut_off(said: bytes) -> None:
    (attempt,), states = try_mails(SmtpServer(replies={"RCPT": said}))
    assert (attempt.outcome, attempt.counted, states) == (Outcome.DEFERRED, True, [False])
    assert "never ended" in attempt.reply.text


def test_parameters_follow_what_the_relay_offers() -> None:
    server = SmtpServer()
    try_mails(server, [envelope_to("b+ob=x@example.org", envid="7-42+é")])
    (mail,) = server.mails
    assert mail.mail_parameters == (f"SIZE={len(MAIL)}", "RET=HDRS", "ENVID=7-42+2B+C3+A9")
    assert mail.rcpt_parameters == ("NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;b+2Bob+3Dx@example.org")


@pytest.mark.parametrize("server", [SmtpServer(offers=()), SmtpServer(replies={"EHLO": "502 5.5.1 what?"})])
def test_a_plain_relay_gets_no_parameters(server: SmtpServer) -> None:
    (attempt,), _ = try_mails(server, [envelope_to(READER, envid="7-42")])
    assert attempt.outcome is Outcome.ACCEPTED
    assert server.mails[0].mail_parameters == server.mails[0].rcpt_parameters == ()


def test_a_mail_over_the_size_limit_is_refused_here() -> None:
    server = SmtpServer(offers=["SIZE 20"])
    (attempt,), states = try_mails(server)
    assert (attempt.outcome, attempt.verdict.cause) == (Outcome.REJECTED, Cause.OUR_MESSAGE)
    assert attempt.reply == Reply(
        None, "5.3.4", f"not sent: the mail has {len(MAIL)} octets, the relay takes at most 20"
    )
    assert (attempt.stage, attempt.counted, states) == (None, True, [True])
    assert server.sessions[0].verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("offer", ["SIZE", "SIZE 0", "SIZE much"])
def test_a_size_without_a_limit_limits_nothing(offer: str) -> None:
    server = SmtpServer(offers=[offer])
    (attempt,), _ = try_mails(server)
    assert attempt.outcome is Outcome.ACCEPTED
    assert server.mails[0].mail_parameters == (f"SIZE={len(MAIL)}",)


def test_an_international_domain_goes_as_a_labels() -> None:
    server = SmtpServer(offers=[])
    try_mails(server, [envelope_to("leser@bücher.example")])
    assert server.mails[0].recipient == "leser@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("offers", "parameters"),
    [(["SMTPUTF8"], ("SMTPUTF8",)), (["SMTPUTF8", "8BITMIME"], ("SMTPUTF8", "BODY=8BITMIME"))],
)
def test_an_international_address_goes_where_smtputf8_is_offered(
    offers: list[str], parameters: tuple[str, ...]
) -> None:
    server = SmtpServer(offers=[*offers, "DSN"])
    try_mails(server, [envelope_to("läser@bücher.example"), envelope_to(READER)])
    assert [mail.recipient for mail in server.mails] == ["läser@xn--bcher-kva.example", READER]
    assert server.mails[0].mail_parameters == (*parameters, "RET=HDRS")
    assert server.mails[0].rcpt_parameters == ("NOTIFY=FAILURE,DELAY",)
    assert server.mails[1].mail_parameters == ("RET=HDRS",)


def test_an_international_address_is_refused_here_without_smtputf8() -> None:
    server = SmtpServer(offers=["8BITMIME"])
    (attempt,), _ = try_mails(server, [envelope_to("läser@example.org")])
    assert (attempt.outcome, attempt.reply.enhanced, attempt.counted) == (Outcome.REJECTED, "5.6.7", True)
    assert not attempt.verdict.suppress
    assert "SMTPUTF8" in attempt.reply.text
    assert server.sessions[0].verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize(
    "address",
    [
        "a@x.example\r\nRCPT TO:<evil@x.example>",
        '"a\r\nb"@x.example',
        "a@x.example> SIZE=1",
        "a b@x.example",
        "a@x.example ",
        "<a@x.example>",
        "a\x00b@x.example",
        "a\x7fb@x.example",
        "a\u2028b@x.example",
        "a\udc80b@x.example",
        "no-at-sign",
        "@x.example",
        "a@",
        "",
        f"{'a' * 65}@x.example",
        f"a@{'long.' * 60}example",
    ],
)
def test_what_is_no_address_never_reaches_the_wire(address: str) -> None:
    server = SmtpServer()
    (attempt, bad_sender), _ = try_mails(
        server, [envelope_to(address), envelope_to(READER, return_path=address or "?")]
    )
    assert (attempt.outcome, attempt.reply.code, attempt.reply.enhanced) == (Outcome.REJECTED, None, "5.1.3")
    assert (attempt.stage, attempt.counted, attempt.verdict.suppress) == (None, True, True)
    assert (bad_sender.reply.enhanced, bad_sender.verdict.cause) == ("5.1.7", Cause.OUR_FAULT)
    assert server.sessions[0].verbs == ["EHLO", "QUIT"]


def test_an_empty_return_path_is_allowed() -> None:
    server = SmtpServer()
    (attempt,), _ = try_mails(server, [envelope_to(READER, return_path="")])
    assert attempt.outcome is Outcome.ACCEPTED
    assert server.sessions[0].commands[1].startswith("MAIL FROM:<> ")


def cancel_at(server: SmtpServer, stall: Stall, mail: bytes = MAIL) -> tuple[bool, bool]:
    """Cancel a `send` while the server stalls, then let the server go on. Returns in_doubt and is_open."""

    async def run() -> tuple[bool, bool]:
        async with server:
            connection = await open_connection(relay_of(server))
            sending = asyncio.create_task(connection.send(envelope_to(READER), mail))
            await stall.wait_reached()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            state = connection.in_doubt, connection.is_open
            stall.release()
            await server.wait_idle()
            return state

    return asyncio.run(run())


def test_cancelled_at_the_final_dot_a_mail_is_in_doubt() -> None:
    stall = Stall()
    server = SmtpServer(replies={"BODY": stall})
    assert cancel_at(server, stall) == (True, False)
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("make", "mail"),
    [
        (lambda stall: SmtpServer(replies={"RCPT": stall}), MAIL),
        (lambda stall: SmtpServer(replies={"DATA": stall}), MAIL),
        (lambda stall: SmtpServer(in_body=(1000, stall)), HUGE),
    ],
)
def test_cancelled_before_that_it_is_not_and_nothing_more_goes_out(
    make: Callable[[Stall], SmtpServer], mail: bytes
) -> None:
    stall = Stall()
    server = make(stall)
    assert cancel_at(server, stall, mail) == (False, False)
    assert server.mails == []


@pytest.mark.parametrize("answer", [DROP, b"what?\r\n", "500 no", Stall()])
def test_quit_never_raises(answer: Answer) -> None:
    async def run() -> None:
        async with SmtpServer(replies={"QUIT": answer}) as server:
            connection = await open_connection(relay_of(server, timeout=0.1 if isinstance(answer, Stall) else 20))
            states = [connection.is_open]
            for _ in range(2):
                await connection.quit()
                states.append(connection.is_open)
            assert states == [True, False, False]

    asyncio.run(run())


def test_a_connection_that_ended_while_idle_counts_nothing() -> None:
    async def run() -> tuple[Attempted, bool]:
        async with SmtpServer() as server:
            connection = await open_connection(relay_of(server))
        attempt = await connection.send(envelope_to(READER), MAIL)
        return attempt, connection.is_open

    attempt, is_open = asyncio.run(run())
    assert (attempt.outcome, attempt.counted, is_open) == (Outcome.DEFERRED, False, False)


def test_the_server_runs_in_a_thread_too() -> None:
    stall = Stall(then="250 2.0.0 at last")
    with run_in_thread(SmtpServer(replies={"DATA": [None, "451 later"], "BODY": stall})) as server:
        stall.release()
        with smtplib.SMTP(server.host, server.port, timeout=20) as client:
            client.sendmail(SENDER, [READER, OTHER], b"Subject: from a thread\r\n\r\n.\r\n")
            with pytest.raises(smtplib.SMTPDataError, match="later"):
                client.sendmail(SENDER, [READER], b"Subject: again\r\n\r\n")
        (mail,) = server.mails_to(OTHER)
    assert mail.recipients == (READER, OTHER)
    assert mail.data.endswith(b"\r\n.\r\n")
    assert stall.reached.done()


def test_a_relay_that_takes_data_after_a_refusal_gets_a_lone_dot(offers: Sequence[str]) -> None:
    """RFC 2920 3.1: the commands were in one write, so DATA may have been accepted for nobody."""
    refused: Answers = {"RCPT": {READER: "550 5.1.1 no such user"}, "DATA": "354 go on"}
    server = SmtpServer(replies=refused, data_for_nobody=True)
    attempts, states = try_mails(server, [envelope_to(READER), envelope_to(OTHER)])
    assert [attempt.outcome for attempt in attempts] == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert states == [True, True]
    assert [mail.recipient for mail in server.mails] == [OTHER]


def test_the_envelope_goes_out_in_one_write_where_that_is_offered(offers: Sequence[str]) -> None:
    stall = Stall()
    server = SmtpServer(replies={"MAIL": stall})

    async def run() -> int:
        async with server:
            connection = await open_connection(relay_of(server))
            sending = asyncio.create_task(connection.send(envelope_to(READER), MAIL))
            await stall.wait_reached()
            waiting = server.count_waiting()
            stall.release()
            assert (await sending).outcome is Outcome.ACCEPTED
            await connection.quit()
            return waiting

    assert asyncio.run(run()) == (2 if "PIPELINING" in offers else 0)
