"""`doctor`: what it says of a service that is well, and of everything that can be wrong with it."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dkim_keys import make_ed25519_key, make_rsa_key, write_pem
from full_disk import full_disk
from smtp_server import CA_FILE, DROP, OFFERS, SmtpServer, run_in_thread
from smtp_talk import Answers
from workshop import Workshop

from newsletter.store.schema import to_microseconds

SOON = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported, no limits of domains."""
    workshop.configure(DOMAIN_LIMITS="{}")
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def change(statement: str, *values: object) -> None:
    with closing(sqlite3.connect("newsletter.db")) as conn, conn:
        conn.execute(statement, values)


def back_off(kind: str, name: str, until_at: datetime, step: int = 2) -> None:
    values = (kind, name, step, to_microseconds(until_at), "451 4.7.28 too fast")
    change("INSERT OR REPLACE INTO throttles (kind, name, step, until_at, reason) VALUES (?, ?, ?, ?, ?)", *values)


def examine(ready: Workshop, *, code: int = 0) -> dict[str, Any]:
    """The doctor's findings by check, the worst of each."""
    order = ("ok", "warn", "fail")
    found: dict[str, Any] = {}
    ran = ready.run("doctor", "--json", code=code)
    for line in ran.lines:
        assert set(line) == {"check", "state", "about", "found", "remedy"}
        assert (line["remedy"] is None) == (line["state"] == "ok")
        if order.index(line["state"]) >= order.index(found.get(line["check"], line)["state"]):
            found[line["check"]] = line
    assert (code == 1) == any(line["state"] == "fail" for line in ran.lines)
    return found


def expect(ready: Workshop, check: str, state: str, *words: str) -> None:
    """The doctor finds this, and says it with these words."""
    finding = examine(ready, code=1 if state == "fail" or ready.settings["SMTP__PORT"] == "1" else 0)[check]
    assert finding["state"] == state, finding
    for word in words:
        assert word in f"{finding['found']} {finding['remedy']}"


def add_key(ready: Workshop, bits: int = 2048, mode: int = 0o600) -> None:
    path = ready.write("dkim.pem", write_pem(make_rsa_key(bits)).decode())
    path.chmod(mode)
    ready.configure(DKIM__DOMAIN="example.org", DKIM__SELECTOR="news", DKIM__KEY_FILE="dkim.pem")


def test_a_service_that_is_well(ready: Workshop) -> None:
    add_key(ready)
    ready.write("ed.pem", write_pem(make_ed25519_key()).decode()).chmod(0o600)
    ready.configure(DKIM__ED25519_SELECTOR="news-ed", DKIM__ED25519_KEY_FILE="ed.pem")
    with run_in_thread(SmtpServer(logins={"ada": "secret"}, login_demanded=True)) as server:
        ready.use(server)
        ready.configure(SMTP__USERNAME="ada", SMTP__PASSWORD="secret")
        found = examine(ready)
        lines = ready.run("doctor").out.splitlines()
    # An example's domain is nobody's: of it there is nothing to ask, and no reader to reach.
    assert [check for check, finding in found.items() if finding["state"] != "ok"] == ["dns", "bounces", "base_url"]
    assert list(found) == [
        *("settings.from", "settings.secret_key", "database", "topics", "templates", "briefs"),
        *("relay.connection", "relay.tls", "relay.size", "relay.offers", "relay.limits"),
        *("dkim.key", "dkim.alignment", "dns", "bounces", "base_url", "postal_address", "disk", "schedule", "clock"),
    ]
    assert len(lines) == len(found) + 1  # two keys
    assert sum(line.startswith("ok    ") for line in lines) == len(lines) - 3
    assert server.mails == []
    assert {session.login for session in server.sessions} == {"ada"}
    assert all("QUIT" in session.verbs and "MAIL" not in session.verbs for session in server.sessions)


