"""An SMTP server that takes every mail, 50 ms after its final dot."""

import asyncio
import sys
from typing import cast

import uvloop

DELAY_SECONDS = 0.05


class Sink(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest, self._in_body = cast(asyncio.Transport, transport), b"", False
        self._transport.write(b"220 slow ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while True:
            end = b"\r\n.\r\n" if self._in_body else b"\r\n"
            line, found, rest = self._rest.partition(end)
            if not found:
                return
            self._rest = rest
            self._answer(line.upper())

    def _answer(self, line: bytes) -> None:
        if self._in_body:
            self._in_body = False
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self._transport.write, b"250 2.0.0 taken\r\n")
        elif line.startswith(b"EHLO"):
            self._transport.write(b"250-slow\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
        elif line == b"DATA":
            self._in_body = True
            self._transport.write(b"354 go on\r\n")
        elif line == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 2.0.0 ok\r\n")


async def main(port: int) -> None:
    """Serve until it is told to end."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
