"""The doctor's look at the relays: each is greeted as a send would do it, and no mail is sent."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError, TransportError
from newsletter.core.mails.editions import HTML_OCTETS
from newsletter.core.policy import mails_per_connection
from newsletter.core.throttle import HEALTHY, Backoff
from newsletter.doctor.findings import Finding, is_loopback
from newsletter.store.throttles import Throttled, read_backoffs
from newsletter.transport.relay import Opened, RelayRefusedError, open_transport
from newsletter.transport.smtp import Connection, Relay

PATIENCE = timedelta(seconds=15)
"""How long a relay may take for a step here, where somebody waits."""

LARGEST_MAIL_OCTETS = 6 * HTML_OCTETS + 20_000
"""HTML and text part at their most, each octet of them as three (quoted-printable), and the header."""

OFFERS = ("pipelining", "size", "smtputf8", "8bitmime", "dsn")


def check_relays(service: Service) -> Iterator[Finding]:
    """Each relay: whether it would take a mail now, how safe the way there is, what it offers, its limits in force."""
    relays = service.make_relays()
    try:
        with service.database.read() as conn:
            backoffs = read_backoffs(conn, Throttled.RELAY)
    except NewsletterError:  # told by the check of the database
        backoffs = {}
    tried = asyncio.run(_try_relays(relays))
    for relay, result in zip(relays, tried, strict=True):
        if isinstance(result, TransportError):
            yield _judge_failure(relay, result)
        else:
            yield from (_judge_login(relay), _judge_tls(relay, result))
            yield from (_judge_size(relay, result.offers), _judge_offers(relay, result.offers))
        yield _judge_limits(relay, backoffs.get(relay.name, HEALTHY), service.now())


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeted:
    """A relay that would take a mail now; `tls` is the version in use, if any."""

    offers: Mapping[str, str]
    tls: str | None
    is_local: bool


async def _try_relays(relays: Sequence[Relay]) -> list[Greeted | TransportError]:
    return await asyncio.gather(*map(_try_relay, relays))


async def _try_relay(relay: Relay) -> Greeted | TransportError:
    hurried = replace(relay, timeout=min(relay.timeout, PATIENCE))
    try:
        opened = await open_transport(hurried, local_hostname=None)
    except TransportError as error:
        return error
    greeted = _look_at(opened)
    await Connection(hurried, opened).quit()
    return greeted


def _look_at(opened: Opened) -> Greeted:
    secured = opened.transport.get_extra_info("ssl_object")
    peer = opened.transport.get_extra_info("peername") or ("",)
    return Greeted(offers=opened.offers, tls=secured.version() if secured else None, is_local=is_loopback(peer[0]))


def _judge_failure(relay: Relay, error: TransportError) -> Finding:
    remedy = "Start it, or mend NEWSLETTER_SMTP__HOST and __PORT (or RELAYS), or the firewall between."
    if isinstance(error, RelayRefusedError):
        remedy = "Mend the login, SMTP__TLS or SMTP__CA_FILE: until then nothing is sent over it."
    return Finding(check="relay.connection", state="fail", about=relay.name, found=str(error), remedy=remedy)


def _judge_login(relay: Relay) -> Finding:
    login = f"takes the login of {relay.username!r}" if relay.username else "asks for no login from us"
    return Finding(check="relay.connection", state="ok", about=relay.name, found=f"connects, greets, {login}")


def _judge_tls(relay: Relay, greeted: Greeted) -> Finding:
    remedy = None
    verified = relay.tls in ("starttls", "implicit")
    if greeted.tls is None:
        found = f"not encrypted (SMTP__TLS={relay.tls})"
        remedy = "Set SMTP__TLS=starttls or implicit: mails cross the network in clear text."
    else:
        found = (
            f"{greeted.tls}, the certificate {'verifies' if verified else 'is not verified'} (SMTP__TLS={relay.tls})"
        )
        remedy = None if verified else "Set SMTP__TLS=starttls, so that nobody between can pose as the relay."
    if greeted.is_local:
        found, remedy = f"{found}; it is on this machine", None
    return Finding(check="relay.tls", state="warn" if remedy else "ok", about=relay.name, found=found, remedy=remedy)


def _judge_size(relay: Relay, offers: Mapping[str, str]) -> Finding:
    given = offers.get("size", "")
    most = int(given) if given.isdecimal() else 0
    found = f"takes mails of {most:,} octets" if most else "names no limit"
    found += f"; ours have {LARGEST_MAIL_OCTETS:,} at most"
    if not 0 < most < LARGEST_MAIL_OCTETS:
        return Finding(check="relay.size", state="ok", about=relay.name, found=found)
    remedy = "Raise the limit there (Postfix: message_size_limit): a mail that is larger is rejected with 5.3.4."
    return Finding(check="relay.size", state="fail", about=relay.name, found=found, remedy=remedy)


def _judge_offers(relay: Relay, offers: Mapping[str, str]) -> Finding:
    there = [name.upper() for name in OFFERS if name in offers]
    absent = [name.upper() for name in OFFERS if name not in offers]
    found = f"offers {', '.join(there) or 'nothing'}" + (f"; not {', '.join(absent)}" if absent else "")
    remedies = []
    if "pipelining" not in offers:
        remedies.append("without PIPELINING a mail takes three more round trips")
    if "smtputf8" not in offers:
        remedies.append("without SMTPUTF8 addresses that are not ASCII are rejected")
    remedy = f"Switch it on there if you can: {', and '.join(remedies)}." if remedies else None
    return Finding(check="relay.offers", state="warn" if remedy else "ok", about=relay.name, found=found, remedy=remedy)


def _judge_limits(relay: Relay, backoff: Backoff, now: datetime) -> Finding:
    rate = f"{relay.rate:g} mails a second" if relay.rate else "no rate"
    most = mails_per_connection(relay.host)
    found = f"{relay.connections} connections, {rate}, {most:,} mails a connection, weight {relay.weight}"
    remedy = None
    if backoff.is_shut(now):
        found += f"; shut, step {backoff.step} until {backoff.until_at:%Y-%m-%d %H:%M} UTC: {backoff.reason}"
        remedy = "Mend what it says; `newsletter deliver` tries it once at once."
    elif backoff.step:
        found += f"; recovering, step {backoff.step}: {backoff.reason}"
    return Finding(check="relay.limits", state="warn" if remedy else "ok", about=relay.name, found=found, remedy=remedy)
