"""Signed deliveries: what arrives holds for a verifier, and comes again from the log without the key."""

import asyncio
import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dkim  # type: ignore[import-untyped]
import pytest
from dkim_keys import make_keys, write_record
from smtp_server import SmtpServer
from test_deliver import NOW, SIGNER, deliver, publish
from test_publish import make_publisher

from newsletter.compose import reproduce_mail
from newsletter.core.dkim import DkimSigner, SigningKey
from newsletter.core.errors import TransportError
from newsletter.core.mails.message import Composed
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
