"""Who gets which stories of an issue: decided per group of readers alike, never by a query per person.

The window of a reader is what was published since they were last covered; `each` readers have only this issue.
Pure: readers and stories come in as values, decisions go out; publish writes them down.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from newsletter.core.model import EVERY_STORY, Exclusion
from newsletter.core.schedule import last_boundary, parse_frequency

WINDOW = timedelta(days=31)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowStory:
    """A story as it stands in an issue. `story_id` is the same wherever the same story stands.

    `withdrawn`: its issue was cancelled; it is sent to nobody more, but some may have it.
    """

    id: int
    issue_id: int
    story_id: int
    topics: frozenset[str]
    withdrawn: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """What the plan must know of a subscriber; `since` is their last mail, or else their sign-up."""

    id: int
    topics: str
    frequency: str
    timezone: str
    language: str
    since: datetime
    covered_issue_id: int
    has_gap: bool
    paused_until: datetime | None
    suppressed: bool
    lane: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Either an exclusion, or the stories (ids of WindowStory, newest issue first, each story once)."""

    exclusion: Exclusion | None = None
    stories: tuple[int, ...] = ()


class Planner:
    """Plans one issue. `window` holds the stories of all issues of the last 31 days, in any order.

    `waves`: the zones whose readers have a due moment of their own.
    """

    def __init__(
        self,
        *,
        issue_id: int,
        due_at: datetime,
        window: Iterable[WindowStory],
        waves: Mapping[str, datetime] | None = None,
    ) -> None:
        self.issue_id = issue_id
        self._due_at = due_at
        self._waves = waves or {}
        self._window = sorted(window, key=lambda story: (-story.issue_id, story.id))
        self._first_carried = _find_first(self._window)
        self._repeated = frozenset(s.story_id for s in self._window if s.issue_id != self._first_carried[s.story_id])
        self._others = frozenset(story.issue_id for story in self._window) - {issue_id}
        self._boundaries: dict[tuple[str, str], datetime | None] = {}
        self._candidates: dict[tuple[str, int], tuple[WindowStory, ...]] = {}

    def due_at(self, reader: Reader) -> datetime:
        """When the issue is due for this reader."""
        return self._waves.get(reader.timezone, self._due_at)

    def exclude(self, reader: Reader) -> Exclusion | None:
        """The reason why this reader gets nothing of this issue whatever its stories are, the first that fits."""
        if reader.suppressed:
            return Exclusion.SUPPRESSED
        if reader.paused_until is not None and reader.paused_until > self.due_at(reader):
            return Exclusion.PAUSED
        boundary = self._boundary(reader)
        if boundary is not None and reader.since >= boundary:
            return Exclusion.FREQUENCY
        return None

    def issues_to_check(self, reader: Reader) -> frozenset[int]:
        """The other issues whose mails to this reader may hold a candidate story already; mostly none.

        Who gathers stories may have got one in the mail of any issue since the first that carried it; a later issue
        may have been written first.
        """
        candidates = {s.story_id for s in self._candidates_of(reader)}
        again = candidates if reader.has_gap else candidates & self._repeated
        if not again:
            return frozenset()
        first = min(self._first_carried[story_id] for story_id in again)
        return frozenset(issue for issue in self._others if issue >= first)

    def decide(self, reader: Reader, held: Collection[int] = ()) -> Decision:
        """Decide for a reader whom `exclude` lets through; `held` are the story_ids their earlier mails hold."""
        stories = tuple(s.id for s in self._candidates_of(reader) if s.story_id not in held)
        return Decision(stories=stories) if stories else Decision(exclusion=Exclusion.NO_MATCHING_STORIES)

    def _boundary(self, reader: Reader) -> datetime | None:
        key = (reader.frequency, reader.timezone)
        if key not in self._boundaries:
            frequency, zone = parse_frequency(reader.frequency), ZoneInfo(reader.timezone)
            self._boundaries[key] = last_boundary(frequency, zone, self.due_at(reader))
        return self._boundaries[key]

    def _candidates_of(self, reader: Reader) -> tuple[WindowStory, ...]:
        covered = self.issue_id - 1 if reader.frequency == "each" else reader.covered_issue_id
        key = (reader.topics, covered)
        if key not in self._candidates:
            self._candidates[key] = tuple(_choose(self._window, reader.topics, range(covered + 1, self.issue_id + 1)))
        return self._candidates[key]


def _find_first(window: Iterable[WindowStory]) -> dict[int, int]:
    """The first issue that carried each story."""
    first: dict[int, int] = {}
    for story in window:
        first[story.story_id] = min(story.issue_id, first.get(story.story_id, story.issue_id))
    return first


def _choose(window: Sequence[WindowStory], topics: str, open_issues: range) -> Iterator[WindowStory]:
    wanted = frozenset(filter(None, topics.split(";")))
    seen: set[int] = set()
    for story in window:
        if story.withdrawn or story.issue_id not in open_issues or story.story_id in seen:
            continue
        if topics == EVERY_STORY or not wanted.isdisjoint(story.topics):
            seen.add(story.story_id)
            yield story
