"""A real send through Postfix, whose bounce comes back to the return path and is read out of Dovecot by the daemon."""

from urllib.parse import quote

import pytest
from mail_servers import (
    PASSWORD,
    USER,
    make_maildir,
    needs_dovecot,
    needs_postfix,
    open_folder,
    run_dovecot,
    run_postfix,
)
from smtp_server import CA_FILE, SmtpServer, run_in_thread
from test_daemon import Start, start
from workshop import Workshop

__all__ = ["start"]

DOMAIN = "bounces.example.org"
REFUSED = {"ben@example.org": "550 5.1.1 <ben@example.org>: no such user"}


@pytest.mark.long
@needs_postfix
@needs_dovecot
def test_a_mail_that_postfix_cannot_bring_suppresses_its_reader(
    workshop: Workshop, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CA_FILE))
    workshop.run("subscribers", "import", "subscribers/list.csv")
    with (
        run_in_thread(SmtpServer(replies={"RCPT": REFUSED})) as world,
        open_folder() as folder,
        run_postfix(folder, maildir := make_maildir(folder / "box"), sink=world.port, domain=DOMAIN) as postfix,
    ):
        (imap := folder / "imap").mkdir()
        with run_dovecot(imap, maildir) as dovecot:
            address = f"imaps://{USER}:{quote(PASSWORD, safe='')}@localhost:{dovecot.port}/INBOX"
            workshop.configure(SMTP__HOST="127.0.0.1", SMTP__PORT=postfix.port, SMTP__TLS="none")
            workshop.configure(BOUNCE_DOMAIN=DOMAIN, BOUNCE_MAILBOX=address)
            sent = workshop.run("send", "--json").json
            assert sent["audit"]["accepted"] == 3
            daemon = start("--no-web")
            assert "kind=hard" in daemon.wait_for("came back")
            assert daemon.end() == 0
    told = workshop.run("subscribers", "show", "ben@example.org", "--json").json
    assert told["suppression"]["reason"] == "unknown user"
    (report,) = told["reports"]
    assert (report["kind"], report["status"], report["code"], report["action"]) == ("hard", "5.1.1", 550, "suppressed")
    log = {line["email"]: line["reports"] for line in workshop.run("log", "--json").lines}
    assert [len(log[f"{name}@example.org"]) for name in ("ada", "ben", "cleo")] == [0, 1, 0]
    assert "came back" in workshop.run("explain", "--email", "ben@example.org").out
    assert {mail.recipient for mail in world.mails} == {"ada@example.org", "cleo@example.org"}
