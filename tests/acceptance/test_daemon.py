"""The daemon as its operator has it: a process that publishes, delivers, serves pages, is killed and told to end."""

import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from process import Process
from smtp_server import SmtpServer, Stall, run_in_thread
from workshop import Workshop

from newsletter.core.cron import parse_cron
from newsletter.store.agenda import Agenda, read_agenda, write_agenda
from newsletter.store.database import open_database

COMMAND = (sys.executable, "-m", "newsletter")
READERS = 40
EVERYONE = {f"p{number}@example.org" for number in range(READERS)}


Start: TypeAlias = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a daemon; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start_one(*options: str) -> Process:
            pipe = subprocess.PIPE
            popen = stack.enter_context(
                subprocess.Popen([*COMMAND, "run", *options], stdout=pipe, stderr=pipe, text=True)
            )
            stack.callback(popen.kill)
            return Process(popen)

        yield start_one


@pytest.fixture
def crowd(workshop: Workshop) -> Workshop:
    """Readers, and a schedule that comes every minute and has missed its last one: it is made good at once."""
    workshop.configure(SCHEDULE="* * * * *", WEB__PORT=0, RETRY_DELAYS="[0,0,0]", SMTP__CONNECTIONS=4)
    rows = "".join(f"{email},science\n" for email in sorted(EVERYONE))
    workshop.write("subscribers/crowd.csv", f"email,topics\n{rows}")
    workshop.run("subscribers", "import", "subscribers/crowd.csv")
    _age(workshop.folder / "briefs")
    miss_runs(workshop)
    return workshop


def _age(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1, 1))


def miss_runs(workshop: Workshop) -> None:
    """As if a daemon had kept the schedule until five minutes ago."""
    with closing(open_database(f"sqlite:///{workshop.folder / 'newsletter.db'}")) as database, database.write() as conn:
        identity = {"cron": parse_cron("* * * * *").text, "zone": "UTC", "local": False}
        old, up_to = read_agenda(conn), datetime.now(UTC) - timedelta(minutes=5)
        assert write_agenda(conn, old, Agenda(identity=identity, up_to=up_to))


def read(address: str) -> Any:
    with urlopen(address, timeout=20) as answer:
        return answer.read().decode()


def audit(workshop: Workshop) -> Any:
    return workshop.run("audit", "--json").json


