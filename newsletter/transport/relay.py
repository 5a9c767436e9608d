"""A relay, and the way to an open, greeted, encrypted and logged-in connection to it.

aiosmtplib does the steps; whatever it, ssl or the system raises becomes a sentence that names the relay.
"""

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Literal, TypeAlias, cast

import aiosmtplib

from newsletter.core.errors import TransportError
from newsletter.core.policy import FINAL_REPLY_TIMEOUT, LOGIN_CODES


class RelayUnreachableError(TransportError):
    """The relay does not answer, or not now: try again later, nothing is counted against any delivery."""


class RelayRefusedError(TransportError):
    """The relay will not take mail from us as we are set up (login, TLS, certificate): stop and tell the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relay:
    """The SMTP server that takes our mail, and how to reach it.

    `opportunistic` is STARTTLS where it is offered, unverified; `starttls` and `implicit` demand a certificate that
    verifies, against `ca_file` alone if there is one. `timeout` bounds every step but the reply to the final dot.
    `connections` at a time and `rate` mails a second (0: no limit) are the most it is given; `weight` is its share.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Literal["none", "opportunistic", "starttls", "implicit"] = "opportunistic"
    ca_file: str | None = None
    timeout: timedelta = timedelta(seconds=60)
    final_timeout: timedelta = FINAL_REPLY_TIMEOUT
    connections: int = 10
    rate: float = 0.0
    weight: int = 1

    @property
    def name(self) -> str:
        """How the log and the messages call it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A connection that awaits MAIL. `offers` is what EHLO said: keywords in lower case, and their values.

    `below` is the transport of the socket where `transport` is TLS over it, as far as it is known.
    """

    transport: asyncio.Transport
    below: asyncio.Transport | None
    offers: Mapping[str, str]


Note: TypeAlias = Callable[[str, bytes], None]
"""Hears a line or more: who said it, `C` or `S`, and what; no password."""


def _hear_nothing(who: str, text: bytes) -> None:
    """Nobody listens."""


async def open_transport(relay: Relay, *, local_hostname: str | None, note: Note = _hear_nothing) -> Opened:
    """Connect, greet, start TLS and log in; `note` hears the steps.

    Raises RelayUnreachableError and RelayRefusedError.
    """
    client = aiosmtplib.SMTP(timeout=relay.timeout.total_seconds(), start_tls=False)
    transport = below = None
    try:
        greeting = await client.connect(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls == "implicit",
            tls_context=_make_tls_context(relay),
            local_hostname=local_hostname,
        )
        transport = cast(asyncio.Transport, client.transport)
        _note_reply(note, greeting)
        await _greet(client, note)
        if relay.tls in ("opportunistic", "starttls"):
            below = transport
            await _start_tls(client, relay, note)
            transport = cast(asyncio.Transport, client.transport)
        if relay.username is not None:
            await _log_in(client, relay, note)
        if not client.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
    except BaseException as error:
        # Closing instead would wait up to 30 s for the other side's end of TLS.
        if transport is not None:
            transport.abort()
        if isinstance(error, aiosmtplib.SMTPException | OSError | ValueError):
            raise _explain(relay, error) from error
        raise
    return Opened(transport=transport, below=below, offers=client.esmtp_extensions)


def _note_reply(note: Note, reply: aiosmtplib.SMTPResponse | aiosmtplib.SMTPResponseException) -> None:
    code, message = (reply.code, reply.message)
    note("S", "\n".join(f"{code} {line}" for line in message.splitlines() or [""]).encode())


async def _greet(client: aiosmtplib.SMTP, note: Note) -> None:
    """EHLO, or HELO where that is refused (RFC 5321 3.2)."""
    name = client.local_hostname or "(the name of this machine)"
    note("C", f"EHLO {name}".encode())
    try:
        _note_reply(note, await client.ehlo())
    except aiosmtplib.SMTPHeloError as error:
        _note_reply(note, error)
        if not client.is_connected:
            raise
        note("C", f"HELO {name}".encode())
        _note_reply(note, await client.helo())


