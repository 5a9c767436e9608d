"""Many stories compiled at once: a sheet of marked regions, cut apart again into the parts of each story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from newsletter.core.mails.columns import shorten_text
from newsletter.core.mails.order import OTHER
from newsletter.core.mails.parts import StoryParts
from newsletter.core.mails.quoted import Passage, Segments, clean_line
from newsletter.core.mails.slots import Marker
from newsletter.core.mails.story_view import StoryView
from newsletter.core.mails.templates import GROUP, HEADLINE, LEAD, STORY_BLOCK
from newsletter.core.mails.texts import measure_reading
from newsletter.core.model import Story

TEASER_COLUMNS = 200
_NOTHING = Segments()


@dataclass(frozen=True, kw_only=True)
class StorySource:
    """A story before it is compiled, with the names of its topics and the day of its brief."""

    story: Story
    topics: tuple[str, ...]
    day: date


class Sheet:
    """What is compiled at once: marked regions of stories and headings, by their names."""

    def __init__(self, marker: Marker) -> None:
        self.marker = marker
        self.names: list[str] = []
        self.groups: dict[str, str] = {}
        self.headlines, self.rows, self.text = Markup(), Markup(), ""

    def add(self, index: int, html: Mapping[str, str], text: Mapping[str, str], *, short: bool = False) -> None:
        """A story whole, or in short: then without its headline."""
        if not short:
            name = self._name(HEADLINE, index)
            self.headlines += self.marker.mark_region(name, html[HEADLINE])
            self.text += self.marker.mark_region(name, text[HEADLINE])
        for block in (STORY_BLOCK, LEAD):
            if block in html:
                self._add_rows(self._name(f"short_{block}" if short else block, index), html[block], text[STORY_BLOCK])

    def add_group(self, group: str, html: str, text: str) -> None:
        """The heading of a day or a topic."""
        self.groups[group] = self._name(GROUP, len(self.groups))
        self._add_rows(self.groups[group], html, text)

    def _add_rows(self, name: str, html: str, text: str) -> None:
        self.rows += self.marker.mark_region(name, html, raw=True)
        self.text += self.marker.mark_region(name, text)

    def _name(self, block: str, number: int) -> str:
        self.names.append(f"{block}_{number}")
        return self.names[-1]


def put_together(
    index: int,
    source: StorySource,
    view: StoryView,
    passages: Mapping[str, Passage],
    groups: Mapping[str, str],
    day: str,
) -> StoryParts:
    """The parts of the story of this index, as they were cut; `groups` are the names of the headings on the sheet."""
    found = {name: passages.get(f"{name}_{index}") for name in (STORY_BLOCK, LEAD, "short_story", "short_lead")}
    is_long = found["short_story"] is not None
    return StoryParts(
        title=view.title,
        teaser=shorten_text(clean_line(next(iter(source.story.paragraphs), "")), TEASER_COLUMNS),
        day=source.day,
        headline=passages[f"{HEADLINE}_{index}"],
        day_heading=passages[groups[day]],
        story=found["short_story"] or passages[f"{STORY_BLOCK}_{index}"],
        whole=found[STORY_BLOCK] if is_long else None,
        lead=found["short_lead"] or found[LEAD],
        whole_lead=found[LEAD] if is_long else None,
        topics=source.topics,
        topic_headings={name: passages[groups[name]] for name in source.topics or (OTHER,)},
        seconds=measure_reading(f"{view.title} {source.story.text}"),
        pictures=source.story.pictures,
    )


def cut_both(
    marker: Marker, *, text: str, html: str, regions: Sequence[str], slot_octets: Mapping[str, int]
) -> dict[str, Passage]:
    """The regions by name, each with what it is in either part."""
    texts, htmls = marker.cut(text, regions, slot_octets), marker.cut(html, regions, slot_octets)
    return {name: Passage(text=texts.get(name, _NOTHING), html=htmls.get(name, _NOTHING)) for name in regions}
