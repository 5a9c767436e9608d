"""Real processes, killed and interrupted in the middle of a send: nobody is lost, doubles are bounded and known."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TypeAlias

import pytest
from smtp_server import Answer, SmtpServer, Stall, run_in_thread
from workshop import Workshop, parse_mail

CONNECTIONS = 4
READERS = 60
COMMAND = (sys.executable, "-m", "newsletter")
Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def crowd(workshop: Workshop) -> Workshop:
    rows = "".join(f"p{number}@example.org,science\n" for number in range(READERS))
    workshop.write("subscribers/crowd.csv", f"email,topics\n{rows}")
    workshop.run("subscribers", "import", "subscribers/crowd.csv")
    workshop.configure(SMTP__CONNECTIONS=CONNECTIONS, RETRY_DELAYS="[0,0,0]")
    return workshop


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a command in a process of its own; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start_one(*arguments: str) -> "subprocess.Popen[str]":
            pipe = subprocess.PIPE
            process = stack.enter_context(subprocess.Popen([*COMMAND, *arguments], stdout=pipe, stderr=pipe, text=True))
            stack.callback(process.kill)
            return process

        yield start_one


def stall_at(stage: str, first: int) -> tuple[Stall, SmtpServer]:
    """A server that falls silent at this stage to as many readers as there are connections."""
    stall = Stall()
    silent: Mapping[str, Answer] = {f"p{number}@example.org": stall for number in range(first, first + CONNECTIONS)}
    return stall, SmtpServer(replies={stage: silent})


def expected() -> set[str]:
    return {f"p{number}@example.org" for number in range(READERS)}


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_after_kill_9_nobody_is_lost_and_at_most_one_mail_a_connection_is_in_doubt(
    crowd: Workshop, start: Start, policy: str
) -> None:
    stall, server = stall_at("BODY", 20)
    with run_in_thread(server):
        crowd.use(server)
        crowd.configure(ON_UNCERTAIN=policy)
        process = start("send")
        stall.reached.result(60)
        process.kill()
        process.communicate(timeout=60)
        stall.release()
        ran = crowd.run("deliver", "--json").json
    counts = Counter(mail.recipient for mail in server.mails)
    books = ran["audit"]
    assert books["balanced"] is True
    assert max(counts.values()) <= 2
    doubled = sum(count - 1 for count in counts.values())
    doubtful = [line for line in crowd.run("log", "--json").lines if line["outcome"] == "uncertain"]
    assert 1 <= len(doubtful) <= CONNECTIONS
    assert doubled <= len(doubtful)
    if policy == "resend":
        assert set(counts) == expected()
        assert books["accepted"] == READERS
        ids = {parse_mail(mail)["Message-ID"] for mail in server.mails}
        assert len(ids) == READERS
    else:
        assert doubled == 0
        assert books["uncertain"] == len(doubtful)
        assert expected() - set(counts) <= {line["email"] for line in doubtful}


@pytest.mark.long
def test_two_sends_at_once_mail_everyone_once_and_report_the_same_books(crowd: Workshop, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.use(server)
        processes = [start("send", "--json") for _ in range(3)]
        ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert Counter(mail.recipient for mail in server.mails) == dict.fromkeys(expected(), 1)
    told = [json.loads(out) for out, _ in ended]
    assert sum(each["new"] for each in told) == READERS
    assert {json.dumps(each["audit"]) for each in told} == {json.dumps(told[0]["audit"])}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_what_is_on_the_wire_and_ends_with_3(
    crowd: Workshop, start: Start, number: signal.Signals
) -> None:
    stall, server = stall_at("DATA", 10)
    with run_in_thread(server):
        crowd.use(server)
        process = start("send", "--json")
        stall.reached.result(60)
        os.kill(process.pid, number)
        stall.release()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        books = json.loads(out)["audit"]
        assert books["accepted"] == len(server.mails) < READERS
        assert books["sending"] == books["uncertain"] == 0
        crowd.run("deliver")
    assert Counter(mail.recipient for mail in server.mails) == dict.fromkeys(expected(), 1)


def test_a_second_interrupt_stops_at_once(crowd: Workshop, start: Start) -> None:
    stall, server = stall_at("BODY", 10)
    with run_in_thread(server):
        crowd.use(server)
        process = start("send", "--json")
        stall.reached.result(60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "once more" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert json.loads(out)["audit"]["sending"] == 0
        stall.release()
    doubtful = [line for line in crowd.run("log", "--json").lines if line["outcome"] == "uncertain"]
    assert 1 <= len(doubtful) <= CONNECTIONS
