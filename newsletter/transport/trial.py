"""One mail sent to look at, with every line of the conversation: what we said, what the relay said, no password.

Retries nothing, and knows no database.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

from newsletter.core.errors import TransportError
from newsletter.core.model import Outcome
from newsletter.transport.relay import Opened, Relay, open_transport
from newsletter.transport.smtp import Connection, Envelope
from newsletter.transport.wire import Wire

PATIENCE = timedelta(seconds=15)
"""How long the relay may take for a step: somebody waits."""
MOST_LINES = 500


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of it; `lines` are the conversation, ours with `C: ` and the relay's with `S: ` before them."""

    lines: tuple[str, ...]
    outcome: Outcome | None
    said: str


@dataclass
class _Talk:
    lines: list[str] = field(default_factory=list)

    def note(self, who: str, text: bytes) -> None:
        for line in text.decode("utf-8", "replace").splitlines():
            if len(self.lines) < MOST_LINES:
                self.lines.append(f"{who}: {''.join(c if c.isprintable() else '?' for c in line)}")


class _HeardWire(Wire):
    """A wire whose every line is noted; of a body only its size."""

    def __init__(self, transport: asyncio.Transport, below: asyncio.Transport | None, talk: _Talk) -> None:
        self._talk = talk
        super().__init__(transport, below)

    def send_commands(self, *commands: bytes) -> None:
        for command in commands:
            self._talk.note("C", command)
        super().send_commands(*commands)

    async def send_body(self, body: bytes, seconds: float) -> None:
        self._talk.note("C", b"(the mail, %d octets)\n." % len(body))
        await super().send_body(body, seconds)

    def data_received(self, data: bytes) -> None:
        self._talk.note("S", data)
        super().data_received(data)


async def send_trial(relay: Relay, envelope: Envelope, mail: bytes) -> Trial:
    """Send one mail, ready for the wire, now; raises nothing for whatever the relay does."""
    talk = _Talk()
    hurried = replace(relay, timeout=min(relay.timeout, PATIENCE), final_timeout=4 * PATIENCE)
    try:
        opened: Opened = await open_transport(hurried, local_hostname=None, note=talk.note)
    except TransportError as error:
        return Trial(lines=tuple(talk.lines), outcome=None, said=str(error))
    connection = Connection(hurried, opened, wire=_HeardWire(opened.transport, opened.below, talk))
    attempted = await connection.send(envelope, mail)
    await connection.quit()
    reply = attempted.reply
    return Trial(lines=tuple(talk.lines), outcome=attempted.outcome, said=f"{reply.code or ''} {reply.text}".strip())
