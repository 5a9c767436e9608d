"""A Markdown document as markdown-it-py reads it: its top-level groups of tokens, its lines, its blocks.

Uses markdown-it-py and markup.py. Refuses no link itself: markdown-it would leave a refused one in the text as
`[x](javascript:…)` (measured), so it accepts all, and parse_html makes the bad ones their text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, html_block
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from newsletter.core.briefs.markup import parse_html
from newsletter.core.model import Block, BlockKind, BriefWarning

MAX_NESTING = 32
"""Quotes deeper than this, lists deeper than half of it, are cut by markdown-it; `[[[…` costs this times its length."""

_INTERRUPTS = ["paragraph", "reference", "blockquote", "list"]
_VANISHING = re.compile(
    r"<(script|style|iframe|object|template|svg|button|select|textarea|input|embed)(?=[\s/>])", re.IGNORECASE
)
_MARKED_UP = re.compile(r"[\\`*_\[\]<>&{}$!]")
_WHITE = re.compile(r"[ \t\n]+")
_BULLET = re.compile(r"\s*(?:[-+*]|\d{1,9}[.)])\s+")
# Of bounded length, so that many that never end cost no more than linear time.
_TEMPLATE = re.compile(r"\{\{.{,200}?\}\}|\{%.{,200}?%\}|\{#.{,200}?#\}|[$#]\{[^\n}]{,200}\}|<%.{,200}?%>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of Markdown as a reader sees it: plain text, the links in it, and whether all of it is in bold."""

    text: str
    links: tuple[str, ...] = ()
    strong: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What a finder says of a line: it and the next ones, `count` in all, stand alone and mean `meta`."""

    meta: dict[str, Any]
    count: int = 1


Finder = Callable[[int, bool], Mark | None]
"""Given a line's index from 0, and whether it would interrupt a paragraph, quote or list."""

Group = Sequence[Token]
"""The tokens of one block on the top level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An item of a list: the Markdown of its first block, the line of that from 1, and the blocks after it."""

    content: str
    line: int
    groups: list[Group]


class Document:
    """One Markdown text. All its parts share their reference links, wherever these are defined."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self._text = text
        self._env: dict[str, Any] = {"references": {}, "duplicate_refs": []}

    def outline(self, finder: Finder) -> list[Group]:
        """The groups of the whole text, with inline content not yet read; learns the reference links."""
        tokens: list[Token] = []
        _markdown().block.parse(self._text, _markdown(), self._env | {"finder": finder}, tokens)
        return list(_split(tokens))

    def groups(self, *, start: int = 0, finder: Finder | None = None) -> list[Group]:
        """The groups from line `start` (from 0) on; lines that the finder marks become tokens of type `mark`."""
        text = "\n" * start + "\n".join(self.lines[start:])
        return list(_split(_markdown().parse(text, self._env | {"finder": finder})))

    def read_line(self, markdown: str) -> Line:
        """One line (or heading) of Markdown: its text without markup, its links in reading order."""
        if not _MARKED_UP.search(markdown):
            return Line(text=" ".join(_WHITE.split(markdown)).strip())
        blocks = parse_html(_markdown().renderInline(markdown, self._env))
        spans = [span for block in blocks for inner in block.walk() for span in inner.spans]
        text = "".join(span.text or " " for span in spans)
        text = text or " ".join(block.alt for block in blocks if block.kind is BlockKind.IMAGE)
        return Line(
            text=text.replace("\n", " ").strip(),
            links=tuple(dict.fromkeys(span.href for span in spans if span.href)),
            strong=bool(spans) and all(span.strong for span in spans if span.text.strip()),
        )

    def items(self, group: Group) -> Iterator[Item]:
        """The items of a list. `- 1. FC …` is one list in another to Markdown; here it is what it looks like."""
        for start, stop in _item_bounds(group):
            line = line_of(group[start:stop])
            inner = list(_split(group[start + 1 : stop]))
            if inner and inner[0][0].type in ("paragraph_open", "heading_open"):
                yield Item(content=inner[0][1].content, line=line, groups=inner[1:])
            elif inner:
                first, last = inner[0][0].map or (0, 0)
                bare = _BULLET.sub("", self.lines[line - 1], count=1)
                yield Item(content=bare, line=line, groups=inner if last - first > 1 else inner[1:])

    def read_groups(self, markdown: str, line: int) -> list[Group]:
        """The groups of a piece of Markdown whose first line is `line` (from 1) of the document."""
        tokens = _markdown().parse(markdown, self._env | {"finder": None})
        for token in tokens:
            token.map = [number + line - 1 for number in token.map] if token.map else None
        return list(_split(tokens))

    def read_inline(self, markdown: str) -> list[Token]:
        """The inline tokens of a paragraph's content."""
        return _markdown().parseInline(markdown, self._env)[0].children or []

    def blocks(self, tokens: Sequence[Token]) -> tuple[Block, ...]:
        """The tree that these tokens come to; inline content that was not read yet is read now."""
        for token in tokens:
            if token.type == "inline" and token.content and not token.children:
                token.children = self.read_inline(token.content)
        return parse_html(_markdown().renderer.render(tokens, _markdown().options, self._env))


