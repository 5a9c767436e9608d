"""Which topics a story has, and why: the author first, then section and category, then keywords.

Uses keywords.py; reads no files. A topic's parent takes its stories too. Catalogues come from `parse_catalogue`,
which refuses circles.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from newsletter.core.model import Brief, BriefWarning, Catalogue, Evidence, EvidenceSource, Story, TopicMatch, fold
from newsletter.core.topics.keywords import KeywordFinder
from newsletter.core.topics.words import primary_language

RELATIVE_CUT = 0.3
"""The share of the strongest topic's keyword score that another topic needs: a keyword in the text still counts beside
one in the title. On 560 stories with one label each: precision 0.78, recall 0.97 (a cut of 0.5: 0.84 and 0.96)."""

GIVEN_WEIGHT = 1_000.0
"""What the author's word, a section or a category weighs: more than all keywords of a title and 600 characters."""

EVIDENCE_LIMIT = 6
"""How many keywords are kept as evidence for one topic, strongest first."""

_Reasons = dict[str, list[Evidence]]


class TopicMatcher:
    """Matches stories with the topics of one catalogue. Threads may share it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._by_name = _index_names(catalogue)
        self._by_section: dict[str, list[str]] = defaultdict(list)
        for topic in catalogue.values():
            for name in dict.fromkeys(map(fold, (topic.id, topic.name, *topic.sections))):
                self._by_section[name].append(topic.id)
        self._families = {topic: (topic, *_walk_up(topic, catalogue)) for topic in catalogue}
        self._places = {topic: number for number, topic in enumerate(catalogue)}
        self._finders: dict[str, KeywordFinder] = {}

    def match_story(self, story: Story, *, language: str) -> tuple[TopicMatch, ...]:
        """The topics of a story, strongest first, a parent after its child; `language` is the story's (BCP 47)."""
        if story.by_hand is not None:
            return self._match_author(story.by_hand, place=story.by_hand_place)
        given = self._find_sections(story)
        fired = self.find_keywords(story, language=language)
        # The measure is the strongest topic's own score: a sport's cup final must not cut the football below it.
        least = RELATIVE_CUT * max((_weigh(reasons) for reasons in fired.values()), default=0.0)
        strong = (topic for topic, score in self._sum_families(fired).items() if score >= least)
        kept = {member for topic in (*given, *strong) for member in self._families[topic]}
        ordered = self._order_by_strength(kept, self._sum_families(given, fired))
        because = {topic: given.get(topic, []) for topic in ordered}
        for topic, reasons in self._hand_up(fired, kept).items():
            because[topic] += sorted(reasons, key=lambda reason: -reason.weight)[:EVIDENCE_LIMIT]
        return self._conclude(because)

    def find_keywords(self, story: Story, *, language: str) -> dict[str, list[Evidence]]:
        """Every keyword that fires in a story, by topic, before any cut."""
        code = primary_language(language)
        if code not in self._finders:
            self._finders[code] = KeywordFinder(self._catalogue.values(), language=code)
        return self._finders[code].find(story)

    def _match_author(self, names: Iterable[str], *, place: str) -> tuple[TopicMatch, ...]:
        given: _Reasons = {}
        for name in names:
            topic = self._by_name.get(fold(name))
            if topic is not None and topic not in given:
                given[topic] = [_give(EvidenceSource.AUTHOR, matched=name, place=place)]
        # A topic stands where its author put it, a parent at the latest of its own place and its children's.
        rank = {member: number for number, topic in enumerate(given) for member in self._families[topic]}
        ordered = sorted(rank, key=lambda topic: (rank[topic], -len(self._families[topic])))
        return self._conclude({topic: given.get(topic, []) for topic in ordered})

    def _find_sections(self, story: Story) -> _Reasons:
        given: _Reasons = {}
        for place, name in (("section", story.section or ""), *(("category", name) for name in story.categories)):
            for topic in self._by_section.get(fold(name), ()):
                given.setdefault(topic, []).append(_give(EvidenceSource.SECTION, matched=name, place=place))
        return given

    def _sum_families(self, *found: Mapping[str, Sequence[Evidence]]) -> dict[str, float]:
        """The weight of each topic's evidence, that of the topics below it included."""
        scores: dict[str, float] = defaultdict(float)
        for reasons_by_topic in found:
            for topic, reasons in reasons_by_topic.items():
                for member in self._families[topic]:
                    scores[member] += _weigh(reasons)
        return scores

    def _order_by_strength(self, kept: set[str], strength: Mapping[str, float]) -> list[str]:
        """Whole families by the strength of their root, inside them the deepest first; ties as in the catalogue."""

        def rank(topic: str) -> tuple[float, int, int, float, int]:
            *_, root = family = self._families[topic]
            return -strength[root], self._places[root], -len(family), -strength[topic], self._places[topic]

        return sorted(kept, key=rank)

    def _hand_up(self, fired: _Reasons, kept: set[str]) -> _Reasons:
        """The keywords of topics that were cut speak for the nearest parent that was kept."""
        settled: _Reasons = defaultdict(list)
        for topic, reasons in fired.items():
            for heir in [member for member in self._families[topic] if member in kept][:1]:
                settled[heir] += reasons
        return settled

    def _conclude(self, because: _Reasons) -> tuple[TopicMatch, ...]:
        """The matches in the order of `because`; a parent's evidence ends with the children it has the story from."""
        for topic, reasons in because.items():
            parent = self._catalogue[topic].parent
            if parent in because:
                weight = _weigh(reasons)
                because[parent].append(
                    Evidence(source=EvidenceSource.CHILD, matched=topic, place="topic", weight=weight)
                )
        return tuple(TopicMatch(topic=topic, because=tuple(reasons)) for topic, reasons in because.items())


def warn_unknown_topics(brief: Brief, catalogue: Catalogue) -> tuple[BriefWarning, ...]:
    """A warning for each topic that the author set by hand and the catalogue does not know."""
    known = _index_names(catalogue)
    unknown = {
        (name, story.by_hand_place): BriefWarning(
            line=_line_of(story), message=f"topic “{name}” ({story.by_hand_place}) is not in the catalogue"
        )
        for story in brief.stories
        for name in story.by_hand or ()
        if fold(name) not in known
    }
    return tuple(unknown.values())


def _line_of(story: Story) -> int | None:
    """The line on which the author set the topics, in the story or in the front matter."""
    number = story.by_hand_place.rpartition("line ")[2]
    return int(number) if number.isdecimal() else story.line


def _weigh(reasons: Iterable[Evidence]) -> float:
    return sum(reason.weight for reason in reasons)


def _give(source: EvidenceSource, *, matched: str, place: str) -> Evidence:
    return Evidence(source=source, matched=matched, place=place, weight=GIVEN_WEIGHT)


def _index_names(catalogue: Catalogue) -> dict[str, str]:
    """Topic ids by what an author may call them: the id itself, or else the name."""
    return {fold(topic.name): topic.id for topic in catalogue.values()} | {fold(topic): topic for topic in catalogue}


def _walk_up(topic: str, catalogue: Catalogue) -> Iterator[str]:
    parent = catalogue[topic].parent
    while parent is not None and parent in catalogue:
        yield parent
        parent = catalogue[parent].parent
