"""An IMAP mailbox over TLS (RFC 9051, RFC 8314), by IMAPClient: read without marking, moved, waited for by IDLE."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from newsletter.core.bounces.opening import MOST_OCTETS
from newsletter.core.errors import MailboxError

CONNECT_SECONDS = 30.0
AT_ONCE = 20
_PART = f"BODY.PEEK[]<0.{MOST_OCTETS}>"
_ANSWER = b"BODY[]<0>"


class ImapMailbox:
    """One connection to one mailbox."""

    def __init__(self, *, host: str, port: int, user: str, password: str, mailbox: str) -> None:
        """Connect, log in and select; MailboxError where that cannot be."""
        self._where = f"imaps://{host}:{port}/{mailbox}"
        with self._named("cannot be reached"):
            self._client = IMAPClient(
                host, port, use_uid=True, ssl_context=ssl.create_default_context(), timeout=CONNECT_SECONDS
            )
        try:
            with self._named("cannot be opened"):
                self._client.login(user, password)
                self._client.select_folder(mailbox)
        except MailboxError:
            self.close()
            raise
        self._folders: dict[str, str] = {}

    def list_messages(self) -> Iterator[tuple[str, bytes]]:
        """What is in the mailbox, oldest first; nothing is marked as seen."""
        with self._named("cannot be read"):
            numbers = sorted(self._client.search(["UNDELETED"]))
            for start in range(0, len(numbers), AT_ONCE):
                got = self._client.fetch(numbers[start : start + AT_ONCE], [_PART])
                for number in sorted(got):
                    octets = got[number].get(_ANSWER)
                    if isinstance(octets, bytes):
                        yield str(number), octets

    def move_message(self, name: str, folder: str) -> None:
        """Move (RFC 6851), or copy, mark and expunge where the server cannot."""
        with self._named(f"cannot move a message to {folder}"):
            target, number = self._find_folder(folder), int(name)
            if self._client.has_capability("MOVE"):
                self._client.move([number], target)
                return
            self._client.copy([number], target)
            self._client.delete_messages([number])
            if self._client.has_capability("UIDPLUS"):
                self._client.uid_expunge([number])
            else:
                self._client.expunge()

    def wait(self, seconds: float) -> bool:
        """Wait for news by IDLE (RFC 2177), so long at most; False where the server does not offer it."""
        if not self._client.has_capability("IDLE"):
            return False
        with self._named("was lost while we waited"):
            self._client.idle()
            self._client.idle_check(timeout=seconds)
            self._client.idle_done()
        return True

    def close(self) -> None:
        """Log out; a connection that is gone already is gone."""
        try:
            self._client.logout()
        except (IMAPClientError, OSError):
            with suppress(IMAPClientError, OSError):
                self._client.shutdown()

    def _find_folder(self, folder: str) -> str:
        """The folder's full name among the account's own (RFC 2342); made where it is missing."""
        if folder not in self._folders:
            prefix = ""
            if self._client.has_capability("NAMESPACE") and (personal := self._client.namespace().personal):
                prefix = personal[0][0]
            name = f"{prefix}{folder}"
            if not self._client.folder_exists(name):
                self._client.create_folder(name)
            self._folders[folder] = name
        return self._folders[folder]

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Errors of the library and the network as one sentence; what the server said has no password in it."""
        try:
            yield
        except LoginError:
            raise MailboxError(f"{self._where}: the server refuses the login") from None
        except (IMAPClientError, OSError) as error:
            raise MailboxError(f"{self._where} {what}: {error}") from None
