"""Many who deliver, on a real PostgreSQL: workers and daemons that are killed, stopped, and lose their database."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import far_host
import postgres
import psycopg
import pytest
from process import Process
from smtp_server import SmtpServer, run_in_thread
from sqlalchemy.engine import make_url
from workshop import Workshop, fill_workshop, parse_mail

from newsletter.bootstrap import open_service
from newsletter.settings import load_settings
from newsletter.store.agenda import Agenda, read_agenda, write_agenda
from newsletter.store.lock import DeliveryLock

READERS = 600
CONNECTIONS = 6
EVERYONE = [f"p{number}@d{number % 7}.example.org" for number in range(READERS)]
Start: TypeAlias = Callable[..., Process]


@pytest.fixture
def crowd(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A folder with readers to import."""
    monkeypatch.chdir(tmp_path)
    workshop = fill_workshop(tmp_path, capsysbinary)
    rows = "".join(f"{email},science\n" for email in EVERYONE)
    workshop.write("subscribers/crowd.csv", f"email,topics\n{rows}")
    workshop.configure(RETRY_DELAYS="[0,0,0]", SMTP__CONNECTIONS=CONNECTIONS, WORKER_LEASE=20, WEB__PORT=0)
    return workshop


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of the service; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start_one(*command: str, prefix: Sequence[str] = (), **settings: str) -> Process:
            pipe, environment = subprocess.PIPE, {f"NEWSLETTER_{name}": value for name, value in settings.items()}
            arguments = (*prefix, sys.executable, "-m", "newsletter", *command)
            popen = stack.enter_context(
                subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment)
            )
            stack.callback(popen.kill)
            process = Process(popen)
            stack.callback(lambda: print("".join(process.heard)))
            return process

        yield start_one


def settle_in(crowd: Workshop, address: str, server: SmtpServer) -> None:
    crowd.configure(DATABASE_URL=address)
    crowd.use(server)
    crowd.run("subscribers", "import", "subscribers/crowd.csv")


def publish(crowd: Workshop) -> None:
    """Write the issue's deliveries; who delivers them is others' business."""
    with open_service(load_settings(crowd.folder / ".env", {})) as service:
        service.make_publisher().publish(service.find_brief("latest"), now=service.now())


def make_overdue(crowd: Workshop) -> None:
    """As if a daemon had kept the schedule until five minutes ago."""
    for path in (crowd.folder / "briefs").iterdir():
        os.utime(path, (1, 1))
    with open_service(load_settings(crowd.folder / ".env", {})) as service, service.database.write() as conn:
        table = service.timetable
        assert table is not None
        agenda = Agenda(identity=table.identity, up_to=service.now() - timedelta(minutes=5))
        assert write_agenda(conn, read_agenda(conn), agenda)


def audit(crowd: Workshop) -> Any:
    return crowd.run("audit", "--json").json


def count_jobs(address: str) -> Counter[str]:
    with psycopg.connect(address) as conn:
        rows = conn.execute("SELECT status::text FROM procrastinate_jobs").fetchall()
    return Counter(status for (status,) in rows)


def wait_for_end(crowd: Workshop) -> Any:
    """`deliver` beside workers follows them to the end."""
    crowd.run("deliver")
    return audit(crowd)


def judge(crowd: Workshop, server: SmtpServer, *, most_double: int) -> None:
    """Nobody lost, few mailed twice and each of these with the same Message-ID, and the books agree with the server."""
    books = audit(crowd)
    assert (books["accepted"], books["balanced"]) == (READERS, True)
    taken = Counter(mail.recipient for mail in server.mails)
    assert set(taken) == set(EVERYONE)
    assert sum(taken.values()) - READERS <= most_double
    assert len({parse_mail(mail)["Message-ID"] for mail in server.mails}) == READERS


