"""Builds a story's tree of blocks and spans from a run of events: containers, text, breaks, images, rules.

Uses only the model. Folds white space as HTML does, wraps what stands in the wrong place, drops what is empty, and
refuses depth: containers deeper than MAX_DEPTH melt into their parents, so that whoever walks the tree may recurse.
"""

import re
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from typing import NamedTuple

from newsletter.core.model import Block, BlockKind, Span

MAX_DEPTH = 16
_WHITE = re.compile(r"[ \t\n\r\f]+")

# Looking upwards for an open container stops at these: `</ul>` in a table cell closes no list around the table.
_BARRIERS: dict[BlockKind, set[BlockKind]] = {
    BlockKind.QUOTE: {BlockKind.CELL},
    BlockKind.LIST: {BlockKind.CELL},
    BlockKind.ITEM: {BlockKind.CELL, BlockKind.LIST, BlockKind.QUOTE},
    BlockKind.TABLE: set(),
    BlockKind.ROW: {BlockKind.TABLE},
    BlockKind.CELL: {BlockKind.TABLE},
}
_PARENTS = {BlockKind.ITEM: BlockKind.LIST, BlockKind.ROW: BlockKind.TABLE, BlockKind.CELL: BlockKind.ROW}
_ONLY_CHILD = {parent: child for child, parent in _PARENTS.items()}


class Style(NamedTuple):
    """How a run of text looks and where it links to."""

    href: str | None = None
    strong: bool = False
    emphasis: bool = False
    code: bool = False


class _Container:
    """A block that is still open."""

    def __init__(self, kind: BlockKind, *, ordered: bool = False, start: int = 1) -> None:
        self.kind = kind
        self.ordered = ordered
        self.start = start
        self.children: list[Block] = []


class TreeBuilder:
    """Takes events in reading order; `finish` gives the blocks. No event is ever refused, whatever their order."""

    def __init__(self) -> None:
        self._open = [_Container(BlockKind.QUOTE)]  # the root holds what a quote may hold
        self._melted: Counter[BlockKind] = Counter()
        self._pieces: list[tuple[str, Style]] = []
        self._images: list[Block] = []
        self._leaf = BlockKind.PARAGRAPH
        self._level = 0

    def open_container(self, kind: BlockKind, *, ordered: bool = False, start: int = 1) -> None:
        """Open a quote, list, item, table, row or cell; a stray item, row or cell only ends the paragraph.

        `start` is the number of an ordered list's first item.
        """
        self._flush()
        parent = _PARENTS.get(kind)
        if parent and not self._pop_to(parent, also=_BARRIERS[kind] - {parent}):
            if kind is not BlockKind.CELL or not self._pop_to(BlockKind.TABLE):
                return
            self._push(BlockKind.ROW)
        self._push(kind, ordered=ordered, start=start)

    def close_container(self, kind: BlockKind) -> None:
        """Close the nearest open container of this kind and all inside it; without one, only the paragraph ends."""
        self._flush()
        if self._melted[kind]:
            self._melted[kind] -= 1
        elif self._pop_to(kind, also=_BARRIERS[kind]):
            self._pop()

    def start_leaf(self, kind: BlockKind, level: int = 0) -> None:
        """What follows is a heading or code, until the next block."""
        self._flush()
        self._leaf, self._level = kind, level

    def end_leaf(self) -> None:
        """What follows is a paragraph again."""
        self._flush()
        self._leaf, self._level = BlockKind.PARAGRAPH, 0

    def end_paragraph(self) -> None:
        """A block boundary; inside code it is only a line break."""
        if self._leaf is not BlockKind.CODE:
            self._flush()
        elif self._pieces and not self._pieces[-1][0].endswith("\n"):
            self.add_break(Style())

    def add_text(self, text: str, style: Style) -> None:
        """Text of the current paragraph, with its white space folded unless it is code."""
        self._pieces.append((text if self._leaf is BlockKind.CODE else _WHITE.sub(" ", text), style))

    def add_break(self, style: Style) -> None:
        """A line break inside the current paragraph."""
        self._pieces.append(("\n", style))

    def add_image(self, src: str, alt: str, href: str | None) -> None:
        """An image; inside a paragraph it waits until the paragraph is over. A linked one carries an empty span."""
        spans = (Span(text="", href=href),) if href else ()
        self._images.append(Block(kind=BlockKind.IMAGE, src=src, alt=alt, spans=spans))
        if not any(text.strip() for text, _ in self._pieces):
            self._flush_images()

    def add_rule(self) -> None:
        """A line across."""
        self._flush()
        self._place(Block(kind=BlockKind.RULE))

    def finish(self) -> tuple[Block, ...]:
        """Close all that is open and give the top blocks."""
        self._flush()
        while len(self._open) > 1:
            self._pop()
        return tuple(self._open[0].children)

    def _push(self, kind: BlockKind, *, ordered: bool = False, start: int = 1) -> None:
        if len(self._open) > MAX_DEPTH:
            self._melted[kind] += 1
        else:
            self._open.append(_Container(kind, ordered=ordered, start=start))

    def _pop_to(self, kind: BlockKind, also: Set[BlockKind] = frozenset()) -> bool:
        for index in range(len(self._open) - 1, 0, -1):
            if self._open[index].kind is kind:
                while len(self._open) > index + 1:
                    self._pop()
                return True
            if self._open[index].kind in also:
                break
        return False

    def _pop(self) -> None:
        container = self._open.pop()
        block = _close(container.kind, container.children, ordered=container.ordered)
        if container.ordered and container.start != 1:
            block = replace(block, level=container.start)
        if not _is_empty(block):
            self._place(block)

    def _place(self, block: Block) -> None:
        self._open[-1].children.append(_wrap(self._open[-1].kind, block))

    def _flush(self) -> None:
        kind, level, pieces = self._leaf, self._level, self._pieces
        self._pieces = []
        spans = _join(_strip_code(pieces) if kind is BlockKind.CODE else _fold(pieces))
        if any(span.text.strip() for span in spans):
            self._place(Block(kind=kind, level=level, spans=spans))
            self._leaf, self._level = BlockKind.PARAGRAPH, 0
        self._flush_images()

    def _flush_images(self) -> None:
        images, self._images = self._images, []
        for image in images:
            self._place(image)


