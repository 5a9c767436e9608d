"""Signed tokens of links and return paths, and the keyed hash of a suppressed address.

A token is lower-case base32 (RFC 4648) of a payload, then of its seal. Payload: key id (2 octets), subscriber, issue
or 0, for confirmations the end of validity in Unix seconds (LEB128 varints). Seal: 80 bits of HMAC-SHA256 over the
purpose and the payload. Reading folds case, since mail servers may change it. What is wrong is never said.
"""

import hashlib
import hmac
from base64 import b32decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from newsletter.core.errors import TokenError

KEY_ID_OCTETS = 2
SEAL_OCTETS = 10
SEAL_LETTERS = 16
HASH_OCTETS = 16
LONGEST_TOKEN = 62  # leaves `b+` within the 64 octets of a local part (RFC 5321 4.5.3.1.1)

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_REFUSED = "the link is not valid, or not any more"


class Purpose(StrEnum):
    """What a token is for; it is signed but not written, so that a token serves one purpose only."""

    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"
    VIEW = "view"
    CONFIRM = "confirm"
    BOUNCE = "bounce"


_Stamps = dict[Purpose, hmac.HMAC]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Whom, and which issue, a valid token is about."""

    subscriber: int
    issue: int | None


class Signer:
    """Signs with the newest key; verifies with every key it was given (newest first, text of any length)."""

    def __init__(self, keys: Sequence[str]) -> None:
        """ValueError when there is no key."""
        if not keys:
            raise ValueError("a signer needs a key")
        self._keys: dict[bytes, list[_Stamps]] = {}
        for key in keys:
            self._keys.setdefault(_derive_key_id(key), []).append(_make_stamps(key))
        self._newest = _derive_key_id(keys[0])

    @property
    def key_id(self) -> str:
        """The newest key's id: 4 hex digits."""
        return self._newest.hex()

    def sign(
        self,
        purpose: Purpose,
        subscriber: int,
        issue: int | None = None,
        *,
        expires_at: datetime | None = None,
        key_id: str | None = None,
    ) -> str:
        """Make a token, with the key of that id where one is named.

        Only confirmations expire, and they must: ValueError otherwise. TokenError when no key has that id.
        """
        if (expires_at is None) is (purpose is Purpose.CONFIRM):
            raise ValueError(f"a token to {purpose} {'must' if expires_at is None else 'must not'} expire")
        key_octets = self._newest if key_id is None else bytes.fromhex(key_id)
        if key_octets not in self._keys:
            raise TokenError(f"no secret key of the settings has the id {key_id}, with which this was signed")
        expiry = () if expires_at is None else (int(expires_at.timestamp()),)
        payload, letters = _write_payload(key_octets, (subscriber, issue or 0, *expiry))
        return letters + _write_base32(_compute_seal(self._keys[key_octets][0][purpose], payload))

    def verify(self, token: str, purpose: Purpose, *, now: datetime) -> Claim:
        """Read a token back. TokenError, always the same one, when it is forged, expired or of another purpose."""
        if len(token) > LONGEST_TOKEN:
            raise TokenError(_REFUSED)
        payload, seal = _read_base32(token[:-SEAL_LETTERS]), _read_base32(token[-SEAL_LETTERS:])
        candidates = [stamps[purpose] for stamps in self._keys.get(payload[:KEY_ID_OCTETS], [])]
        if not any(hmac.compare_digest(seal, _compute_seal(stamp, payload)) for stamp in candidates):
            raise TokenError(_REFUSED)
        subscriber, issue, *expiry = _read_numbers(payload[KEY_ID_OCTETS:])
        if expiry and now >= datetime.fromtimestamp(expiry[0], UTC):
            raise TokenError(_REFUSED)
        return Claim(subscriber=subscriber, issue=issue or None)


def hash_address(key: bytes, email_key: str) -> bytes:
    """16 octets of HMAC-SHA256 over an address's comparing key: knows an address again without holding it."""
    return hmac.digest(key, email_key.encode(), "sha256")[:HASH_OCTETS]


def _derive_key_id(key: str) -> bytes:
    return hashlib.sha256(b"newsletter key id " + key.encode()).digest()[:KEY_ID_OCTETS]


def _make_stamps(key: str) -> _Stamps:
    """One started HMAC a purpose; a copy of it costs 1.2 µs where `hmac.digest` from the key costs 2.2."""
    return {purpose: hmac.new(key.encode(), f"newsletter token {purpose} ".encode(), "sha256") for purpose in Purpose}


def _compute_seal(stamp: hmac.HMAC, payload: bytes) -> bytes:
    started = stamp.copy()
    started.update(payload)
    return started.digest()[:SEAL_OCTETS]


@lru_cache(maxsize=64)
def _write_payload(key_octets: bytes, numbers: tuple[int, ...]) -> tuple[bytes, str]:
    """The payload and its letters, kept for a moment: a mail's links differ in nothing but their purpose."""
    octets = bytearray(key_octets)
    for number in numbers:
        if number < 0:
            raise ValueError(f"an id is never negative, but {number} is")
        while number > 127:
            octets.append(number & 127 | 128)
            number >>= 7
        octets.append(number)
    return bytes(octets), _write_base32(octets)


def _read_numbers(octets: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for octet in octets:
        number |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            numbers.append(number)
            number, shift = 0, 0
    return numbers


def _write_base32(raw: bytes | bytearray) -> str:
    """Two letters at a time from a table: 1 µs for the 10 octets of a seal, where base64.b32encode takes 3."""
    bits = len(raw) * 8
    number = int.from_bytes(raw, "big") << (-bits % 10)
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(bits + -bits % 10 - 10, -1, -10)]
    return "".join(pairs)[: (bits + 4) // 5]


def _read_base32(letters: str) -> bytes:
    try:
        raw = b32decode(letters + "=" * (-len(letters) % 8), casefold=True)
    except ValueError:
        raise TokenError(_REFUSED) from None
    # base32 leaves bits over at the end; only zeros there, so that a token has one spelling (RFC 4648 3.5).
    if _write_base32(raw) != letters.lower():
        raise TokenError(_REFUSED)
    return raw
