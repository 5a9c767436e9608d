"""`status`: what is owed, and how relays and domains do."""

import json

from smtp_server import SmtpServer, run_in_thread
from workshop import Workshop


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
    assert [(domain["name"], domain["state"]) for domain in told["domains"]] == [("example.org", "shut")]
    assert told["owed"] == 0
    assert "domain example.org: shut, step 1 until " in shown
    workshop.run("pause")
    assert workshop.run("status").out.startswith("paused; ")
