"""What of ours a message carries: what a signed token or a keyed Message-ID may be found in, most certain first.

Only where to look; whether it is ours is for those to say who hold the keys.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from newsletter.core.bounces.opening import Opened

_ARRIVED = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "original-to", "to", "cc")
_TOKEN = re.compile(r"(?<![\w.+-])([bu])\+([a-z2-7]{20,62})@", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w.+-])((?:[0-9]{1,18}|notice)-[0-9]{1,18}\.[a-z2-7]{16})(?![\w.-])", re.IGNORECASE)
MOST_TRACES = 20


@dataclass(frozen=True, slots=True)
class Traces:
    """`bounce` are tokens of return paths, `unsubscribe` those that somebody wrote to in order to leave; `names` are
    names of deliveries with their proof, as ENVID and Message-ID have them. Nothing is verified."""

    bounce: tuple[str, ...]
    unsubscribe: tuple[str, ...]
    names: tuple[str, ...]


def find_traces(opened: Opened) -> Traces:
    """Look where the message arrived, then at the ENVID, then at what it returns of our mail."""
    found = _find_tokens(_list_places(opened))
    texts = [block.get("original-envelope-id", "") for block in opened.blocks[:1]]
    texts += [opened.feedback.get("original-envelope-id", ""), opened.returned.get("message-id", "")]
    texts += [opened.headers.get("in-reply-to", ""), opened.copy, opened.notice]
    return Traces(bounce=found["b"], unsubscribe=found["u"], names=_find_names(texts))


def find_in_text(text: str) -> Traces:
    """Look anywhere in a text, for tokens of return paths and for names."""
    return Traces(bounce=_find_tokens([text])["b"], unsubscribe=(), names=_find_names([text]))


def _list_places(opened: Opened) -> Iterator[str]:
    """Texts that may hold the address of a return path."""
    yield from (opened.headers.get(name, "") for name in _ARRIVED)
    yield opened.feedback.get("original-mail-from", "")
    yield opened.returned.get("return-path", "")


def _find_tokens(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The tokens in addresses, by the letter before them."""
    found = [(letter.lower(), token.lower()) for text in texts for letter, token in _TOKEN.findall(text)]
    return {
        wanted: tuple(dict.fromkeys(token for letter, token in found if letter == wanted))[:MOST_TRACES]
        for wanted in "bu"
    }


def _find_names(texts: Iterable[str]) -> tuple[str, ...]:
    names = (name.lower() for text in texts for name in _NAME.findall(text)[:MOST_TRACES])
    return tuple(dict.fromkeys(names))[:MOST_TRACES]