async def _start_tls(client: aiosmtplib.SMTP, relay: Relay, note: Note) -> None:
    demanded = relay.tls == "starttls"
    if not client.supports_extension("starttls"):
        if demanded:
            raise RelayRefusedError(f"the relay {relay.name} does not offer STARTTLS, which SMTP__TLS=starttls demands")
        return
    note("C", b"STARTTLS")
    try:
        _note_reply(note, await client.starttls())
    except aiosmtplib.SMTPResponseException as error:
        _note_reply(note, error)
        if demanded and error.code >= 500:
            raise RelayRefusedError(f"the relay {relay.name} refuses STARTTLS: {_quote(error)}") from error
        if demanded or not client.is_connected:
            raise
        return
    await _greet(client, note)


async def _log_in(client: aiosmtplib.SMTP, relay: Relay, note: Note) -> None:
    """AUTH by the methods offered, one after another.

    Not by aiosmtplib's own `login`: where a relay hangs up after the first refusal, that loses the refusal.
    """
    username, password = relay.username or "", relay.password or ""
    if client.get_transport_info("sslcontext") is None and not _is_loopback(client.get_transport_info("peername")):
        raise RelayRefusedError(f"the login to the relay {relay.name} would go in clear text: set SMTP__TLS")
    methods = {"cram-md5": client.auth_crammd5, "plain": client.auth_plain, "login": client.auth_login}
    refusal: aiosmtplib.SMTPAuthenticationError | None = None
    for name in client.supported_auth_methods:
        note("C", f"AUTH {name.upper()} (the login of {username!r})".encode())
        try:
            _note_reply(note, await methods[name](username, password))
        except aiosmtplib.SMTPAuthenticationError as error:
            _note_reply(note, error)
            refusal = error
        except aiosmtplib.SMTPServerDisconnected:
            if refusal is None:
                raise
            break
        else:
            return
    if refusal is None:
        raise RelayRefusedError(f"the relay {relay.name} offers no login that we know, but SMTP__USERNAME is set")
    if refusal.code < 500:
        raise refusal
    raise RelayRefusedError(f"the relay {relay.name} refuses the login of {username!r}: {_quote(refusal)}") from refusal


def _is_loopback(peer: tuple[str, int]) -> bool:
    return ipaddress.ip_address(peer[0]).is_loopback


def _make_tls_context(relay: Relay) -> ssl.SSLContext | None:
    if relay.tls == "none":
        return None
    try:
        return _build_tls_context(relay.tls != "opportunistic", relay.ca_file)
    except OSError as error:
        reason = error.strerror or error
        raise RelayRefusedError(f"SMTP__CA_FILE of the relay {relay.name}, {relay.ca_file}: {reason}") from error


@lru_cache(maxsize=8)
def _build_tls_context(verified: bool, ca_file: str | None) -> ssl.SSLContext:
    """Kept, since loading the system's certificates takes some 20 ms."""
    context = ssl.create_default_context(cafile=ca_file if verified else None)
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _explain(relay: Relay, error: BaseException) -> TransportError:
    """The error as a sentence, and of the class that says whether to try again."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RelayRefusedError(f"the certificate of the relay {relay.name} is refused: {cause.verify_message}")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        kind = RelayRefusedError if error.code in LOGIN_CODES else RelayUnreachableError
        return kind(f"the relay {relay.name} turns us away: {_quote(error)}")
    if isinstance(error, ValueError):
        return RelayRefusedError(f"the relay {relay.name} cannot be greeted: {error}")
    return RelayUnreachableError(f"the relay {relay.name} cannot be reached: {_name_reason(error)}")


def _name_reason(error: BaseException) -> str:
    """`Connection refused` instead of the `[Errno 111] Connect call failed` of each address that asyncio tried."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return cause.strerror or str(cause)
        if not isinstance(cause, ssl.SSLError) and (number := re.search(r"\[Errno (\d+)\]", str(cause))):
            return os.strerror(int(number[1]))
    return str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _quote(error: aiosmtplib.SMTPResponseException) -> str:
    return " ".join(f"{error.code} {error.message}".split())
