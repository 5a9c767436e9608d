"""What the command line shows of several relays, of alarms and of domains that are left alone."""

import json

import pytest
from smtp_server import DROP, SmtpServer, run_in_thread
from workshop import Workshop

SPAM = "550 5.7.1 looks like spam to us"


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """40 subscribers imported, half of them of one domain."""
    rows = "".join(f"p{number}@{'busy' if number % 2 else 'x'}.example,*\n" for number in range(40))
    workshop.write("subscribers/many.csv", f"email,topics\n{rows}")
    workshop.run("subscribers", "import", "subscribers/many.csv")
    return workshop


def use_relays(ready: Workshop, *servers: SmtpServer, **more: object) -> None:
    relays = [{"host": "127.0.0.1", "port": server.port, "tls": "none", "connections": 4, **more} for server in servers]
    ready.configure(RELAYS=json.dumps(relays))


def test_send_goes_over_all_relays_of_the_setting(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as one, run_in_thread(SmtpServer()) as two:
        use_relays(ready, one, two)
        assert ready.run("send", "--json").json["audit"]["accepted"] == 40
        names = {f"127.0.0.1:{server.port}" for server in (one, two)}
    assert {line["relay"] for line in ready.run("log", "--json").lines} == names
    assert len(one.mails) + len(two.mails) == 40


def test_send_goes_over_the_other_relay_where_one_is_down(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(replies={"BANNER": DROP})) as down, run_in_thread(SmtpServer()) as up:
        use_relays(ready, down, up)
        ran = ready.run("send", "--json")
    assert ran.json["audit"]["accepted"] == len(up.mails) == 40
    assert "stopped" not in ran.err


def test_all_relays_down_ends_with_3_and_names_each(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(replies={"BANNER": DROP})) as one, run_in_thread(SmtpServer()) as two:
        use_relays(ready, one, two, username="editor", password="s3cret")
        ran = ready.run("send", "--json", code=3)
    assert ran.json["audit"]["queued"] == 40
    assert f"127.0.0.1:{one.port}" in ran.err
    assert f"127.0.0.1:{two.port}" in ran.err
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("delays", ["[]", "[0,0,0]"])
def test_a_relay_that_is_down_ends_the_run_whatever_the_delays(ready: Workshop, delays: str) -> None:
    with run_in_thread(SmtpServer(replies={"BANNER": DROP})) as down:
        ready.use(down)
        ready.configure(RETRY_DELAYS=delays)
        ran = ready.run("send", "--json", code=3)
    assert ran.json["audit"]["queued"] == 40
    assert len(down.sessions) <= 2


def test_an_alarm_is_a_warning_and_the_paused_issue_says_why(ready: Workshop) -> None:
    everyone = {f"p{number}@{'busy' if number % 2 else 'x'}.example": SPAM for number in range(40)}
    with run_in_thread(SmtpServer(replies={"RCPT": everyone})) as server:
        ready.use(server)
        ran = ready.run("send", code=3)
    assert (
        f"warning: issue 1 is paused: 20 of the last 200 replies say that the fault is ours, as in: {SPAM}" in ran.err
    )
    shown = ready.run("issues", "show", "1", "--json").json
    assert shown["state"] == "paused"
    assert SPAM in json.dumps(shown)
    assert ready.run("suppressions", "list", "--json").lines == []
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("issues", "resume", "1")
        ready.run("deliver")
        assert 11 <= len(server.mails) <= 20  # ten connections had a mail on the wire when it was paused


def test_what_is_due_only_later_since_its_domain_is_left_alone_ends_with_0(ready: Workshop) -> None:
    busy = {f"p{number}@busy.example": "421 4.7.0 try again later" for number in range(40)}
    with run_in_thread(SmtpServer(replies={"RCPT": busy})) as server:
        ready.use(server)
        books = ready.run("send", "--json").json["audit"]
        assert (books["accepted"], books["deferred"] + books["queued"]) == (20, 20)
        tried = len(ready.run("log", "--json").lines)
        assert ready.run("deliver", "--json").json["audit"]["accepted"] == 20
        assert len(ready.run("log", "--json").lines) == tried < 30
