"""A story as the templates see it, whole or shortened so that it fits a mail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from markupsafe import escape

from newsletter.core.mails.chrome import Chrome
from newsletter.core.mails.columns import find_direction, shorten_text
from newsletter.core.mails.plaintext import PlainText, write_plain_text
from newsletter.core.mails.quoted import clean_text
from newsletter.core.mails.templates import is_link
from newsletter.core.model import Block, BlockKind, Span, Story

TITLE_OCTETS = 15_000
TITLE_COLUMNS = 2_500  # a character is at most 6 octets once escaped
PARAGRAPH_COLUMNS = 4_000  # what is left of a first paragraph that is too long by itself


@dataclass(frozen=True, kw_only=True)
class StoryView:
    """A story as the templates see it. `url` is None unless it may be linked; `plain` is the body for the text part."""

    title: str
    topics: tuple[str, ...]
    blocks: tuple[Block, ...]
    url: str | None
    host: str
    direction: str
    plain: PlainText
    shortened: bool = False


def view_story(story: Story, topics: Sequence[str], chrome: Chrome) -> StoryView:
    """The story in a frame of that language; a monstrous title is shortened."""
    title = clean_text(story.title).replace("\n", " ").strip()
    if len(escape(title).encode()) > TITLE_OCTETS:
        title = shorten_text(title, TITLE_COLUMNS)
    host = _find_host(story.url)
    return StoryView(
        title=title,
        topics=tuple(topics),
        blocks=story.blocks,
        url=story.url if host else None,
        host=host,
        direction=find_direction(f"{title} {story.text}") or chrome.direction,
        plain=write_plain_text(story.blocks, image=chrome.strings["image"]),
    )


def shorten_view(view: StoryView, kept: int, chrome: Chrome) -> StoryView:
    """The story with so many of its blocks; with none, the beginning of its first."""
    blocks = view.blocks[:kept] or (_shorten_block(view.blocks[0]),)
    plain = write_plain_text(blocks, image=chrome.strings["image"])
    return replace(view, blocks=blocks, plain=plain, shortened=True)


def _find_host(url: str | None) -> str:
    """The host of an http or https address; empty where it is none that could be linked."""
    try:
        return urlsplit(url).hostname or "" if url and is_link(url) else ""
    except ValueError:  # such as http://[
        return ""


def _shorten_block(block: Block) -> Block:
    text = " ".join(inner.text for inner in block.walk() if inner.text)
    return Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=shorten_text(text, PARAGRAPH_COLUMNS)),))
