"""How the text of one setting becomes its value. Each function raises ValueError with the reason, in words.

A reason never holds a password: addresses are shown without what stands before their `@`, secrets not at all.
"""

import json
import math
import re
from datetime import timedelta
from string import Formatter
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from newsletter.core.address import has_control_characters, parse_address, parse_named_address

SECRET_CHARACTERS = 32
SUBJECT_NAMES = ("lead", "count", "title", "name", "date")
_THEME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_HOST = re.compile(r"[^\s/@]+")
_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE)


class From(NamedTuple):
    """Who the mail is from. `email` has its domain as A-labels, ready for a header; `name` may be empty."""

    name: str
    email: str


def parse_from(text: str) -> From:
    """Read `Name <a@b>` or `a@b`."""
    name, address = parse_named_address(text)
    return From(name=name, email=address.wire)


def parse_email(text: str) -> str:
    """Read a bare address; its domain comes back as A-labels."""
    return parse_address(text).wire


def parse_line(text: str) -> str:
    """Refuse a text that could break a header."""
    if has_control_characters(text):
        raise ValueError("it has control characters")
    return text


def parse_lines(text: str) -> str:
    """Refuse control characters other than line breaks."""
    parse_line(text.replace("\n", ""))
    return text


def parse_language(text: str) -> str:
    """Read a language tag (RFC 5646)."""
    if not _LANGUAGE.fullmatch(text):
        raise ValueError("it is not a language tag such as en or pt-BR")
    return text


def parse_subject(pattern: str) -> str:
    """A pattern for subjects: text with names in braces, one of which makes each issue's its own."""
    try:
        fields = [part[1:] for part in Formatter().parse(parse_line(pattern)) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"its braces do not match ({error}); a brace itself is written twice") from None
    names = ", ".join(f"{{{name}}}" for name in SUBJECT_NAMES)
    for name, spec, conversion in fields:
        if name not in SUBJECT_NAMES or spec or conversion:
            raise ValueError(f"only {names} stand between braces")
    if not {"lead", "title", "date"} & {name for name, _, _ in fields}:
        raise ValueError("every issue would have the same subject: it needs {lead}, {title} or {date}")
    return pattern


def parse_theme(text: str) -> str:
    """Read the name of a folder of templates."""
    if not _THEME.fullmatch(text):
        raise ValueError("a theme is the name of a folder, of small letters, digits, - and _")
    return text


def parse_host(text: str) -> str:
    """Read the name or number of a host, without a port."""
    if not _HOST.fullmatch(text):
        raise ValueError("it is not the name of a host")
    return text


def parse_selector(text: str) -> str:
    """Read a DKIM selector (RFC 6376 3.1)."""
    if not _SELECTOR.fullmatch(text):
        raise ValueError("it is not a DKIM selector such as news2026")
    return text


def parse_timeout(value: object) -> timedelta:
    """Read a number of seconds above 0."""
    if not (seconds := parse_seconds(value)):
        raise ValueError("it must be more than 0 seconds")
    return seconds


def parse_seconds(value: object) -> timedelta:
    """Read a number of seconds, also a fraction, 0 or more."""
    try:
        seconds = float(str(value))
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError
        return timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise ValueError("it is not a number of seconds") from None


def parse_lease(value: object) -> timedelta:
    """Read a number of seconds in which several heartbeats have room: 5 to 3600."""
    lease = parse_seconds(value)
    if not timedelta(seconds=5) <= lease <= timedelta(hours=1):
        raise ValueError("it is not 5 to 3600 seconds")
    return lease


def parse_days(text: str) -> timedelta:
    """Read a whole number of days, 1 or more."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= timedelta.max.days):
        raise ValueError("it is not a whole number of days, 1 or more")
    return timedelta(days=int(text))


def parse_json_list(value: object) -> Any:
    """Read a JSON list; a value that is no text is a default and stays."""
    return _parse_json(value, list, "list") if isinstance(value, str) else value


def parse_json_object(value: str) -> Any:
    """Read a JSON object."""
    return _parse_json(value, dict, "object")


def parse_one_or_more(value: object) -> Any:
    """Read one text, or several as a JSON list; a value that is no text is a default and stays."""
    if not isinstance(value, str):
        return value
    several = parse_json_list(value) if value.startswith("[") else [value]
    if not several:
        raise ValueError("the list is empty")
    return several


def check_secret(secret: SecretStr) -> SecretStr:
    """Refuse a key that could be guessed."""
    if len(secret) < SECRET_CHARACTERS:
        raise ValueError(f"a key has {SECRET_CHARACTERS} characters at least, this one {len(secret)}")
    return secret


def parse_base_url(text: str) -> str:
    """Read the http or https address of the web pages; it comes back without a slash at its end."""
    parts = _split_address(text)
    if parts is None or parts.scheme not in ("http", "https") or re.search(r'[^!-~]|["<>\\]', text):
        raise ValueError(f"{mask_credentials(text)!r} is not an address such as https://news.example.org")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError(f"{mask_credentials(text)!r} has more than a scheme, a host and a path")
    return text.rstrip("/")


def parse_source(text: str) -> str:
    """Read a folder, or the http or https address of a feed."""
    parts = _split_address(text)
    if "://" in text and (parts is None or parts.scheme not in ("http", "https")):
        raise ValueError(f"{mask_credentials(text)!r} is neither a folder nor the http or https address of a feed")
    if not text or has_control_characters(text):
        raise ValueError("it is not the name of a folder")
    return text


def parse_database_url(text: str) -> str:
    """Read the address of a SQLite file or a PostgreSQL database."""
    for start in ("sqlite:///", "postgresql://"):
        if text.startswith(start) and len(text) > len(start) and not has_control_characters(text):
            return text
    shown = mask_credentials(text)
    raise ValueError(f"{shown!r} is neither sqlite:///FILE nor postgresql://USER:PASSWORD@HOST/DATABASE")


def parse_mailbox(text: str) -> str:
    """Read where bounces arrive: an IMAP mailbox over TLS, or a maildir."""
    parts = _split_address(text)
    by_imap = parts is not None and parts.scheme == "imaps" and parts.username and parts.password
    if by_imap or text.removeprefix("maildir:") not in ("", text):
        return text
    raise ValueError("it is neither imaps://USER:PASSWORD@HOST/MAILBOX nor maildir:PATH")


def mask_credentials(address: str) -> str:
    """Hide what may be a name and a password, everything between the scheme and the last `@`; 80 characters at most."""
    return re.sub(r"^(\w+:/*)?.*@", r"\1***@", address, flags=re.DOTALL)[:80]


def _parse_json(text: str, kind: type, word: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not a JSON {word} ({error.msg}, character {error.pos + 1})") from None
    except RecursionError:
        value = None
    if not isinstance(value, kind):
        raise ValueError(f"it is not a JSON {word}")
    return value


def _split_address(text: str) -> SplitResult | None:
    """Take an address apart; None where it has no host or a port that is none."""
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None
