"""The doctor's look into the DNS: whether those who get our mails would find SPF, DKIM and DMARC as they should be.

Asks the system's resolver, for a few seconds in all; one that does not answer is a warning and ends the asking.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer, Resolver

from newsletter.bootstrap import Service
from newsletter.core.dkim import SigningKey
from newsletter.core.dns_records import (
    SPF_LOOKUPS,
    find_dmarc,
    find_spf,
    is_reserved,
    parse_key_record,
    parse_tags,
    walk_tree,
)
from newsletter.doctor.findings import Finding, State
from newsletter.doctor.spf import SpfError, count_lookups, covers

ASK_SECONDS = 4.0
"""How long a question may take, its retries included."""

POLICIES = ("none", "quarantine", "reject")


class SilentError(Exception):
    """The resolver did not answer, or could not."""


@dataclass(frozen=True, kw_only=True)
class Dns:
    """Asks for records; nothing there is an empty list. SilentError where no answer comes."""

    resolver: Resolver

    def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name as text; of a TXT record, its strings joined."""
        try:
            answer = self.resolver.resolve(name, kind, lifetime=ASK_SECONDS, search=False)
        except (NXDOMAIN, NoAnswer):
            return []
        except DNSException as error:
            raise SilentError(f"{kind} {name}: {' '.join(str(error).split())[:200]}") from None
        if kind == "TXT":
            return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
        return [str(record.exchange).rstrip(".") if kind == "MX" else str(record) for record in answer]


def check_dns(service: Service) -> Iterator[Finding]:
    """Everything that the DNS should say of us."""
    if service.settings.from_ is None:  # told by its own check
        return
    domain = service.settings.from_.email.rpartition("@")[2].lower()
    if is_reserved(domain):
        yield Finding(
            check="dns",
            state="warn",
            about=domain,
            found="the domain is reserved, and the DNS says nothing of it",
            remedy="Set NEWSLETTER_FROM to an address of your own domain before you send.",
        )
        return
    try:
        dns = Dns(resolver=service.resolver)
        yield _judge_domain(dns, domain)
        yield from _judge_spf(dns, service, domain, "dns.spf")
        yield from (_judge_key(dns, key) for key in service.make_dkim_keys())
        yield _judge_dmarc(dns, domain)
        if bounce := service.settings.bounce_domain:
            yield _judge_mx(dns, bounce)
            yield from _judge_spf(dns, service, bounce, "dns.bounce_spf")
    except (SilentError, DNSException) as error:
        yield Finding(
            check="dns",
            state="warn",
            found=f"the DNS does not answer: {error}",
            remedy="Look at the resolver of this machine (/etc/resolv.conf); what follows was not looked at.",
        )


def _judge_domain(dns: Dns, domain: str) -> Finding:
    if any(dns.ask(domain, kind) for kind in ("MX", "A", "AAAA")):
        return Finding(check="dns.from", state="ok", about=domain, found="the DNS knows it")
    return Finding(
        check="dns.from",
        state="fail",
        about=domain,
        found="it has neither MX nor address: relays refuse a sender that nobody can answer",
        remedy="Mend the address in NEWSLETTER_FROM, or the domain's records.",
    )


def _judge_mx(dns: Dns, domain: str) -> Finding:
    hosts = dns.ask(domain, "MX")
    if hosts and hosts != [""]:
        return Finding(check="dns.bounce_mx", state="ok", about=domain, found=f"bounces go to {', '.join(hosts)}")
    found = "its MX says that it takes no mail (RFC 7505)" if hosts else "it has no MX: bounces have nowhere to go"
    remedy = "Let its MX name the server whose mailbox NEWSLETTER_BOUNCE_MAILBOX reads."
    return Finding(check="dns.bounce_mx", state="fail", about=domain, found=found, remedy=remedy)


