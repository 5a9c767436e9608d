"""The HTML part as a tree of elements with lines, by the standard library's parser.

Reads what MJML and our templates write: every element closed, or void. It infers no missing tags, and comments (what
only Outlook for Windows sees) are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TypeAlias

VOID = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input"),
        *("link", "meta", "source", "track", "wbr"),
    )
)
BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "dd", "div", "dl", "dt", "footer"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    )
)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
UNSEEN = frozenset(("head", "script", "style", "template", "title"))
_WHITE = re.compile("[ \t\r\n\f]+")  # what HTML folds: a no-break space stays


@dataclass(eq=False, kw_only=True)
class Element:
    """An element. `content` is text and elements in order; `declared` is its style attribute."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    line: int = 1
    parent: "Element | None" = None
    content: list["Node"] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where it stands, as findings say it."""
        return f"html:{self.line}"

    @property
    def classes(self) -> list[str]:
        """The words of its class attribute."""
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        """All text in it, white space folded, a space where a block or a line ends."""
        return fold_white("".join(_write(self)))

    def walk(self) -> Iterator["Element"]:
        """This element and all within, in the order of the page."""
        yield self
        for node in self.content:
            if isinstance(node, Element):
                yield from node.walk()

    def ancestors(self) -> Iterator["Element"]:
        """Its parent, that one's parent, and so on."""
        element = self.parent
        while element is not None:
            yield element
            element = element.parent

    def find_all(self, *tags: str) -> list["Element"]:
        """The elements of these names within."""
        return [element for element in self.walk() if element.tag in tags]


Node: TypeAlias = str | Element


def parse_page(html: str) -> Element:
    """The page as a tree, under an element without a name."""
    reader = _Reader()
    # A marked section is none of HTML's: outside a comment, some of them make the standard parser fail (CPython 3.11).
    reader.feed(html.replace("<![", "&lt;!["))
    reader.close()
    return reader.root


def fold_white(text: str) -> str:
    """White space folded as HTML does, ends trimmed."""
    return _WHITE.sub(" ", text).strip(" ")


def list_lines(page: Element) -> list[str]:
    """The text that a reader sees, a line for each block; without empty ones."""
    return [line for line in map(fold_white, "".join(_write(page)).split("\f")) if line]


def _write(element: Element) -> Iterator[str]:
    """The text within; a form feed, which is white space, where a block begins or ends."""
    for node in element.content:
        if isinstance(node, str):
            yield _WHITE.sub(" ", node)
        elif node.tag not in UNSEEN:
            edge = "\f" if node.tag in BLOCKS else ""
            yield edge
            yield from _write(node)
            yield edge


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self._open = Element(tag="")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: dict[str, str] = {}
        for name, value in attrs:
            attributes.setdefault(name, value or "")
        element = Element(tag=tag, attributes=attributes, line=self.getpos()[0], parent=self._open)
        self._open.content.append(element)
        if tag not in VOID:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        for element in (self._open, *self._open.ancestors()):
            if element.tag == tag and element.parent is not None:
                self._open = element.parent
                return

    def handle_data(self, data: str) -> None:
        self._open.content.append(data)
