"""The protocol of one SMTP connection once aiosmtplib has made it: commands out, replies in, and what is still unsent.

Knows no transaction. What it adds to a stream is one fact: whether all bytes of a body were handed to the system.
"""

import asyncio
import re
import unicodedata
from collections import deque
from functools import lru_cache

from newsletter.core.policy import Reply, parse_enhanced

REPLY_OCTETS = 32_768
"""A reply longer than this is none; the longest EHLO answers have about 1 KB."""

TEXT_CHARACTERS = 1_000
"""So much of a reply's text is kept for the log."""

_REPLY_LINE = re.compile(r"[1-9][0-9]{2}(?: |$)")


class LostError(Exception):
    """The connection is of no more use; the message says why, without naming the relay."""


class Wire(asyncio.Protocol):
    """Takes over an open transport. Commands may go out several at once (RFC 2920); replies are read one at a time.

    `handed` turns true at the moment the last byte of `write_body` leaves our own buffers for the system's.
    """

    def __init__(self, transport: asyncio.Transport, below: asyncio.Transport | None = None) -> None:
        """`below` is the socket's transport where `transport` is TLS over it, if it is known."""
        self.handed = False
        self.lost: str | None = None
        self._transport = transport
        self._socket = _find_socket_transport(transport, below)
        self._over_tls = transport.get_extra_info("sslcontext") is not None
        self._paused = False
        self._in_body = False
        self._closed = False
        self._buffer = b""
        self._lines: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._clock = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        # pause_writing and resume_writing shall tell of the first and of the last unsent byte. asyncio's TLS transport
        # pauses at >= high, the plain one at > high.
        if self._over_tls:
            transport.set_write_buffer_limits(high=1, low=0)
        if not self._over_tls or self._socket is not transport:
            self._socket.set_write_buffer_limits(high=0)

    @property
    def is_open(self) -> bool:
        """Whether another command may be sent."""
        return self.lost is None and not self._transport.is_closing()

    async def execute(self, command: bytes, seconds: float) -> Reply:
        """Send a command line and wait for its reply. Raises LostError."""
        self.send_commands(command)
        return await self.read_reply(seconds)

    def send_commands(self, *commands: bytes) -> None:
        """Send command lines in one write; each has a reply to be read. Raises LostError."""
        if self._replies or self._lines or self._buffer:
            said = self._replies[0].text if self._replies else self._buffer.decode("ascii", "replace")
            raise self._lose(f"the relay spoke out of turn: {said}")
        if not self.is_open:
            raise self._lose("the connection was lost")
        self._transport.write(b"".join(command + b"\r\n" for command in commands))

    async def read_reply(self, seconds: float) -> Reply:
        """The next reply. Raises LostError when none comes in time or the connection ends."""
        while not self._replies:
            if self.lost is not None:
                raise self._lose("the connection was lost")
            try:
                await self._wait(seconds)
            except TimeoutError:
                raise self._lose(f"no reply within {seconds:g} s") from None
        return self._replies.popleft()

    async def send_body(self, body: bytes, seconds: float) -> None:
        """Write a body that is ready for the wire, and its final dot; return when it is handed over.

        Returns too when the relay answers, or the connection ends, before that. Raises LostError when the relay takes
        no byte within `seconds`.
        """
        if self._replies:
            return
        self._in_body = True
        # Over TLS the dot is a record of its own, which waits in the TLS layer until the system took all before it.
        for part in (body, b".\r\n") if self._over_tls else (body + b".\r\n",):
            self._transport.write(part)
        self.handed = not self._paused and not self._socket.is_closing()
        while not self.handed and not self._replies and self.lost is None:
            unsent = self._count_unsent()
            try:
                await self._wait(seconds)
            except TimeoutError:
                if self._count_unsent() == unsent:
                    raise self._lose(f"the relay stopped reading for {seconds:g} s") from None

    def settle_body(self) -> None:
        """The body has its reply: nothing is in doubt any more."""
        self._in_body = self.handed = False

    def abort(self, reason: str) -> None:
        """End the connection at once; what is still in our buffers never goes out."""
        self.lost = self.lost or reason
        self._in_body = False
        self._transport.abort()
        self._wake()

    async def wait_closed(self, seconds: float) -> None:
        """Wait until the system's socket is closed. Raises TimeoutError."""
        while not self._closed:
            await self._wait(seconds)

    def data_received(self, data: bytes) -> None:
        """Cut what came into replies."""
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest
        for line in lines:
            self._lines.append(line)
            if sum(map(len, self._lines)) > REPLY_OCTETS:
                break
            if line[3:4] != b"-" or not line[:3].isdigit():
                self._replies.append(_parse_reply(tuple(self._lines)))
                self._lines = []
        if len(self._buffer) + sum(map(len, self._lines)) > REPLY_OCTETS:
            self.abort("the relay's reply never ended")
        self._wake()

    def eof_received(self) -> None:
        """The relay ended its side: drop the connection, since a mere close would first send what is still held."""
        self.abort("the relay closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why, unless that is known already."""
        self.lost = self.lost or (f"the connection was lost: {exc}" if exc else "the relay closed the connection")
        self._closed = True
        self._wake()
        if self._alarm is not None:
            self._alarm.cancel()

    def pause_writing(self) -> None:
        """The system takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The system has taken everything."""
        self._paused = False
        self.handed = self.handed or self._in_body
        self._wake()

    async def _wait(self, seconds: float) -> None:
        """Wait until anything happens. Raises TimeoutError.

        One timer serves many waits: it is set anew only where it would ring too late, or rang too early.
        """
        self._deadline = self._clock.time() + seconds
        if self._alarm is None or self._alarm.when() > self._deadline:
            self._set_alarm()
        self._waiter = self._clock.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if self._clock.time() < self._deadline:
            self._set_alarm()
        elif not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, reason: str) -> LostError:
        self.abort(reason)
        return LostError(self.lost)

    def _count_unsent(self) -> int:
        sizes = {id(t): t.get_write_buffer_size() for t in (self._transport, self._socket)}
        return sum(sizes.values())


def _find_socket_transport(transport: asyncio.Transport, below: asyncio.Transport | None) -> asyncio.Transport:
    """The transport below TLS. Where TLS came first, only CPython's own names lead there; without them a loss counts
    as in doubt sooner."""
    if transport.get_extra_info("sslcontext") is None:
        return transport
    found: asyncio.Transport | None = below or getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport if found is None else found


@lru_cache(maxsize=256)
def _parse_reply(lines: tuple[bytes, ...]) -> Reply:
    """A reply of one or more lines (RFC 5321 4.2.1); the code is the last line's, None where that is no reply."""
    texts = [line.decode("utf-8", "replace").strip() for line in lines]
    first, last = texts[0], texts[-1]
    if not _REPLY_LINE.match(last):
        return Reply(code=None, enhanced=None, text=_clean(" ".join(texts)))
    enhanced = parse_enhanced(first[4:])
    said = [text[4:].strip() for text in texts]
    if enhanced:
        said[1:] = [text.removeprefix(enhanced).strip() for text in said[1:]]
    return Reply(code=int(last[:3]), enhanced=enhanced, text=_clean(" ".join(said)))


def _clean(text: str) -> str:
    """One line without control characters, which would reach the operator's terminal."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())[:TEXT_CHARACTERS]
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: 2 * TEXT_CHARACTERS])
    return " ".join(kept.split())[:TEXT_CHARACTERS]
