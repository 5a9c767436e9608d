"""An SMTP server on loopback that misbehaves by a seeded chance and remembers every mail that it took.

    with FaultyServer(seed=7).run_in_thread() as server:
        ...                                   # talk to 127.0.0.1, server.port
    server.taken, server.visits               # its own record, to compare the books with

What it does, and when, stands in _faults.py. A protocol class and no streams: it must outrun the sender that it tries.
"""

import asyncio
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from _faults import (
    DEAD,
    FAULTS,
    FAULTS_A_READER,
    LONGEST_CUT,
    STALL_SECONDS,
    Fate,
    Fault,
    Kind,
    Taken,
    Visit,
    find_fate,
    find_fault,
)

MULTILINE_SHARE = 0.2
OFFERS = ("SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")
UNMARKED = {"421": "421 4.3.2 closing for a moment", "452": "452 4.3.1 out of disk space for a moment"}
USUAL = {"MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 go on", "BODY": "250 2.0.0 taken"}


@dataclass(kw_only=True)
class FaultyServer:
    """See the module. Count up `run` when another sender's process is started."""

    seed: int = 1
    pipelining: bool = True
    faults: Mapping[Fault, float] = field(default_factory=lambda: FAULTS)
    fates: bool = True
    tls: ssl.SSLContext | None = None
    port: int = 0
    run: int = 0
    taken: list[Taken] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    struck: Counter[Fault] = field(default_factory=Counter)
    rude: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    pains: Counter[str] = field(default_factory=Counter)
    transactions: int = 0

    def draw(self, event: str, *stages: str) -> Fault | None:
        """The fault of an event, of those at `stages`, or None."""
        return find_fault(self.seed, event, stages, self.faults) if self.faults else None

    def count_open(self, run: int, at: float) -> int:
        """How many connections a process had at a moment."""
        return sum(visit.was_open(run, at) for visit in self.visits)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Talk(self), "127.0.0.1", self.port, backlog=256, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        async with server:
            await server.serve_forever()

    @contextmanager
    def run_in_thread(self) -> Iterator["FaultyServer"]:
        """Serve in a thread of its own while the block lasts."""
        ready: Future[None] = Future()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self.serve(lambda: ready.set_result(None)))
        task.add_done_callback(lambda _: loop.stop())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        ready.result(30)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join(30)
            loop.close()