def line_of(group: Group) -> int:
    """The line, from 1, on which a group begins."""
    return group[0].map[0] + 1 if group[0].map else 0


def is_list(group: Group) -> bool:
    """Whether a group is a bullet list or a numbered one."""
    return group[0].type in ("bullet_list_open", "ordered_list_open")


def warn_of_markup(document: Document, groups: Sequence[Group]) -> Iterator[BriefWarning]:
    """A warning for each HTML element that vanishes with its content, and for what swallows or loses text."""
    for group in groups:
        line = line_of(group)
        if group[0].type == "fence" and not _is_closed(group[0], document.lines):
            yield BriefWarning(line=line, message="this block of code is never closed: all text after it is code")
        for token in group:
            line = token.map[0] + 1 if token.map else line
            for part in token.children or [token]:
                if part.type in ("html_block", "html_inline"):
                    yield from _warn_of_elements(part.content, line)
            if token.nesting > 0 and token.level >= MAX_NESTING - 1:
                yield BriefWarning(line=line, message=f"what is nested deeper than {MAX_NESTING} levels is left out")


def _is_closed(fence: Token, lines: list[str]) -> bool:
    first, end = fence.map or (0, 0)
    return end - first > 1 and lines[end - 1].strip().startswith(fence.markup)


def _warn_of_elements(html: str, line: int) -> Iterator[BriefWarning]:
    for name in dict.fromkeys(match.lower() for match in _VANISHING.findall(html)):
        yield BriefWarning(line=line, message=f"<{name}> may not stand in a mail and is left out")
    if html.startswith("<!--") and "-->" not in html:
        yield BriefWarning(line=line, message="<!-- is never closed: all text after it is left out")


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 markdown-it's name
        return True


@cache
def _markdown() -> MarkdownIt:
    markdown = _Markdown("commonmark", {"maxNesting": MAX_NESTING}).enable("table")
    markdown.block.ruler.before("table", "mark", _mark_line, {"alt": _INTERRUPTS})
    markdown.block.ruler.at("html_block", _read_comment, {"alt": _INTERRUPTS[:-1]})
    markdown.inline.ruler.before("text", "template", _keep_template)
    return markdown


def _mark_line(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A block rule: the lines that the document's finder knows stand alone, also inside a paragraph or after a list."""
    finder: Finder | None = state.env["finder"]
    if finder is None or (state.level and not silent):
        return False
    mark = finder(start, silent)
    if mark is None or silent:
        return mark is not None
    token = state.push("mark", "", 0)
    token.meta = mark.meta
    token.hidden = True
    token.map = [start, start + mark.count]
    state.line = start + mark.count
    return True


def _read_comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The block rule of raw HTML, for comments alone: what stands beside any other tag is Markdown like the rest."""
    at = state.bMarks[start] + state.tShift[start]
    return state.src.startswith("<!--", at) and html_block(state, start, end, silent)


def _item_bounds(group: Group) -> Iterator[tuple[int, int]]:
    start = 0
    for index, token in enumerate(group):
        if token.level == group[0].level + 1 and token.type == "list_item_open":
            start = index
        elif token.level == group[0].level + 1 and token.type == "list_item_close":
            yield start, index


def _keep_template(state: StateInline, silent: bool) -> bool:
    """An inline rule: what looks like a template stays as written; `{{ 7*7 }} ${7*7}` holds no emphasis."""
    match = _TEMPLATE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        state.pending += match[0]
    state.pos = match.end()
    return True


def _split(tokens: Sequence[Token]) -> Iterator[Group]:
    """Cut after every token that brings the nesting back to the top."""
    depth = start = 0
    for index, token in enumerate(tokens):
        depth += token.nesting
        if not depth:
            yield tokens[start : index + 1]
            start = index + 1
