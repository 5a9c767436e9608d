"""In which order the stories of a mail stand, and under which headings: by day, or by topic where there are many.

Nobody's topics are known here, since an edition is many readers': the topic that most stories of a mail share comes
before their others, so that who chose one topic gets no headings.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.core.mails.parts import StoryParts
from newsletter.core.mails.quoted import Passage

MANY_STORIES = 8
MEAN_STORIES = 2  # of a group, so that not every story has a heading of its own
OTHER = ""
"""The topic of stories that have none."""

_NOTHING = Passage()


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a story stands: its index among those given, and whether the heading of its day or topic stands above it.

    `topic` is None where the mail is not grouped by topic.
    """

    index: int
    begins: bool = False
    topic: str | None = None

    def choose_heading(self, story: StoryParts) -> Passage:
        """What stands above the story."""
        if not self.begins:
            return _NOTHING
        return story.day_heading if self.topic is None else story.topic_headings[self.topic]


def place_stories(stories: Sequence[StoryParts]) -> tuple[Place, ...]:
    """The stories in the order of a mail; the first stays the first."""
    days = [story.day for story in stories]
    if len(set(days)) > 1:
        return tuple(Place(index=i, begins=i == 0 or days[i] != days[i - 1]) for i in range(len(days)))
    groups = group_by_topic([story.topics for story in stories])
    if len(groups) < 2:
        return tuple(Place(index=i) for i in range(len(stories)))
    return tuple(Place(index=i, begins=i == group[0], topic=t) for t, group in groups.items() for i in group)


def group_by_topic(topics: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """The indexes of stories by the topic that they stand under; nothing where they are few, or too unlike each other.

    The groups are in the order of their first stories, but those without a topic last, unless the first is one.
    """
    if len(topics) < MANY_STORIES:
        return {}
    shared = Counter(name for names in topics for name in names)
    groups: dict[str, list[int]] = {}
    for index, names in enumerate(topics):
        groups.setdefault(max(names, key=lambda name: shared[name], default=OTHER), []).append(index)
    if len(topics) < MEAN_STORIES * len(groups):
        return {}
    others = groups.get(OTHER, [0])
    if others[0] != 0:
        groups[OTHER] = groups.pop(OTHER)
    return groups
