"""Who gets which stories: exclusions, windows, and each story once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from newsletter.core.model import Exclusion
from newsletter.core.plan import Decision, Planner, Reader, WindowStory

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday
READER = Reader(
    id=1,
    topics="science",
    frequency="each",
    timezone="UTC",
    language="en",
    since=NOW - timedelta(days=10),
    covered_issue_id=0,
    has_gap=False,
    paused_until=None,
    suppressed=False,
)


def story(id_: int, issue: int, *topics: str, same_as: int | None = None) -> WindowStory:
    return WindowStory(id=id_, issue_id=issue, story_id=same_as or id_, topics=frozenset(topics))


def planner(*window: WindowStory, issue: int = 3) -> Planner:
    return Planner(issue_id=issue, due_at=NOW, window=window)


def test_a_reader_of_each_issue_gets_only_this_issues_matching_stories() -> None:
    plan = planner(story(1, 2, "science"), story(2, 3, "science"), story(3, 3, "sport"))
    assert plan.decide(READER) == Decision(stories=(2,))


def test_every_story_includes_those_without_a_topic() -> None:
    plan = planner(story(1, 3), story(2, 3, "sport"))
    assert plan.decide(replace(READER, topics="*")).stories == (1, 2)


@pytest.mark.parametrize("topics", ["", "culture"])
def test_no_match_is_no_mail(topics: str) -> None:
    plan = planner(story(1, 3, "science"), story(2, 3))
    assert plan.decide(replace(READER, topics=topics)).exclusion is Exclusion.NO_MATCHING_STORIES


def test_a_story_of_two_chosen_topics_stands_once() -> None:
    plan = planner(story(1, 3, "science", "sport"), story(2, 3, "science", same_as=1))
    assert plan.decide(replace(READER, topics="science;sport")).stories == (1,)


def test_a_gathering_reader_gets_the_issues_since_they_were_covered_newest_first() -> None:
    plan = planner(story(1, 1, "science"), story(2, 2, "science"), story(3, 3, "science"))
    weekly = replace(READER, frequency="weekly", covered_issue_id=1)
    assert plan.decide(weekly).stories == (3, 2)


def test_a_held_story_is_left_out() -> None:
    plan = planner(story(1, 3, "science"), story(2, 3, "science"))
    assert plan.decide(READER, held={1}).stories == (2,)
    assert plan.decide(READER, held={1, 2}).exclusion is Exclusion.NO_MATCHING_STORIES


def test_only_repeated_stories_and_gaps_need_a_look_at_earlier_mails() -> None:
    plan = planner(
        story(1, 1, "science"), story(2, 2, "science"), story(3, 3, "science"), story(4, 3, "sport", same_as=1)
    )
    weekly = replace(READER, frequency="weekly", covered_issue_id=1)
    assert plan.issues_to_check(READER) == frozenset()
    assert plan.issues_to_check(replace(READER, topics="sport")) == {1, 2}
    assert plan.issues_to_check(weekly) == frozenset()
    assert plan.issues_to_check(replace(weekly, has_gap=True)) == {2}


def test_a_withdrawn_story_is_sent_no_more_but_known_to_have_been_sent() -> None:
    withdrawn = replace(story(1, 2, "science"), withdrawn=True)
    plan = planner(withdrawn, story(2, 3, "science", same_as=1))
    weekly = replace(READER, frequency="weekly")
    assert planner(withdrawn).decide(weekly).exclusion is Exclusion.NO_MATCHING_STORIES
    assert plan.issues_to_check(READER) == {2}
    assert plan.decide(weekly).stories == (2,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"suppressed": True, "paused_until": NOW + timedelta(days=1)}, Exclusion.SUPPRESSED),
        ({"paused_until": NOW + timedelta(seconds=1), "frequency": "monthly", "since": NOW}, Exclusion.PAUSED),
        ({"paused_until": NOW}, None),
        ({"frequency": "daily", "since": NOW - timedelta(hours=9)}, Exclusion.FREQUENCY),
        ({"frequency": "daily", "since": NOW - timedelta(hours=9, microseconds=1)}, None),
        ({"frequency": "weekly", "since": NOW - timedelta(hours=8)}, Exclusion.FREQUENCY),
        ({"frequency": "weekly:tue", "since": NOW - timedelta(days=6)}, Exclusion.FREQUENCY),
        ({"frequency": "weekly:tue", "since": NOW - timedelta(days=7)}, None),
        ({"frequency": "monthly", "since": NOW - timedelta(days=22)}, Exclusion.FREQUENCY),
        ({"frequency": "monthly", "since": NOW - timedelta(days=23)}, None),
        ({"frequency": "daily", "timezone": "Asia/Tokyo", "since": NOW - timedelta(hours=17)}, Exclusion.FREQUENCY),
        ({"frequency": "daily", "timezone": "Asia/Tokyo", "since": NOW - timedelta(hours=19)}, None),
    ],
)
def test_reasons_to_get_nothing_in_their_order(changes: dict[str, object], reason: Exclusion | None) -> None:
    assert planner(story(1, 3, "science")).exclude(replace(READER, **changes)) is reason  # type: ignore[arg-type]
