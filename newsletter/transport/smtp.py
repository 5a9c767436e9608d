"""SMTP to a relay: transactions, one mail at a time on a connection.

Errors become values: a Verdict for a mail, a TransportError for a relay. Above this room nobody catches an SMTP error.
Retries nothing and writes nothing down.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from newsletter.core.model import Outcome
from newsletter.core.policy import Reply, Stage, Verdict, judge_loss, judge_reply, judge_unsendable
from newsletter.transport.commands import Envelope, UnsendableError, write_commands
from newsletter.transport.relay import Opened, Relay, RelayRefusedError, RelayUnreachableError, open_transport
from newsletter.transport.wire import LostError, Wire

__all__ = [
    "Attempted",
    "Connection",
    "Envelope",
    "Relay",
    "RelayRefusedError",
    "RelayUnreachableError",
    "open_connection",
]

ENVELOPE_STAGES = (Stage.MAIL, Stage.RCPT, Stage.DATA)
QUIT_SECONDS = 5.0
"""How long a goodbye may take; nothing hangs on its answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempted:
    """What one try to send a mail came to.

    `stage` is the step it got to, None where we refused it ourselves. Where `counted` is false the try does not count
    against the delivery: MAIL was never answered, or the relay refuses us altogether (`verdict.stop`).
    """

    reply: Reply
    stage: Stage | None
    verdict: Verdict
    seconds: float
    counted: bool

    @property
    def outcome(self) -> Outcome:
        """The verdict's, as the delivery log shows it."""
        return self.verdict.outcome


