"""A message that came back, taken apart: what its sender says, the fields for machines, what it returns of our mail.

Uses the standard library's parser. Never raises, whatever the bytes; reads no more than MOST_OCTETS, MOST_PARTS.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from html import unescape
from quopri import decodestring

MOST_OCTETS = 250_000
"""Bounces are small, and what they return of our mail may be left out; more than this is not read."""
MOST_PARTS = 60
MOST_TEXT = 40_000

Fields = Mapping[str, str]
"""Fields by their name in lower case; the values of several of a name stand side by side."""


@dataclass(frozen=True)
class Opened:
    """`notice` is what people are to read; `blocks` the fields of a delivery status (RFC 3464 2.1), the first is of the
    whole message; `feedback` those of a complaint; `returned` the headers of the mail that came back."""

    headers: Fields
    type: str
    notice: str = ""
    blocks: tuple[Fields, ...] = ()
    feedback: Fields = field(default_factory=dict)
    returned: Fields = field(default_factory=dict)
    copy: str = ""  # the returned mail, as far as it is there
    nested: bytes = b""  # the same where it is itself from a mail system: a bounce of a bounce


DAEMON = re.compile(
    r"mailer[-_. ]?daemon|post_?master|mail[-_ ]?(?:delivery|administrator|system|daemon)|delivery[-_ ]subsystem"
    r"|delivery[-_ ]status|\bmaiser\b|^<>$|\bbounces?[@+]|nondeliver",
    re.IGNORECASE,
)
"""The names of mail systems, as a sender."""

_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_COPY_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers", "message/partial")

# Where a notice ends and the mail that came back begins, in reports that have no parts.
_COPY_BEGINS = re.compile(
    r"^(?:[ \t]*[-=*_ ]{2,}.{0,40}\b(?:below this line|copy of (?:the|your) message|(?:original|returned|unsent"
    r"|undelivered|your) (?:e-?mail )?(?:message|mail)|message (?:header|text|body|follows)|headers? of)\b.{0,80}"
    r"|[ \t]*(?:the )?(?:original|your|returned|undelivered|following) (?:mail )?(?:message|mail|headers?)\b[^\n]{0,50}"
    r"follows?\b[^\n]{0,20}|[ \t]*(?:below is a copy of|message headers? follow)[^\n]*"
    r"|(?:return-path|received|delivered-to|x-originating-ip|dkim-signature|x-google-dkim-signature|mime-version"
    r"|message-id): ?\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_FIELD = re.compile(r"([!-9;-~]{1,76})[ \t]*:[ \t]*(.*)")


def open_message(octets: bytes) -> Opened:
    """Take a message apart."""
    try:
        message = message_from_bytes(octets[:MOST_OCTETS])
        parts = [(part.get_content_type(), part) for part in _walk(message)]
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError):  # bytes that no mail program wrote
        return Opened(headers={}, type="")
    status, feedback, copy, nested = "", "", "", b""
    texts: list[str] = []
    pages: list[str] = []
    for kind, part in parts:
        if kind in _STATUS_TYPES:
            status = status or _read_text(part)
        elif kind == "message/feedback-report":
            feedback = feedback or _read_text(part)
        elif kind in _COPY_TYPES or _is_attachment(part):
            copy = copy or _read_text(part)
            nested = nested or _find_nested(part)
        elif kind == "text/html":
            pages.append(_strip_html(_read_text(part)))
        elif kind.startswith(("text/", "multipart/")) or not message.is_multipart():
            texts.append(_read_text(part))
    notice = _shorten_runs("\n".join(text for text in texts if text.strip()) or "\n".join(pages))
    notice, rest = _split_copy(notice)
    copy = copy or rest
    if not status and "final-recipient" in notice.lower():
        status = notice  # the fields for machines stand among the sentences
    return Opened(
        headers=_read_headers(message),
        type=message.get_content_type(),
        notice=notice[:MOST_TEXT],
        blocks=tuple(read_blocks(status)),
        feedback=next(iter(read_blocks(feedback)), {}),
        returned=next(iter(read_blocks(copy.lstrip())), {}),
        copy=copy[:MOST_TEXT],
        nested=nested or (rest.encode() if DAEMON.search(next(iter(read_blocks(rest)), {}).get("from", "")) else b""),
    )


def read_blocks(text: str) -> Iterator[Fields]:
    """The fields of a text, a mapping for each run of them up to an empty line; folded lines are one."""
    for block in re.split(r"\n[ \t]*\n", text[:MOST_TEXT].replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            if line[:1] in " \t" and name:
                fields[name] += " " + line.strip()
            elif found := _FIELD.match(line):
                name = found[1].lower()
                if name == "final-recipient" and name in fields:  # the empty line between two recipients is missing
                    yield fields
                    fields = {}
                fields[name] = f"{fields[name]}, {found[2].strip()}" if name in fields else found[2].strip()
        if fields:
            yield fields


def _walk(message: Message) -> Iterator[Message]:
    """The leaves of a message, in order; what is returned of a mail is one leaf."""
    waiting, count = [message], 0
    while waiting and count < MOST_PARTS:
        part = waiting.pop(0)
        count += 1
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting[:0] = [one for one in payload[:MOST_PARTS] if isinstance(one, Message)]
        else:
            yield part


def _find_nested(part: Message) -> bytes:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else None
    if not isinstance(inner, Message) or not DAEMON.search(str(inner.get("from", ""))):
        return b""
    try:
        return inner.as_bytes()
    except (ValueError, LookupError):  # headers in no encoding at all
        return _write(inner).encode("utf-8", "surrogateescape")


def _is_attachment(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _read_text(part: Message) -> str:
    """The text of a leaf, decoded as well as it can be."""
    payload = part.get_payload()
    if isinstance(payload, list):
        text = "\n\n".join(_write(one) for one in payload[:MOST_PARTS] if isinstance(one, Message))
        encoding = str(part.get("content-transfer-encoding"))
        return _decode(_undo_encoding(text.encode("utf-8", "surrogateescape"), encoding), None)
    raw = part.get_payload(decode=True)
    octets = raw if isinstance(raw, bytes) else str(payload).encode("utf-8", "surrogateescape")
    return _decode(octets, part.get_content_charset())


def _undo_encoding(octets: bytes, encoding: str) -> bytes:
    """What the parser takes for fields although it is encoded; as it is where that cannot be undone."""
    try:
        match encoding.strip().lower():
            case "base64":
                return b64decode(octets)
            case "quoted-printable":
                return decodestring(octets)
    except ValueError:
        pass
    return octets


def _write(message: Message) -> str:
    """A message within a message as text: its headers, and its body where it has no parts."""
    lines = [f"{name}: {value}" for name, value in message.raw_items()]
    body = message.get_payload(decode=True)
    text = body.decode("utf-8", "surrogateescape") if isinstance(body, bytes) else ""
    return "\n".join(lines) + "\n\n" + text


def _decode(octets: bytes, charset: str | None) -> str:
    for name in (charset, "utf-8"):
        try:
            if name:
                return octets.decode(name).encode("utf-8", "replace").decode()
        except (LookupError, ValueError):
            continue
    return octets.decode("latin-1")


def _read_headers(message: Message) -> Fields:
    headers: dict[str, str] = {}
    for name, value in message.raw_items():
        headers.setdefault(name.lower(), decode_words(str(value))[:2_000])
    return headers


def decode_words(value: str) -> str:
    """A header's value with its encoded words (RFC 2047) read, as far as they can be."""
    value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError, LookupError):
        return value
    return " ".join(
        "".join(piece if isinstance(piece, str) else _decode(piece, charset) for piece, charset in pieces).split()
    )


