"""A real SMTP server on loopback that remembers everything and misbehaves on request.

    async with SmtpServer(replies={"RCPT": {"a@example.org": "550 5.1.1 no such user"}}) as server:
        ...                                  # talk to server.host, server.port
    assert [mail.recipient for mail in server.mails] == ["b@example.org"]

In a thread of its own, for programs that run in other processes: `with run_in_thread(SmtpServer()) as server:`.

`replies` says what to answer instead of the usual, by stage: BANNER, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA,
BODY (the answer to the final dot), RSET, NOOP, QUIT. A value is an Answer for everyone, or Answers by address: the
return path for MAIL, the recipient for RCPT, DATA and BODY. An Answer is

    "550 5.1.1 no such user"    a reply; with \\n in it, one of several lines; after a 421 the server hangs up
    b"what?\\r\\n"                these bytes
    DROP                        hang up without a word
    Stall()                     wait until `release()`, then answer as usual (or as `then` says)
    ["451 later", None]         one after another, each time the stage is reached; None, and the end, are the usual

`drop_after={"MAIL"}` hangs up as soon as that stage is answered ("BANNER": right after the greeting).
`in_body=(1000, DROP)` answers in the middle of a body, after so many of its octets; the rest is read and thrown away.
With a Stall it only stops reading there, and goes on as usual afterwards.
`greylist="451 4.7.1 try again in 60 seconds"` is the answer to RCPT when a recipient is seen for the first time.
With `data_for_nobody` DATA is accepted although no recipient was, as RFC 2920 allows.
`offers` are the EHLO lines; `tls` is None, "starttls" or "implicit" (certificate for `localhost`, signed by CA_FILE);
`logins` are passwords by name (offered as AUTH PLAIN LOGIN unless `offers` says more); with `login_demanded` nobody
else may send.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from smtp_talk import DROP, Answer, Answers, GoneError, ReceivedMail, Script, Session, Stall, Talk

__all__ = ["CA_FILE", "DROP", "OFFERS", "Answer", "ReceivedMail", "Session", "SmtpServer", "Stall", "run_in_thread"]

CA_FILE = Path(__file__).parent / "tls" / "ca.pem"
CERTIFICATE_FILE = Path(__file__).parent / "tls" / "server.pem"
OFFERS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")


class Record(list[ReceivedMail]):
    """The mails that were taken; `grown` tells when there are more."""

    def __init__(self) -> None:
        super().__init__()
        self.grown = threading.Condition()

    def append(self, mail: ReceivedMail) -> None:
        with self.grown:
            super().append(mail)
            self.grown.notify_all()


class SmtpServer:
    """See the module. `sessions` and `mails` grow while it runs; `most_connections` is how many were open at once."""

    def __init__(
        self,
        *,
        replies: Answers | None = None,
        drop_after: Sequence[str] | set[str] = (),
        in_body: tuple[int, Answer] | None = None,
        greylist: str | None = None,
        offers: Sequence[str] = OFFERS,
        tls: Literal["starttls", "implicit"] | None = None,
        logins: Mapping[str, str] | None = None,
        login_demanded: bool = False,
        data_for_nobody: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port
        self.sessions: list[Session] = []
        self.mails: list[ReceivedMail] = Record()
        self.connections = 0
        self.most_connections = 0
        context = _make_context() if tls else None
        self._script = Script(
            replies=replies or {},
            drop_after=frozenset(drop_after),
            in_body=in_body,
            greylist=greylist,
            offers=tuple(offers),
            starttls=context if tls == "starttls" else None,
            logins=logins or {},
            login_demanded=login_demanded,
            data_for_nobody=data_for_nobody,
        )
        self._implicit = context if tls == "implicit" else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._talks: list[Talk] = []
        self._server: asyncio.Server | None = None

    def mails_to(self, address: str) -> list[ReceivedMail]:
        return [mail for mail in self.mails if address in mail.recipients]

    def wait_for_mails(self, count: int) -> None:
        """Wait, in another thread than the server's, until it has taken so many mails."""
        assert isinstance(self.mails, Record)
        with self.mails.grown:
            assert self.mails.grown.wait_for(lambda: len(self.mails) >= count, 60), f"{len(self.mails)} mails came"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._implicit)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def count_waiting(self) -> int:
        """How many command lines of the newest connection came in together with the one that is being answered."""
        return bytes(self._talks[-1].rest).count(b"\n")

    async def wait_idle(self) -> None:
        """Wait until every connection so far has ended, and what it brought is recorded."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        session = Session(encrypted=self._implicit is not None)
        self.sessions.append(session)
        try:
            self._talks.append(Talk(self._script, session, self.mails, reader, writer))
            await self._talks[-1].run()
        except (GoneError, ConnectionError, ssl.SSLError):
            pass
        finally:
            session.finished = True
            self.connections -= 1
            writer.transport.abort()


def _make_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE_FILE)
    return context


@contextmanager
def run_in_thread(server: SmtpServer) -> Iterator[SmtpServer]:
    """Run a server in a thread of its own while the block lasts."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with server:
            stopped = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), stopped))
            await stopped.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop, stopped = started.result(30)
    try:
        yield server
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(stopped.set)
        thread.join(30)
