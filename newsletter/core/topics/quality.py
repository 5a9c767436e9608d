"""How good a catalogue is: its matches held against labelled stories, and keywords that share or do no work.

Uses matcher.py and keywords.py; returns values for the terminal to print.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from newsletter.core.errors import ConfigError
from newsletter.core.model import Brief, Catalogue, Story, fold
from newsletter.core.topics.keywords import cut_opening, index_keywords
from newsletter.core.topics.matcher import TopicMatcher
from newsletter.core.topics.words import normalise, primary_language, split_words

MISSED_WORDS = 10
SHORTEST_WORD = 4
"""Letters a word needs to be named as missed: shorter ones are hardly ever keywords."""

Labels = Mapping[str, tuple[str, ...]]
"""The right topics of stories, by folded title."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicScore:
    """How one topic did, in stories: `right` and `wrong` among those it was given to, `missed` beside them.

    `missed_words` are what missed stories have and others do not, most telling first, with the number of such stories.
    """

    topic: str
    right: int
    wrong: int
    missed: int
    missed_words: tuple[tuple[str, int], ...]

    @property
    def precision(self) -> float:
        """The share of its stories that are rightly so; 0 where it has none."""
        return self.right / (self.right + self.wrong or 1)

    @property
    def recall(self) -> float:
        """The share of the stories labelled so that it was given; 0 where there are none."""
        return self.right / (self.right + self.missed or 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / (2 * self.right + self.wrong + self.missed or 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScores:
    """How a catalogue did on labelled stories; only topics that some label names are judged."""

    stories: int
    first_right: int
    topics: tuple[TopicScore, ...]
    absent: tuple[str, ...]

    @property
    def first_accuracy(self) -> float:
        """The share of stories whose first judged topic is one of its labels."""
        return self.first_right / (self.stories or 1)

    @property
    def macro_f1(self) -> float:
        """The mean of the topics' F1, each topic counting the same."""
        return sum(score.f1 for score in self.topics) / (len(self.topics) or 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedKeyword:
    """Keywords of two topics or more that fire on the same words: (topic, keyword) in the catalogue's order."""

    uses: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueLint:
    """What is doubtful in a catalogue; `silent` are the (topic, keyword) that fired in no story."""

    shared: tuple[SharedKeyword, ...]
    silent: tuple[tuple[str, str], ...]


def parse_labels(text: str, *, source: str) -> dict[str, tuple[str, ...]]:
    """Read `{"stories":[{"title","topics":[…]}]}`; ConfigError names the file and, for bad JSON, the line."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as problem:
        raise ConfigError(f"{source}, line {problem.lineno}: {problem.msg}") from problem
    stories = document.get("stories") if isinstance(document, dict) else None
    if not isinstance(stories, list):
        raise ConfigError(f'{source}: labels must look like {{"stories": [{{"title": …, "topics": […]}}]}}')
    return dict(_read_label(label, source) for label in stories)


def score_labels(matcher: TopicMatcher, labelled: Iterable[tuple[Brief, Labels]]) -> LabelScores:
    """Match every story that has a label. A topic that no label names is not judged, nor a story without a label.

    `absent` are the labelled titles (folded) that their brief does not hold.
    """
    pairs = list(labelled)
    judged = sorted({topic for _, labels in pairs for right in labels.values() for topic in right})
    cases = [case for brief, labels in pairs for case in _judge_brief(matcher, brief, labels, judged)]
    spread = Counter(word for case in cases for word in case.words)
    absent = [
        title for brief, labels in pairs for title in labels.keys() - {fold(story.title) for story in brief.stories}
    ]
    return LabelScores(
        stories=len(cases),
        first_right=sum(case.first_right for case in cases),
        topics=tuple(_score_topic(topic, cases, spread) for topic in judged),
        absent=tuple(sorted(absent)),
    )


def lint_catalogue(catalogue: Catalogue, briefs: Iterable[Brief]) -> CatalogueLint:
    """Hold a catalogue against the stories of briefs; keywords are compared as the briefs' languages inflect them."""
    stories = [(story, brief.language) for brief in briefs for story in brief.stories]
    silent = find_silent(catalogue, TopicMatcher(catalogue), stories)
    shared: dict[SharedKeyword, None] = {}
    languages = {primary_language(language) for _, language in stories}
    for language in sorted(languages) or [""]:
        for uses in index_keywords(catalogue.values(), language=language).values():
            if len(uses) > 1:
                shared[SharedKeyword(uses=tuple(uses.items()))] = None
    return CatalogueLint(shared=tuple(shared), silent=silent)


def find_silent(
    catalogue: Catalogue, matcher: TopicMatcher, stories: Iterable[tuple[Story, str]]
) -> tuple[tuple[str, str], ...]:
    """The keywords (topic, keyword) that occur in none of these stories, each given with its language."""
    silent = dict.fromkeys((topic.id, keyword) for topic in catalogue.values() for keyword in topic.keywords)
    for story, language in stories:
        for topic, reasons in matcher.find_keywords(story, language=language).items():
            for reason in reasons:
                silent.pop((topic, reason.matched), None)
    return tuple(silent)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """A labelled story: its right topics, those it was given (judged ones, strongest first), its words."""

    right: frozenset[str]
    found: tuple[str, ...]
    words: frozenset[str]

    @property
    def first_right(self) -> bool:
        return self.found[0] in self.right if self.found else not self.right


def _read_label(label: object, source: str) -> tuple[str, tuple[str, ...]]:
    match label:
        case {"title": str(title), "topics": [*topics]} if all(isinstance(topic, str) for topic in topics):
            return fold(title), tuple(topics)
        case _:
            raise ConfigError(f"{source}: a label must have a title and a list of topics, not {label!r}")


def _judge_brief(matcher: TopicMatcher, brief: Brief, labels: Labels, judged: list[str]) -> Iterator[_Case]:
    for story in brief.stories:
        right = labels.get(fold(story.title))
        if right is not None:
            matches = matcher.match_story(story, language=brief.language)
            found = tuple(match.topic for match in matches if match.topic in judged)
            yield _Case(right=frozenset(right), found=found, words=_list_words(story))


def _list_words(story: Story) -> frozenset[str]:
    words = split_words(normalise(f"{story.title}\n{cut_opening(story.text)}").casefold())
    return frozenset(word for word in words if len(word) >= SHORTEST_WORD and word.isalpha())


def _score_topic(topic: str, cases: list[_Case], spread: Counter[str]) -> TopicScore:
    missed = [case for case in cases if topic in case.right and topic not in case.found]
    counts = Counter(word for case in missed for word in case.words)
    telling = {word: times * math.log(len(cases) / spread[word]) for word, times in counts.items()}
    ranked = sorted(counts, key=lambda word: (-telling[word], word))[:MISSED_WORDS]
    return TopicScore(
        topic=topic,
        right=sum(topic in case.right and topic in case.found for case in cases),
        wrong=sum(topic not in case.right and topic in case.found for case in cases),
        missed=len(missed),
        missed_words=tuple((word, counts[word]) for word in ranked),
    )
