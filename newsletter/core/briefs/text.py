"""Text and addresses as they come in: cleaned, folded for comparison, and allowed or refused.

Uses only the standard library. Refuses nothing by raising: a character that no mail may carry goes, an address
that no mail may link to is None.
"""

import re
from urllib.parse import quote, urljoin, urlsplit

from newsletter.core.model import fold

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_GONE = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff{_NONCHARACTERS}]")
_SPACES = re.compile("[\x0b\x0c\r\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")

# What no reader sees: soft hyphen, joiners and marks of zero width, directions.
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069]")
_ALIKE = str.maketrans(dict.fromkeys("\"'`´‘’‚‛“”„‟′″‹›«»「」『』＂＇׳״", "'") | dict.fromkeys("-‐‑‒–—―−﹘﹣－־", "-"))
_AROUND = (re.compile(r"\s*'[\s']*"), re.compile(r"\s*-[\s-]*"))
_CLOSING = " .,:;!?…'。、｡؟۔،؛।॥"

_ADDRESS_SAFE = "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(map(ord, '"<>\\^`{|}')))
_MAILTO = re.compile(r"mailto:[^?@\s]+@", re.IGNORECASE)


def clean_text(text: str) -> str:
    """Without control characters (line break and tab stay), line separators and Unicode noncharacters.

    A form feed, carriage return or line separator becomes a space, so that lines keep their numbers; half a
    surrogate pair becomes U+FFFD.
    """
    return _SURROGATES.sub("\ufffd", _SPACES.sub(" ", _GONE.sub("", text)))


def title_key(title: str) -> str:
    """What two spellings of a title share: folds case, white space, quotes, dashes and closing punctuation."""
    folded = fold(_INVISIBLE.sub("", title).translate(_ALIKE))
    for pattern, mark in zip(_AROUND, "'-", strict=True):
        folded = pattern.sub(mark, folded)
    return folded.rstrip(_CLOSING) or folded


def allow_link(address: str, base: str = "") -> str | None:
    """The address if a mail may link to it (http, https, mailto), made absolute against `base`; else None.

    Characters that no address may hold are percent-encoded; an empty address or a bare fragment is refused.
    """
    bare = _encode(address)
    return bare if _MAILTO.match(bare) else _resolve(bare, base)


def allow_image(address: str, base: str = "") -> str | None:
    """The address if a mail may load an image from it: as `allow_link`, without mailto."""
    return _resolve(_encode(address), base)


def _resolve(address: str, base: str) -> str | None:
    if not address or address.startswith("#"):
        return None
    try:
        absolute = urljoin(base, address)
        parts = urlsplit(absolute)
        return absolute if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def _encode(address: str) -> str:
    # Browsers drop line breaks and tabs inside an address (URL Standard, 4.4), so `java\nscript:` is a scheme.
    bare = clean_text(re.sub(r"[\t\n\r]", "", address)).strip()
    return "".join(c if c in _ADDRESS_SAFE or (not c.isascii() and not c.isspace()) else quote(c) for c in bare)
