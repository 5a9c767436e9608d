"""How pages write numbers and times: the filters of their templates. Pure."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

_NO_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
_MARKS = {
    "✓": ("accepted", "finished", "healthy", "active", "ok"),
    "✗": ("rejected", "cancelled", "unsubscribed", "shut", "fail", "suppressed"),
    "○": ("queued", "preparing", "pending"),
    "↻": ("deferred", "recovering"),
    "➤": ("sending", "running"),
    "‖": ("paused",),
    "?": ("uncertain",),
    "–": ("excluded",),
}
GLYPHS = {state: mark for mark, states in _MARKS.items() for state in states}
"""A mark beside the word of every state, so that none is told by its colour alone."""


def write_count(number: float) -> str:
    """A number with its thousands apart, as in `1,000,000`."""
    return f"{number:,.1f}" if isinstance(number, float) and not number.is_integer() else f"{int(number):,}"


def write_moment(moment: datetime | None) -> str:
    """A time in UTC, as in `2026-11-25 08:00`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else ""


def write_local(moment: datetime) -> str:
    """A time in its own zone, as in `Wed 25 Nov 2026, 08:00`."""
    return moment.strftime("%a %d %b %Y, %H:%M")


def write_span(seconds: float) -> str:
    """A span in its two largest units, as in `2 h 5 min`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2])


def write_share(part: float, whole: float) -> str:
    """A share in per cent; nothing is 100 % that is not whole, nor 0 % that is something."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(99.9, max(0.1, percent))
    return f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %"


def find_glyph(state: Any) -> str:
    """The mark of a state."""
    return GLYPHS.get(str(state), "·")


def name_host(address: str) -> str:
    """The host of an address; the address itself where it has none."""
    try:
        return urlsplit(address).hostname or address
    except ValueError:
        return address


def keep_xml(text: str) -> str:
    """Text without the control characters that XML 1.0 does not allow (2.2); what is escaped already stays so."""
    kept = _NO_XML.sub("", text)
    return Markup(kept) if isinstance(text, Markup) else kept  # noqa: S704  no more than was escaped before


FILTERS = {
    "host": name_host,
    "xml_text": keep_xml,
    "count": write_count,
    "moment": write_moment,
    "local": write_local,
    "span": write_span,
    "share": write_share,
    "glyph": find_glyph,
}
