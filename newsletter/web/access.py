"""Who may see what: no page for a foreign Host, and the operator's pages only for the operator.

Without a password these are open to this machine alone: peer and Host loopback, and no proxy in between. With one they
want a session (sign-in page), the password itself (HTTP Basic, for scripts), or a bearer token.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.bootstrap import Service
from newsletter.core.errors import StoreBusyError
from newsletter.core.passwords import verify_password
from newsletter.store import tokens
from newsletter.web.sessions import COOKIE, LIFETIME_SECONDS, Sessions, Tries

# Any of these says that a proxy stands between (RFC 7239, RFC 9110 7.6.3, and what proxies and their services add).
FORWARDING = re.compile(
    r"forwarded|via|x-forwarded(-.*)?|x-real-ip|x-original-.*|(x-|cf-|true-|fastly-|x-cluster-)?(client-ip|connecting-ip)"
    r"|cf-.*|x-envoy-.*|x-azure-.*|x-amzn-.*|x-proxy.*"
)
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


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


class AccessError(Exception):
    """A request that is not the operator's: `status` 401 unknown, 403 forged, 429 too many tries (`wait` seconds)."""

    def __init__(self, status: int, sentence: str, *, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who asks: by which way, and the secret that forms must bring back ("" for a bearer, who has no forms)."""

    way: str
    csrf: str = ""


@dataclass
class Access:
    """Knows the operator. `service.database` is asked only for tokens and sessions."""

    service: Service
    has_database: Callable[[], bool]
    clock: Callable[[], float]
    sessions: Sessions = field(init=False)
    tries: Tries = field(init=False)
    _ended: float = 0.0
    _known: bytes = b""

    def __post_init__(self) -> None:
        self.sessions = Sessions(_derive_key(self.service))
        self.tries = Tries(self.clock)

    @property
    def password(self) -> str | None:
        """The operator's password, or its hash; None where none is set."""
        secret = self.service.settings.web.operator_password
        return secret.get_secret_value() if secret is not None else None

    def demand(self, request: Request) -> Operator:
        """The operator who asks; AccessError where it is somebody else, or a page of somebody else asks for them."""
        operator = self._recognise(request)
        if operator.way != "bearer" and request.method not in SAFE_METHODS and _is_cross_site(request):
            raise AccessError(403, "this request comes from a page of another site")
        return operator

    def check_form(self, operator: Operator, given: str) -> None:
        """AccessError where a form did not come from a page of ours."""
        if operator.way != "bearer" and not secrets.compare_digest(given.encode(), operator.csrf.encode()):
            raise AccessError(403, "the form is out of date: load the page again, then send it")

    def sign_in(self, password: str, peer: str) -> str:
        """A new session's token; AccessError where the password is wrong, or was so too often."""
        self._try_password(password, peer)
        return self.sessions.begin(self.service.now().timestamp())

    def sign_out(self) -> None:
        """End every session."""
        now = self.service.now()
        self._ended = now.timestamp()
        if self.has_database():
            with self.service.database.write() as conn:
                tokens.end_sessions(conn, now)

    def _recognise(self, request: Request) -> Operator:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        peer = request.client.host if request.client else ""
        if scheme.lower() == "bearer":
            self._check_bearer(credentials.strip(), peer)
            return Operator(way="bearer")
        if self.password is None:
            if not is_direct(request):
                raise AccessError(401, "these pages open from this machine alone, since no operator password is set")
            return Operator(way="loopback", csrf=self.sessions.make_csrf(""))
        if scheme.lower() == "basic":
            self._try_password(_read_basic(credentials), peer)
            return Operator(way="password", csrf=self.sessions.make_csrf("password"))
        cookie = request.cookies.get(COOKIE, "")
        if cookie and self.sessions.is_valid(cookie, self.service.now().timestamp(), self._read_since()):
            return Operator(way="session", csrf=self.sessions.make_csrf(cookie))
        raise AccessError(401, "the operator's password is needed")

    def _try_password(self, given: str, peer: str) -> None:
        digest = hashlib.sha256(given.encode()).digest()
        if self._known and secrets.compare_digest(digest, self._known):
            return  # a script that sends it with every request does not wait for Argon2 each time
        if wait := self.tries.wait(peer):
            raise AccessError(429, f"too many wrong tries: try again in {wait:.0f} seconds", wait=wait)
        if self.password is None or not verify_password(given, self.password):
            self.tries.note(peer)
            raise AccessError(401, "that is not the operator's password")
        self._known = digest

    def _check_bearer(self, secret: str, peer: str) -> None:
        if wait := self.tries.wait(peer):
            raise AccessError(429, f"too many wrong tries: try again in {wait:.0f} seconds", wait=wait)
        now = self.service.now()
        found = None
        if self.has_database() and secret:
            with self.service.database.read() as conn:
                found = tokens.find_token(conn, secret, now)
        if found is None:
            self.tries.note(peer)
            raise AccessError(401, "the token is not valid, or not any more")
        if found.used_at is None or now - found.used_at > tokens.USED_EVERY:
            with suppress(StoreBusyError), self.service.database.write() as conn:
                tokens.note_use(conn, found.id, now)

    def _read_since(self) -> float:
        if not self.has_database():
            return self._ended
        with self.service.database.read() as conn:
            return max(self._ended, tokens.read_sessions_since(conn))


def cookie_settings(request: Request) -> dict[str, object]:
    """How the session's cookie is set: for this host and these pages alone, out of any script's reach."""
    secure = request.url.scheme == "https"
    return {"key": COOKIE, "httponly": True, "samesite": "strict", "secure": secure, "max_age": LIFETIME_SECONDS}


def is_direct(request: Request) -> bool:
    """Whether a request comes from this machine, to this machine, with no proxy in between."""
    peer = request.client.host if request.client else ""
    unforwarded = not any(FORWARDING.fullmatch(name) for name in request.headers)
    return unforwarded and is_loopback(peer) and is_loopback(host_of(request.headers.get("host", "")))


def host_of(header: str) -> str | None:
    """The name or address in a Host header, in lower case; None where it is none (RFC 9110 7.2)."""
    found = _HOST.fullmatch(header.strip().lower())
    return found[1].strip("[]") if found else None


def is_loopback(host: str | None) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _is_cross_site(request: Request) -> bool:
    """What a browser says of where a request comes from (Fetch Metadata, RFC 6454); a script says nothing."""
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


def _read_basic(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2].decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _derive_key(service: Service) -> bytes:
    """Sessions end when the password or the newest SECRET_KEY changes; without either, with the process."""
    settings = service.settings
    if settings.web.operator_password is None or not settings.secret_key:
        return secrets.token_bytes(32)
    password = settings.web.operator_password.get_secret_value()
    return hashlib.sha256(f"{settings.secret_key[0].get_secret_value()}\0{password}".encode()).digest()
