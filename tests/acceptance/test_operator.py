"""What an operator may do wrong, change or interrupt, and what the service says and does then."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import pytest
from smtp_server import DROP, SmtpServer, run_in_thread
from workshop import MONDAY, Ran, Workshop

from newsletter.store import issues, moves
from newsletter.store.database import open_database

BRIEF = "briefs/2026-11-23-monday.md"
OLD_KEY, NEW_KEY = "0123456789abcdef0123456789abcdef", "f" * 32
NOT_UTF_8 = b"briefs/2027-01-01-\xff.md"


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported."""
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def assert_one_sentence(ran: Ran, *words: str) -> None:
    """The command told its error in one sentence with these words."""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err


def hold_all(ready: Workshop) -> None:
    """Send, and let every mail be in doubt, held for the operator."""
    ready.configure(ON_UNCERTAIN="hold")
    with run_in_thread(SmtpServer(replies={"BODY": DROP})) as server:
        ready.use(server)
        assert ready.run("send", "--json").json["audit"]["uncertain"] == 3


def test_a_lost_key_stops_the_run_and_costs_nobody_their_mail(ready: Workshop) -> None:
    ready.run("send", code=3)
    ready.configure(SECRET_KEY=NEW_KEY)
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ran = ready.run("deliver", "--json", code=3)
        books = ran.json["audit"]
        assert (books["queued"], books["deferred"], books["rejected"]) == (3, 0, 0)
        assert "key" in ran.err
        assert ready.run("log", "--json").out == ""
        assert server.mails == []
        ready.configure(SECRET_KEY=f'["{NEW_KEY}","{OLD_KEY}"]')
        assert ready.run("deliver", "--json").json["audit"]["accepted"] == 3
    assert len(server.mails) == 3


def test_what_was_in_doubt_in_a_cancelled_issue_is_not_resent(ready: Workshop) -> None:
    hold_all(ready)
    ready.run("issues", "cancel", "1")
    assert_one_sentence(ready.run("issues", "settle", "1", "--as", "resend", code=1), "issue 1", "cancelled")
    assert ready.run("audit", "--json").json["uncertain"] == 3


def test_what_was_in_doubt_for_longer_than_a_mail_may_wait_is_not_resent(ready: Workshop) -> None:
    hold_all(ready)
    with closing(sqlite3.connect("newsletter.db")) as conn, conn:
        for column in ("issues.created_at", "issues.due_at", "issues.published_at", "batches.due_at"):
            table, _, name = column.partition(".")
            conn.execute(f"UPDATE {table} SET {name} = {name} - 3600000000")
    ready.configure(EXPIRE_AFTER=1)
    assert_one_sentence(ready.run("issues", "settle", "1", "--as", "resend", code=1), "issue 1")
    assert ready.run("audit", "--json").json["uncertain"] == 3
    ready.run("issues", "settle", "1", "--as", "sent")
    assert ready.run("audit", "--json").json["accepted"] == 3