def _close(kind: BlockKind, children: list[Block], *, ordered: bool = False) -> Block:
    """The finished container; an item or cell takes its first paragraph as its own text."""
    spans: tuple[Span, ...] = ()
    if kind in (BlockKind.ITEM, BlockKind.CELL) and children and children[0].kind is BlockKind.PARAGRAPH:
        spans, children = children[0].spans, children[1:]
    return Block(kind=kind, spans=spans, children=tuple(children), ordered=ordered)


def _is_empty(block: Block) -> bool:
    # An empty cell keeps its column.
    if block.kind is BlockKind.ROW:
        return not any(cell.spans or cell.children for cell in block.children)
    return block.kind is not BlockKind.CELL and not block.spans and not block.children


def _wrap(parent: BlockKind, block: Block) -> Block:
    """The block as its parent may hold it: a list holds items, a table rows of cells."""
    child = _ONLY_CHILD.get(parent)
    return block if child in (None, block.kind) else _close(child, [_wrap(child, block)])


def _fold(pieces: list[tuple[str, Style]]) -> list[tuple[str, Style]]:
    """Fold white space across pieces: one blank between words, none around a line break or at the ends."""
    out: list[tuple[str, Style]] = []
    breaks = 0
    glued = True
    for text, style in pieces:
        if text == "\n":
            breaks += 1
            glued = True
            continue
        text = text[1:] if glued and text.startswith(" ") else text
        if not text:
            continue
        if breaks and out:
            out[-1] = (out[-1][0].rstrip(" "), out[-1][1])
            out.append(("\n" * min(breaks, 2), style._replace(href=None, code=False)))
        out.append((text, style))
        breaks = 0
        glued = text.endswith(" ")
    if out:
        out[-1] = (out[-1][0].rstrip(" "), out[-1][1])
    return out


def _strip_code(pieces: list[tuple[str, Style]]) -> list[tuple[str, Style]]:
    """Code without the line breaks at its ends; the block says that it is code, so the spans need not."""
    out = [(text, Style(href=style.href)) for text, style in pieces]
    if out:
        out[0] = (out[0][0].removeprefix("\n"), out[0][1])
    while out and not out[-1][0].rstrip("\n"):
        out.pop()
    if out:
        out[-1] = (out[-1][0].rstrip("\n"), out[-1][1])
    return out


def _join(pieces: list[tuple[str, Style]]) -> tuple[Span, ...]:
    """Spans, with neighbours of one style made one."""
    runs: list[tuple[list[str], Style]] = []
    for text, style in pieces:
        if runs and runs[-1][1] == style:
            runs[-1][0].append(text)
        elif text:
            runs.append(([text], style))
    return tuple(Span(text="".join(texts), **style._asdict()) for texts, style in runs)
