"""Makes of a composed mail what goes on the wire: signed by DKIM where there is a key, and with its digest.

A few mails are signed right here; many by processes of their own, since a signature takes about as long as all else.
"""

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from newsletter.compose import digest_mail
from newsletter.core.dkim import DkimSigner
from newsletter.core.mails.message import Composed
from newsletter.transport.signing_process import SigningProcess

MANY_MAILS = 1_000
"""From so many on it pays to start processes, which takes some 0.3 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """A mail as it goes on the wire. `signatures`, raw and joined, are those of the identities that `dkim_id` names."""

    octets: bytes
    digest: bytes
    dkim_id: int | None = None
    signatures: bytes | None = None


@dataclass(kw_only=True)
class Seal:
    """`async with Seal(…) as seal:`. `signer` is None where mails go unsigned; `mails` is about how many there are."""

    signer: DkimSigner | None
    dkim_id: int | None
    mails: int
    _processes: list[SigningProcess] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        if self.signer is not None and self.mails >= MANY_MAILS:
            count = os.cpu_count() or 1
            starts = [SigningProcess.start(self.signer) for _ in range(count)]
            self._processes = list(await asyncio.gather(*starts))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(process.close() for process in self._processes))

    async def close(self, mail: Composed, at: datetime) -> Mail:
        """Sign the mail, if there is a key; `at` is its Date. TransportError where a signing process died."""
        body_hash = hashlib.sha256(mail.body).digest()
        if self.signer is None:
            return Mail(octets=mail.octets, digest=digest_mail(mail.head, body_hash))
        if self._processes:
            signed = await min(self._processes, key=len).sign(mail.head, body_hash, at)
        else:
            signed = self.signer.sign_mail(mail.head, body_hash, at)
        return Mail(
            octets=signed.header + mail.octets,
            digest=digest_mail(signed.header + mail.head, body_hash),
            dkim_id=self.dkim_id,
            signatures=signed.signatures,
        )
