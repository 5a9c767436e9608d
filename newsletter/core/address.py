"""Email addresses: what is one, how it is written, and the key by which addresses compare.

email-validator judges; a plain lower-case ASCII local part skips all of it but the domain, which is cached
(1.6 against 34 µs an address); who was just read is remembered. Whether an address exists is nobody's question here.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email_validator import ValidatedEmail

ADDRESS_OCTETS = 254
LOCAL_PART_CHARACTERS = 64
DOMAIN_OCTETS = 253
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}", re.ASCII | re.IGNORECASE)
_BRACKETED = re.compile(r"<[^<>]*@[^<>]*>")
_QUOTED_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """`email` as it is shown (NFC, domain in Unicode); `key` compares: lower case, domain as A-labels (RFC 5890)."""

    email: str
    key: str

    @property
    def domain(self) -> str:
        """The domain as A-labels, lower case."""
        return self.key.rpartition("@")[2]

    @property
    def wire(self) -> str:
        """The address as an SMTP command carries it: its own local part, the domain as A-labels."""
        return f"{self.email.rpartition('@')[0]}@{self.domain}"


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address:
    """Read a bare address, without a name. ValueError with a sentence when it is none (RFC 5321, 6531)."""
    local, _, domain = text.partition("@")
    if not _PLAIN_LOCAL_PART.fullmatch(local) or len(local) > LOCAL_PART_CHARACTERS:
        return _parse_unusual(text)
    try:
        shown, ascii_domain = _parse_domain(domain)
    except ValueError:
        return _parse_unusual(text)  # which says it of the whole address
    if len(local) + 1 + max(len(domain.encode()), len(shown.encode()), len(ascii_domain)) > ADDRESS_OCTETS:
        return _parse_unusual(text)
    return Address(email=f"{local}@{shown}", key=f"{local}@{ascii_domain}")


def parse_named_address(text: str) -> tuple[str, Address]:
    """Read `Name <a@b>`, `"Name" <a@b>` or `a@b` into name and address. ValueError with a sentence otherwise."""
    text = text.strip()
    name, opened, bare = text.removesuffix(">").rpartition("<")
    if not (opened and text.endswith(">")):
        return "", parse_address(text)
    name = name.strip()
    if has_control_characters(name):
        raise ValueError(f"the name {name[:80]!r} has control characters")
    if quoted := _QUOTED_NAME.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _BRACKETED.search(name):
        raise ValueError(f"{text[:80]!r} is more than one address")
    return name, parse_address(bare.strip())


def parse_domain(text: str) -> str:
    """Read a mail domain and return it as lower-case A-labels. ValueError with a sentence when it is none."""
    if len(text) <= DOMAIN_OCTETS and _PLAIN_DOMAIN.fullmatch(text):
        return text.lower()
    try:
        return _parse_domain(text)[1]
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not a mail domain such as example.org") from None


def has_control_characters(text: str) -> bool:
    """Whether the text breaks lines, controls a terminal or cannot be written as UTF-8 (Cc, Cs, Zl, Zp)."""
    return not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


@lru_cache(maxsize=16384)
def _parse_domain(domain: str) -> tuple[str, str]:
    found = _validate(f"a@{domain}")
    return found.domain, found.ascii_domain


def _parse_unusual(text: str) -> Address:
    found = _validate(text)
    return Address(email=found.normalized, key=f"{_fold(found.local_part)}@{found.ascii_domain}")


def _fold(local: str) -> str:
    """A local part in lower case. A letter of another script stays one: full case folding would make `jeß` another
    person, `jess`, and the Kelvin sign a k."""
    lower = (small if (small := c.lower()).isascii() == c.isascii() else c for c in unicodedata.normalize("NFC", local))
    return unicodedata.normalize("NFC", "".join(lower))


def _validate(text: str) -> "ValidatedEmail":
    from email_validator import EmailNotValidError, validate_email  # here, since it takes 90 ms

    try:
        # test_environment admits the reserved domain .test, which stands in many a trial list (RFC 6761).
        found = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"{text[:80]!r} is not an email address: {reason[:1].lower()}{reason[1:]}") from None
    if "." not in found.ascii_domain:
        raise ValueError(f"{text[:80]!r} is not an email address: the domain should have a period")
    return found
