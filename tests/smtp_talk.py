"""One connection of the test server: the SMTP dialogue, and the ways to misbehave in it. See smtp_server.py."""

import asyncio
import base64
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias


class Drop:
    """Hang up."""


DROP = Drop()


@dataclass(eq=False)
class Stall:
    """Say nothing until `release()`. `reached` and `released` are futures for threads; in a loop use `wait_reached`."""

    then: "Answer | None" = None
    reached: "Future[None]" = field(default_factory=Future)
    released: "Future[None]" = field(default_factory=Future)

    async def wait_reached(self) -> None:
        """Wait until the server stands at this stage."""
        await asyncio.wrap_future(self.reached)

    def release(self) -> None:
        """Let the server go on; from any thread."""
        if not self.released.done():
            self.released.set_result(None)


Single: TypeAlias = str | bytes | Drop | Stall
Answer: TypeAlias = Single | Sequence[Single | None]
Answers: TypeAlias = Mapping[str, Answer | Mapping[str, Answer]]


@dataclass(frozen=True, kw_only=True)
class ReceivedMail:
    """A mail that the server accepted, as bytes without dot-stuffing; parameters as in `SIZE=1000`."""

    return_path: str
    recipients: tuple[str, ...]
    mail_parameters: tuple[str, ...]
    rcpt_parameters: tuple[str, ...]
    data: bytes

    @property
    def recipient(self) -> str:
        (only,) = self.recipients
        return only


@dataclass
class Session:
    """What one connection did: its command lines, its accepted mails, its login, whether it was encrypted."""

    commands: list[str] = field(default_factory=list)
    mails: list[ReceivedMail] = field(default_factory=list)
    login: str | None = None
    encrypted: bool = False
    finished: bool = False

    @property
    def verbs(self) -> list[str]:
        """The commands without their arguments."""
        return [command.split(" ")[0].partition(":")[0].upper() for command in self.commands]


class GoneError(Exception):
    """The connection ends here."""


@dataclass(kw_only=True)
class Script:
    """How a server behaves; the names are those of SmtpServer."""

    replies: Answers
    drop_after: frozenset[str]
    in_body: tuple[int, Answer] | None
    greylist: str | None
    offers: tuple[str, ...]
    starttls: ssl.SSLContext | None
    logins: Mapping[str, str]
    login_demanded: bool
    data_for_nobody: bool = False
    _seen: set[str] = field(default_factory=set)
    _turns: dict[tuple[str, str], int] = field(default_factory=dict)

    def find_answer(self, stage: str, address: str) -> "Answer | None":
        """What to say instead of the usual."""
        found, whose = self.replies.get(stage), ""
        if isinstance(found, Mapping):
            found, whose = found.get(address), address
        if isinstance(found, Sequence) and not isinstance(found, str | bytes):
            turn = self._turns.get((stage, whose), 0)
            self._turns[stage, whose] = turn + 1
            return found[turn] if turn < len(found) else None
        if found is None and stage == "RCPT" and self.greylist and address not in self._seen:
            self._seen.add(address)
            return self.greylist
        return found


