"""Bounces out of a maildir, and out of a real IMAP server: taken once, moved aside, nothing deleted, nothing lost."""

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from daemon_house import House
from mail_servers import PASSWORD, USER, MailHost, kick, make_maildir, needs_dovecot, open_folder, run_dovecot
from smtp_server import CA_FILE
from test_feedback import house as feedback_house
from test_feedback import key_of, suppression_of, write_bounce, write_return_path

from newsletter.core.errors import MailboxError
from newsletter.daemon.collector import Collector
from newsletter.mailbox import DONE, UNCLEAR, open_mailbox
from newsletter.store import reports

house = feedback_house


def deliver(maildir: Path, name: str, octets: bytes) -> None:
    """Put a message into a maildir as a mail server does: written in tmp/, then renamed."""
    (maildir / "tmp" / name).write_bytes(octets)
    (maildir / "tmp" / name).chmod(0o644)
    (maildir / "tmp" / name).rename(maildir / "new" / name)


def list_folder(maildir: Path, folder: str = "") -> list[str]:
    place = maildir / f".{folder}" if folder else maildir
    return sorted(
        path.name.partition(":")[0].partition(",")[0] for part in ("new", "cur") for path in (place / part).glob("*")
    )


def write_three(house: House) -> dict[str, bytes]:
    """One that counts, one that is forged, one that is no report."""
    return {
        "1.good": write_bounce(write_return_path(house, key_of(house))),
        "2.forged": write_bounce("news@example.org", "ben@example.org"),
        "3.ordinary": b"From: cyd@example.org\nSubject: Hello\n\nThank you for the news.\n",
    }


def collect(house: House, address: str, *, once: bool = True) -> Collector:
    looks = iter((False, False, False, False, True) if once else ())
    collector = Collector(service=house.open(BOUNCE_MAILBOX=address), should_stop=lambda: next(looks, True))
    collector.collect()
    return collector


def test_a_maildir_is_emptied_into_its_folders(house: House, tmp_path: Path) -> None:
    maildir = make_maildir(tmp_path / "Maildir")
    for name, octets in write_three(house).items():
        deliver(maildir, name, octets)
    (maildir / "tmp" / "half").write_bytes(b"half of a mess")
    (maildir / "new" / "folder").mkdir()
    assert collect(house, f"maildir:{maildir}").failure is None
    assert (list_folder(maildir), list_folder(maildir, DONE)) == (["folder"], ["1.good"])
    assert list_folder(maildir, UNCLEAR) == ["2.forged", "3.ordinary"]
    assert (maildir / "tmp" / "half").exists()
    assert suppression_of(house, "ann@example.org") == "unknown user"
    assert suppression_of(house, "ben@example.org") is None


