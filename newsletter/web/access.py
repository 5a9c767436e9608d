"""Who may see what: no page for a foreign Host, and the operator's pages only for the operator.

Without a password these are open to this machine alone: peer and Host loopback, and no proxy in between.
"""

import base64
import binascii
import ipaddress
import secrets
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import PlainTextResponse
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class HostCheck:
    """Refuses a request whose Host is neither BASE_URL's nor loopback's (DNS rebinding)."""

    def __init__(self, app: ASGIApp, *, base_url: str) -> None:
        self._app = app
        self._ours = urlsplit(base_url).hostname

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 421 Misdirected Request (RFC 9110 15.5.20)."""
        if scope["type"] in ("http", "websocket"):
            host = host_of(next((v.decode("latin-1") for k, v in scope["headers"] if k == b"host"), ""))
            if host != self._ours and not is_loopback(host):
                await PlainTextResponse("this host is not served here\n", 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def may_operate(request: Request, password: SecretStr | None) -> bool:
    """Whether a request may see the operator's pages: from this machine, or with the password (RFC 7617)."""
    if password is not None:
        return _gives(request.headers.get("authorization", ""), password.get_secret_value())
    peer = request.client.host if request.client else ""
    direct = not any(name in request.headers for name in FORWARDING)
    return direct and is_loopback(peer) and is_loopback(host_of(request.headers.get("host", "")))


def host_of(header: str) -> str | None:
    """The name or address in a Host header, in lower case; None where it is none."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _gives(authorization: str, password: str) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return False
    return secrets.compare_digest(given, password.encode())
