"""What the TXT records of SPF, DKIM and DMARC say, and which names are asked for them. Pure: doctor/dns.py asks.

Sources: RFC 7208 (SPF), RFC 6376 and 8463 (DKIM), RFC 9989 (DMARC and its tree walk).
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

RESERVED = ("example", "example.com", "example.net", "example.org", "invalid", "localhost", "local", "test")
"""Domains of which the DNS says nothing (RFC 2606, RFC 6761, RFC 6762)."""

SPF_LOOKUPS = 10
"""So many terms that ask the DNS may an SPF record have, those of its includes counted (RFC 7208 4.6.4)."""

ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
MOST_LABELS = 8
"""A tree walk begins at the name itself, and then no deeper than at seven labels (RFC 9989 4.10)."""


def is_reserved(domain: str) -> bool:
    """Whether a domain lies in one that the DNS does not know."""
    return any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A mechanism or modifier of SPF: `qualifier` is one of `+-~?`, `value` what follows `:` or `=`, or `/` on."""

    qualifier: str
    name: str
    value: str


def find_spf(texts: Sequence[str]) -> list[str]:
    """The SPF records among the TXT records of a name; more than one is an error of their owner (RFC 7208 4.5)."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def parse_spf(text: str) -> list[Term]:
    """The terms of an SPF record, in their order."""
    terms = []
    for word in text.split()[1:]:
        qualifier, rest = (word[0], word[1:]) if word[0] in "+-~?" else ("+", word)
        ends = [rest.index(mark) for mark in ":=/" if mark in rest]
        end = min(ends, default=len(rest))
        value = rest[end:] if rest[end : end + 1] == "/" else rest[end + 1 :]
        terms.append(Term(qualifier=qualifier, name=rest[:end].lower(), value=value))
    return terms


def parse_tags(text: str) -> dict[str, str]:
    """A list of `tag=value;` (RFC 6376 3.2), the tags in lower case; of a tag named twice, the first."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        tag, equals, value = part.partition("=")
        if equals:
            tags.setdefault(tag.strip().lower(), "".join(value.split()) if tag.strip() == "p" else value.strip())
    return tags


def find_dmarc(texts: Sequence[str]) -> list[str]:
    """The DMARC records among the TXT records of a name: `v=DMARC1` stands first."""
    return [text for text in texts if text.replace(" ", "").startswith("v=DMARC1")]


def walk_tree(domain: str) -> list[str]:
    """The domains that are asked for a DMARC record, one after another (RFC 9989 4.10)."""
    labels = domain.split(".")
    walked = [domain]
    rest = labels[-(MOST_LABELS - 1) :] if len(labels) >= MOST_LABELS else labels[1:]
    while rest:
        walked.append(".".join(rest))
        rest = rest[1:]
    return walked


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRecord:
    """A public key in the DNS: `kind` is rsa or ed25519, `key` its octets, None where it is revoked (`p=`)."""

    kind: str
    key: bytes | None
    testing: bool


def parse_key_record(text: str) -> KeyRecord:
    """A DKIM key record (RFC 6376 3.6.1); ValueError with a sentence where it is none."""
    tags = parse_tags(text)
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        raise ValueError("the record is no DKIM key: it has no p=, or another version")
    try:
        key = base64.b64decode(tags["p"], validate=True)
    except binascii.Error:
        raise ValueError("the p= of the record is not base64") from None
    return KeyRecord(kind=tags.get("k", "rsa"), key=key or None, testing="y" in tags.get("t", "").split(":"))