def test_where_it_dies_between_taking_and_moving_it_counts_once_and_lands_where_it_belongs(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir = make_maildir(tmp_path / "Maildir")
    for name, octets in write_three(house).items():
        deliver(maildir, name, octets)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(3):  # each time after one more message was taken
        with monkeypatch.context() as patch:
            patch.setattr("newsletter.mailbox.maildir.Maildir.move_message", die)
            with pytest.raises(KeyboardInterrupt):
                collect(house, f"maildir:{maildir}")
        move_first(maildir)
    for name in ("1.good", "2.forged", "3.ordinary"):
        (maildir / "moved" / name).rename(maildir / "new" / name)
    assert collect(house, f"maildir:{maildir}").failure is None
    assert (list_folder(maildir, DONE), list_folder(maildir, UNCLEAR)) == (["1.good"], ["2.forged", "3.ordinary"])
    with house.service.database.read() as conn:
        assert len(reports.list_reports(conn)) == 3


def move_first(maildir: Path) -> None:
    """Out of the way, so that the next message is the first."""
    (maildir / "moved").mkdir(exist_ok=True)
    first = min((maildir / "new").iterdir())
    first.rename(maildir / "moved" / first.name)


def test_what_cannot_be_opened_is_named_without_its_password(house: House, tmp_path: Path) -> None:
    for address, words in (
        (f"maildir:{tmp_path}", f"{tmp_path} is no maildir"),
        ("imaps://me:secret@127.0.0.1:1/INBOX", "imaps://127.0.0.1:1/INBOX cannot be reached"),
    ):
        with pytest.raises(MailboxError, match=words) as caught:
            open_mailbox(address)
        assert "secret" not in str(caught.value)
        assert words in (collect(house, address).failure or "")


def test_a_message_that_goes_while_we_look_is_anothers(tmp_path: Path) -> None:
    maildir = make_maildir(tmp_path / "Maildir")
    for number in range(3):
        deliver(maildir, f"{number}", b"Subject: x\n\n")
    mailbox = open_mailbox(f"maildir:{maildir}")
    listing = mailbox.list_messages()
    assert next(listing)[0] == "new/0"
    (maildir / "new" / "1").unlink()
    assert [name for name, _ in listing] == ["new/2"]
    mailbox.move_message("new/1", DONE)
    assert list_folder(maildir, DONE) == []


# ── IMAP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A folder for a mail server, and a maildir in it."""
    monkeypatch.setattr("newsletter.daemon.collector.WAIT_SECONDS", 0.05)
    monkeypatch.setenv("SSL_CERT_FILE", str(CA_FILE))
    with open_folder() as folder:
        yield folder, make_maildir(folder / "box")


def name_mailbox(host: MailHost, password: str = PASSWORD) -> str:
    return f"imaps://{USER}:{quote(password, safe='')}@localhost:{host.port}/INBOX"


@needs_dovecot
@pytest.mark.parametrize(
    "capability",
    ["", "imap_capability = IMAP4rev1 UIDPLUS", "imap_capability = IMAP4rev1"],
    ids=["as Debian has it", "without MOVE and IDLE", "with nothing"],
)
def test_an_imap_mailbox_is_emptied_into_its_folders(house: House, box: tuple[Path, Path], capability: str) -> None:
    folder, maildir = box
    for name, octets in write_three(house).items():
        deliver(maildir, name, octets)
    with run_dovecot(folder, maildir, more=capability) as host:
        assert collect(house, name_mailbox(host)).failure is None
        assert collect(house, name_mailbox(host)).failure is None  # the folders are there now
    assert list_folder(maildir) == []
    assert (len(list_folder(maildir, DONE)), len(list_folder(maildir, UNCLEAR))) == (1, 2)
    assert suppression_of(house, "ann@example.org") == "unknown user"


@pytest.mark.long
@needs_dovecot
def test_what_comes_while_we_wait_is_taken_at_once(house: House, box: tuple[Path, Path]) -> None:
    folder, maildir = box
    with run_dovecot(folder, maildir) as host:
        mailbox = open_mailbox(name_mailbox(host))
        assert list(mailbox.list_messages()) == []
        waiting = threading.Thread(target=mailbox.wait, args=(600,))
        waiting.start()
        for number in range(60):  # one that comes before the server has begun to tell wakes nobody
            deliver(maildir, f"{number}.late", write_bounce(write_return_path(house, key_of(house))))
            waiting.join(1)
            if not waiting.is_alive():
                break
        assert len(list(mailbox.list_messages())) == number + 1 < 60
        mailbox.close()


@needs_dovecot
def test_a_wrong_password_a_stranger_and_a_server_that_goes_are_told(
    house: House, box: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, maildir = box
    deliver(maildir, "1.good", write_bounce(write_return_path(house, key_of(house))))
    with run_dovecot(folder, maildir) as host:
        with pytest.raises(MailboxError, match="cannot be opened"):
            open_mailbox(name_mailbox(host).replace("INBOX", "Nowhere"))
        mailbox = open_mailbox(name_mailbox(host))
        kick(host)
        with pytest.raises(MailboxError, match="cannot be read"):
            list(mailbox.list_messages())
        mailbox.close()
        with pytest.raises(MailboxError, match="the server refuses the login"):
            open_mailbox(name_mailbox(host, "wrong"))
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(MailboxError, match=r"cannot be reached: .*certificate"):
            open_mailbox(name_mailbox(host))
    assert list_folder(maildir) == ["1.good"]
