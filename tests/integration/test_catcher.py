"""The demo's catching server, spoken to by our own connections and by the standard library's client."""

import asyncio
import json
import shutil
import smtplib
from pathlib import Path

import pytest

from newsletter.core.model import Outcome
from newsletter.transport.catcher import Catcher
from newsletter.transport.smtp import Attempted, Envelope, Relay, open_connection

MAIL = b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\n..stuffed\r\n.\xff\xfe raw\r\n\r\nthe end\r\n"
RECEIVED = b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\n.stuffed\r\n\xff\xfe raw\r\n\r\nthe end\r\n"


def send_all(catcher: Catcher, recipients: list[str], mail: bytes = MAIL) -> list[Attempted]:
    async def run() -> list[Attempted]:
        connection = await open_connection(Relay(host=catcher.host, port=catcher.port))
        attempts = [
            await connection.send(Envelope(return_path="b+x@sender.example", recipient=recipient), mail)
            for recipient in recipients
        ]
        await connection.quit()
        return attempts

    return asyncio.run(run())


def test_every_mail_becomes_a_file_of_its_very_bytes(tmp_path: Path) -> None:
    readers = ["one@example.org", "two@example.org", "one@example.org"]
    with Catcher(tmp_path / "mails") as catcher:
        attempts = send_all(catcher, readers)
    assert {attempt.outcome for attempt in attempts} == {Outcome.ACCEPTED}
    assert [recipient for recipient, _ in catcher.caught] == readers
    names = ["0001-one@example.org.eml", "0002-two@example.org.eml", "0003-one@example.org.eml"]
    assert [path.name for _, path in catcher.caught] == names
    assert {path.read_bytes() for _, path in catcher.caught} == {RECEIVED}
    lines = (tmp_path / "mails" / "envelopes.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"file": names[1], "return_path": "b+x@sender.example", "recipient": readers[1]}


def test_an_old_catch_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with Catcher(tmp_path) as catcher:
            send_all(catcher, ["one@example.org"])
    assert [path.name for path in sorted(tmp_path.glob("*.eml"))] == [
        "0001-one@example.org.eml",
        "0002-one@example.org.eml",
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("../../etc/x@example.org", None),
        ("a/b@example.org", "0001-a_b@example.org.eml"),
        ("läser@example.org", "0001-l_ser@example.org.eml"),
        ("x" * 64 + "@" + "long." * 20 + "example.org", "0001-" + ("x" * 64 + "@" + "long." * 20)[:120] + ".eml"),
    ],
)
def test_an_address_is_no_path(tmp_path: Path, address: str, name: str | None) -> None:
    with Catcher(tmp_path) as catcher:
        (attempt,) = send_all(catcher, [address])
    assert (attempt.outcome is Outcome.ACCEPTED) == (name is not None)
    assert [path.name for path in tmp_path.glob("*.eml")] == ([name] if name else [])


def test_two_recipients_are_two_files(tmp_path: Path) -> None:
    with Catcher(tmp_path) as catcher, smtplib.SMTP(catcher.host, catcher.port, timeout=20) as client:
        client.sendmail("", ["one@example.org", "two@example.org"], b"Subject: both\r\n\r\n")
    assert [path.name[:8] for _, path in catcher.caught] == ["0001-one", "0002-two"]


def test_a_disk_that_fails_defers_the_mail(tmp_path: Path) -> None:
    with Catcher(tmp_path / "mails") as catcher:
        shutil.rmtree(tmp_path / "mails")
        (attempt,) = send_all(catcher, ["one@example.org"])
    assert (attempt.outcome, attempt.reply.enhanced) == (Outcome.DEFERRED, "4.3.1")
    assert catcher.caught == []


def test_it_ends_though_a_connection_is_open(tmp_path: Path) -> None:
    with Catcher(tmp_path) as catcher:
        client = smtplib.SMTP(catcher.host, catcher.port, timeout=20)
        client.ehlo()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    client.close()


def test_an_address_that_is_not_here_cannot_be_listened_on(tmp_path: Path) -> None:
    catcher = Catcher(tmp_path)
    catcher.host = "192.0.2.1"
    with pytest.raises(OSError, match=r"192\.0\.2\.1"), catcher:
        pass