@pytest.mark.parametrize("name", ["FROM", "SECRET_KEY"])
def test_what_a_send_demands_is_missed(ready: Workshop, name: str) -> None:
    ready.configure(**{name: ""})
    expect(ready, f"settings.{name.lower()}", "fail", f"NEWSLETTER_{name}")


def test_older_keys_are_counted(ready: Workshop) -> None:
    ready.configure(SECRET_KEY=f'["{"n" * 32}","{"o" * 32}"]')
    expect(ready, "settings.secret_key", "ok", "1 older")


@pytest.mark.parametrize("content", [b"no database, but long enough to be looked at as one" * 99, None])
def test_a_database_that_cannot_be_used(ready: Workshop, content: bytes | None) -> None:
    if content is None:
        change("UPDATE alembic_version SET version_num = '9999'")
    else:
        Path("other.db").write_bytes(content)
        ready.configure(DATABASE_URL="sqlite:///other.db")
    found = examine(ready, code=1)
    assert (found["database"]["state"], found["topics"]["state"], found["clock"]["state"]) == ("fail", "ok", "ok")


def test_a_disk_that_is_full(ready: Workshop) -> None:
    with full_disk(4096):
        found = examine(ready, code=1)
    assert found["database"]["state"] == "fail"
    assert examine(ready, code=1)["database"]["state"] == "ok"


def test_topics_that_are_wrong_or_gone(ready: Workshop) -> None:
    text = Path("subscribers/topics.toml").read_text()
    ready.write("subscribers/topics.toml", text.replace("[topics.culture]", "[topics.arts]"))
    expect(ready, "topics", "warn", "culture")
    ready.write("subscribers/topics.toml", "[topics")
    expect(ready, "topics", "fail", "subscribers/topics.toml")


def test_templates_of_the_operators_own(ready: Workshop) -> None:
    Path("templates").mkdir()
    ready.configure(TEMPLATES="templates")
    expect(ready, "templates", "ok", "0 of them of templates")
    ready.write("templates/story.txt.j2", "{% block headline %}\n{{ nothing.here }}\n{% endblock %}")
    expect(ready, "templates", "fail", "story.txt.j2")


def test_briefs_that_cannot_be_read(ready: Workshop) -> None:
    ready.write("briefs/broken.md", "no story")
    expect(ready, "briefs", "warn", "broken.md")
    for path in Path("briefs").iterdir():
        path.unlink()
    expect(ready, "briefs", "warn", "there is none in briefs")
    ready.configure(BRIEFS="nowhere")
    expect(ready, "briefs", "fail", "nowhere")


def test_a_relay_that_is_down_or_backed_off(ready: Workshop) -> None:
    expect(ready, "relay.connection", "fail", "127.0.0.1:1", "refused")
    ready.run("send", code=3)
    expect(ready, "relay.limits", "warn", "shut, step 1")
    back_off("relay", "127.0.0.1:1", LONG_AGO)
    expect(ready, "relay.limits", "ok", "recovering, step 2")
    ready.configure(SMTP__CA_FILE="nowhere.pem")
    expect(ready, "relay", "fail", "nowhere.pem")


