"""DKIM signatures (RFC 6376, RFC 8463), relaxed/relaxed and without l=: makes them, and writes their headers.

A signature and its header are made apart, so that a mail can be made again from stored signatures, without a key. The
body comes in as the hash of the bytes on the wire, which is that of its relaxed form: core/mails/quoted.py writes a
body so that the two are the same. Reads no file; `cryptography` is imported when there is a key.
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from newsletter.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

RSA_BITS = 1024  # at least; 2048 is advised (RFC 8301 3.2)
ED25519_OCTETS = 64  # of a signature (RFC 8032 5.1.6)
LINE_OCTETS = 78  # RFC 5322 2.1.1
# What a signature covers where it is there, in this order; RFC 8058 demands both List-Unsubscribe headers.
SIGNED = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"reply-to"),
    *(b"list-id", b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id"),
    *(b"mime-version", b"content-type"),
)
# Listed once more than they are there, so that one added later breaks the signature (RFC 6376 8.15).
OVERSIGNED = (b"from", b"to", b"subject")

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

_SIGNATURE_OCTETS = LINE_OCTETS - len(" b=")
_WHITE = re.compile(rb"[ \t]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

_Headers = dict[bytes, list[bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who signs, and how: all that a signature's header says of its key. `domain` is in A-labels."""

    domain: str
    selector: str
    algorithm: Algorithm

    def __post_init__(self) -> None:
        """ValueError when a name could break out of the header."""
        for name in (self.domain, self.selector):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name[:80]!r} is no name that a DKIM signature can carry, such as xn--bcher-kva.example"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningKey:
    """A private key, and the identity under which its public half stands in the DNS."""

    identity: Identity
    private: "RSAPrivateKey | Ed25519PrivateKey" = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """What signing a mail gives: its DKIM-Signature header lines, and the raw signatures joined."""

    header: bytes
    signatures: bytes


class DkimSigner:
    """Signs with every key. Threads may share one: it never changes, and a signature is made without the GIL."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        """One key, or an RSA key and then an Ed25519 key. ValueError when one is not of its identity's algorithm."""
        self._keys = tuple((key.identity, _prepare_signing(key)) for key in keys)
        self._exported = tuple(_export_key(key) for key in keys)
        self.signature_octets = sum(map(_count_octets, keys))

    @classmethod
    def from_exported(cls, exported: Sequence[bytes]) -> "DkimSigner":
        """The signer of another process, from what its `export_keys` gave."""
        return cls([_import_key(octets) for octets in exported])

    def export_keys(self) -> tuple[bytes, ...]:
        """The keys with their identities, in the clear: for a process of our own."""
        return self._exported

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Whose signatures a mail gets, in their order."""
        return tuple(identity for identity, _ in self._keys)

    def sign(self, head: bytes, body_hash: bytes, at: datetime) -> tuple[bytes, ...]:
        """The raw signatures, one a key, in the order of `identities`; what goes in is as in `write_signatures`."""
        return self._sign(_read_headers(head), body_hash, at)

    def write(self, head: bytes, body_hash: bytes, at: datetime) -> bytes:
        """Sign, and write the header lines: `sign` and `write_signatures` in one."""
        return self.sign_mail(head, body_hash, at).header

    def sign_mail(self, head: bytes, body_hash: bytes, at: datetime) -> "Signed":
        """The header lines, and the raw signatures by which they can be written again."""
        headers = _read_headers(head)
        signatures = self._sign(headers, body_hash, at)
        written = _write(self.identities, headers, body_hash, at, signatures)
        return Signed(header=written, signatures=b"".join(signatures))

    def _sign(self, headers: _Headers, body_hash: bytes, at: datetime) -> tuple[bytes, ...]:
        names = _list_names(headers)
        covered = hashlib.sha256(
            b"".join([b"%b:%b\r\n" % (name, value) for name in SIGNED for value in reversed(headers.get(name, ()))])
        )
        values = _write_values(body_hash, at)
        signatures = []
        for identity, sign in self._keys:
            digest = covered.copy()
            digest.update(_write_opening(identity, names)[1] + b" " + values + b" b=")
            signatures.append(sign(digest.digest()))
        return tuple(signatures)


def write_signatures(
    identities: Sequence[Identity], head: bytes, body_hash: bytes, at: datetime, signatures: Sequence[bytes]
) -> bytes:
    """The DKIM-Signature header lines that stand before the mail, with raw signatures that `sign` made of the same.

    `head` is the mail's header block as it goes out (CRLF, folded, without the empty line), `body_hash` the SHA-256 of
    its body as it goes out, from the line after the empty one to its last line break, and without dot-stuffing. `at` is
    aware; its fraction of a second is not written.
    """
    return _write(identities, _read_headers(head), body_hash, at, signatures)


def split_signatures(identities: Sequence[Identity], joined: bytes) -> tuple[bytes, ...]:
    """The raw signatures out of their joined bytes: of two, the Ed25519 one comes last, and has 64 octets."""
    if len(identities) == 1:
        return (joined,)
    return joined[:-ED25519_OCTETS], joined[-ED25519_OCTETS:]


def parse_rsa_key(pem: bytes, *, source: str = "the DKIM key") -> "RSAPrivateKey":
    """Read an RSA key in PEM. ConfigError, which begins with `source`, when it is none, or under 1024 bits."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    key = _load_key(pem, source)
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"{source} holds an {_name_kind(key)} key where an RSA key should be")
    if key.key_size < RSA_BITS:
        raise ConfigError(f"{source} is an RSA key of {key.key_size} bits, which nobody accepts: make one of 2048 bits")
    return key


