"""The doctor's look at the DKIM keys. Their records in the DNS are dns.py's."""

import stat
from collections.abc import Iterator
from pathlib import Path

from newsletter.bootstrap import Service
from newsletter.core.dkim import SigningKey
from newsletter.doctor.findings import Finding, State

RSA_BITS, MOST_RSA_BITS = 2048, 4096
"""What a key should have, and the most that every verifier must read (RFC 8301 3.2)."""


def check_dkim(service: Service) -> Iterator[Finding]:
    """Each key, and whether its domain is aligned with that of the mails."""
    settings = service.settings
    keys = service.make_dkim_keys()
    if not keys:
        yield Finding(
            check="dkim",
            state="warn",
            found="no key is set: mails go out unsigned, unless the relay signs them",
            remedy="Let the relay sign, or set NEWSLETTER_DKIM__DOMAIN, __SELECTOR and __KEY_FILE.",
        )
        return
    files = (settings.dkim.key_file, settings.dkim.ed25519_key_file)
    for key, path in zip(keys, files, strict=False):
        yield _judge_key(key, path)
    if settings.from_ is not None:
        yield _judge_alignment(settings.from_.email.rpartition("@")[2], keys[0].identity.domain)


def _judge_key(key: SigningKey, path: Path | None) -> Finding:
    identity = key.identity
    about = f"{identity.selector}._domainkey.{identity.domain}"
    bits = getattr(key.private, "key_size", None)
    kind = f"RSA key of {bits} bits" if bits else "Ed25519 key"
    found = f"{kind} in {path}"
    remedy = None
    if bits and not RSA_BITS <= bits <= MOST_RSA_BITS:
        remedy = f"Make a key of {RSA_BITS} bits under a new selector."
    elif path is not None and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        found += ", which everybody on this machine may read"
        remedy = f"Run chmod 600 {path}."
    return Finding(check="dkim.key", state="warn" if remedy else "ok", about=about, found=found, remedy=remedy)


def _judge_alignment(domain: str, signing: str) -> Finding:
    """DMARC asks that who signs is who the mail is from: the same domain, or one above it (RFC 7489 3.1.1)."""
    state: State = "fail"
    remedy: str | None = "Sign with the domain of NEWSLETTER_FROM, or with one above it: set NEWSLETTER_DKIM__DOMAIN."
    if domain == signing or domain.endswith(f".{signing}"):
        state, remedy = "ok", None
    elif signing.endswith(f".{domain}"):
        state = "warn"
    verdict = {"ok": "they are aligned", "warn": "aligned only where DMARC is relaxed", "fail": "not aligned"}[state]
    found = f"mails are from {domain} and signed by {signing}: {verdict}"
    return Finding(check="dkim.alignment", state=state, found=found, remedy=remedy)
