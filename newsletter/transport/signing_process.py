"""Processes that sign by DKIM: the heads of mails go in, their DKIM-Signature headers come out in the same order.

Threads would do it too, but each of their signatures waits until a busy loop gives up the interpreter, and makes it do
so. The keys go in through a pipe, never on a command line.
"""

import asyncio
import base64
import json
import os
import signal
import struct
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Self, cast

from newsletter.core.dkim import DkimSigner, Signed
from newsletter.core.errors import TransportError

CHUNK_OCTETS = 65_536
END_SECONDS = 5.0
DIED = "the process that signs mails has ended"
_LENGTH = struct.Struct(">I")
_ASKED = struct.Struct(">q32s")


class SigningProcess(asyncio.SubprocessProtocol):
    """One such process, from the side of who wants the signatures."""

    _transport: asyncio.SubprocessTransport
    _pipe: asyncio.WriteTransport

    def __init__(self, octets: int) -> None:
        """`octets`: what the raw signatures of a mail take together."""
        self._octets = octets
        self._buffer = b""
        self._unwritten: list[bytes] = []
        self._waiting: deque[asyncio.Future[Signed]] = deque()
        self._ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, signer: DkimSigner) -> Self:
        """Start one with the signer's keys."""
        loop = asyncio.get_running_loop()
        transport, process = await loop.subprocess_exec(
            lambda: cls(signer.signature_octets), sys.executable, "-m", __name__, stderr=None
        )
        process._transport = transport
        process._pipe = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        keys = [base64.b64encode(key).decode() for key in signer.export_keys()]
        process._pipe.write(_frame(json.dumps(keys).encode()))
        return process

    def __len__(self) -> int:
        return len(self._waiting)

    async def sign(self, head: bytes, body_hash: bytes, at: datetime) -> Signed:
        """What DkimSigner.sign_mail gives. TransportError where the process has died."""
        if self._ended.done():
            raise TransportError(DIED)
        future: asyncio.Future[Signed] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if not self._unwritten:
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten.append(_frame(_ASKED.pack(int(at.timestamp()), body_hash) + head))
        return await future

    async def close(self) -> None:
        """Let the process end."""
        self._pipe.close()
        await asyncio.wait([self._ended], timeout=END_SECONDS)
        self._transport.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Hand the signatures to those who wait, in turn."""
        frames, self._buffer = _cut(self._buffer + data)
        for frame in frames:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(Signed(header=frame[self._octets :], signatures=frame[: self._octets]))

    def process_exited(self) -> None:
        """Nobody waits for ever."""
        self._ended.set_result(None)
        for future in self._waiting:
            if not future.done():
                future.set_exception(TransportError(DIED))
        self._waiting.clear()

    def _write(self) -> None:
        self._pipe.write(b"".join(self._unwritten))
        self._unwritten = []


def main() -> None:
    """What the process does: read keys and then mails from stdin, write what was signed to stdout, until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us when it has finished
    signer, rest = None, b""
    while chunk := os.read(0, CHUNK_OCTETS):
        frames, rest = _cut(rest + chunk)
        for frame in frames:
            if signer is None:
                signer = DkimSigner.from_exported([base64.b64decode(key) for key in json.loads(frame)])
                continue
            seconds, body_hash = _ASKED.unpack_from(frame)
            signed = signer.sign_mail(frame[_ASKED.size :], body_hash, datetime.fromtimestamp(seconds, UTC))
            os.write(1, _frame(signed.signatures + signed.header))


def _frame(octets: bytes) -> bytes:
    return _LENGTH.pack(len(octets)) + octets


def _cut(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames of what has come, and what is left over."""
    frames, at = [], 0
    while len(buffer) - at >= _LENGTH.size:
        end = at + _LENGTH.size + _LENGTH.unpack_from(buffer, at)[0]
        if len(buffer) < end:
            break
        frames.append(buffer[at + _LENGTH.size : end])
        at = end
    return frames, buffer[at:]


if __name__ == "__main__":
    main()
