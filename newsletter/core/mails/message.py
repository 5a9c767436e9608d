"""The mail to one person: an edition's segments, joined with what is the person's own. Bytes ready for the wire.

No template runs here and no text is searched: a value is escaped and encoded once, and put in its slots (a 40 KB mail
takes some 30 µs). Refuses links and addresses that could break out of a header.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from markupsafe import escape

from newsletter.core.errors import NewsletterError
from newsletter.core.mails.chrome import find_text_direction, format_day
from newsletter.core.mails.editions import Edition
from newsletter.core.mails.headers import BOUNDARY, RELATED, check_link, write_mailbox, write_unsubscribe
from newsletter.core.mails.parts import Frame
from newsletter.core.mails.quoted import LINE_OCTETS, Piece, clean_line, decode_quoted, encode_quoted, fill_slots
from newsletter.core.mails.templates import CONTENT_ID
from newsletter.core.mails.texts import isolate_text
from newsletter.core.model import EVERY_STORY, Picture

_PART = "--{}\r\nContent-Type: text/{}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_TEXT = _PART.format(BOUNDARY, "plain").encode()
_HTML = _PART.format(BOUNDARY, "html").encode()
_PICTURE = (
    "--{}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <{}>\r\n"
    "Content-Disposition: inline\r\n\r\n{}"
)
_TO_ESCAPE = re.compile("[&<>'\"]")
_END = f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """Whom a mail is for. `topics` are ids of chosen topics, or `("*",)` for every story; `timezone` may be unknown."""

    email: str
    name: str = ""
    topics: tuple[str, ...] = ()
    timezone: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """The addresses that only this person's mail carries, in ASCII; `unsubscribe_mailto` begins with `mailto:`."""

    unsubscribe: str
    preferences: str
    view: str
    unsubscribe_mailto: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """A mail ready for the wire: its header lines, and all that follows the empty line after them."""

    head: bytes
    body: bytes

    @property
    def octets(self) -> bytes:
        """The whole mail."""
        return b"%b\r\n%b" % (self.head, self.body)


def compose_mail(edition: Edition, recipient: Recipient, links: Links, *, message_id: str, date: datetime) -> Composed:
    """Write the mail, CRLF throughout, no line beginning with a dot. `date` is aware: the attempt's own time.

    `message_id` may come with or without its angle brackets. NewsletterError when the recipient's address, a link or
    the Message-ID cannot stand in a header.
    """
    text, html = _encode_values(edition.frame, recipient, links)
    own = (
        _write_to(recipient)
        + f"Date: {_write_date(date, date.utcoffset())}\r\n"
        + f"Message-ID: <{check_link(message_id.removeprefix('<').removesuffix('>'))}>\r\n"
        + write_unsubscribe(links.unsubscribe, links.unsubscribe_mailto)
        + edition.frame.tail
    )
    before, after = _relate(edition.pictures)
    content = [_TEXT, *fill_slots(edition.text, text), before, *fill_slots(edition.html, html), after, _END]
    return Composed(head=edition.head + own.encode(), body=b"".join(content))


@lru_cache(maxsize=64)
def _relate(pictures: tuple[Picture, ...]) -> tuple[bytes, bytes]:
    """What stands before and after the HTML: its part's header, and where pictures travel with it, these (RFC 2387)."""
    if not pictures:
        return _HTML, b""
    kind = f'multipart/related; type="text/html";\r\n boundary="{RELATED}"'
    kind = f'multipart/related; type="text/html";\r\n boundary="{RELATED}"'
    related = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n"
    parts = (_PICTURE.format(RELATED, p.kind, p.content_id, _fold_base64(p.data)) for p in pictures)
    return (related + _PART.format(RELATED, "html")).encode(), "".join([*parts, f"--{RELATED}--\r\n"]).encode()


def _fold_base64(data: str) -> str:
    return "".join(f"{data[start : start + LINE_OCTETS]}\r\n" for start in range(0, len(data), LINE_OCTETS))


def take_apart(mail: EmailMessage) -> Composed:
    """A mail that the standard library writes, ready for the wire: no line begins with a lone dot (RFC 5321 4.5.2)."""
    head, _, body = mail.as_bytes(policy=SMTP).partition(b"\r\n\r\n")
    return Composed(head=head + b"\r\n", body=re.sub(rb"(?m)^\.", b"..", body))


def render_text(edition: Edition, recipient: Recipient, links: Links) -> str:
    """The text part, decoded."""
    return _decode_part(edition.text, _encode_values(edition.frame, recipient, links)[0])


def render_html(edition: Edition, recipient: Recipient, links: Links) -> str:
    """The HTML part, decoded."""
    return _decode_part(edition.html, _encode_values(edition.frame, recipient, links)[1])


def render_copy(edition: Edition, recipient: Recipient, links: Links) -> str:
    """The HTML for the web, where pictures lie at their own addresses."""
    html = render_html(edition, recipient, links)
    for picture in edition.pictures:
        html = html.replace(CONTENT_ID + picture.content_id, escape(picture.address))
    return html


def find_values(frame: Frame, recipient: Recipient, links: Links) -> dict[str, str]:
    """What stands in a person's slots, as plain text."""
    return {
        "address": _isolate(frame, clean_line(recipient.email)),
        "topics": _name_topics(frame, recipient.topics),
        "date": format_day(frame.find_day(recipient.timezone), frame.language),
        "unsubscribe": check_link(links.unsubscribe),
        "unsubscribe_mailto": check_link(links.unsubscribe_mailto) if links.unsubscribe_mailto else "",
        "preferences": check_link(links.preferences),
        "view": check_link(links.view),
    }


def _encode_values(frame: Frame, recipient: Recipient, links: Links) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The values as segments for the text part and for HTML; most need no escape, and are encoded once."""
    values = find_values(frame, recipient, links)
    text = {slot: encode_quoted(value) for slot, value in values.items()}
    html = dict(text)
    for slot, value in values.items():
        if _TO_ESCAPE.search(value):
            html[slot] = encode_quoted(str(escape(value)))
    return text, html


def _name_topics(frame: Frame, topics: Sequence[str]) -> str:
    if EVERY_STORY in topics:
        return clean_line(frame.words.all_topics)
    names = (_isolate(frame, frame.sender.topic_names.get(topic, topic)) for topic in topics)
    return clean_line(frame.words.separator.join(names))


def _isolate(frame: Frame, text: str) -> str:
    """A text of the other direction turns nothing around it; in a mail of format 1 it might."""
    return isolate_text(text, find_text_direction(frame.language)) if frame.format > 1 else text


@lru_cache(maxsize=16)
def _write_date(date: datetime, offset: timedelta | None) -> str:
    """Kept for a moment, since mails start in groups; by its offset too, which equal moments may differ in."""
    return format_datetime(date)


def _write_to(recipient: Recipient) -> str:
    try:
        return write_mailbox("To", recipient.name, recipient.email)
    except ValueError as error:
        raise NewsletterError(f"no mail can be written to {recipient.email[:80]!r}: {error}") from None


def _decode_part(pieces: Sequence[Piece], values: Mapping[str, bytes]) -> str:
    return decode_quoted(b"".join(fill_slots(pieces, values)))
