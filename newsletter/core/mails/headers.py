"""Header lines: names, addresses and text as RFC 5322, 2047 and 6532 want them, folded, and closed to injection.

Lines are at most 78 octets where they can be folded. An encoded word never stands in List-Unsubscribe: the standard
library's EmailMessage would put one there (cpython#85725), so lines are written here.
"""

import hashlib
import re
import textwrap
from email.header import Header

from newsletter.core.address import parse_address
from newsletter.core.errors import ConfigError, NewsletterError
from newsletter.core.mails.parts import Sender
from newsletter.core.mails.quoted import clean_line

LINE_OCTETS = 78  # RFC 5322 2.1.1
ENCODED_OCTETS = 74
ENCODED_LINE_OCTETS = 76  # RFC 2047 2
QUOTED_CHARACTERS = 60  # a longer name is encoded, since an encoded name can be folded
SENDER_ID_CHARACTERS = range(5, 16)  # what Gmail's Feedback-ID takes
RELATED = "=_related"
BOUNDARY = "=_newsletter"  # `=_` occurs in no quoted-printable text (RFC 2045 6.7)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_NO_ATOM = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]")
_ADDRESS_OF_LINK = re.compile("[!-;=?-~]+")


def write_text(header: str, text: str) -> str:
    """An unstructured header such as Subject; text that looks like an encoded word is encoded, so that it stays."""
    text = clean_line(text)
    if not text.isascii() or "=?" in text or any(len(word) > QUOTED_CHARACTERS for word in text.split()):
        return f"{header}: {_encode(header, text)}\r\n"
    if len(header) + len(text) + 2 <= LINE_OCTETS:
        return f"{header}: {text}\r\n"
    lines = textwrap.wrap(
        text, LINE_OCTETS - 1, initial_indent=f"{header}: ", break_long_words=False, break_on_hyphens=False
    )
    return "\r\n ".join(lines or [f"{header}:"]) + "\r\n"


def write_mailbox(header: str, name: str, address: str) -> str:
    """From, To or Reply-To with one mailbox. ValueError with a sentence when the address is none."""
    wire = parse_address(address).wire
    return _write_named(header, name, wire) if name.strip() else f"{header}: {wire}\r\n"


def write_list_id(name: str, address: str) -> str:
    """List-Id (RFC 2919), named after the From address: news@example.org is <news.example.org>."""
    local, _, domain = parse_address(address).wire.rpartition("@")
    return _write_named("List-Id", name, f"{_NO_ATOM.sub('-', local)}.{domain}")


def write_unsubscribe(link: str, mailto: str | None) -> str:
    """List-Unsubscribe (RFC 2369), folded only between its addresses, and never an encoded word."""
    addresses = [link] if mailto is None else [link, mailto]
    return "List-Unsubscribe: " + ",\r\n ".join(f"<{check_link(a)}>" for a in addresses) + "\r\n"


def write_feedback_id(issue: int | None, language: str, address: str) -> str:
    """Feedback-ID (Gmail): four fields, the same for every recipient; the last names the From domain."""
    domain = parse_address(address).domain
    sender_id = re.sub("[^a-z0-9]", "", domain)
    if len(sender_id) not in SENDER_ID_CHARACTERS:
        sender_id = sender_id[:7] + hashlib.sha256(domain.encode()).hexdigest()[:8]
    return f"Feedback-ID: {'preview' if issue is None else f'issue{issue}'}:{language}:newsletter:{sender_id}\r\n"


def write_head(sender: Sender) -> str:
    """The header lines that all mails of a sender begin with."""
    return write_mailbox("From", sender.from_name, sender.from_address) + (
        write_mailbox("Reply-To", "", sender.reply_to) if sender.reply_to else ""
    )


def write_tail(sender: Sender, issue: int | None, language: str) -> str:
    """The header lines that all mails of an issue and language end with."""
    return (
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        + write_list_id(sender.name, sender.from_address)
        + write_feedback_id(issue, language, sender.from_address)
        + "MIME-Version: 1.0\r\n"
        + f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"\r\n'
    )


def check_link(link: str) -> str:
    """The link, if it is printable ASCII that can stand between angle brackets. NewsletterError otherwise."""
    if not _ADDRESS_OF_LINK.fullmatch(link):
        raise NewsletterError(f"{link[:200]!r} cannot stand in a header: it should be ASCII without spaces or <>")
    return link


def check_sender(sender: Sender) -> None:
    """ConfigError when the sender's addresses cannot stand in a header."""
    for name, address in (("FROM", sender.from_address), ("REPLY_TO", sender.reply_to)):
        try:
            if address is not None:
                parse_address(address)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None


def _write_named(header: str, name: str, address: str) -> str:
    shown = _write_phrase(header, clean_line(name))
    most = ENCODED_LINE_OCTETS if "=?" in shown else LINE_OCTETS
    fits = len(shown.rpartition("\n")[2]) + len(address) + 3 <= most - len(header) - 2
    return f"{header}: {shown}" + (" " if fits else "\r\n ") + f"<{address}>\r\n"


def _write_phrase(header: str, name: str) -> str:
    """A display name: atoms, a quoted string, or encoded words (RFC 5322 3.2.5, RFC 2047 5 (3))."""
    if not name.isascii() or "=?" in name or len(name) > QUOTED_CHARACTERS:
        return _encode(header, name)
    if _ATOMS.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encode(header: str, text: str) -> str:
    # At its default of 76 the standard library writes words of 76 octets where the text has no spaces (measured).
    return Header(text, "utf-8", header_name=header, maxlinelen=ENCODED_OCTETS).encode(linesep="\r\n")
