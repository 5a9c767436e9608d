"""A real SMTP server on loopback that delivers to nobody: every mail becomes an .eml file, for the demo.

aiosmtpd speaks the protocol, in a thread of its own. Not by its Controller, which cannot take a free port (it connects
to port 0), nor by its defaults, which ask the resolver for our host name at every connection.
"""

import asyncio
import json
import re
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP

ENVELOPES = "envelopes.jsonl"
NAME_CHARACTERS = 120
OCTETS_PER_MAIL = 32 * 1024 * 1024


class Catcher:
    """`with Catcher(folder) as catcher:` listens on catcher.host and catcher.port while the block lasts.

    Each mail is kept as it was received, byte for byte, in `folder`/NNNN-recipient.eml, one file a recipient; the
    envelopes stand in `folder`/envelopes.jsonl. `caught` lists (recipient, path) in the order of arrival. OSError when
    the folder or the port cannot be had. About 250 mails of 42 KB a second, sender in the same process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = 0
        self.caught: list[tuple[str, Path]] = []
        self._number = 0
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="catcher", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._number = sum(1 for _ in self.folder.glob("*.eml"))
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, stopped = self._ready.result()
        loop.call_soon_threadsafe(stopped.set)
        self._thread.join()

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        """Keep a mail. A disk that is full is told to the sender, who comes back later."""
        try:
            for recipient in envelope.rcpt_tos:
                self._keep(envelope.mail_from, recipient, envelope.original_content)
        except OSError as error:
            return f"452 4.3.1 cannot keep the mail: {error.strerror}"
        return "250 2.0.0 caught"

    def _keep(self, return_path: str, recipient: str, mail: bytes) -> None:
        self._number += 1
        name = re.sub(r"[^\w@.+-]", "_", recipient, flags=re.ASCII)[:NAME_CHARACTERS]
        path = self.folder / f"{self._number:04}-{name}.eml"
        path.write_bytes(mail)
        with (self.folder / ENVELOPES).open("a", encoding="ascii") as lines:
            lines.write(json.dumps({"file": path.name, "return_path": return_path, "recipient": recipient}) + "\n")
        self.caught.append((recipient, path))

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        try:
            listener = await loop.create_server(self._make_protocol, self.host, 0)
        except OSError as error:
            self._ready.set_exception(error)
            return
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set_result((loop, stopped))
        await stopped.wait()
        listener.close()

    def _make_protocol(self) -> SMTP:
        return SMTP(
            self,
            loop=asyncio.get_running_loop(),
            hostname="localhost",
            ident="catcher",
            enable_SMTPUTF8=True,
            data_size_limit=OCTETS_PER_MAIL,
        )