class Talk(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: FaultyServer) -> None:
        self.server = server
        self.visit = Visit(run=server.run, opened_at=time.monotonic())
        self.buffer = bytearray()
        self.in_body = self.stalled = self.closed = False
        self.searched = 0
        self.cut = 0
        self.recipient = ""
        self.fault: Fault | None = None
        self.multiline = False
        self.last: Taken | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.visits.append(self.visit)
        self.name = f"connection {len(self.server.visits)}"
        self.fault = self.server.draw(self.name, "BANNER", "EHLO")
        self.answer("BANNER", "220 drill.example.org ready")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.visit.ended_at = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.work()

    def work(self) -> None:
        while not (self.stalled or self.closed):
            end = b"\r\n.\r\n" if self.in_body else b"\r\n"
            at = self.buffer.find(end, self.searched)
            if self.in_body and self.cut and (at >= 0 or len(self.buffer) > self.cut):
                self.cut = 0
                self.strike(USUAL["BODY"])
            elif at < 0:
                self.searched = max(0, len(self.buffer) - len(end) + 1)
                return
            else:
                piece = bytes(self.buffer[:at])
                del self.buffer[: at + len(end)]
                self.searched = 0
                (self.take_body if self.in_body else self.take_line)(piece)

    def take_line(self, line: bytes) -> None:
        verb, _, argument = line.decode("utf-8", "replace").partition(" ")
        if self.buffer and not self.server.pipelining:
            self.server.rude["pipelined without being offered it"] += 1
        match verb.upper():
            case "EHLO":
                offers = [*OFFERS, *(["PIPELINING"] if self.server.pipelining else [])]
                self.answer("EHLO", "\n".join(["250 drill.example.org", *(f"250 {offer}" for offer in offers)]))
            case "HELO":
                self.say("250 drill.example.org")
            case "MAIL":
                self.begin()
            case "RCPT":
                self.meet(argument.partition("<")[2].partition(">")[0])
            case "DATA":
                self.answer("DATA", USUAL["DATA"] if self.recipient else "503 5.5.1 RCPT first")
            case "RSET" | "NOOP":
                self.recipient = ""
                self.say("250 2.0.0 ok")
            case "QUIT":
                self.say("221 2.0.0 bye")
                self.transport.close()
                self.closed = True
            case _:
                self.server.rude[f"said {verb[:10]!r}"] += 1
                self.say("500 5.5.2 unknown command")

    def begin(self) -> None:
        server = self.server
        server.transactions += 1
        if self.last is not None:
            self.last.settled, self.last = True, None
        self.recipient = ""
        self.fault = server.draw(f"{self.name} at {server.transactions}", "MAIL")
        self.multiline = random.Random(server.transactions).random() < MULTILINE_SHARE and bool(server.faults)
        self.answer("MAIL", USUAL["MAIL"])

    def meet(self, recipient: str) -> None:
        server = self.server
        turn = server.tries[recipient] = server.tries[recipient] + 1
        fate = find_fate(server.seed, recipient) if server.fates else Fate.FINE
        if fate in DEAD or (fate is Fate.GREYLISTED and turn == 1):
            self.fault = None
            self.say(fate.value[1])
            return
        self.fault = server.draw(f"{recipient} at {turn}", "RCPT", "DATA", "BODY")
        if self.fault and server.pains[recipient] >= FAULTS_A_READER:
            self.fault = None
        server.pains[recipient] += self.fault is not None
        self.recipient = recipient
        self.answer("RCPT", USUAL["RCPT"])

    def take_body(self, body: bytes) -> None:
        self.in_body = False
        kind = self.fault[1] if self.fault and self.fault[0] == "BODY" else None
        if kind not in {Kind.REFUSE, Kind.DEFER, Kind.DROP}:
            found = re.search(rb"(?im)^Message-ID:\s*(\S+)", body[:8_000])
            name = found[1].decode() if found else ""
            self.last = Taken(recipient=self.recipient, message_id=name, visit=self.visit, lost=kind is Kind.LOSE)
            self.server.taken.append(self.last)
        self.answer("BODY", USUAL["BODY"])
        self.recipient = ""

    def answer(self, stage: str, usual: str) -> None:
        """Say the usual, or do what the fault of this transaction asks for at this stage."""
        if self.fault and self.fault[0] == stage and usual[0] in "23":
            if self.fault == ("DATA", Kind.RESET):  # strikes in the body
                self.cut = 1 + random.Random(f"{self.server.seed}:{self.recipient}").randrange(LONGEST_CUT)
                self.say(usual)
            else:
                self.strike(usual)
        else:
            self.say(usual)

    def strike(self, usual: str) -> None:
        fault, self.fault = self.fault, None
        assert fault is not None
        kind = fault[1]
        self.server.struck[fault] += 1
        match kind:
            case Kind.DEFER:
                self.say(UNMARKED[kind])
                self.recipient = self.recipient if fault[0] != "RCPT" else ""
            case Kind.STALL:
                self.stalled = True
                seconds = random.Random(f"{self.server.seed}:{self.name}").uniform(*STALL_SECONDS)
                asyncio.get_running_loop().call_later(seconds, self.go_on, usual)
            case Kind.REFUSE | Kind.LEAVE:
                self.say(usual if kind is Kind.LEAVE else UNMARKED[kind])
                self.visit.left = True
                self.transport.close()
                self.closed = True
            case _:
                if kind is Kind.RESET:
                    raw: socket.socket = self.transport.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
                self.closed = True

    def go_on(self, usual: str) -> None:
        self.stalled = False
        if not self.closed:
            self.say(usual)
            self.work()

    def say(self, text: str) -> None:
        self.in_body = text.startswith("354")
        lines = text.split("\n")
        if self.multiline and len(lines) == 1 and not self.in_body:
            lines = [" ".join(text.split(" ")[:2]) + " that is", text]
        told = [f"{line[:3]}-{line[4:]}" for line in lines[:-1]] + [lines[-1]]
        self.transport.write("".join(f"{line}\r\n" for line in told).encode())
