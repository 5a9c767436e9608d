"""Fetches a feed or a picture: one GET and its redirects, within a deadline, a size, and what network.py allows.

Believes nothing that the other side says, and takes nothing from the environment. Credentials of the address go to its
own origin only. Refuses everything but a whole body or "not modified", in a sentence that names the address.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import TypeAlias

import httpcore2
import httpx2

from newsletter.core.errors import SourceError
from newsletter.sources.inflate import ACCEPTED, EncodingError, undo_encoding
from newsletter.sources.network import (
    Deadline,
    DeadlineError,
    GuardedBackend,
    RefusedError,
    Resolver,
    is_plainly_local,
    resolve_host,
)
from newsletter.sources.remote import show_address

FETCH_SECONDS = 30.0
"""How long a fetch may take, its redirects included."""

MAX_OCTETS = 10_000_000
"""How large a feed may be, both on the wire and decoded."""

MAX_REDIRECTS = 5

_ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml, application/xml;q=0.9, "
    "text/xml;q=0.9, application/json;q=0.8, */*;q=0.1"
)
REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}

Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What an address answered; `body` is None where it is as it was at the etag or date that was sent."""

    body: bytes | None
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None


class AnswerError(Exception):
    """An answer that leads nowhere; the text is the reason."""


def fetch(
    address: str,
    *,
    etag: str | None = None,
    last_modified: str | None = None,
    allow_private: bool = False,
    seconds: float = FETCH_SECONDS,
    clock: Clock = time.monotonic,
    resolve: Resolver = resolve_host,
    what: str = "feed",
    is_ours: bool = True,
) -> Fetched:
    """Fetch what an http or https address offers, or learn that it is as at `etag` or `last_modified`.

    An address of this machine or its network is refused unless `allow_private`, or the address is the operator's
    (`is_ours`) and itself names it by its IP address or as `localhost`. Blocks for `seconds` at most.

    Raises SourceError with `what` it is, the address, and the reason.
    """
    try:
        deadline = Deadline(seconds, clock)
        first = httpx2.URL(address)
        own = {first.host} if is_ours and is_plainly_local(first.host) else set()
        backend = GuardedBackend(
            deadline=deadline, may_be_private=lambda host: allow_private or host in own, resolve=resolve
        )
        asked = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in asked.items() if value}
        with open_client(backend) as client:
            return _follow(client, first, headers)
    except DeadlineError:
        reason = f"it takes longer than {seconds:g} seconds"
    except httpcore2.TimeoutException as error:
        reason = (
            "it does not answer"
            if isinstance(error, httpcore2.ConnectTimeout)
            else f"it takes longer than {seconds:g} seconds"
        )
    except (AnswerError, RefusedError, EncodingError) as error:
        reason = str(error)
    except httpcore2.NetworkError as error:
        reason = f"the connection failed ({error})"
    except (httpcore2.ProtocolError, httpx2.HTTPError) as error:
        reason = f"its answer is broken ({error})"
    except (httpx2.InvalidURL, UnicodeError) as error:
        reason = f"it is not an address ({error})"
    raise SourceError(f"{what} {show_address(address)} cannot be fetched: {_clean(reason)}")


def _clean(text: str) -> str:
    """One line, and nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))[:300]


class _Transport(httpx2.BaseTransport):
    """httpx2's way to the network: its own takes no backend."""

    def __init__(self, backend: httpcore2.NetworkBackend) -> None:
        self._pool = httpcore2.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = self._pool.handle_request(httpcore2.Request(request.method, target, headers=request.headers.raw))
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    def close(self) -> None:
        self._pool.close()


class _Stream(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def open_client(backend: httpcore2.NetworkBackend) -> httpx2.Client:
    """A client that reaches what the backend lets it reach, and takes nothing from the environment."""
    headers = {
        "User-Agent": f"newsletter/{version('newsletter')}",
        "Accept": _ACCEPT,
        "Accept-Encoding": ACCEPTED,
    }
    return httpx2.Client(transport=_Transport(backend), headers=headers, trust_env=False)


def _follow(client: httpx2.Client, first: httpx2.URL, headers: dict[str, str]) -> Fetched:
    """The answer at the end of the redirects. They are followed here, since each step asks who may know what."""
    login = httpx2.BasicAuth(first.username, first.password) if first.userinfo else None
    url = first
    for step in range(MAX_REDIRECTS + 1):
        auth = login if _origin(url) == _origin(first) else None
        bare = url.copy_with(username=None, password=None)
        try:
            with client.stream("GET", bare, headers=headers, auth=auth, follow_redirects=False) as response:
                if response.status_code not in REDIRECTS:
                    return _read(response, conditional=bool(headers))
                url = next_address(bare, response.headers.get("location", ""))
        except RefusedError as error:
            raise RefusedError(f"it redirects to {show_address(str(url))}: {error}" if step else str(error)) from None
    raise AnswerError(f"it redirects more than {MAX_REDIRECTS} times")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme)


def next_address(url: httpx2.URL, location: str) -> httpx2.URL:
    """Where a redirect leads; AnswerError where that is no http or https address."""
    target = url.join(location)
    if not location or target.scheme not in _DEFAULT_PORTS or not target.host:
        raise AnswerError(f"it redirects to {show_address(location)!r}, which is no http or https address")
    return target


def _read(response: httpx2.Response, *, conditional: bool) -> Fetched:
    if response.status_code == HTTPStatus.NOT_MODIFIED and conditional:
        return Fetched(body=None)
    if response.status_code != HTTPStatus.OK:
        raise AnswerError(f"it answers {name_status(response.status_code)}")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_OCTETS:
        raise _too_large()
    pieces = undo_encoding(_bound(response.iter_raw()), response.headers.get("content-encoding", ""))
    body = b"".join(_bound(pieces))
    kept = {name: _keep(response.headers.get(name)) for name in ("content-type", "etag", "last-modified")}
    return Fetched(body=body, content_type=kept["content-type"], etag=kept["etag"], last_modified=kept["last-modified"])


def name_status(status: int) -> str:
    """A status as people know it, as in `404 (Not Found)`."""
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)


def _bound(pieces: Iterator[bytes]) -> Iterator[bytes]:
    taken = 0
    for piece in pieces:
        taken += len(piece)
        if taken > MAX_OCTETS:
            raise _too_large()
        yield piece


def _too_large() -> AnswerError:
    return AnswerError(f"it is larger than {MAX_OCTETS // 1_000_000} MB")


def _keep(header: str | None) -> str | None:
    """A header that can be sent back as it came, else None."""
    return header if header and len(header) <= 1000 and header.isascii() and header.isprintable() else None
