"""Scores against labels and the lint of a catalogue, on small hand-counted cases; the sample catalogue on real ones."""

from datetime import date
from pathlib import Path

import pytest

from newsletter.core.errors import ConfigError
from newsletter.core.model import Block, BlockKind, Brief, Span, Story, Topic, fold
from newsletter.core.topics.catalogue import parse_catalogue
from newsletter.core.topics.matcher import TopicMatcher
from newsletter.core.topics.quality import SharedKeyword, lint_catalogue, parse_labels, score_labels

ROOT = Path(__file__).parents[2]
LABELLED = ROOT.parent / "shared" / "data" / "topics"
SPORT = Topic(id="sport", name="Sport", keywords=("match", "goal"))
FOOTBALL = Topic(id="football", name="Football", keywords=("corner",), parent="sport")
MONEY = Topic(id="money", name="Money", keywords=("bank", "matches"))
CATALOGUE = {topic.id: topic for topic in (SPORT, FOOTBALL, MONEY)}


def make_brief(*titles: str, language: str = "en") -> Brief:
    stories = tuple(Story(title=title) for title in titles)
    return Brief(id="b", title="B", date=date(2026, 1, 5), language=language, stories=stories)


def test_labels_are_read_by_folded_title() -> None:
    text = '{"source": "x", "stories": [{"title": "A  Goal", "topics": ["sport"]}, {"title": "B", "topics": []}]}'
    assert parse_labels(text, source="l.json") == {"a goal": ("sport",), "b": ()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"stories":\n oops}', "l.json, line 2: Expecting value"),
        ("[]", 'l.json: labels must look like {"stories": [{"title": …, "topics": […]}]}'),
        ('{"stories": 3}', 'l.json: labels must look like {"stories": [{"title": …, "topics": […]}]}'),
        ('{"stories": [{"title": "A"}]}', "l.json: a label must have a title and a list of topics, not {'title': 'A'}"),
        (
            '{"stories": [{"title": "A", "topics": [1]}]}',
            "l.json: a label must have a title and a list of topics, not {'title': 'A', 'topics': [1]}",
        ),
    ],
)
def test_bad_labels_are_named(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_labels(text, source="l.json")
    assert str(caught.value) == sentence


def test_scores_are_counted_story_by_story() -> None:
    brief = make_brief(
        "The bank",
        "A goal",
        "A late goal",
        "The bank again",
        "Cyclists climb",
        "Cyclists rest",
        "Silence",
        "Unlabelled",
    )
    labels = {
        "the bank": ("money",),
        "a goal": ("sport",),
        "a late goal": ("money",),
        "the bank again": ("money", "sport"),
        "cyclists climb": ("sport",),
        "cyclists rest": ("sport",),
        "silence": (),
        "not in the brief": ("sport",),
    }
    scores = score_labels(TopicMatcher(CATALOGUE), [(brief, labels)])
    money, sport = scores.topics
    assert (scores.stories, scores.first_right, scores.absent) == (7, 4, ("not in the brief",))
    assert scores.first_accuracy == pytest.approx(4 / 7)
    assert (money.topic, money.right, money.wrong, money.missed) == ("money", 2, 0, 1)
    assert (sport.topic, sport.right, sport.wrong, sport.missed) == ("sport", 1, 1, 3)
    assert [money.precision, money.recall, money.f1] == pytest.approx([1.0, 2 / 3, 0.8])
    assert [sport.precision, sport.recall, sport.f1] == pytest.approx([0.5, 0.25, 1 / 3])
    assert scores.macro_f1 == pytest.approx((0.8 + 1 / 3) / 2)
    assert sport.missed_words[0] == ("cyclists", 2)
    assert {word for word, _ in sport.missed_words} == {"cyclists", "climb", "rest", "bank", "again"}


def test_topics_that_no_label_names_are_not_judged() -> None:
    brief = make_brief("A corner")
    scores = score_labels(TopicMatcher(CATALOGUE), [(brief, {"a corner": ("sport",)})])
    assert [score.topic for score in scores.topics] == ["sport"]
    assert scores.first_accuracy == 1.0
    assert score_labels(TopicMatcher(CATALOGUE), [(brief, {"a corner": ("football",)})]).first_accuracy == 1.0


def test_nothing_labelled_scores_nothing() -> None:
    scores = score_labels(TopicMatcher(CATALOGUE), [])
    assert (scores.stories, scores.first_accuracy, scores.macro_f1, scores.topics) == (0, 0.0, 0.0, ())


def test_a_topic_that_was_never_given_scores_zero() -> None:
    (score,) = score_labels(TopicMatcher({}), [(make_brief("A goal"), {"a goal": ("sport",)})]).topics
    assert (score.precision, score.recall, score.f1) == (0.0, 0.0, 0.0)
    (score,) = score_labels(TopicMatcher({}), [(make_brief("A goal"), {"gone": ("sport",)})]).topics
    assert (score.precision, score.recall, score.f1) == (0.0, 0.0, 0.0)


def test_lint_names_keywords_that_topics_share_and_that_never_fire() -> None:
    lint = lint_catalogue(
        CATALOGUE, [make_brief("A match at the bank"), make_brief("Der Bank geht es gut", language="de")]
    )
    assert lint.shared == (SharedKeyword(uses=(("sport", "match"), ("money", "matches"))),)
    assert lint.silent == (("sport", "goal"), ("football", "corner"))


def test_lint_without_briefs_compares_keywords_as_they_are_written() -> None:
    twin = Topic(id="twin", name="Twin", keywords=("Goal", "goals"))
    lint = lint_catalogue({**CATALOGUE, "twin": twin}, [])
    assert lint.shared == (SharedKeyword(uses=(("sport", "goal"), ("twin", "Goal"))),)
    assert len(lint.silent) == 7


def test_the_sample_catalogue_shares_no_keyword_between_topics() -> None:
    catalogue = read_sample()
    briefs = [make_brief("Nothing", language=language) for language in ("en", "de", "fr", "es", "ar", "ur")]
    assert lint_catalogue(catalogue, briefs).shared == ()


FIVE = ("business", "entertainment", "politics", "sport", "tech")


@pytest.mark.skipif(not LABELLED.is_dir(), reason=f"no labelled stories at {LABELLED}")
@pytest.mark.parametrize("extra", [False, True], ids=["five topics", "all topics"])
def test_the_first_topic_of_labelled_stories_is_right(extra: bool) -> None:
    catalogue = read_sample()
    chosen = {topic: value for topic, value in catalogue.items() if extra or topic in FIVE}
    scores = score_labels(TopicMatcher(chosen), map(read_labelled, sorted(LABELLED.glob("*.gold.json"))))
    assert scores.stories > 500
    assert scores.absent == ()
    assert scores.first_accuracy >= 0.88
    assert scores.macro_f1 >= 0.84


def read_sample() -> dict[str, Topic]:
    path = ROOT / "subscribers" / "topics.toml"
    return parse_catalogue(path.read_text(encoding="utf-8"), source=path.name)


def read_labelled(gold: Path) -> tuple[Brief, dict[str, tuple[str, ...]]]:
    """A brief of headlines and details, read by its labels alone: this is no test of the parser."""
    labels = parse_labels(gold.read_text(encoding="utf-8"), source=gold.name)
    text = gold.with_name(gold.name.replace(".gold.json", ".md")).read_text(encoding="utf-8")
    stories: list[Story] = []
    for line in text.partition("Details:")[2].splitlines():
        if fold(line) in labels and fold(line) not in {fold(story.title) for story in stories}:
            stories.append(Story(title=line.strip()))
        elif line and stories:
            paragraph = Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=line),))
            last = stories[-1]
            stories[-1] = Story(title=last.title, blocks=(*last.blocks, paragraph))
    brief = Brief(id=gold.stem, title=gold.stem, date=date(2026, 1, 5), language="en", stories=tuple(stories))
    return brief, labels