def parse_ed25519_key(pem: bytes, *, source: str = "the DKIM key") -> "Ed25519PrivateKey":
    """Read an Ed25519 key in PEM. ConfigError, which begins with `source`, when it is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _load_key(pem, source)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{source} holds an {_name_kind(key)} key where an Ed25519 key should be")
    return key


def _load_key(pem: bytes, source: str) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"PRIVATE KEY-----" not in pem:
        raise ConfigError(f"{source} holds no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----")
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigError(f"{source} is encrypted, and there is no setting for its password: decrypt it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{source} holds a private key that is damaged, or of a kind that signs no mail") from None


def _export_key(key: SigningKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    identity = json.dumps(asdict(key.identity)).encode()
    return identity + b"\n" + key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _import_key(octets: bytes) -> SigningKey:
    names, _, pem = octets.partition(b"\n")
    identity = Identity(**json.loads(names))
    parse = parse_rsa_key if identity.algorithm == "rsa-sha256" else parse_ed25519_key
    return SigningKey(identity=identity, private=parse(pem))


def _count_octets(key: SigningKey) -> int:
    """How long a signature is: as long as the RSA key."""
    size: int | None = getattr(key.private, "key_size", None)
    return size // 8 if size else ED25519_OCTETS


def _name_kind(key: "PrivateKeyTypes") -> str:
    return type(key).__name__.removesuffix("PrivateKey")


def _prepare_signing(key: SigningKey) -> Callable[[bytes], bytes]:
    """What makes a signature of a SHA-256 digest: RSA signs that (RFC 8017 8.2), and so does Ed25519 (RFC 8463 3)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    match key.identity.algorithm, key.private:
        case "rsa-sha256", RSAPrivateKey() as rsa:
            return partial(rsa.sign, padding=PKCS1v15(), algorithm=Prehashed(SHA256()))
        case "ed25519-sha256", Ed25519PrivateKey() as ed25519:
            return ed25519.sign
    raise ValueError(f"an {_name_kind(key.private)} key makes no {key.identity.algorithm} signature")


def _read_headers(head: bytes) -> _Headers:
    """The values of each header in relaxed form (RFC 6376 3.4.2), by its name in small letters, in their order."""
    lines = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    if b"  " in lines or b"\t" in lines:
        lines = _WHITE.sub(b" ", lines)
    headers: _Headers = {}
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers.setdefault(name.strip(b" ").lower(), []).append(value.strip(b" "))
    return headers


def _list_names(headers: _Headers) -> tuple[bytes, ...]:
    """What h= lists. A verifier takes a header that is there twice from the last to the first (RFC 6376 5.4.2)."""
    return tuple(
        [name for name in SIGNED for _ in range(len(headers.get(name, ())) + (1 if name in OVERSIGNED else 0))]
    )


def _write(
    identities: Iterable[Identity], headers: _Headers, body_hash: bytes, at: datetime, signatures: Iterable[bytes]
) -> bytes:
    names, values = _list_names(headers), _write_values(body_hash, at)
    return b"".join(
        [
            b"%b\r\n %b\r\n b=%b\r\n" % (_write_opening(identity, names)[0], values, _write_signature(signature))
            for identity, signature in zip(identities, signatures, strict=True)
        ]
    )


def _write_values(body_hash: bytes, at: datetime) -> bytes:
    return b"t=%d; bh=%b;" % (int(at.timestamp()), b64encode(body_hash))


def _write_signature(signature: bytes) -> bytes:
    letters = b64encode(signature)
    return b"\r\n ".join(
        [letters[start : start + _SIGNATURE_OCTETS] for start in range(0, len(letters), _SIGNATURE_OCTETS)]
    )


@lru_cache(maxsize=64)
def _write_opening(identity: Identity, names: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """What the header begins with, alike in all mails: as it is written, and in relaxed form."""
    *listed, last = [name.decode("ascii") for name in names]
    words = [
        *(" v=1;", f" a={identity.algorithm};", " c=relaxed/relaxed;", f" d={identity.domain};"),
        *(f" s={identity.selector};", " h=" + ":\n".join([*listed, f"{last};"])),
    ]
    lines = ["DKIM-Signature:"]
    for word in "\n".join(words).split("\n"):
        if len(lines[-1]) + len(word) > LINE_OCTETS:
            lines.append(" " + word.lstrip())
        else:
            lines[-1] += word
    written = "\r\n".join(lines).encode("ascii")
    return written, b"dkim-signature:" + written.replace(b"\r\n ", b" ").partition(b": ")[2]