class Connection:
    """An open connection to a relay, which took `connect_seconds`. Not to be shared by tasks: one mail at a time."""

    def __init__(self, relay: Relay, opened: Opened, *, connect_seconds: float = 0.0, wire: Wire | None = None) -> None:
        """`wire` is what has taken over the opened transport already, where something has."""
        self.relay = relay
        self.connect_seconds = connect_seconds
        self.offers = opened.offers
        self.mails_sent = 0
        self.mails_answered = 0
        self._wire = wire or Wire(opened.transport, opened.below)
        self._needs_reset = False
        self._stage = Stage.MAIL

    @property
    def is_open(self) -> bool:
        """Whether another mail may be tried on it."""
        return self._wire.is_open

    @property
    def takes_smtputf8(self) -> bool:
        """Whether the relay takes addresses that are not ASCII (RFC 6531)."""
        return "smtputf8" in self.offers

    @property
    def in_doubt(self) -> bool:
        """Whether a mail was handed over whole and its reply is not here yet: so it is when a `send` was cancelled."""
        return self._wire.handed

    async def send(self, envelope: Envelope, mail: bytes, *, may_send: Callable[[], bool] = lambda: True) -> Attempted:
        """Send one mail and say what came of it; never raises for anything that the relay does.

        `may_send` is asked right before the body: where it says no, nothing of it goes out, and the connection ends.

        `mail` is ready for the wire: CRLF line ends, the last one included, and no line begins with an unstuffed dot.
        Cancelled, it ends the connection and drops every byte not yet handed over; `in_doubt` then tells the rest.
        """
        try:
            lines = write_commands(envelope, len(mail), self.offers)
        except UnsendableError as error:
            verdict = judge_unsendable(error.enhanced)
            reply = Reply(code=None, enhanced=error.enhanced, text=str(error))
            return Attempted(reply=reply, stage=None, verdict=verdict, seconds=0.0, counted=not verdict.stop)
        started_at = perf_counter()
        try:
            stage, reply, verdict = await self._run_transaction(lines, mail, may_send)
        except BaseException:
            self._wire.abort("interrupted")
            raise
        self._wire.settle_body()
        answered = stage is not Stage.MAIL or reply.code is not None
        self.mails_answered += answered
        return Attempted(
            reply=reply,
            stage=stage,
            verdict=verdict,
            seconds=perf_counter() - started_at,
            counted=answered and not verdict.stop,
        )

    async def quit(self) -> None:
        """Say goodbye and close; takes a few seconds at most and never raises."""
        try:
            if self.is_open:
                await self._wire.execute(b"QUIT", min(self.relay.timeout.total_seconds(), QUIT_SECONDS))
        except LostError:
            pass
        finally:
            self._wire.abort("closed")
        with suppress(TimeoutError):
            await self._wire.wait_closed(QUIT_SECONDS)

    async def _run_transaction(
        self, lines: tuple[bytes, bytes], mail: bytes, may_send: Callable[[], bool]
    ) -> tuple[Stage, Reply, Verdict]:
        seconds = self.relay.timeout.total_seconds()
        self._stage = Stage.MAIL
        try:
            await self._reset(seconds)
            self.mails_sent += 1
            refused = await self._open_transaction((*lines, b"DATA"), seconds)
            if refused is not None:
                return refused
            self._stage = Stage.BODY
            if not may_send():
                self._wire.abort("it was not ours to send any more")
                raise LostError("it was not ours to send any more")
            await self._wire.send_body(mail, seconds)
            reply = await self._wire.read_reply(self.relay.final_timeout.total_seconds())
        except LostError as error:
            reply = Reply(None, None, f"{self._stage}: {error}")
            return self._stage, reply, judge_loss(in_doubt=self._wire.handed)
        verdict = judge_reply(reply, stage=Stage.BODY)
        if not self._wire.handed:
            # An answer before the final dot: a refusal stands, anything else cannot be about the whole mail.
            self._wire.abort("the relay answered before the end of the mail")
            if reply.code is None or reply.code // 100 not in (4, 5):
                verdict = judge_loss(in_doubt=False)
        if verdict.outcome is not Outcome.ACCEPTED:
            self._mark_refused(reply, verdict)
        return Stage.BODY, reply, verdict

    async def _open_transaction(
        self, lines: tuple[bytes, bytes, bytes], seconds: float
    ) -> tuple[Stage, Reply, Verdict] | None:
        """MAIL, RCPT and DATA, in one write where the relay offers that; what refused the mail, or None."""
        at_once = "pipelining" in self.offers
        if at_once:
            self._wire.send_commands(*lines)
        for number, (stage, line) in enumerate(zip(ENVELOPE_STAGES, lines, strict=True), start=1):
            self._stage = stage
            reply = await (self._wire.read_reply(seconds) if at_once else self._wire.execute(line, seconds))
            verdict = judge_reply(reply, stage=stage)
            if verdict.outcome is not Outcome.ACCEPTED:
                self._mark_refused(reply, verdict)
                if at_once and self.is_open:
                    await self._read_rest(len(lines) - number, seconds)
                return stage, reply, verdict
        return None

    async def _read_rest(self, count: int, seconds: float) -> None:
        """Read the replies to what went out behind a refused command; they say nothing new of the mail."""
        with suppress(LostError):
            for left in range(count, 0, -1):
                reply = await self._wire.read_reply(seconds)
                if left == 1 and reply.code == 354:
                    # RFC 2920 3.1: DATA may be accepted all the same; a lone dot ends it, with nobody to send it to.
                    await self._wire.execute(b".", seconds)

    async def _reset(self, seconds: float) -> None:
        """Clear what a refused mail left behind. The reply also shows that no late answer to it is on its way."""
        if not self._needs_reset:
            return
        reply = await self._wire.execute(b"RSET", seconds)
        if reply.code is None or reply.code // 100 != 2:
            reason = f"the relay refused RSET: {reply.code} {reply.text}"
            self._wire.abort(reason)
            raise LostError(reason)
        self._needs_reset = False

    def _mark_refused(self, reply: Reply, verdict: Verdict) -> Verdict:
        """After a refusal the connection goes on; after 421 (RFC 5321 3.8) or a reply that fits no step it is over."""
        self._needs_reset = True
        if reply.code is None or reply.code == 421 or reply.code // 100 not in (4, 5):
            self._wire.abort(f"the relay said {reply.code or ''} {reply.text}")
        return verdict


async def open_connection(relay: Relay, *, local_hostname: str | None = None) -> Connection:
    """Connect, greet, start TLS and log in, as the relay's settings say.

    `local_hostname` is the name in EHLO, else the machine's own. Raises RelayUnreachableError (try again later) or
    RelayRefusedError (stop: the settings or the relay must change first), each a sentence that names the relay.
    """
    began_at = perf_counter()
    opened = await open_transport(relay, local_hostname=local_hostname)
    return Connection(relay, opened, connect_seconds=perf_counter() - began_at)
