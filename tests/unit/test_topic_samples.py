"""The samples that `newsletter demo` and `newsletter init` use: they fit each other, and show what they are to show."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from newsletter.core.briefs.parser import parse_brief
from newsletter.core.errors import ImportRowError
from newsletter.core.model import Brief, Topic
from newsletter.core.preferences import PersonRow, parse_row
from newsletter.core.topics.catalogue import parse_catalogue
from newsletter.core.topics.matcher import TopicMatcher, warn_unknown_topics

ROOT = Path(__file__).parents[2]
BRIEFS = sorted(path.stem for path in (ROOT / "briefs").glob("*.md"))
LATEST = "2026-11-23-monday"
LANGUAGES = ("en", "de", "fr", "es", "ar", "ur")


def read_brief(name: str) -> Brief:
    path = ROOT / "briefs" / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    return parse_brief(
        text, brief_id=name, source=path.name, modified_at=datetime(2026, 1, 5, tzinfo=UTC), language="en"
    )


def read_catalogue() -> dict[str, Topic]:
    path = ROOT / "subscribers" / "topics.toml"
    return parse_catalogue(path.read_text(encoding="utf-8"), source=path.name)


def match_brief(name: str) -> dict[str, list[str]]:
    """The topics of each story, by title."""
    brief, matcher = read_brief(name), TopicMatcher(read_catalogue())
    return {
        story.title: [found.topic for found in matcher.match_story(story, language=brief.language)]
        for story in brief.stories
    }


def read_sample() -> tuple[list[PersonRow], list[str]]:
    """The good rows of sample.csv, and the addresses of the bad ones."""
    good: list[PersonRow] = []
    bad: list[str] = []
    with (ROOT / "subscribers" / "sample.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                good.append(parse_row(row, topics=read_catalogue(), languages=LANGUAGES))
            except ImportRowError:
                bad.append(row["email"])
    return good, bad


@pytest.mark.parametrize("name", BRIEFS)
def test_every_story_of_every_sample_brief_has_a_topic_and_no_warning(name: str) -> None:
    brief = read_brief(name)
    assert (brief.warnings, warn_unknown_topics(brief, read_catalogue())) == ((), ())
    assert [title for title, topics in match_brief(name).items() if not topics] == []


def test_the_monday_brief_is_the_latest() -> None:
    dates = {name: read_brief(name).date for name in BRIEFS}
    assert max(dates, key=dates.__getitem__) == LATEST
    assert dates[LATEST] == date(2026, 11, 23)


def test_the_topics_of_the_monday_brief() -> None:
    assert list(match_brief(LATEST).values()) == [
        ["local"],
        ["business", "tech"],
        ["football", "sport"],
        ["science"],
        ["culture", "local"],
        ["politics", "travel"],
        ["entertainment", "local", "culture"],
        ["food", "culture"],
        ["climate", "science"],
        ["local", "entertainment"],
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026-11-19-donnerstag", ["travel", "politics", "football", "science", "business"]),
        ("2026-11-17-mangal", ["culture", "sport", "business", "science"]),
        ("2026-11-18-midweek", ["sport", "sport", "culture", "culture", "business", "local", "food"]),
    ],
)
def test_the_first_topic_of_stories_in_other_languages_and_in_sections(name: str, expected: list[str]) -> None:
    assert [topics[0] for topics in match_brief(name).values()] == expected


def test_a_dozen_subscribers_one_bad_row_and_one_without_a_story_on_monday() -> None:
    good, bad = read_sample()
    told = {topic for topics in match_brief(LATEST).values() for topic in topics}
    assert (len(good), bad) == (12, ["mona@example"])
    assert [person.email for person in good if not told.intersection(person.topics) and "*" not in person.topics] == [
        "liam@example.net"
    ]
    assert {person.language for person in good} == set(LANGUAGES)
    assert {person.frequency.value for person in good} == {"each", "daily", "weekly"}
