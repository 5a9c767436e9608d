"""Signed deliveries: what arrives holds for a verifier, and comes again from the log without the key."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dkim  # type: ignore[import-untyped]
import pytest
from dkim_keys import make_keys, write_record
from smtp_server import SmtpServer
from test_deliver import NOW, SIGNER, count_mails, deliver, publish
from test_publish import make_publisher

from newsletter.compose import reproduce_mail
from newsletter.core.dkim import DkimSigner, SigningKey
from newsletter.core.errors import TransportError
from newsletter.core.mails.message import Composed
from newsletter.deliver import Progress
from newsletter.deliver.signing import MANY_MAILS, Mail, Seal
from newsletter.publish import Publisher, audit
from newsletter.transport.signing_process import SigningProcess

pytestmark = pytest.mark.usefixtures("each_loop")

MAILS = [Composed(head=b"From: a@b.example\r\nSubject: %d\r\n" % n, body=b"body %d\r\n" % n) for n in range(300)]


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def make_seal(mails: int) -> Seal:
    return Seal(signer=DkimSigner(make_keys()), dkim_id=1, mails=mails)


async def sign_all(seal: Seal) -> Sequence[Mail]:
    async with seal:
        return await asyncio.gather(*(seal.close(mail, NOW) for mail in MAILS))


@pytest.mark.parametrize("keys", [make_keys()[:1], make_keys()], ids=["RSA", "RSA and Ed25519"])
def test_a_signed_mail_holds_and_comes_again_without_the_key(publisher: Publisher, keys: list[SigningKey]) -> None:
    issue = publish(publisher, 3)
    records = dict(map(write_record, keys))
    deliver(publisher.database, server := SmtpServer(), dkim=DkimSigner(keys))
    assert len(server.mails) == 3
    for number, mail in enumerate(sorted(server.mails, key=lambda m: m.recipient), start=1):
        assert mail.data.count(b"DKIM-Signature:") == len(keys)
        judged = dkim.DKIM(mail.data).verify(
            dnsfunc=lambda name, timeout=0: records[name.decode().rstrip(".")].encode()
        )
        assert judged
        assert reproduce_mail(publisher.database, SIGNER, (issue, number)) == mail.data


def test_a_mail_that_was_deferred_is_signed_anew_and_the_last_one_is_shown(publisher: Publisher) -> None:
    issue = publish(publisher, 1)
    server = SmtpServer(replies={"RCPT": ["451 4.3.0 later"]})
    deliver(publisher.database, server, dkim=DkimSigner(make_keys()[:1]), retry_delays=())
    assert audit(publisher.database, issue).rejected == 1
    assert b"DKIM-Signature" in reproduce_mail(publisher.database, SIGNER, (issue, 1))


def test_processes_sign_what_is_signed_here(publisher: Publisher) -> None:
    here, there = asyncio.run(sign_all(make_seal(1))), asyncio.run(sign_all(make_seal(MANY_MAILS)))
    assert here == there
    assert len({mail.signatures for mail in there}) == len(MAILS)
    assert here[0].digest == hashlib.sha256(here[0].octets.partition(b"\r\n\r\n")[0] + b"\r\n" + hash_body(0)).digest()


def hash_body(number: int) -> bytes:
    return hashlib.sha256(MAILS[number].body).digest()


def test_a_signing_process_that_dies_is_an_error_for_all_who_wait() -> None:
    async def run() -> list[object]:
        process = await SigningProcess.start(DkimSigner(make_keys()))
        os.kill(process._transport.get_pid() or 0, signal.SIGSTOP)
        waiting = [asyncio.create_task(process.sign(m.head, hash_body(n), NOW)) for n, m in enumerate(MAILS[:5])]
        await asyncio.sleep(0)
        waiting[1].cancel()
        os.kill(process._transport.get_pid() or 0, signal.SIGKILL)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(TransportError):
            await process.sign(MAILS[0].head, hash_body(0), NOW)
        await process.close()
        return list(ended)

    ended = asyncio.run(run())
    assert isinstance(ended[1], asyncio.CancelledError)
    assert [type(each) for n, each in enumerate(ended) if n != 1] == [TransportError] * 4


def test_who_gives_up_waiting_takes_nobody_elses_signature() -> None:
    async def run() -> Mail:
        async with make_seal(MANY_MAILS) as seal:
            tasks = [asyncio.create_task(seal.close(mail, NOW)) for mail in MAILS[:50]]
            await asyncio.sleep(0)
            for task in tasks[:49]:
                task.cancel()
            return await tasks[49]

    assert asyncio.run(run()) == asyncio.run(sign_all(make_seal(1)))[49]


def find_children() -> set[int]:
    """The processes that this one has started."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_where_a_signing_process_is_killed_the_run_stops_and_nobody_is_lost_or_doubled(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newsletter.deliver.signing.MANY_MAILS", 1)
    issue, before = publish(publisher, 200), find_children()
    server = SmtpServer()

    def kill_them(progress: Progress) -> None:
        if len(server.mails) >= 20:
            for pid in find_children() - before:
                os.kill(pid, signal.SIGKILL)

    signer = DkimSigner(make_keys())
    stopped = deliver(publisher.database, server, dkim=signer, observe=kill_them).stopped
    assert stopped == "mails cannot be made: the process that signs mails has ended"
    books = audit(publisher.database, issue)
    assert (books.accepted, books.rejected, books.sending, books.uncertain) == (len(server.mails), 0, 0, 0)
    assert books.accepted < 200
    deliver(publisher.database, again := SmtpServer(), dkim=signer)
    assert count_mails(server) + count_mails(again) == {f"p{number}@x.org": 1 for number in range(200)}
    assert all(b"DKIM-Signature:" in mail.data for mail in (*server.mails, *again.mails))
    assert find_children() <= before


def test_a_signing_process_ends_with_the_one_that_wants_it() -> None:
    """Its stdin ends when that dies, however it does."""
    process = subprocess.Popen([sys.executable, "-m", "newsletter.transport.signing_process"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0
