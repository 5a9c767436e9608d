"""Finds every keyword of a catalogue in one pass over a story's title and the beginning of its text.

Three automata a language: over stemmed words, over words exactly as written (keywords in capitals), and over raw text
(scripts without spaces). Uses words.py; decides nothing about topics.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat

from ahocorasick_rs import AhoCorasick

from newsletter.core.model import Evidence, EvidenceSource, Story, Topic
from newsletter.core.topics.words import UNSPACED, normalise, primary_language, split_words, stem_word

TITLE_WEIGHT = 3.0
TEXT_WEIGHT = 1.0
TEXT_CHARACTERS = 600
"""How far into a story's text keywords count; a word that begins before the limit counts whole."""


class Form(StrEnum):
    """How a keyword is looked for: its stems, the words as they are written, or any run of characters."""

    STEMMED = "stemmed"
    EXACT = "exact"
    RAW = "raw"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """What is really searched for; two keywords with equal patterns fire on the same words."""

    form: Form
    text: str


def compile_keyword(keyword: str, *, language: str) -> Pattern | None:
    """The pattern of a keyword in stories of a language; None where it holds no letter or digit."""
    plain = normalise(keyword)
    if UNSPACED.search(plain):
        return Pattern(form=Form.RAW, text=plain.casefold().strip())
    words = split_words(plain)
    if not words:
        return None
    if plain.isupper():
        return Pattern(form=Form.EXACT, text=_fence(words))
    return Pattern(form=Form.STEMMED, text=_fence(map(stem_word, words, repeat(language))))


def index_keywords(topics: Iterable[Topic], *, language: str) -> dict[Pattern, dict[str, str]]:
    """The keywords that count in stories of a language: for each pattern, the topics that have it and their keyword."""
    owners: dict[Pattern, dict[str, str]] = {}
    for topic in topics:
        if not topic.languages or language in map(primary_language, topic.languages):
            for keyword in topic.keywords:
                if pattern := compile_keyword(keyword, language=language):
                    owners.setdefault(pattern, {}).setdefault(topic.id, keyword)
    return owners


def cut_opening(text: str) -> str:
    """The beginning of a story's text, to the end of the word at `TEXT_CHARACTERS`."""
    end = min(TEXT_CHARACTERS, len(text))
    while end < len(text) and text[end - 1 : end + 1].isalnum():
        end += 1
    return text[:end]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """All patterns of one form; `owners` are, pattern by pattern, the keyword of each topic that has it."""

    form: Form
    automaton: AhoCorasick
    owners: tuple[dict[str, str], ...]


class KeywordFinder:
    """The keywords of `topics` that count in stories of one language. Threads may share it."""

    def __init__(self, topics: Iterable[Topic], *, language: str) -> None:
        self._language = primary_language(language)
        owners = index_keywords(topics, language=self._language)
        self._searches = [
            _Search(form=form, automaton=AhoCorasick(list(group)), owners=tuple(group.values()))
            for form in Form
            if (group := {pattern.text: fired for pattern, fired in owners.items() if pattern.form is form})
        ]

    def find(self, story: Story) -> dict[str, list[Evidence]]:
        """Every keyword that fires, by topic; one Evidence a keyword and place, weighing place × occurrences."""
        found: dict[str, list[Evidence]] = {}
        for place, weight, text in (
            ("title", TITLE_WEIGHT, story.title),
            ("text", TEXT_WEIGHT, cut_opening(story.text)),
        ):
            for (topic, keyword), times in self._count(normalise(text)).items():
                evidence = Evidence(source=EvidenceSource.KEYWORD, matched=keyword, place=place, weight=weight * times)
                found.setdefault(topic, []).append(evidence)
        return found

    def _count(self, text: str) -> Counter[tuple[str, str]]:
        words = split_words(text)
        counts: Counter[tuple[str, str]] = Counter()
        for search in self._searches:
            if search.form is Form.RAW:
                haystack = text.casefold()
            elif search.form is Form.EXACT:
                haystack = _fence(words)
            else:
                haystack = _fence(map(stem_word, words, repeat(self._language)))
            for number, _, _ in search.automaton.find_matches_as_indexes(haystack, overlapping=True):
                counts.update(search.owners[number].items())
        return counts


def _fence(words: Iterable[str]) -> str:
    """Words with a space on both sides of each, so that a pattern fires on whole words only."""
    return f" {' '.join(words)} "
