"""Shortens a very long story so that it fits a mail: after a block, or within a paragraph after a sentence."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from newsletter.core.mails.chrome import Chrome
from newsletter.core.mails.columns import shorten_text
from newsletter.core.mails.plaintext import write_plain_text
from newsletter.core.mails.story_view import StoryView
from newsletter.core.model import Block, BlockKind, Span

SHORT_OCTETS = 12_000
"""What is left of a long story at most, as HTML: some 1,700 words."""
PARAGRAPH_COLUMNS = 4_000  # what is left of a first block that has no end of a sentence

# The end of a sentence: a full stop and what closes after it, then white space where the script writes any.
_SENTENCE = re.compile(r"[.!?…؟۔।]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[」』”）]*")


def shorten_view(view: StoryView, chrome: Chrome, measure: Callable[[StoryView], int]) -> StoryView:
    """As much of the story as SHORT_OCTETS hold; `measure` gives the octets of a story as HTML."""

    def fits(cut: StoryView) -> bool:
        return measure(cut) <= SHORT_OCTETS

    if not view.blocks:
        return _take(view, (), chrome)
    kept = _count_fitting(len(view.blocks) - 1, lambda count: fits(_take(view, view.blocks[:count], chrome)))
    whole, next_block = view.blocks[:kept], view.blocks[kept]
    ends = [match.end() for match in _SENTENCE.finditer(_text(next_block))] if _is_prose(next_block) else []
    sentences = _count_fitting(
        len(ends), lambda count: fits(_take(view, (*whole, _cut(next_block, ends[count - 1])), chrome))
    )
    if sentences:
        whole = (*whole, _cut(next_block, ends[sentences - 1]))
    return _take(view, whole or (_shorten_block(next_block),), chrome)


def _take(view: StoryView, blocks: Sequence[Block], chrome: Chrome) -> StoryView:
    plain = write_plain_text(blocks, image=chrome.strings["image"])
    return replace(view, blocks=tuple(blocks), plain=plain, shortened=True)


def _count_fitting(most: int, fits: Callable[[int], bool]) -> int:
    """The largest count up to `most` that fits, given that fewer fit where more do."""
    return bisect_right(range(1, most + 1), False, key=lambda count: not fits(count))


def _is_prose(block: Block) -> bool:
    return block.kind is BlockKind.PARAGRAPH and not block.children


def _text(block: Block) -> str:
    return "".join(span.text for span in block.spans)


def _cut(block: Block, end: int) -> Block:
    return replace(block, spans=tuple(_cut_spans(block.spans, end)))


def _cut_spans(spans: Sequence[Span], left: int) -> Iterator[Span]:
    for span in spans:
        if left > 0:
            yield span if len(span.text) <= left else replace(span, text=span.text[:left])
        left -= len(span.text)


def _shorten_block(block: Block) -> Block:
    text = " ".join(inner.text for inner in block.walk() if inner.text)
    return Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=shorten_text(text, PARAGRAPH_COLUMNS)),))
