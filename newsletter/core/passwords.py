"""Passwords at rest: Argon2id (RFC 9106) in the PHC string format. Pure: the salt comes from the caller."""

import hmac

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SALT_OCTETS = 16
PREFIX = "$argon2id$"
_ITERATIONS, _LANES, _MEMORY_KIB, _HASH_OCTETS = 2, 1, 19_456, 32
"""What OWASP asks for at least (Password Storage Cheat Sheet): 19 MiB, two passes, one lane; some 45 ms here."""


def hash_password(password: str, salt: bytes) -> str:
    """The PHC string of a password; `salt` are SALT_OCTETS random octets."""
    made = Argon2id(
        salt=salt, length=_HASH_OCTETS, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB
    ).derive_phc_encoded(password.encode())
    return str(made)


def is_hashed(text: str) -> bool:
    """Whether a setting holds a password's hash, not the password."""
    return text.startswith(PREFIX)


def verify_password(given: str, kept: str) -> bool:
    """Whether a password is the one that is kept, as a hash or as it is."""
    if not is_hashed(kept):
        return hmac.compare_digest(given.encode(), kept.encode())
    try:
        Argon2id.verify_phc_encoded(given.encode(), kept)
    except InvalidKey:
        return False
    return True
