"""In which order stories stand: as in the brief, by day, or by the topic that most of them share."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from mail_samples import DAY, LINKS, READER, ReadHtml, compile_frame, compile_story, make_story

from newsletter.core.mails.editions import Edition, assemble_edition
from newsletter.core.mails.message import render_html, render_text
from newsletter.core.mails.order import OTHER, group_by_topic, place_stories
from newsletter.core.mails.parts import StoryParts

TOPICS = st.lists(st.sampled_from(["A", "B", "C", "D"]), max_size=3, unique=True)


def compile_all(*topics: tuple[str, ...]) -> list[StoryParts]:
    return [compile_story(make_story(f"Story {number}"), *names) for number, names in enumerate(topics)]


def list_headings(edition: Edition) -> list[str]:
    return ReadHtml(render_html(edition, READER, LINKS)).text["h2"][1:]


def test_many_stories_stand_under_their_topics() -> None:
    topics = [("Business",), ("Science",), ("Business",), (), ("Science", "Business"), ("Business",), ("Science",), ()]
    edition = assemble_edition(compile_frame(), compile_all(*topics))
    expected = [
        *("Business", "Story 0", "Story 2", "Story 4", "Story 5"),
        *("Science", "Story 1", "Story 6"),
        *("More stories", "Story 3", "Story 7"),
    ]
    assert list_headings(edition) == expected
    html = ReadHtml(render_html(edition, READER, LINKS))
    assert html.text["li"] == [heading for heading in expected if heading.startswith("Story")]
    told = render_text(edition, READER, LINKS).partition("* Story 7\n")[2].splitlines()
    assert [line for line in told if line in expected] == expected


def test_few_stories_and_those_of_one_topic_stay_as_they_are() -> None:
    for topics in ([("A",), ("B",)] * 3, [("A", "B"), ("B",)] * 5, [(f"T{number}",) for number in range(9)]):
        places = place_stories(compile_all(*topics))
        assert [place.index for place in places] == list(range(len(topics)))
        assert not any(place.begins for place in places)


def test_days_come_before_topics() -> None:
    days = [DAY] * 6 + [DAY - timedelta(days=1)] * 6
    parts = [compile_story(make_story("T"), "AB"[number % 2], day=day) for number, day in enumerate(days)]
    assert [(place.index, place.topic) for place in place_stories(parts) if place.begins] == [(0, None), (6, None)]


@given(st.lists(TOPICS, max_size=30))
def test_groups_hold_every_story_once_in_its_order_and_the_lead_first(topics: list[list[str]]) -> None:
    groups = group_by_topic(topics)
    if not groups:
        return
    assert sorted(index for group in groups.values() for index in group) == list(range(len(topics)))
    assert next(iter(groups.values()))[0] == 0
    for topic, group in groups.items():
        assert group == sorted(group)
        assert all(topic in topics[index] if topic != OTHER else not topics[index] for index in group)
