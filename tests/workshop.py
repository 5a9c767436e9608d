"""A working folder for tests of the command line: briefs, topics, settings, and commands run in this process."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from smtp_server import SmtpServer
from smtp_talk import ReceivedMail

from newsletter.cli import main

TOPICS = """\
[topics.sport]
name = "Sport"
keywords = ["football", "match", "goal"]

[topics.science]
name = "Science"
keywords = ["comet", "telescope", "physics"]

[topics.space]
name = "Space"
keywords = ["orbit"]
parent = "science"

[topics.culture]
name = "Culture"
keywords = ["museum", "theatre"]
"""

MONDAY = """\
Headlines:

- **A football match ended level**
- **A comet passes close by**
- **The museum opens late**

Details:

A football match ended level

Both sides scored one goal and were glad of it. ([Report](https://example.org/match))

A comet passes close by

Look north after sunset, with a small telescope.

The museum opens late

On Thursdays the museum stays open until ten.
"""

SUBSCRIBERS = """\
email,name,topics,frequency,timezone,language
ada@example.org,Ada,science,,,
ben@example.org,"Ben, B.",sport;culture,,,de
cleo@example.org,,*,,,
dan@example.org,Dan,space,,,
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object that it printed."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON Lines that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Workshop:
    """A working folder; `run` runs a command in it."""

    folder: Path
    capsys: pytest.CaptureFixture[bytes] | None
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> Ran:
        """Run a command; it must end with `code`."""
        out, err = self._run(arguments, code)
        return Ran(code=code, out=out.decode(), err=err.decode())

    def run_raw(self, *arguments: str) -> bytes:
        """Run a command and return the bytes of its stdout."""
        return self._run(arguments, 0)[0]

    def _run(self, arguments: Sequence[str], code: int) -> tuple[bytes, bytes]:
        assert self.capsys is not None
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, f"{arguments} ended with {ended.value.code}: {out!r}{err!r}"
        return out, err

    def configure(self, **settings: str | int) -> None:
        """Write .env anew with these settings (names without prefix) added to those before."""
        self.settings |= {name: str(value) for name, value in settings.items()}
        text = "".join(f"NEWSLETTER_{name}={value}\n" for name, value in self.settings.items())
        (self.folder / ".env").write_text(text, encoding="utf-8")

    def write(self, path: str, text: str) -> Path:
        """Write a file of the folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def use(self, server: SmtpServer) -> None:
        """Let this server be the relay."""
        self.configure(SMTP__HOST="127.0.0.1", SMTP__PORT=server.port, SMTP__TLS="none")


def make_workshop(folder: Path, capsys: pytest.CaptureFixture[bytes]) -> Workshop:
    """A folder with one brief, four topics and four subscribers not yet imported."""
    return fill_workshop(folder, capsys)


def fill_workshop(folder: Path, capsys: pytest.CaptureFixture[bytes] | None = None) -> Workshop:
    """The same; without `capsys` its commands are run as processes by whoever asks for it."""
    workshop = Workshop(folder, capsys)
    workshop.write("briefs/2026-11-23-monday.md", MONDAY)
    workshop.write("subscribers/topics.toml", TOPICS)
    workshop.write("subscribers/list.csv", SUBSCRIBERS)
    workshop.configure(
        FROM="The Brief <brief@news.example.org>",
        SECRET_KEY="0123456789abcdef0123456789abcdef",
        BASE_URL="https://news.example.org",
        POSTAL_ADDRESS="1 Market Square, Sampleton",
        SMTP__HOST="127.0.0.1",
        SMTP__PORT=1,
        SMTP__TLS="none",
    )
    return workshop


def parse_mail(mail: ReceivedMail | bytes) -> EmailMessage:
    """A mail as a reader's program sees it."""
    data = mail if isinstance(mail, bytes) else mail.data
    return message_from_bytes(data, policy=policy.default)


def read_parts(mail: ReceivedMail | bytes) -> tuple[str, str]:
    """The text and the HTML of a mail, decoded."""
    message = parse_mail(mail)
    parts: Sequence[EmailMessage] = list(message.iter_parts())  # type: ignore[arg-type]
    return parts[0].get_content(), parts[1].get_content()