def _shorten_runs(text: str) -> str:
    """The text without the long runs of blanks, empty lines and rules that it may be laid out with."""
    lines = [line.rstrip() for line in text[: 4 * MOST_TEXT].split("\n")]
    text = "\n".join(line for line, before in zip(lines, ["", *lines], strict=False) if line or before)
    return re.sub(r"([ \t]{4}|[-=*_]{8})[-=*_ \t]+", r"\1", text)


def _split_copy(notice: str) -> tuple[str, str]:
    found = _COPY_BEGINS.search(notice, 1)
    return (notice[: found.start()], notice[found.start() :]) if found else (notice, "")


def _cut_element(page: str, name: str) -> str:
    """A page without the elements of a name and what is in them."""
    kept, lower, begin = [], page.lower(), 0
    while (start := lower.find(f"<{name}", begin)) >= 0 and (end := lower.find(f"</{name}", start)) >= 0:
        kept.append(page[begin:start])
        begin = end
    return "".join(kept) + page[begin:]


def _strip_html(page: str) -> str:
    for name in ("style", "script"):
        page = _cut_element(page[: 4 * MOST_TEXT], name)
    page = re.sub(r"(?i)<(?:br|/?p|/?div|/?tr|/?td|/?li|/?h\d|/?table)\b[^<>]*>", "\n", page)
    page = re.sub(r"<(?![^<>]*@)[^<>]{0,2000}>", "", page)
    return unescape(page)
