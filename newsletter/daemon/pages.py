"""Keeps the process that serves the pages: listens, begins it, begins it anew should it end, and feeds it the metrics.

The socket is the daemon's own, so an address in use shows at the start, and a new process takes over where one ended.
"""

import asyncio
import logging
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from newsletter.web.pulse import write_pulse

AGAIN_SECONDS = 1.0
END_SECONDS = 4.0

log = logging.getLogger("newsletter.web")


@dataclass(kw_only=True)
class Pages:
    """`run` until `stop`; `pulse` what is to be said meanwhile."""

    listening: socket.socket
    env_file: Path | None
    stop: asyncio.Event
    _process: asyncio.subprocess.Process | None = None
    _metrics: str = ""

    async def run(self) -> None:
        """Keep the process going until `stop` is set, then end it."""
        try:
            while not self.stop.is_set():
                self._process = await self._begin()
                self.pulse(self._metrics)
                await self._wait_for_end(self._process)
                if not self.stop.is_set():
                    log.error("the pages ended by themselves and are begun anew")
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await self._end()
            self.listening.close()

    def pulse(self, metrics: str) -> None:
        """Say how all stands to the process, if it is there."""
        self._metrics, process = metrics, self._process
        if process is not None and process.stdin is not None and process.returncode is None:
            with suppress(ConnectionError):
                process.stdin.write(write_pulse(metrics))

    async def _begin(self) -> asyncio.subprocess.Process:
        descriptor = self.listening.fileno()
        env_file = [str(self.env_file)] if self.env_file else []
        # In a session of its own: a Ctrl-C is for the daemon, which then ends it.
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "newsletter.web.serve", str(descriptor), *env_file),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,
        )

    async def _wait_for_end(self, process: asyncio.subprocess.Process) -> None:
        waits = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(self.stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        waits[1].cancel()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