@pytest.mark.long
def test_publishes_delivers_serves_and_ends_when_told(crowd: Workshop, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.use(server)
        daemon = start()
        daemon.wait_for("the daemon runs")
        daemon.wait_for("published issue=1")
        daemon.wait_for(f"delivered accepted={READERS}")
        assert json.loads(read(f"{daemon.address}/healthz")) == {"status": "ok"}
        assert "newsletter_attempts_total" in read(f"{daemon.address}/metrics")
        told = crowd.run("status", "--json").json
        assert told["running"] is True
        assert told["alarms"] == []
        assert datetime.fromisoformat(told["next_run"]) > datetime.now(UTC) - timedelta(minutes=1)
        assert daemon.end() == 0
    assert Counter(mail.recipient for mail in server.mails) == dict.fromkeys(EVERYONE, 1)
    assert audit(crowd)["balanced"] is True
    attempts = [line for line in daemon.heard if " attempts: " in line]
    assert len(attempts) == READERS
    assert re.search(
        r"delivery=1-\d+ to=p\*\*\*@example.org edition=\d+ relay=127.0.0.1:\d+ attempt=1 delay=[\d.]+ "
        r"delays=[\d.]+/[\d.]+/[\d.]+ dsn=2.0.0 status=accepted reply=",
        attempts[0],
    )
    assert crowd.run("status", "--json").json["running"] is False


@pytest.mark.long
def test_the_end_of_the_daemon_ends_its_pages_however_it_came(crowd: Workshop, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.use(server)
        daemon = start()
        daemon.wait_for("the pages are served")
        (pages,) = daemon.children
        descriptor = os.pidfd_open(pages)
        daemon.popen.kill()
        daemon.popen.wait(30)
        assert select.select([descriptor], [], [], 30)[0], "the pages outlive the daemon"
        os.close(descriptor)


@pytest.mark.long
def test_pages_that_end_are_begun_anew(crowd: Workshop, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.use(server)
        daemon = start()
        daemon.wait_for("the pages are served")
        os.kill(daemon.children[0], signal.SIGKILL)
        daemon.wait_for("begun anew")
        daemon.wait_for("the pages are served")
        assert daemon.end(signal.SIGINT) == 0


@pytest.mark.long
def test_two_daemons_killed_and_started_again_mail_everyone(crowd: Workshop, start: Start) -> None:
    stall = Stall()
    with run_in_thread(SmtpServer(replies={"DATA": {"p7@example.org": stall}})) as server:
        crowd.use(server)
        daemons = [start(), start()]
        stall.reached.result(60)
        for daemon in daemons:
            daemon.popen.kill()
            daemon.popen.wait(30)
        stall.release()
        again = [start("--no-web"), start("--no-web")]
        for daemon in again:
            daemon.wait_for("the daemon runs")
        crowd.run("deliver")  # follows the one that delivers, to the end
        assert [daemon.end() for daemon in again] == [0, 0]
    counts = Counter(mail.recipient for mail in server.mails)
    assert set(counts) == EVERYONE
    doubtful = [line for line in crowd.run("log", "--json").lines if line["outcome"] == "uncertain"]
    assert sum(counts.values()) - READERS <= len(doubtful) <= 4
    books = audit(crowd)
    assert (books["balanced"], books["accepted"], books["issue"]) == (True, READERS, 1)


@pytest.mark.long
def test_told_to_end_in_the_middle_of_a_send_it_records_what_is_on_the_wire(crowd: Workshop, start: Start) -> None:
    """A relay that never answers the final dot: after ten seconds it is recorded as uncertain, and the daemon ends."""
    stall = Stall()
    with run_in_thread(SmtpServer(replies={"BODY": {"p7@example.org": stall}})) as server:
        crowd.use(server)
        crowd.configure(ON_UNCERTAIN="hold")
        daemon = start("--no-web")
        stall.reached.result(60)
        assert daemon.end() == 0
        stall.release()
    books = audit(crowd)
    assert books["balanced"] is True
    assert (books["sending"], books["uncertain"]) == (0, 1)


def test_send_beside_it_hands_the_work_over_and_reports_it(crowd: Workshop, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.use(server)
        daemon = start("--no-web")
        daemon.wait_for("delivered")
        crowd.write("briefs/2026-11-24-tuesday.md", "# Tuesday\n\n## A comet again\n\nWith a telescope.\n")
        ran = crowd.run("send", "--brief", "2026-11-24-tuesday", "--json").json
        assert ran["new"] == READERS
        assert ran["audit"]["accepted"] == READERS
        assert daemon.end() == 0
    assert len(server.mails) == 2 * READERS


def test_without_delivery_it_publishes_and_leaves_the_rest_to_others(crowd: Workshop, start: Start) -> None:
    daemon = start("--no-web", "--no-delivery")
    daemon.wait_for("deliveries written")
    assert daemon.end() == 0
    assert audit(crowd)["queued"] == READERS


@pytest.mark.long
def test_a_brief_that_cannot_be_read_is_told_of_at_once(crowd: Workshop, start: Start) -> None:
    crowd.configure(SCHEDULE="0 7 1 1 *")
    daemon = start("--no-web")
    daemon.wait_for("the daemon runs")
    (crowd.folder / "briefs" / "2026-11-25-new.md").write_bytes(b"# New\n\n\xff\n")
    assert "2026-11-25-new.md, line 3" in daemon.wait_for("brief_unreadable")
    told = crowd.run("status", "--json").json["alarms"]
    assert [alarm["cause"] for alarm in told] == ["brief_unreadable"]
    assert "2026-11-25-new.md, line 3" in crowd.run("status").out
    assert daemon.end() == 0


def refuse() -> str:
    """What a daemon says that does not begin; a process of its own, since it takes over the log."""
    ran = subprocess.run([*COMMAND, "run"], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    return ran.stderr


@pytest.mark.long
def test_what_cannot_work_stops_it_at_the_start(crowd: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        crowd.configure(WEB__PORT=port)
        assert f"cannot listen on 127.0.0.1, port {port}" in refuse()
    crowd.configure(WEB__PORT=0, SCHEDULE="61 7 * * *")
    assert "NEWSLETTER_SCHEDULE" in refuse()
    crowd.configure(SCHEDULE="0 7 * * *", TIMEZONE="Europe/Berlim")
    assert "'Europe/Berlim' is not a time zone" in refuse()
    crowd.configure(TIMEZONE="UTC", FROM="")
    assert "NEWSLETTER_FROM" in refuse()


def test_the_schedule_says_when_the_next_issues_go_out(workshop: Workshop) -> None:
    assert workshop.run("schedule", "--json").out == ""
    assert "no schedule is set" in workshop.run("schedule").out
    workshop.configure(SCHEDULE="30 2 * * 7", TIMEZONE="Europe/Berlin")
    lines = workshop.run("schedule", "--next", "60", "--json").lines
    assert len(lines) == 60
    assert all(set(line) == {"utc", "local", "zone", "note"} for line in lines)
    moments = [(datetime.fromisoformat(line["utc"]), datetime.fromisoformat(line["local"])) for line in lines]
    assert all(utc == local and utc.utcoffset() == timedelta(0) for utc, local in moments)
    assert {local.strftime("%a %H:%M") for _, local in moments} == {"Sun 02:30", "Sun 03:00"}
    notes = [line["note"] for line in lines if line["note"]]
    assert any("skip 02:30" in note for note in notes)
    assert any("02:30 twice" in note for note in notes)
    workshop.configure(LOCAL_TIME="true")
    assert "LOCAL_TIME is on" in workshop.run("schedule", "--next", "1").out


def test_told_to_end_while_it_begins_it_ends_well(crowd: Workshop, start: Start) -> None:
    """The lock that its first write waits for keeps it from beginning."""
    with closing(sqlite3.connect("newsletter.db", isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        daemon = start("--no-web")
        stat = Path(f"/proc/{daemon.popen.pid}/status")
        while not _catches_sigterm(stat.read_text()):
            os.sched_yield()
        assert daemon.end() == 0


def _catches_sigterm(status: str) -> bool:
    caught = re.search(r"SigCgt:\t([0-9a-f]+)", status)
    return caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.long
def test_two_daemons_on_one_machine_share_the_address_of_the_pages(crowd: Workshop, start: Start) -> None:
    crowd.configure(SCHEDULE="0 7 1 1 *")
    first = start()
    first.wait_for("the pages are served")
    crowd.configure(WEB__PORT=first.address.rpartition(":")[2])
    second = start()
    second.wait_for("the pages are served")
    assert first.end() == 0
    assert json.loads(read(f"{second.address}/healthz")) == {"status": "ok"}
    refused = subprocess.run([*COMMAND, "preview"], capture_output=True, text=True, timeout=60, check=False)
    assert "cannot listen" in refused.stderr, "a preview would get half of the requests"
    assert second.end() == 0


def test_nobody_answers_where_no_pages_are_wanted(crowd: Workshop, start: Start) -> None:
    daemon = start("--no-web", "--no-delivery")
    assert "web=no" in daemon.wait_for("the daemon runs")
    assert daemon.children == []
    with pytest.raises(URLError):
        urlopen("http://127.0.0.1:1/healthz", timeout=5)
    assert daemon.end() == 0


def ask_to_join(address: str) -> None:
    with urlopen(f"{address}/subscribe", b"email=new@example.org", timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle_of_a_confirmation_it_is_in_doubt_and_goes_again(
    crowd: Workshop, start: Start, number: signal.Signals
) -> None:
    stall = Stall()
    with run_in_thread(SmtpServer(replies={"BODY": {"new@example.org": stall}})) as server:
        crowd.use(server)
        daemon = start()
        daemon.wait_for("the pages are served")
        ask_to_join(daemon.address)
        stall.reached.result(60)
        assert daemon.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        (attempt,) = [line for line in crowd.run("log", "--json").lines if line["issue"] is None]
        assert (attempt["outcome"], attempt["email"]) == ("uncertain", "new@example.org")
        stall.release()
        with closing(sqlite3.connect(crowd.folder / "newsletter.db")) as conn, conn:
            conn.execute("UPDATE notices SET due_at = created_at")  # as if the five minutes were over
        again = start("--no-web")
        again.wait_for("notice=")
        assert again.end() == 0
        first, second = [line for line in crowd.run("log", "--json").lines if line["issue"] is None]
    assert (first["outcome"], second["outcome"]) == ("uncertain", "accepted")
    assert first["message_id"] == second["message_id"]
