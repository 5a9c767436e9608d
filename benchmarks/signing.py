"""Signing a mail: the time beside the private keys' own, and how two threads share the work.

The head is that of a mail to a reader, with links of their usual length; the RSA key has 2,048 bits.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from newsletter.core.dkim import DkimSigner, Identity, SigningKey, write_signatures
from newsletter.core.mails.headers import write_head, write_mailbox, write_tail, write_text, write_unsubscribe
from newsletter.core.mails.parts import Sender

TIMES = 200
ROUNDS = 15
NOW = datetime(2026, 1, 5, 7, 0, tzinfo=UTC)
BODY_HASH = hashlib.sha256(b"a body\r\n").digest()
SENDER = Sender(
    name="The Morning Ledger", from_name="The Morning Ledger", from_address="news@example.org", base_url="", key_id="00"
)
HEAD = (
    write_head(SENDER)
    + write_text("Subject", "Harbour bridge reopens to cyclists and walkers, and 11 more stories of the day")
    + write_mailbox("To", "Jürgen Groß", "juergen.gross@mail.example")
    + "Date: Mon, 05 Jan 2026 07:00:00 +0000\r\n"
    + f"Message-ID: <12-123456.{'m' * 16}@example.org>\r\n"
    + write_unsubscribe(f"https://news.example.org/unsubscribe/{'a' * 35}", f"mailto:u+{'a' * 35}@bounce.example.org")
    + write_tail(SENDER, 12, "en")
).encode()
RSA, ED25519 = generate_private_key(public_exponent=65537, key_size=2048), Ed25519PrivateKey.generate()
KEYS = (
    SigningKey(identity=Identity(domain="example.org", selector="news", algorithm="rsa-sha256"), private=RSA),
    SigningKey(identity=Identity(domain="example.org", selector="news2", algorithm="ed25519-sha256"), private=ED25519),
)


def measure(work: Callable[[], object]) -> float:
    """The microseconds of CPU it takes, in the best of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(TIMES):
            work()
        taken.append((time.thread_time() - began) / TIMES * 1e6)
    return min(taken)


def measure_threads(work: Callable[[], object], count: int) -> float:
    """How often a second so many threads do it together."""
    with ThreadPoolExecutor(count) as threads:
        began = time.perf_counter()
        list(threads.map(lambda _: [work() for _ in range(ROUNDS * TIMES)], range(count)))
        return count * ROUNDS * TIMES / (time.perf_counter() - began)


def main() -> None:
    """Print what a signature costs, and the rates of one thread and of two."""
    signer = DkimSigner(KEYS)
    signatures = signer.sign(HEAD, BODY_HASH, NOW)
    rsa = measure(lambda: RSA.sign(HEAD, PKCS1v15(), SHA256()))
    ed25519 = measure(lambda: ED25519.sign(BODY_HASH))
    whole = measure(lambda: signer.write(HEAD, BODY_HASH, NOW))
    again = measure(lambda: write_signatures(signer.identities, HEAD, BODY_HASH, NOW, signatures))
    sys.stdout.write(f"the keys: RSA {rsa:.0f} µs, Ed25519 {ed25519:.0f} µs; a head of {len(HEAD)} octets\n")
    sys.stdout.write(f"both signatures: {whole:.0f} µs, {whole - rsa - ed25519:.0f} of them beside the keys\n")
    sys.stdout.write(f"written again from stored signatures: {again:.0f} µs\n")
    one, two = (measure_threads(lambda: signer.write(HEAD, BODY_HASH, NOW), count) for count in (1, 2))
    sys.stdout.write(f"one thread {one:,.0f}/s, two {two:,.0f}/s: {two / one:.2f} times\n")


if __name__ == "__main__":
    main()
