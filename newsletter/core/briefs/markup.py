"""HTML into the tree of blocks and spans: an allow-list by construction, for Markdown's output and for feeds.

Uses html.parser of the standard library, at most a few passes over the text. Refuses what is not listed here: scripts,
styles, frames and form controls vanish with their content, every other tag becomes its text, no attribute survives
but an allowed address and an image's alt text.
"""

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser

from newsletter.core.briefs.text import allow_image, allow_link, clean_text
from newsletter.core.briefs.tree import Style, TreeBuilder
from newsletter.core.model import Block, BlockKind

Attributes = dict[str, str]

# Gone before the parser sees them, each to its end tag or else to the end (HTML Standard, 13.2.5: raw text, comments).
# Every alternative consumes what it scans, so the whole is linear; html.parser alone is quadratic over `<!--<!--…`.
_HIDDEN = re.compile(
    r"<(script|style|iframe|noembed|noframes|textarea|title)(?=[\s/>]).*?(?:</\1\s*>|\Z)"
    r"|<!--(?:-?>|.*?(?:--!?>|\Z))"
    r"|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<[!?][^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
# html.unescape raises ValueError over 4,300 digits (CPython's limit on int); seven digits hold every character.
_HUGE_REFERENCE = re.compile(r"&#[0-9]{8,};?")

_VANISH = frozenset(
    {"applet", "button", "canvas", "datalist", "frameset", "head", "map", "object", "select", "svg", "template"}
)
_VANISH_END = re.compile(rf"</({'|'.join(sorted(_VANISH))})(?=[\s/>])", re.IGNORECASE)

_STRONG = frozenset({"b", "strong"})
_EMPHASIS = frozenset({"cite", "dfn", "em", "i", "var"})
_CODE = frozenset({"code", "kbd", "samp", "tt"})
_BOUNDARIES = frozenset(
    re.findall(
        r"\w+",
        "address article aside body caption center dd details dialog div dl fieldset figcaption figure footer form"
        " header hgroup html legend main nav p search section summary",
    )
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PREFORMATTED = frozenset({"listing", "plaintext", "pre", "xmp"})
_CONTAINERS = {
    "blockquote": BlockKind.QUOTE,
    "dir": BlockKind.LIST,
    "menu": BlockKind.LIST,
    "ol": BlockKind.LIST,
    "ul": BlockKind.LIST,
    "li": BlockKind.ITEM,
    "table": BlockKind.TABLE,
    "tr": BlockKind.ROW,
    "td": BlockKind.CELL,
    "th": BlockKind.CELL,
}
_PIXEL = re.compile(r"\s*[01](px)?\s*")


def parse_html(html: str, *, base: str = "") -> tuple[Block, ...]:
    """The blocks of any HTML, broken, deep or hostile, in linear time; relative addresses count from `base`.

    Links keep only http, https and mailto, images only http and https; what is refused becomes its text or its alt
    text. Items and cells hold their first paragraph as their own spans; an image inside a link carries one empty span
    with that `href`. Images of one pixel vanish.
    """
    html = _HIDDEN.sub("", html.replace("\r\n", "\n").replace("\r", "\n"))
    html = _HUGE_REFERENCE.sub("\ufffd", html)
    last = html.rfind(">") + 1
    reader = _Reader(Counter(name.lower() for name in _VANISH_END.findall(html)), base)
    reader.feed(html[:last] + html[last:].replace("<", "&lt;"))
    reader.close()
    return reader.tree.finish()


class _Reader(HTMLParser):
    """Turns tags into events of the tree. `ends` counts the end tags still to come of the elements that vanish."""

    def __init__(self, ends: Counter[str], base: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tree = TreeBuilder()
        self._ends = ends
        self._base = base
        self._vanishing: tuple[str, int] | None = None
        self._reset_style()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._vanishing:
            name, depth = self._vanishing
            if tag == name and self._ends[name] > depth:
                self._vanishing = name, depth + 1
        elif tag in _VANISH:
            # One that is never closed would swallow the rest of the story: it goes alone.
            self._vanishing = (tag, 1) if self._ends[tag] else None
        else:
            self._start(tag, {name: value or "" for name, value in reversed(attrs)})

    def handle_endtag(self, tag: str) -> None:
        if tag in _VANISH:
            self._ends[tag] -= 1
        if not self._vanishing:
            self._end(tag)
        elif tag == self._vanishing[0]:
            depth = self._vanishing[1] - 1
            self._vanishing = (tag, depth) if depth else None

    def handle_data(self, data: str) -> None:
        if not self._vanishing:
            self.tree.add_text(clean_text(data), self._style)

    @property
    def _style(self) -> Style:
        return Style(href=self._href, strong=self._strong > 0, emphasis=self._emphasis > 0, code=self._code > 0)

    def _reset_style(self) -> None:
        self._href: str | None = None
        self._strong = self._emphasis = self._code = 0

    def _start(self, tag: str, attributes: Attributes) -> None:
        self._count_style(tag, 1)
        if tag in _CONTAINERS:
            if tag in ("td", "th"):
                self._reset_style()
                self._strong = int(tag == "th")
            start = attributes.get("start", "")
            number = int(start) if start.isascii() and start.isdecimal() and len(start) < 7 else 1
            self.tree.open_container(_CONTAINERS[tag], ordered=tag == "ol", start=number)
        elif tag in _HEADINGS:
            self.tree.start_leaf(BlockKind.HEADING, _HEADINGS[tag])
        elif tag in _PREFORMATTED:
            self.tree.start_leaf(BlockKind.CODE)
        elif tag in _BOUNDARIES or tag == "dt":
            self.tree.end_paragraph()
        elif action := _ACTIONS.get(tag):
            action(self, attributes)

    def _end(self, tag: str) -> None:
        self._count_style(tag, -1)
        if tag in _CONTAINERS:
            if tag in ("td", "th", "table"):
                self._reset_style()
            self.tree.close_container(_CONTAINERS[tag])
        elif tag in _HEADINGS or tag in _PREFORMATTED:
            self.tree.end_leaf()
        elif tag in _BOUNDARIES or tag == "dt":
            self.tree.end_paragraph()
        elif tag == "a":
            self._href = None

    def _count_style(self, tag: str, by: int) -> None:
        if tag in _STRONG or tag == "dt":
            self._strong = max(0, self._strong + by)
        elif tag in _EMPHASIS:
            self._emphasis = max(0, self._emphasis + by)
        elif tag in _CODE:
            self._code = max(0, self._code + by)

    def _open_link(self, attributes: Attributes) -> None:
        self._href = allow_link(attributes.get("href", ""), self._base)

    def _break_line(self, _: Attributes) -> None:
        self.tree.add_break(self._style)

    def _draw_rule(self, _: Attributes) -> None:
        self.tree.add_rule()

    def _show_image(self, attributes: Attributes) -> None:
        src = allow_image(attributes.get("src", ""), self._base)
        alt = clean_text(attributes.get("alt", ""))
        if src is None:
            self.tree.add_text(alt, self._style)
        elif not any(_PIXEL.fullmatch(attributes.get(side, "")) for side in ("width", "height")):
            self.tree.add_image(src, " ".join(alt.split()), self._href)


_ACTIONS: dict[str, Callable[[_Reader, Attributes], None]] = {
    "a": _Reader._open_link,
    "br": _Reader._break_line,
    "hr": _Reader._draw_rule,
    "img": _Reader._show_image,
}