def test_each_relay_is_looked_at(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.configure(
            RELAYS=f'[{{"host":"127.0.0.1","port":{server.port},"tls":"none","rate":5}},{{"host":"127.0.0.1","port":1}}]'
        )
        lines = [line for line in ready.run("doctor", "--json", code=1).lines if line["check"].startswith("relay.")]
    states = {(line["check"], line["about"]): line["state"] for line in lines}
    assert states[("relay.connection", f"127.0.0.1:{server.port}")] == "ok"
    assert states[("relay.connection", "127.0.0.1:1")] == "fail"
    assert any("5 mails a second" in line["found"] for line in lines if line["check"] == "relay.limits")


def test_a_relay_that_refuses_the_login(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(logins={"ada": "secret"})) as server:
        ready.use(server)
        ready.configure(SMTP__USERNAME="ada", SMTP__PASSWORD="wrong")
        expect(ready, "relay.connection", "fail", "refuses the login", "Mend the login")


@pytest.mark.parametrize(
    "replies", [{"BANNER": DROP}, {"BANNER": b"what?\r\n"}, {"BANNER": "554 go away"}, {"EHLO": "421 later"}]
)
def test_a_relay_that_misbehaves(ready: Workshop, replies: Answers) -> None:
    with run_in_thread(SmtpServer(replies=replies)) as server:
        ready.use(server)
        expect(ready, "relay.connection", "fail", server.host)


def test_a_relay_that_speaks_tls_from_the_start(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(tls="implicit")) as server:
        ready.use(server)
        ready.configure(SMTP__HOST="localhost", SMTP__TLS="implicit", SMTP__CA_FILE=str(CA_FILE))
        expect(ready, "relay.tls", "ok", "TLSv1.3, the certificate verifies")


def test_the_way_to_the_relay(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(tls="starttls")) as server:
        ready.use(server)
        ready.configure(SMTP__TLS="opportunistic")
        expect(ready, "relay.tls", "ok", "TLSv1.3", "is not verified")
        ready.configure(SMTP__HOST="localhost", SMTP__TLS="starttls", SMTP__CA_FILE=str(CA_FILE))
        expect(ready, "relay.tls", "ok", "TLSv1.3, the certificate verifies")
        ready.configure(SMTP__CA_FILE="")
        expect(ready, "relay.connection", "fail", "certificate")
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        expect(ready, "relay.tls", "ok", "not encrypted")
        ready.configure(SMTP__TLS="starttls")
        expect(ready, "relay.connection", "fail", "STARTTLS")


@pytest.mark.parametrize(("tls", "words"), [("none", "clear text"), ("opportunistic", "not verified")])
def test_an_unsafe_way_to_a_relay_elsewhere(
    ready: Workshop, monkeypatch: pytest.MonkeyPatch, tls: str, words: str
) -> None:
    monkeypatch.setattr("newsletter.doctor.relays.is_loopback", lambda host: False)
    with run_in_thread(SmtpServer(tls="starttls")) as server:
        ready.use(server)
        ready.configure(SMTP__TLS=tls)
        expect(ready, "relay.tls", "warn", words)


def test_a_relay_that_offers_little(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(offers=("SIZE 100000", "8BITMIME"))) as server:
        ready.use(server)
        expect(ready, "relay.size", "fail", "100,000 octets", "5.3.4")
        expect(ready, "relay.size", "fail", "560,000")
        found = examine(ready, code=1)["relay.offers"]
    assert found["state"] == "warn"
    assert found["found"] == "offers SIZE, 8BITMIME; not PIPELINING, SMTPUTF8, DSN"
    with run_in_thread(SmtpServer(offers=[offer for offer in OFFERS if not offer.startswith("SIZE")])) as server:
        ready.use(server)
        expect(ready, "relay.size", "ok", "names no limit")


def test_keys_that_nobody_should_sign_with(ready: Workshop) -> None:
    expect(ready, "dkim", "warn", "unsigned")
    add_key(ready, bits=1024)
    expect(ready, "dkim.key", "warn", "1024 bits")
    add_key(ready, mode=0o644)
    expect(ready, "dkim.key", "warn", "chmod 600 dkim.pem")
    ready.write("dkim.pem", "no key")
    expect(ready, "dkim", "fail", "dkim.pem", "DKIM__KEY_FILE")
    Path("dkim.pem").unlink()
    expect(ready, "dkim", "fail", "dkim.pem")


@pytest.mark.parametrize(
    ("domain", "state"),
    [("news.example.org", "ok"), ("example.org", "ok"), ("x.news.example.org", "warn"), ("ews.example.org", "fail")],
)
def test_who_signs_must_be_who_writes(ready: Workshop, domain: str, state: str) -> None:
    add_key(ready)
    ready.configure(DKIM__DOMAIN=domain)
    expect(ready, "dkim.alignment", state, domain)


@pytest.mark.parametrize(
    ("address", "state"),
    [
        ("https://news.example.org", "warn"),
        ("http://news.ledger.dev", "warn"),
        ("http://127.0.0.1:8000", "warn"),
        ("https://localhost", "warn"),
        ("http://[::1]:8000", "warn"),
    ],
)
def test_an_address_of_the_pages_that_no_reader_should_be_given(ready: Workshop, address: str, state: str) -> None:
    ready.configure(BASE_URL=address)
    expect(ready, "base_url", state, address)


def test_a_schedule_that_no_daemon_keeps(ready: Workshop) -> None:
    expect(ready, "schedule", "ok", "none is set")
    ready.configure(SCHEDULE="0 7 * * *", MISFIRE_GRACE="0")
    expect(ready, "schedule", "warn", "no daemon has kept it yet", "newsletter run")
    kept = {"identity": {}, "up_to": "2026-01-01T00:00:00Z"}
    change("INSERT INTO service (key, value) VALUES ('schedule', ?)", json.dumps(kept))
    expect(ready, "schedule", "warn", "since 2026-01-01 00:00 UTC")
    change("UPDATE service SET value = ? WHERE key = 'schedule'", json.dumps({**kept, "up_to": SOON.isoformat()}))
    expect(ready, "schedule", "ok", "kept up to 2100-01-01")


@pytest.mark.parametrize(("free", "state"), [(5e10, "ok"), (5e8, "warn"), (3e9, "warn"), (5e7, "fail")])
def test_room_beside_the_database(ready: Workshop, monkeypatch: pytest.MonkeyPatch, free: float, state: str) -> None:
    usage = SimpleNamespace(free=free, total=100e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    expect(ready, "disk", state, f"{free / 1e9:.1f} GB of 100 GB")


def test_the_way_of_what_comes_back(ready: Workshop) -> None:
    expect(ready, "bounces", "warn", "not read", "NEWSLETTER_BOUNCE_MAILBOX")
    ready.configure(HOOKS__MAILGUN_KEY="key")
    expect(ready, "bounces", "ok", "by HTTP")
    ready.configure(BOUNCE_MAILBOX="maildir:nowhere")
    expect(ready, "bounces", "fail", "nowhere is no maildir")
    for part in ("new", "cur", "tmp"):
        (ready.folder / "box" / part).mkdir(parents=True)
    ready.configure(BOUNCE_MAILBOX="maildir:box")
    expect(ready, "bounces", "ok", "can be read")


def test_a_postal_address_is_missed(ready: Workshop) -> None:
    ready.configure(POSTAL_ADDRESS="")
    expect(ready, "postal_address", "warn", "NEWSLETTER_POSTAL_ADDRESS")


def test_a_clock_that_was_put_back(ready: Workshop) -> None:
    ready.configure(TIMEZONE="Asia/Tokyo")
    ready.run("send", code=3)
    expect(ready, "clock", "ok", "Asia/Tokyo", "zone data")
    change("UPDATE issues SET created_at = ?", to_microseconds(SOON))
    expect(ready, "clock", "fail", "issue 1", "clock")


def test_the_doctor_speaks_a_line_a_check_and_ends_with_the_failed_ones(ready: Workshop) -> None:
    ran = ready.run("doctor", code=1)
    lines = ran.out.splitlines()
    assert all(line[:6] in ("ok    ", "warn  ", "fail  ") for line in lines)
    assert any(line.startswith("fail  relay.connection: 127.0.0.1:1: the relay 127.0.0.1:1 cannot") for line in lines)
    assert ran.err == "error: 1 of the checks failed: relay.connection\n"


def test_a_wrong_key_shows_before_anything_is_published(ready: Workshop) -> None:
    add_key(ready)
    ready.write("dkim.pem", "no key")
    assert "dkim.pem" in ready.run("send", code=1).err
    assert ready.run("issues", "list", "--json").out == ""
