"""A story as the templates see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import escape

from newsletter.core.mails.chrome import Chrome
from newsletter.core.mails.columns import shorten_text
from newsletter.core.mails.plaintext import PlainText, write_plain_text
from newsletter.core.mails.quoted import clean_text
from newsletter.core.mails.templates import CONTENT_ID, find_host, is_image
from newsletter.core.mails.texts import find_language, find_script_direction
from newsletter.core.model import Block, BlockKind, Picture, Story

TITLE_OCTETS = 15_000
TITLE_COLUMNS = 2_500  # a character is at most 6 octets once escaped


@dataclass(frozen=True, kw_only=True)
class StoryView:
    """A story as the templates see it. `url` is None unless it may be linked; `plain` is the body for the text part.

    `picture` is the first image of the body, where it may be loaded, and `rest` the body without it.
    """

    title: str
    topics: tuple[str, ...]
    blocks: tuple[Block, ...]
    url: str | None
    host: str
    language: str
    direction: str
    plain: PlainText
    shortened: bool = False

    @property
    def picture(self) -> Block | None:
        """The first image of the body that may be loaded."""
        return next((block for block in self.blocks if block.kind is BlockKind.IMAGE and is_image(block.src)), None)

    @property
    def rest(self) -> tuple[Block, ...]:
        """The body without the picture."""
        picture = self.picture
        return tuple(block for block in self.blocks if block is not picture)


def view_story(story: Story, topics: Sequence[str], chrome: Chrome) -> StoryView:
    """The story in a frame of that language; a monstrous title is shortened."""
    title = clean_text(story.title).replace("\n", " ").strip()
    if len(escape(title).encode()) > TITLE_OCTETS:
        title = shorten_text(title, TITLE_COLUMNS)
    host = find_host(story.url)
    text = f"{title} {story.text}"
    language = find_language(text, story.language or chrome.language)
    return StoryView(
        title=title,
        topics=tuple(topics),
        blocks=_show_embedded(story.blocks, {picture.address: picture for picture in story.pictures}),
        url=story.url if host else None,
        host=host,
        language=language,
        direction=find_script_direction(language),
        plain=write_plain_text(story.blocks, image=chrome.strings["image"]),
    )


def _show_embedded(blocks: Sequence[Block], pictures: Mapping[str, Picture]) -> tuple[Block, ...]:
    """The blocks with the images that travel with the mail called by their Content-ID."""
    if not pictures:
        return tuple(blocks)
    shown = (replace(block, children=_show_embedded(block.children, pictures)) for block in blocks)
    return tuple(
        replace(block, src=CONTENT_ID + pictures[block.src].content_id) if block.src in pictures else block
        for block in shown
    )
