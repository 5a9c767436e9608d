"""The network below a fetch: connects to public addresses only, and to none once the deadline has passed.

A host is resolved here, every answer is judged, and the connection goes to an address that was judged: DNS has no
second say. TLS still asks for the host by its name. Refuses what is private unless the host may be.
"""

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpcore2

CONNECT_SECONDS = 10.0
"""How long one address of a host may take to answer before the next is tried."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits

Resolver = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port, as text; raises OSError where there is none."""


class RefusedError(Exception):
    """A host that may not be connected to, or cannot be found; the text is the reason."""


class PrivateError(RefusedError):
    """A host of this machine or its network."""


class UnknownHostError(RefusedError):
    """A host whose name does not exist, as the name servers say."""


class DeadlineError(Exception):
    """The time of the whole fetch is used up."""


class Deadline:
    """When a fetch must be over, `seconds` from now."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """How many seconds are left, more than 0; DeadlineError where none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise DeadlineError
        return left


def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system, so that /etc/hosts counts too."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(text: str) -> bool:
    """Whether an IP address is one of the open internet; an IPv4 address inside an IPv6 one counts as itself."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if (inner := _inner_address(address)) is not None:
            return is_public(str(inner))
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def _inner_address(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def is_plainly_local(host: str) -> bool:
    """Whether a host is `localhost` or an IP address as such: whoever writes it knows where it leads."""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


class GuardedBackend(httpcore2.NetworkBackend):
    """Opens the connections of one fetch. `may_be_private` says of a host whether its addresses are left unjudged."""

    def __init__(self, *, deadline: Deadline, may_be_private: Callable[[str], bool], resolve: Resolver) -> None:
        self._deadline = deadline
        self._may_be_private = may_be_private
        self._resolve = resolve
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of a host that answers; RefusedError where one of them is private."""
        addresses = self._find_addresses(host, port)
        if not self._may_be_private(host):
            for address in addresses:
                if not is_public(address):
                    at = "" if address == host else f" is at {address}, which"
                    raise PrivateError(
                        f"{host}{at} is not a public address (NEWSLETTER_ALLOW_PRIVATE_FEEDS=true allows it)"
                    )
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, socket_options)

    def _connect(self, address: str, port: int, options: Iterable[httpcore2.SOCKET_OPTION] | None) -> "TimedStream":
        seconds = min(self._deadline.left(), CONNECT_SECONDS)
        stream = self._backend.connect_tcp(address, port, timeout=seconds, socket_options=options)
        return TimedStream(stream, self._deadline)

    def _find_addresses(self, host: str, port: int) -> Sequence[str]:
        """Resolve in a thread of its own, since nothing else can bound the time that the system takes."""
        answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, UnicodeError, OverflowError) as error:
                answers.put(error)

        Thread(target=ask, daemon=True).start()
        try:
            answer = answers.get(timeout=self._deadline.left())
        except Empty:
            raise DeadlineError from None
        if isinstance(answer, Exception) or not answer:
            kind = UnknownHostError if getattr(answer, "errno", None) == socket.EAI_NONAME else RefusedError
            raise kind(f"{host} cannot be found" + (f" ({answer})" if answer else ""))
        return answer


class TimedStream(httpcore2.NetworkStream):
    """A connection on which no step outlasts the deadline, however many steps there are."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, at most `max_bytes`."""
        return self._stream.read(max_bytes, timeout=self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        self._stream.write(buffer, timeout=self._deadline.left())

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        """The same connection inside TLS."""
        seconds = self._deadline.left()
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, timeout=seconds), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)
