"""`status`: what is owed, and how relays and domains do."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from smtp_server import SmtpServer, Stall, run_in_thread
from workshop import Workshop

from newsletter.store.schema import to_microseconds

SOON = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
COMMAND = [str(Path(sys.executable).with_name("newsletter"))]


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported, no limits of domains."""
    workshop.configure(DOMAIN_LIMITS="{}")
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def tell_status(ready: Workshop) -> Any:
    return ready.run("status", "--json").json


def back_off(kind: str, name: str, until_at: datetime, step: int = 2) -> None:
    values = (kind, name, step, to_microseconds(until_at), "451 4.7.28 too fast")
    with closing(sqlite3.connect("newsletter.db")) as conn, conn:
        conn.execute(
            "INSERT OR REPLACE INTO throttles (kind, name, step, until_at, reason) VALUES (?, ?, ?, ?, ?)", values
        )


def test_an_empty_service_is_at_rest(workshop: Workshop) -> None:
    told = workshop.run("status", "--json").json
    assert (told["running"], told["paused"], told["owed"], told["last_issue"]) == (False, False, 0, None)
    assert [(relay["name"], relay["state"]) for relay in told["relays"]] == [("127.0.0.1:1", "healthy")]
    assert workshop.run("status").out.startswith("at rest; 0 deliveries are owed now\n")


def test_a_relay_that_is_down_and_its_limits_are_shown(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    relays = [{"host": "127.0.0.1", "port": 1, "tls": "none", "weight": 3, "connections": 7, "rate": 20}]
    workshop.configure(RELAYS=json.dumps(relays))
    workshop.run("send", code=3)
    told = workshop.run("status", "--json").json
    (relay,) = told["relays"]
    assert (relay["weight"], relay["connections"], relay["rate"], relay["mails_per_connection"]) == (3, 7, 20, 1_000)
    assert (relay["state"], relay["step"]) == ("shut", 1)
    assert "Connection refused" in relay["reason"]
    assert relay["until_at"] > "2026"
    assert told["owed"] == 3
    shown = workshop.run("status").out
    assert "relay 127.0.0.1:1 (weight 3, 7 connections, 20 mails/s): shut, step 1 until " in shown
    assert "last issue 1 of 2026-11-23: " in shown


def test_a_domain_that_is_left_alone_is_shown_and_its_mails_are_owed_later(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    with run_in_thread(SmtpServer(replies={"RCPT": "451 4.7.28 too many mails"})) as server:
        workshop.use(server)
        workshop.run("send")
        told = workshop.run("status", "--json").json
        shown = workshop.run("status").out
    first, *limited = [(domain["name"], domain["state"]) for domain in told["domains"]]
    assert first == ("example.org", "shut")
    assert ("gmail.com", "healthy") in limited
    assert (told["owed"], told["deferred"]) == (0, 3)
    assert told["relays"][0]["state"] == "healthy"
    assert "domain example.org (no limits): shut, step 1 until " in shown
    workshop.run("pause")
    assert workshop.run("status").out.startswith("paused; ")


def test_the_status_while_another_process_delivers(ready: Workshop) -> None:
    stall = Stall()
    with run_in_thread(SmtpServer(replies={"BODY": {"ada@example.org": stall}})) as server:
        ready.use(server)
        with subprocess.Popen([*COMMAND, "send"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sending:
            stall.reached.result(60)
            assert tell_status(ready)["running"]
            assert ready.run("status").out.startswith("delivering; ")
            stall.release()
            assert sending.wait(60) == 0
    told = tell_status(ready)
    assert (told["running"], told["owed"], told["last_issue"]["accepted"]) == (False, 0, 3)
    assert told["last_issue"]["state"] == "finished"


def test_the_status_of_what_is_deferred_and_paused(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(replies={"RCPT": {"ada@example.org": "451 4.3.0 later"}})) as server:
        ready.use(server)
        ready.run("send")
    ready.run("pause")
    told = tell_status(ready)
    assert (told["paused"], told["owed"], told["deferred"]) == (True, 0, 1)
    due_in = datetime.fromisoformat(told["next_due_at"]) - datetime.now(UTC)
    assert timedelta(minutes=3) < due_in < timedelta(minutes=7)
    assert (told["last_issue"]["issue"], told["last_issue"]["deferred"]) == (1, 1)
    lines = ready.run("status").out
    assert lines.startswith("paused; 0 deliveries are owed now, 1 later, the first at 2")
    assert "selected 4 = accepted 2 + rejected 0 + queued 0 + deferred 1" in lines


def test_what_waits_for_a_provider_that_is_shut_is_owed_later(ready: Workshop) -> None:
    ready.run("subscribers", "add", "eve@gmail.com", "--topics", "science")
    ready.run("send", code=3)
    assert (tell_status(ready)["owed"], tell_status(ready)["deferred"]) == (4, 0)
    back_off("domain", "gmail.com", SOON)
    told = tell_status(ready)
    assert (told["owed"], told["deferred"], told["next_due_at"]) == (3, 1, SOON.isoformat())


def test_the_status_of_relays_and_domains(ready: Workshop) -> None:
    ready.configure(
        RELAYS='[{"host":"127.0.0.1","port":1,"weight":3,"rate":2.5},{"host":"127.0.0.1","port":2,"connections":4}]',
        DOMAIN_LIMITS='{"gmail.com":{"connections":5},"x.org":{"rate":2},"y.org":{}}',
    )
    ready.run("send", code=3)
    back_off("relay", "127.0.0.1:2", LONG_AGO)
    back_off("domain", "gmail.com", SOON)
    back_off("domain", "z.org", LONG_AGO, step=1)
    told = tell_status(ready)
    first, second = told["relays"]
    assert (first["weight"], first["rate"], first["connections"]) == (3, 2.5, 10)
    assert (first["state"], first["step"]) == ("shut", 1)
    assert datetime.fromisoformat(first["until_at"]) > datetime.now(UTC)
    assert "Connection refused" in first["reason"]
    assert (second["connections"], second["state"], second["step"]) == (4, "recovering", 2)
    domains = {domain["name"]: (domain["state"], domain["connections"], domain["rate"]) for domain in told["domains"]}
    assert domains == {
        "gmail.com": ("shut", 5, 0.0),
        "z.org": ("recovering", 0, 0.0),
        "x.org": ("healthy", 0, 2.0),
    }
    lines = ready.run("status").out
    assert "relay 127.0.0.1:1 (weight 3, 10 connections, 2.5 mails/s): shut, step 1 until 2" in lines
    assert "domain gmail.com (5 connections): shut, step 2 until 2100-01-01 00:00:00: 451" in lines
    assert "domain z.org (no limits): recovering, step 1: 451 4.7.28 too fast" in lines
    assert "limited: x.org 2 mails/s" in lines


def test_a_paused_issue_says_why_in_the_status(ready: Workshop) -> None:
    ready.run("send", code=3)
    ready.run("issues", "pause", "1")
    assert "(paused: by the operator at " in ready.run("status").out