@pytest.mark.long
def test_two_workers_share_an_issue_and_what_a_killed_one_had_is_the_others(
    crowd: Workshop, empty_postgresql: str, start: Start
) -> None:
    with run_in_thread(SmtpServer()) as server:
        settle_in(crowd, empty_postgresql, server)
        workers = [start("worker"), start("worker")]
        for worker in workers:
            worker.wait_for("the worker runs")
        publish(crowd)
        server.wait_for_mails(READERS // 4)
        workers[0].popen.kill()
        wait_for_end(crowd)
        judge(crowd, server, most_double=CONNECTIONS)
        assert server.most_connections <= CONNECTIONS + 1  # one that is just being closed
        assert workers[1].end() == 0
        assert "doing" not in count_jobs(empty_postgresql), "`deliver` may have taken a batch before its job came"


@pytest.mark.long
def test_a_worker_that_is_told_to_end_gives_back_what_it_has_not_begun(
    crowd: Workshop, empty_postgresql: str, start: Start
) -> None:
    with run_in_thread(SmtpServer()) as server:
        settle_in(crowd, empty_postgresql, server)
        publish(crowd)
        worker = start("worker")
        server.wait_for_mails(READERS // 10)
        assert worker.end() == 0
        books = audit(crowd)
        assert books["sending"] == books["uncertain"] == 0
        assert 0 < books["accepted"] < READERS
        assert count_jobs(empty_postgresql)["doing"] == 0
        crowd.run("deliver")
        judge(crowd, server, most_double=0)


@pytest.mark.long
def test_a_worker_that_slept_past_its_lease_sends_nothing_that_another_took_over(
    crowd: Workshop, empty_postgresql: str, start: Start
) -> None:
    with run_in_thread(SmtpServer()) as server:
        crowd.configure(WORKER_LEASE=5)
        settle_in(crowd, empty_postgresql, server)
        publish(crowd)
        sleeper = start("worker")
        server.wait_for_mails(READERS // 10)
        sleeper.popen.send_signal(signal.SIGSTOP)
        other = start("worker")
        other.wait_for("a worker died")
        other.wait_for("delivered")
        sleeper.popen.send_signal(signal.SIGCONT)
        sleeper.wait_for("delivery stops")
        wait_for_end(crowd)
        judge(crowd, server, most_double=CONNECTIONS)
        assert sleeper.end() == other.end() == 0


@pytest.mark.long
@pytest.mark.skipif(not far_host.CAN_BE_MADE, reason="only root makes network namespaces, with iproute2")
def test_a_host_that_drops_off_the_network_is_taken_over_and_does_no_harm_when_it_is_back(
    crowd: Workshop, empty_postgresql: str, start: Start
) -> None:
    with run_in_thread(SmtpServer()) as server, far_host.make_far_host() as far:
        crowd.configure(WORKER_LEASE=5)
        settle_in(crowd, empty_postgresql, server)
        publish(crowd)
        database = make_url(empty_postgresql)
        near = postgres.tell_where(database)
        there = database.set(host=far.near, port=far.forward(near), query={})
        lone = start(
            "worker",
            prefix=far.prefix,
            DATABASE_URL=postgres.write_address(there),
            SMTP__HOST=far.near,
            SMTP__PORT=str(far.forward((server.host, server.port))),
        )
        server.wait_for_mails(READERS // 10)
        far.cut()
        other = start("worker")
        other.wait_for("a worker died")
        other.wait_for("delivered")
        far.mend()
        lone.wait_for("delivery stops")
        wait_for_end(crowd)
        judge(crowd, server, most_double=CONNECTIONS)
        assert lone.end() == other.end() == 0


@pytest.mark.long
def test_a_database_that_is_restarted_in_the_middle_costs_nobody_a_mail(
    crowd: Workshop, tmp_path: Path, start: Start
) -> None:
    with closing(postgres.Server(tmp_path / "pg")) as own, run_in_thread(SmtpServer()) as server:
        crowd.configure(WORKER_LEASE=60)
        settle_in(crowd, own.make_database("news"), server)
        publish(crowd)
        worker = start("worker")
        server.wait_for_mails(READERS // 10)
        own.restart()
        server.wait_for_mails(READERS)
        wait_for_end(crowd)
        judge(crowd, server, most_double=0)
        assert worker.end() == 0


@pytest.mark.long
def test_a_worker_is_killed_and_the_database_restarted_in_one_send(
    crowd: Workshop, tmp_path: Path, start: Start
) -> None:
    with closing(postgres.Server(tmp_path / "pg")) as own, run_in_thread(SmtpServer()) as server:
        settle_in(crowd, own.make_database("news"), server)
        crowd.configure(SCHEDULE="* * * * *")
        make_overdue(crowd)
        processes = [start("worker"), start("worker"), start("run")]
        server.wait_for_mails(READERS // 10)
        processes[0].popen.kill()
        server.wait_for_mails(READERS // 4)
        own.restart()
        server.wait_for_mails(READERS)
        wait_for_end(crowd)
        judge(crowd, server, most_double=CONNECTIONS)
        assert [process.end() for process in processes[1:]] == [0, 0]
        assert "doing" not in count_jobs(str(crowd.settings["DATABASE_URL"]))


@pytest.mark.long
def test_two_daemons_publish_once_and_both_deliver(crowd: Workshop, empty_postgresql: str, start: Start) -> None:
    with run_in_thread(SmtpServer()) as server:
        settle_in(crowd, empty_postgresql, server)
        crowd.configure(SCHEDULE="* * * * *")
        make_overdue(crowd)
        daemons = [start("run"), start("run")]
        for daemon in daemons:
            daemon.wait_for("the daemon runs")
        server.wait_for_mails(READERS)
        wait_for_end(crowd)
        judge(crowd, server, most_double=0)
        assert len(crowd.run("issues", "list", "--json").lines) == 1
        assert [daemon.end() for daemon in daemons] == [0, 0]


def test_a_worker_needs_postgresql_and_the_secrets(crowd: Workshop, empty_postgresql: str) -> None:
    assert "a worker needs a PostgreSQL database" in crowd.run("worker", code=1).err
    assert not (crowd.folder / "newsletter.db").exists(), "nothing is made for what is refused"
    crowd.configure(DATABASE_URL=empty_postgresql, SECRET_KEY="")
    assert "NEWSLETTER_SECRET_KEY" in crowd.run("worker", code=1).err


# ── From SQLite ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_installation_moves_with_everything_and_goes_on(crowd: Workshop, empty_postgresql: str) -> None:
    with run_in_thread(SmtpServer(replies={"RCPT": {EVERYONE[0]: ["450 later", None]}})) as server:
        crowd.use(server)
        crowd.run("subscribers", "import", "subscribers/crowd.csv")
        crowd.configure(RETRY_DELAYS="[3600]")
        crowd.run("send")
        before = audit(crowd)
        assert (before["accepted"], before["deferred"]) == (READERS - 1, 1)
        told = crowd.run("db", "copy", "--to", empty_postgresql, "--json").json
        assert told["tables"]["deliveries"] == told["tables"]["subscribers"] == READERS
        assert told["rows"] == sum(told["tables"].values())
        log = crowd.run("log", "--json").out
        crowd.configure(DATABASE_URL=empty_postgresql)
        assert audit(crowd) == before
        assert crowd.run("log", "--json").out == log
        assert crowd.run_raw("mail", "1-2") == server.mails_to(EVERYONE[1])[0].data
        crowd.run("subscribers", "add", "new@example.org", "--topics", "science")
        assert "db copy copies from SQLite" in crowd.run("db", "copy", "--to", empty_postgresql, code=1).err
        assert "backed up with its own pg_dump" in crowd.run("db", "backup", "x.db", code=1).err


def test_a_copy_is_whole_or_not_at_all(crowd: Workshop, empty_postgresql: str) -> None:
    crowd.run("subscribers", "import", "subscribers/crowd.csv")
    with closing(sqlite3.connect("newsletter.db")) as old, old:
        old.execute("INSERT INTO relays (name) VALUES ('a' || char(0) || 'b')")  # PostgreSQL has no NUL in a text
    assert "neither sqlite:///FILE nor" in crowd.run("db", "copy", "--to", "mysql://x/y", code=1).err
    assert "for another SQLite file" in crowd.run("db", "copy", "--to", "sqlite:///other.db", code=1).err
    with psycopg.connect(empty_postgresql) as conn:
        conn.execute("ALTER TABLE subscribers ADD CONSTRAINT nobody CHECK (id < 100)")
    assert "nobody" in crowd.run("db", "copy", "--to", empty_postgresql, code=1).err
    with psycopg.connect(empty_postgresql) as conn:
        conn.execute("ALTER TABLE subscribers DROP CONSTRAINT nobody")
        assert conn.execute("SELECT count(*) FROM topic_sets").fetchone() == (0,)
    lock = DeliveryLock(crowd.folder / "newsletter.db")
    with lock:
        assert lock.acquire()
        assert "stop it first" in crowd.run("db", "copy", "--to", empty_postgresql, code=1).err
    crowd.run("db", "copy", "--to", empty_postgresql)
    assert "is not empty: there are" in crowd.run("db", "copy", "--to", empty_postgresql, code=1).err
    crowd.configure(DATABASE_URL=empty_postgresql)
    with psycopg.connect(empty_postgresql) as conn:
        assert conn.execute("SELECT name FROM relays").fetchall() == [("a\ufffdb",)]
    people = crowd.run("subscribers", "list", "--json").lines
    assert len(people) == READERS
    assert (
        crowd.run("subscribers", "import", "subscribers/crowd.csv", "--dry-run", "--json").json["unchanged"] == READERS
    )
    crowd.write("subscribers/more.csv", "email,topics\nnew@example.org,science\n")
    assert crowd.run("subscribers", "import", "subscribers/more.csv", "--dry-run", "--json").json["added"] == 1
    assert len(crowd.run("subscribers", "list", "--json").lines) == READERS
