"""Sets stories in type: finds their topics and compiles them, without any database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from newsletter.core.mails.parts import Sender
from newsletter.core.mails.render import Renderer, StorySource
from newsletter.core.model import Brief, Catalogue, Story, TopicMatch
from newsletter.core.topics.matcher import TopicMatcher

Matches = tuple[TopicMatch, ...]
Matched = tuple[Story, Matches]


@dataclass(frozen=True, kw_only=True)
class Typesetter:
    """What makes mails of briefs. `language` serves readers who chose none."""

    catalogue: Catalogue
    matcher: TopicMatcher
    renderer: Renderer
    sender: Sender
    language: str

    def match_topics(self, brief: Brief) -> list[Matched]:
        """Each story of a brief with its topics."""
        return [(story, self.matcher.match_story(story, language=brief.language)) for story in brief.stories]

    def name_topics(self, topics: Sequence[str]) -> list[str]:
        """The names of topics (by id), without those that are gone from the catalogue."""
        return [self.catalogue[topic].name for topic in topics if topic in self.catalogue]

    def name_story(self, story: Story, topics: Sequence[str], day: date) -> StorySource:
        """A story as the renderer takes it. `topics` are ids."""
        return StorySource(story=story, topics=tuple(self.name_topics(topics)), day=day)
