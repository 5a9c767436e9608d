"""Rejected deliveries of an issue put back into the queue by hand."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from smtp_server import SmtpServer, run_in_thread
from smtp_talk import Answers
from workshop import MONDAY, Workshop

BLOCKED = "550 5.7.1 blocked by policy"


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported."""
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def send(ready: Workshop, replies: Answers | None = None, *command: str) -> tuple[dict[str, Any], list[str]]:
    """Run `send`, or another command, against a server that answers so; the books, and who got mail."""
    with run_in_thread(SmtpServer(replies=replies or {})) as server:
        ready.use(server)
        books = ready.run(*(command or ("send",)), "--json").json["audit"]
    return books, sorted(mail.recipient for mail in server.mails)


def test_what_was_rejected_goes_again_and_its_attempts_count_on(ready: Workshop) -> None:
    books, _ = send(ready, {"RCPT": BLOCKED})
    assert books["rejected"] == 3
    assert ready.run("issues", "retry", "1", "--json").json == {"issue": 1, "retried": 3, "left_out": 0}
    told = ready.run("issues", "list", "--json").json
    assert (told["state"], told["deferred"], told["balanced"]) == ("running", 3, True)
    books, recipients = send(ready, None, "deliver")
    assert (books["accepted"], books["balanced"]) == (3, True)
    assert recipients == ["ada@example.org", "ben@example.org", "cleo@example.org"]
    log = ready.run("log", "--email", "ada@example.org", "--json").lines
    assert [(row["attempt"], row["outcome"]) for row in log] == [(1, "rejected"), (2, "accepted")]


def test_one_reader_alone_is_retried(ready: Workshop) -> None:
    send(ready, {"RCPT": BLOCKED})
    told = ready.run("issues", "retry", "1", "--email", "ben@example.org", "--json").json
    assert told == {"issue": 1, "retried": 1, "left_out": 0}
    assert send(ready, None, "deliver")[1] == ["ben@example.org"]
    assert ready.run("issues", "retry", "1", "--email", "ben@example.org").out == "issue 1, retried 0, left_out 0\n"
    assert "nobody@example.org" in ready.run("issues", "retry", "1", "--email", "nobody@example.org", code=1).err


def test_beyond_the_last_attempt_there_is_one_more(ready: Workshop) -> None:
    ready.configure(RETRY_DELAYS="[]")
    later = {"RCPT": {"ada@example.org": "451 4.3.0 later"}}
    assert send(ready, later)[0]["rejected"] == 1
    for attempts in (2, 3):
        ready.run("issues", "retry", "1")
        assert send(ready, later, "deliver")[0]["rejected"] == 1
        assert len(ready.run("log", "--email", "ada@example.org", "--json").lines) == attempts


def test_a_dead_address_stays_suppressed(ready: Workshop) -> None:
    send(ready, {"RCPT": {"ada@example.org": "550 5.1.1 no such user"}})
    ready.run("issues", "retry", "1")
    books, recipients = send(ready, None, "deliver")
    assert (books["excluded"], books["balanced"]) == ({"no_matching_stories": 1, "suppressed": 1}, True)
    assert recipients == []


def test_who_had_the_story_in_a_later_mail_does_not_get_it_again(ready: Workshop) -> None:
    send(ready, {"RCPT": BLOCKED})
    comet = MONDAY[MONDAY.index("A comet passes close by\n\nLook") : MONDAY.index("The museum opens late\n\nOn")]
    ready.write("briefs/2026-11-24-tuesday.md", f"Headlines:\n\n- A comet passes close by\n\nDetails:\n\n{comet}")
    assert send(ready)[1] == ["ada@example.org", "cleo@example.org"]
    assert ready.run("issues", "retry", "1", "--json").json == {"issue": 1, "retried": 1, "left_out": 2}
    assert send(ready, None, "deliver", "--issue", "1")[1] == ["ben@example.org"]


def test_a_forgotten_person_is_not_counted(ready: Workshop) -> None:
    send(ready, {"RCPT": BLOCKED})
    ready.run("subscribers", "forget", "ada@example.org")
    assert ready.run("issues", "retry", "1", "--json").json["retried"] == 2


def test_a_cancelled_issue_is_not_retried(ready: Workshop) -> None:
    send(ready, {"RCPT": [BLOCKED, BLOCKED, "450 4.2.0 later"]})
    ready.run("issues", "cancel", "1")
    ran = ready.run("issues", "retry", "1", code=1)
    assert ran.err == "error: issue 1 is cancelled: that cannot be done with it any more\n"
    assert ready.run("audit", "--json").json["rejected"] == 2


def test_an_issue_that_is_too_old_is_not_retried(ready: Workshop) -> None:
    send(ready, {"RCPT": BLOCKED})
    with closing(sqlite3.connect("newsletter.db")) as conn, conn:
        conn.execute("UPDATE issues SET due_at = due_at - 3600000000")
    ready.configure(EXPIRE_AFTER=1)
    ran = ready.run("issues", "retry", "1", code=1)
    assert ran.err.startswith("error: issue 1 is too old to be sent again")
    assert ready.run("audit", "--json").json["rejected"] == 3


def test_an_issue_that_is_not_there_is_not_retried(ready: Workshop) -> None:
    assert ready.run("issues", "retry", "7", code=1).err.startswith("error: ")
