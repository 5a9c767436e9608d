"""Where bounces arrive: an IMAP mailbox or a maildir, read in order; what was taken is moved aside, nothing deleted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from newsletter.mailbox.imap import ImapMailbox
from newsletter.mailbox.maildir import Maildir

DONE, UNCLEAR = "newsletter-done", "newsletter-unclear"
"""The folders for what was taken: what counted, or was told to count; and what an operator should look at."""


class Mailbox(Protocol):
    """What both are. MailboxError where it cannot be read; its text has no password."""

    def list_messages(self) -> Iterator[tuple[str, bytes]]:
        """Everything that has arrived, each with the name by which it is moved."""
        ...

    def move_message(self, name: str, folder: str) -> None:
        """Put a message into a folder of the mailbox, made where it is missing."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for news; False where this mailbox tells of none, or is gone."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_mailbox(address: str) -> Mailbox:
    """Open `imaps://USER:PASSWORD@HOST[:PORT]/MAILBOX` or `maildir:PATH`."""
    if address.startswith("maildir:"):
        return Maildir(Path(address.removeprefix("maildir:")))
    parts = urlsplit(address)
    return ImapMailbox(
        host=parts.hostname or "",
        port=parts.port or 993,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        mailbox=unquote(parts.path.lstrip("/")) or "INBOX",
    )
