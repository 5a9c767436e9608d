"""What a person sees: tables and sentences, a bar on a terminal, plain lines elsewhere, and clean ends."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import pytest
from smtp_server import DROP, SmtpServer, Stall, run_in_thread
from workshop import Workshop

from newsletter.cli.output import PLAIN_LINE_SECONDS, ProgressLine

COMMAND = (sys.executable, "-m", "newsletter")


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def test_everything_is_said_in_words_too(ready: Workshop) -> None:
    assert "nothing was published yet" in ready.run("deliver").err
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        assert "3 editions" in ready.run("send", "--dry-run").out
        ready.run("send", "--only", "cleo@example.org")
    shown = ready.run("issues", "show", "1").out
    assert "issue 1 of 2026-11-23" in shown
    assert "A comet passes close by  [science]" in shown
    assert "the books close" in shown
    assert "1  " in ready.run("issues", "list").out
    assert "state running" in ready.run("issues", "resume", "1").out
    assert "the service is paused" in ready.run("pause").out
    assert "the service is running" in ready.run("resume").out


def test_an_uncertain_delivery_is_shown_with_what_to_do(ready: Workshop) -> None:
    ready.configure(ON_UNCERTAIN="hold")
    with run_in_thread(SmtpServer(replies={"BODY": {"ada@example.org": DROP}})) as server:
        ready.use(server)
        ready.run("send")
    assert "uncertain: 1-1 ada@example.org (issues settle 1 --as sent|resend)" in ready.run("issues", "show", "1").out
    assert "settled 1" in ready.run("issues", "settle", "1", "--as", "sent").out
    assert ready.run("log", "--state", "accepted", "--json").out.count("\n") == 4


def test_without_a_terminal_a_plain_line_comes_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    times: Iterator[float] = iter([0.0, 1.0, PLAIN_LINE_SECONDS, PLAIN_LINE_SECONDS, PLAIN_LINE_SECONDS + 1])
    line = ProgressLine("mails", quiet=False, clock=lambda: next(times))
    line.update(1, 100, "1 accepted")
    line.update(50, 100, "50 accepted")
    line.update(60, 100, "60 accepted")
    line.close()
    assert capsys.readouterr().err == "50 of 100 done, 10 mails/s; 50 accepted\n"
    quiet = ProgressLine("mails", quiet=True, clock=lambda: 0.0)
    quiet.update(1, 2, "")
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_bar_shows_how_far_it_is(ready: Workshop) -> None:
    ours, theirs = pty.openpty()
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        with subprocess.Popen([*COMMAND, "send"], stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            seen = b""
            try:
                while chunk := os.read(ours, 4096):
                    seen += chunk
            except OSError:  # how Linux says that the other side of a terminal is gone
                pass
            assert process.wait(60) == 0
    os.close(ours)
    assert b"mails/s" in seen
    assert b"3/3" in seen


def test_a_pipe_that_nobody_reads_and_a_full_disk_end_without_a_traceback(ready: Workshop) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([*COMMAND, "topics", "list", "--json"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([*COMMAND, "topics", "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"error: ")
    assert b"No space left" in ran.stderr
    assert b"Traceback" not in ran.stderr


def count_unread(pipe: IO[str]) -> int:
    """How many octets nobody has read yet."""
    unread = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, unread)
    return unread[0]


def test_an_interrupt_outside_a_send_is_a_sentence(ready: Workshop) -> None:
    os.mkfifo("people.csv")
    with (
        subprocess.Popen([*COMMAND, "subscribers", "import", "people.csv"], stderr=subprocess.PIPE) as process,
        Path("people.csv").open("w", encoding="utf-8") as pipe,  # opens when the command reads
    ):
        pipe.write("email\n")
        pipe.flush()
        while count_unread(pipe):  # it must have begun to read
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (3, b"error: interrupted\n")


def test_demo_serves_its_pages_until_it_is_interrupted(workshop: Workshop) -> None:
    command = [*COMMAND, "demo", "--dir", "shown", "--serve", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[1]
        with urlopen(address, timeout=30) as answer:
            assert b"The demo's mails" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_relay_that_is_slow_to_answer_is_followed_by_a_second_send(ready: Workshop) -> None:
    stall = Stall()
    with run_in_thread(SmtpServer(replies={"BODY": {"ada@example.org": stall}})) as server:
        ready.use(server)
        with subprocess.Popen([*COMMAND, "send"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
            stall.reached.result(60)
            with subprocess.Popen([*COMMAND, "deliver"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second:
                stall.release()
                assert first.wait(60) == 0
                assert second.wait(60) == 0
    assert len(server.mails) == 3
