"""Text measured in columns, as a terminal or a monospaced mail shows it: wrapping, shortening.

Wide characters take two columns. Lines break at spaces only: a text without them (Chinese, Japanese) is left to the
reader's program to break, so that what was written can be found again as it was written.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate

TEXT_COLUMNS = 72
LONGEST_DROPPED = 24  # characters: a longer word is cut rather than left out
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def measure_columns(text: str) -> int:
    """How many columns the text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def wrap_text(text: str, columns: int = TEXT_COLUMNS) -> list[str]:
    """Lines of at most so many columns (an unbreakable word may be longer); each line break in the text stays one."""
    return [line for hard in text.split("\n") for line in _fill_lines(hard, columns)]


def shorten_text(text: str, columns: int) -> str:
    """The text on one line, cut at a word and ended with `…` where it is longer than that."""
    text = " ".join(text.split())
    longest = columns * 4  # however many marks are heaped on a letter
    ends = list(accumulate(map(_width, text[: longest + 1])))
    if len(ends) <= longest and (not ends or ends[-1] <= columns):
        return text
    end = min(bisect_right(ends, columns - 1), longest)
    while end and (_continues(text[end]) or text[end - 1] == _ZERO_WIDTH_JOINER):
        end -= 1
    if text[end] != " " and (space := text.rfind(" ", max(0, end - LONGEST_DROPPED), end)) > 0:
        end = space
    return text[:end].rstrip(" ,;:.–—-，、。") + "…"


def _fill_lines(text: str, columns: int) -> Iterator[str]:
    """Only ASCII white space parts words: a no-break space holds."""
    line, used = "", 0
    for word in filter(None, re.split("[ \t\n]+", text)):
        width = measure_columns(word)
        if line and used + 1 + width > columns:
            yield line
            line, used = word, width
        else:
            line, used = f"{line} {word}" if line else word, used + bool(line) + width
    yield line


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if _continues(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _continues(character: str) -> bool:
    """Whether the character only alters the one before it, so that no cut may fall between them."""
    return unicodedata.category(character) in ("Mn", "Me", "Mc") or character in (_ZERO_WIDTH_JOINER, *_SKIN_TONES)