class Talk:
    """One connection."""

    def __init__(
        self,
        script: Script,
        session: Session,
        everyones: list[ReceivedMail],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.script = script
        self.everyones = everyones
        self.session = session
        self.reader = reader
        self.writer = writer
        self.rest = bytearray()
        self.return_path: str | None = None
        self.recipients: list[str] = []
        self.mail_parameters: tuple[str, ...] = ()
        self.rcpt_parameters: tuple[str, ...] = ()

    async def run(self) -> None:
        await self.answer("BANNER", "220 test server")
        while True:
            line = (await self.read_until(b"\n")).decode("utf-8", "replace").rstrip("\r\n")
            self.session.commands.append(line)
            verb, _, argument = line.partition(" ")
            handle = getattr(self, f"do_{verb.lower()}", None)
            if handle is None:
                await self.say("500 5.5.2 unknown command")
            else:
                await handle(argument)

    async def do_ehlo(self, name: str) -> None:
        lines = ["250 test server", *(f"250 {offer}" for offer in self.script.offers)]
        if self.script.starttls and not self.session.encrypted:
            lines.append("250 STARTTLS")
        if self.script.logins and not any(offer.startswith("AUTH") for offer in self.script.offers):
            lines.append("250 AUTH PLAIN LOGIN")
        self.forget()
        await self.answer("EHLO", "\n".join(lines))

    async def do_helo(self, name: str) -> None:
        self.forget()
        await self.answer("HELO", "250 test server")

    async def do_starttls(self, _: str) -> None:
        context = self.script.starttls
        if await self.answer("STARTTLS", "220 go on" if context else "502 5.5.1 no") == 220 and context:
            await self.writer.start_tls(context)
            self.session.encrypted = True
            self.rest.clear()

    async def do_auth(self, argument: str) -> None:
        method, _, first = argument.partition(" ")
        if method.upper() == "PLAIN":
            _, name, password = _decode(first or await self.ask("")).split("\0")
        else:
            name = _decode(first or await self.ask("VXNlcm5hbWU6"))
            password = _decode(await self.ask("UGFzc3dvcmQ6"))
        right = self.script.logins.get(name) == password
        if await self.answer("AUTH", "235 2.7.0 welcome" if right else "535 5.7.8 wrong name or password") == 235:
            self.session.login = name

    async def do_mail(self, argument: str) -> None:
        address, parameters = _parse_path(argument, "FROM:")
        if self.script.login_demanded and self.session.login is None:
            await self.answer("MAIL", "530 5.7.0 log in first", address)
        elif self.return_path is not None:
            await self.say("503 5.5.1 nested MAIL")
        elif await self.answer("MAIL", "250 2.1.0 ok", address) // 100 == 2:
            self.return_path, self.mail_parameters = address, parameters

    async def do_rcpt(self, argument: str) -> None:
        address, parameters = _parse_path(argument, "TO:")
        if self.return_path is None:
            await self.say("503 5.5.1 MAIL first")
        elif await self.answer("RCPT", "250 2.1.5 ok", address) // 100 == 2:
            self.recipients.append(address)
            self.rcpt_parameters = parameters

    async def do_data(self, _: str) -> None:
        if not self.recipients and not self.script.data_for_nobody:
            await self.say("503 5.5.1 RCPT first")
            return
        recipient = self.recipients[-1] if self.recipients else ""
        if await self.answer("DATA", "354 go on", recipient) != 354:
            return
        body = await self.read_body()
        if body is not None and not self.recipients:
            await self.say("554 5.5.1 nobody to send it to")
        elif body is not None:
            await self.answer("BODY", "250 2.0.0 queued", recipient, taken=lambda: self.keep(body))
        self.forget()

    async def do_rset(self, _: str) -> None:
        self.forget()
        await self.answer("RSET", "250 2.0.0 ok")

    async def do_noop(self, _: str) -> None:
        await self.answer("NOOP", "250 2.0.0 ok")

    async def do_quit(self, _: str) -> None:
        await self.answer("QUIT", "221 2.0.0 bye")
        raise GoneError

    def keep(self, body: bytes) -> None:
        mail = ReceivedMail(
            return_path=self.return_path or "",
            recipients=tuple(self.recipients),
            mail_parameters=self.mail_parameters,
            rcpt_parameters=self.rcpt_parameters,
            data=(b"\r\n" + body).replace(b"\r\n..", b"\r\n.")[2:],
        )
        self.session.mails.append(mail)
        self.everyones.append(mail)

    def forget(self) -> None:
        self.return_path, self.recipients = None, []

    async def answer(self, stage: str, usual: str, address: str = "", taken: Callable[[], None] = lambda: None) -> int:
        """Say what is asked for at this stage, or the usual; returns the code. `taken` is called where that is 2xx."""
        found = self.script.find_answer(stage, address)
        code = await self.say(usual if found is None else found, usual)
        if code // 100 == 2:
            taken()
        if stage in self.script.drop_after:
            raise GoneError
        return code

    async def say(self, what: Answer, usual: Answer = "250 ok") -> int:
        if isinstance(what, Drop):
            raise GoneError
        if isinstance(what, Stall):
            if not what.reached.done():
                what.reached.set_result(None)
            await asyncio.shield(asyncio.wrap_future(what.released))
            return await self.say(usual if what.then is None else what.then, usual)
        if isinstance(what, str):
            lines = what.split("\n")
            told = [f"{line[:3]}-{line[4:]}" for line in lines[:-1]] + [lines[-1]]
            what = "".join(f"{line}\r\n" for line in told).encode()
        assert isinstance(what, bytes)
        self.writer.write(what)
        await self.writer.drain()
        if what.startswith(b"421"):
            raise GoneError
        return int(what[:3]) if re.match(rb"\d{3}[ \r-]", what) else 0

    async def ask(self, challenge: str) -> str:
        await self.say(f"334 {challenge}")
        return (await self.read_until(b"\n")).decode().strip()

    async def read_until(self, end: bytes) -> bytes:
        searched = 0
        while (at := self.rest.find(end, max(0, searched - len(end)))) < 0:
            searched = len(self.rest)
            await self.read_more()
        found = bytes(self.rest[: at + len(end)])
        del self.rest[: at + len(end)]
        return found

    async def read_more(self) -> None:
        data = await self.reader.read(65_536)
        if not data:
            raise GoneError
        self.rest += data

    async def read_body(self) -> bytes | None:
        """The body, still dot-stuffed, its final dot taken away; None where `in_body` answered it already."""
        answered = False
        if self.script.in_body is not None:
            octets, early = self.script.in_body
            while len(self.rest) < octets:
                await self.read_more()
            await self.say(early, b"")
            answered = not isinstance(early, Stall) or early.then is not None
        self.rest[:0] = b"\r\n"
        body = await self.read_until(b"\r\n.\r\n")
        return None if answered else body[2:-3]


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()


def _parse_path(argument: str, keyword: str) -> tuple[str, tuple[str, ...]]:
    path, *parameters = argument.removeprefix(keyword).split()
    return path.removeprefix("<").removesuffix(">"), tuple(parameters)