def kill_while_preparing(ready: Workshop, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Publish a page of two readers, die at the next page, and change the brief."""
    with monkeypatch.context() as patch:
        patch.setattr("newsletter.store.subscribers.PAGE", 2)
        patch.setattr(issues, "insert_page", Mock(wraps=issues.insert_page, side_effect=[DEFAULT, KeyboardInterrupt]))
        ready.run("send", *arguments, code=3)
    ready.write(BRIEF, MONDAY.replace("Thursdays", "Fridays"))


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_deliver_finishes_an_issue_whose_publication_was_killed(
    ready: Workshop, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    kill_while_preparing(ready, monkeypatch)
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("deliver", *arguments)
    books = ready.run("audit", "--json").json
    assert (books["accepted"], books["excluded"], books["balanced"]) == (3, {"no_matching_stories": 1}, True)
    assert sorted(mail.recipient for mail in server.mails) == ["ada@example.org", "ben@example.org", "cleo@example.org"]
    assert ready.run("issues", "list", "--json").json["state"] == "finished"


def test_an_issue_for_one_reader_stays_paused_when_deliver_finishes_its_publication(
    ready: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_while_preparing(ready, monkeypatch, "--only", "ada@example.org")
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("deliver", code=3)
        assert server.mails == []
        shown = ready.run("issues", "list", "--json").json
        assert (shown["state"], shown["selected"], shown["queued"]) == ("paused", 4, 3)
        ready.run("issues", "resume", "1")
        ready.run("deliver")
    assert len(server.mails) == 3


def change_ben(ready: Workshop, name: str, topics: str) -> None:
    ready.run("subscribers", "add", "ben@example.org", "--name", name, "--topics", topics)


def test_a_mail_taken_for_sent_is_shown_as_it_was_after_its_reader_changed(ready: Workshop) -> None:
    change_ben(ready, "Ben before", "sport")
    change_ben(ready, "Ben", "sport,culture")
    hold_all(ready)
    sent = ready.run_raw("mail", "1-2")
    assert b"Ben <ben@example.org>" in sent
    ready.run("issues", "settle", "1", "--as", "sent")
    assert ready.run_raw("mail", "1-2") == sent
    change_ben(ready, "Ben after", "science")
    assert ready.run_raw("mail", "1-2") == sent


def test_a_mail_of_a_process_that_died_is_shown_as_it_was_after_its_reader_changed(ready: Workshop) -> None:
    change_ben(ready, "Ben before", "sport")
    change_ben(ready, "Ben", "sport,culture")
    ready.run("send", code=3)
    database = open_database("sqlite:///newsletter.db")
    with database.write() as conn:
        assert moves.start_deliveries(conn, [(1, 2)], 77, datetime.now(UTC))
    database.close()
    ready.configure(ON_UNCERTAIN="hold")
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        assert ready.run("deliver", "--json").json["audit"]["uncertain"] == 1
    sent = ready.run_raw("mail", "1-2")
    assert b"Ben <ben@example.org>" in sent
    change_ben(ready, "Ben after", "science")
    assert ready.run_raw("mail", "1-2") == sent


def test_a_paused_service_sends_to_one_reader_neither(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("pause")
        assert "paused" in ready.run("send", "--only", "ada@example.org", code=3).err
        assert server.mails == []
        ready.run("resume")
        ready.run("send", "--only", "ada@example.org")
    assert [mail.recipient for mail in server.mails] == ["ada@example.org"]


def test_sending_to_one_reader_who_is_owed_nothing_says_so(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        assert "nothing is owed to dan@example.org" in ready.run("send", "--only", "dan@example.org").err
        assert "nothing is owed" not in ready.run("send", "--only", "ada@example.org").err
        assert "nothing is owed to ada@example.org" in ready.run("send", "--only", "ada@example.org").err
    assert len(server.mails) == 1


def test_the_reasons_of_a_mail_are_those_of_its_time(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    explain = ("explain", "--email", "ada@example.org", "--json")
    before = ready.run(*explain).json
    ready.run("subscribers", "add", "ada@example.org", "--topics", "sport")
    after = ready.run(*explain).json
    assert any("comet" in reason for reason in after["stories"][0]["because"])
    assert after["stories"] == before["stories"]
    assert after["left_out"] == before["left_out"]


@pytest.mark.parametrize("command", [("brief", "show"), ("send", "--brief"), ("send", "--dry-run", "--brief")])
def test_a_brief_whose_name_cannot_be_shown_is_refused(ready: Workshop, command: tuple[str, ...]) -> None:
    Path(os.fsdecode(NOT_UTF_8)).write_text(MONDAY)
    assert_one_sentence(ready.run(*command, os.fsdecode(NOT_UTF_8), code=1), "2027-01-01-", "is no name for a brief")
    assert ready.run("issues", "list", "--json").out == ""


@pytest.mark.parametrize("command", [("brief", "list"), ("brief", "list", "--json"), ("send", "--dry-run")])
def test_a_brief_that_cannot_be_read_is_reported_and_left_out(ready: Workshop, command: tuple[str, ...]) -> None:
    Path(os.fsdecode(NOT_UTF_8)).write_text(MONDAY)
    ran = ready.run(*command)
    assert ran.err.startswith("warning: ")
    assert "2027-01-01-" in ran.err
    assert ran.out


@pytest.mark.parametrize("reason", ["a\x1b[31mred", "two\nlines", os.fsdecode(b"a\xff")])
def test_a_reason_that_no_terminal_should_show_is_refused(ready: Workshop, reason: str) -> None:
    ran = ready.run("suppressions", "add", "ada@example.org", "--reason", reason, code=1)
    assert_one_sentence(ran, "reason")
    assert "\x1b" not in ran.err
    assert ready.run("suppressions", "list", "--json").out == ""


def test_a_time_that_no_clock_in_utc_can_show_is_rejected_with_its_row(ready: Workshop) -> None:
    ready.write("s.csv", "email,at\nada@example.org,0001-01-01T00:00+14:00\nben@example.org,2026-01-02T03:04+14:00\n")
    told = ready.run("suppressions", "import", "s.csv", "--json").json
    assert told["added"] == 1
    assert [(row["line"], row["email"]) for row in told["rejected"]] == [(2, "ada@example.org")]
    assert "0001-01-01T00:00+14:00" in told["rejected"][0]["reason"]
    (listed,) = ready.run("suppressions", "list", "--json").lines
    assert listed["at"].startswith("2026-01-01T13:04")
    ready.run("suppressions", "list")
    assert len(ready.run("subscribers", "list", "--json").lines) == 4
    ready.run("suppressions", "export")