def _judge_spf(dns: Dns, service: Service, domain: str, check: str) -> Iterator[Finding]:
    records = find_spf(dns.ask(domain, "TXT"))
    remedy = f"Publish one TXT record at {domain}, as in: v=spf1 include:YOUR-RELAY -all"
    if len(records) != 1:
        found = f"{len(records)} SPF records, of which none counts" if records else "there is no SPF record"
        state: State = "fail" if records else "warn"
        yield Finding(check=check, state=state, about=domain, found=found, remedy=remedy)
        return
    try:
        count, open_to_all = count_lookups(dns.ask, domain)
    except SpfError as error:
        yield Finding(check=check, state="fail", about=domain, found=f"it cannot be used: {error}", remedy=remedy)
        return
    if count > SPF_LOOKUPS:
        found, remedy = (
            f"it asks the DNS {count} times, of {SPF_LOOKUPS} allowed",
            "Take out includes, or name addresses.",
        )
        yield Finding(check=check, state="fail", about=domain, found=found, remedy=remedy)
    elif open_to_all:
        found, remedy = "it ends in +all: the whole world may send for it", "Let it end in -all or ~all."
        yield Finding(check=check, state="warn", about=domain, found=found, remedy=remedy)
    else:
        yield _judge_relays(dns, service, domain, check, count)


def _judge_relays(dns: Dns, service: Service, domain: str, check: str, count: int) -> Finding:
    """Whether the record lets our relays send; where they send from is theirs to know, so a miss is no failure."""
    told = f"one record, {count} of {SPF_LOOKUPS} lookups"
    for relay in service.make_relays():
        missed = covers(dns.ask, domain, relay.host)
        if missed:
            found = f"{told}; it does not name {missed}, the address of relay {relay.host}"
            remedy = "Add it, unless the relay sends from other addresses that the record names."
            return Finding(check=check, state="warn", about=domain, found=found, remedy=remedy)
    return Finding(check=check, state="ok", about=domain, found=told)


def _judge_key(dns: Dns, key: SigningKey) -> Finding:
    name = f"{key.identity.selector}._domainkey.{key.identity.domain}"
    kind = "ed25519" if isinstance(key.private, Ed25519PrivateKey) else "rsa"
    records = dns.ask(name, "TXT")
    remedy = f"Publish the public half of the key as a TXT record at {name} (docs/operating.md, DKIM)."
    if len(records) != 1:
        found = f"{len(records)} records: verifiers may take any of them" if records else "there is no such record"
        return Finding(check="dns.dkim", state="fail", about=name, found=found, remedy=remedy)
    try:
        record = parse_key_record(records[0])
        problem = _compare(key, kind, record.kind, record.key)
    except ValueError as error:
        problem, record = str(error), None
    if problem:
        return Finding(check="dns.dkim", state="fail", about=name, found=problem, remedy=remedy)
    if record is not None and record.testing:
        remedy = "Take t=y out of the record: verifiers treat the mails as unsigned."
        found = "the record says that it is only a test (t=y)"
        return Finding(check="dns.dkim", state="warn", about=name, found=found, remedy=remedy)
    return Finding(check="dns.dkim", state="ok", about=name, found=f"the record is that of our {kind} key")


def _compare(key: SigningKey, kind: str, told_kind: str, told: bytes | None) -> str | None:
    """What is wrong with a published key, beside the private one."""
    if told is None:
        return "the key is revoked: its p= is empty"
    if told_kind != kind:
        return f"the record is for {told_kind}, our key is {kind}"
    public = key.private.public_key()
    if kind == "ed25519":
        same = told == public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        try:
            same = load_der_public_key(told) == public
        except (ValueError, UnsupportedAlgorithm):
            return "the p= of the record is no RSA key"
    return None if same else "the record holds another key than ours: every signature fails"


def _judge_dmarc(dns: Dns, domain: str) -> Finding:
    for name in walk_tree(domain):
        records = find_dmarc(dns.ask(f"_dmarc.{name}", "TXT"))
        if records:
            return _judge_policy(f"_dmarc.{name}", records)
    return Finding(
        check="dns.dmarc",
        state="warn",
        about=f"_dmarc.{domain}",
        found="there is no DMARC record, which the great providers ask of who sends much",
        remedy=f"Publish a TXT record at _dmarc.{domain}: v=DMARC1; p=none; rua=mailto:dmarc@{domain}",
    )


def _judge_policy(name: str, records: list[str]) -> Finding:
    tags = parse_tags(records[0])
    policy = tags.get("p", "none").lower()
    if len(records) > 1 or policy not in POLICIES:
        found = f"{len(records)} records" if len(records) > 1 else f"its policy is {policy!r}"
        remedy = "Leave one record, with p=none, p=quarantine or p=reject."
        return Finding(check="dns.dmarc", state="fail", about=name, found=f"it does not count: {found}", remedy=remedy)
    reports = f", reports to {tags['rua']}" if tags.get("rua") else ", no reports are asked for (rua)"
    return Finding(check="dns.dmarc", state="ok", about=name, found=f"p={policy}{reports}")
