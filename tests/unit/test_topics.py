"""Which topics a story has: author, section, category, keywords, parents, and the order of it all."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.model import (
    Block,
    BlockKind,
    Brief,
    Catalogue,
    Evidence,
    EvidenceSource,
    Span,
    Story,
    Topic,
    TopicMatch,
)
from newsletter.core.topics.matcher import EVIDENCE_LIMIT, TopicMatcher, warn_unknown_topics


def make_catalogue(*topics: Topic) -> Catalogue:
    return {topic.id: topic for topic in topics}


SPORT = Topic(id="sport", name="Sport", keywords=("match", "stadium", "coach", "referee"), sections=("Athletics",))
FOOTBALL = Topic(id="football", name="Football", keywords=("football", "goal", "corner"), parent="sport")
TENNIS = Topic(id="tennis", name="Tennis", keywords=("tennis", "racket"), parent="sport")
POLITICS = Topic(id="politics", name="Politics & law", keywords=("parliament", "election"), sections=("Government",))
BUSINESS = Topic(id="business", name="Business", keywords=("bank", "interest rate"))
CATALOGUE = make_catalogue(SPORT, FOOTBALL, TENNIS, POLITICS, BUSINESS)


def make_story(
    title: str = "Nothing to see",
    text: str = "",
    *,
    section: str | None = None,
    categories: tuple[str, ...] = (),
    by_hand: tuple[str, ...] | None = None,
) -> Story:
    blocks = (Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=text),)),) if text else ()
    place = "line 7" if by_hand is not None else ""
    return Story(
        title=title, blocks=blocks, section=section, categories=categories, by_hand=by_hand, by_hand_place=place
    )


def match(story: Story, catalogue: Catalogue = CATALOGUE) -> tuple[TopicMatch, ...]:
    return TopicMatcher(catalogue).match_story(story, language="en")


def match_ids(story: Story, catalogue: Catalogue = CATALOGUE) -> list[str]:
    return [found.topic for found in match(story, catalogue)]


def reasons(story: Story, topic: str) -> list[str]:
    return [reason.sentence for found in match(story) if found.topic == topic for reason in found.because]


def test_no_keyword_means_no_topic() -> None:
    assert match(make_story("A quiet day", "Nothing happened at all.")) == ()


def test_keywords_of_title_and_text_are_the_evidence_title_first() -> None:
    story = make_story("Banks wait", "The bank of the village and another bank.")
    assert match(story) == (
        TopicMatch(
            topic="business",
            because=(
                Evidence(source=EvidenceSource.KEYWORD, matched="bank", place="title", weight=3.0),
                Evidence(source=EvidenceSource.KEYWORD, matched="bank", place="text", weight=2.0),
            ),
        ),
    )
    assert reasons(story, "business") == ["keyword “bank” in the title", "keyword “bank” in the text"]


def test_a_story_may_have_several_topics_strongest_first() -> None:
    assert match_ids(make_story("Bank opens", "Parliament met; the bank sent a letter.")) == ["business"]
    assert match_ids(make_story("Bank opens", "Parliament met.")) == ["business", "politics"]
    assert match_ids(make_story("Parliament opens a bank", "A bank!")) == ["business", "politics"]


def test_topics_of_equal_strength_stand_as_in_the_catalogue() -> None:
    assert match_ids(make_story("Bank and parliament")) == ["politics", "business"]


def test_a_passing_mention_is_cut_beside_a_strong_topic() -> None:
    story = make_story("Parliament calls an election", "Parliament sat. The bank was closed.")
    assert match_ids(story) == ["politics"]


def test_a_parent_follows_its_child_and_says_so() -> None:
    found = match(make_story("A goal from a corner"))
    assert [one.topic for one in found] == ["football", "sport"]
    assert found[1].because == (Evidence(source=EvidenceSource.CHILD, matched="football", place="topic", weight=6.0),)
    assert found[1].because[0].sentence == "parent of football"


def test_a_parent_follows_its_child_even_where_its_own_keywords_are_stronger() -> None:
    story = make_story("The match, the stadium, the goal", "A coach spoke.")
    assert match_ids(story) == ["football", "sport"]
    assert reasons(story, "sport")[-2:] == ["keyword “coach” in the text", "parent of football"]


def test_a_family_is_as_strong_as_all_its_members() -> None:
    story = make_story("Goal at the match while the bank pays", "The bank.")
    assert match_ids(story) == ["football", "sport", "business"]


def test_the_keywords_of_a_child_that_was_cut_speak_for_its_parent() -> None:
    story = make_story("The match in the stadium", "A coach and a goal.")
    assert match_ids(story) == ["sport"]
    assert "keyword “goal” in the text" in reasons(story, "sport")


def test_grandparents_come_last() -> None:
    women = Topic(id="women", name="Women's football", keywords=("midfielder",), parent="football")
    catalogue = make_catalogue(women, SPORT, FOOTBALL)
    found = match(make_story("A midfielder and a goal"), catalogue)
    assert [one.topic for one in found] == ["women", "football", "sport"]
    assert [reason.matched for reason in found[2].because] == ["football"]


def test_a_parent_that_the_catalogue_does_not_hold_is_left_out() -> None:
    assert match_ids(make_story("A goal"), make_catalogue(FOOTBALL)) == ["football"]


def test_evidence_is_bounded_strongest_first() -> None:
    words = ("anchor", "basin", "candle", "drum", "engine", "ferry", "garden", "harbour")
    topic = Topic(id="words", name="Words", keywords=words)
    (found,) = match(make_story("The harbour", " ".join(words)), make_catalogue(topic))
    assert len(found.because) == EVIDENCE_LIMIT
    assert (found.because[0].matched, found.because[0].place) == ("harbour", "title")


@pytest.mark.parametrize("section", ["Sport", "SPORT ", "athletics", "sport"])
def test_a_section_gives_its_topic_by_id_name_or_other_name(section: str) -> None:
    story = make_story("A quiet day", section=section)
    assert match_ids(story) == ["sport"]
    assert reasons(story, "sport") == [f"section “{section}”"]


def test_categories_give_topics_too_and_unknown_ones_nothing() -> None:
    story = make_story("A quiet day", categories=("Weather", "politics & LAW", "Business"))
    assert match_ids(story) == ["politics", "business"]
    assert reasons(story, "politics") == ["category “politics & LAW”"]


def test_a_section_comes_before_any_keyword() -> None:
    story = make_story("Parliament, parliament, election", "Parliament sat for the election.", section="Business")
    assert match_ids(story) == ["business", "politics"]


def test_a_section_of_a_child_gives_the_parent() -> None:
    assert match_ids(make_story("A quiet day", section="Football")) == ["football", "sport"]


def test_a_section_shared_by_two_topics_gives_both() -> None:
    other = Topic(id="clubs", name="Clubs", sections=("athletics",))
    assert match_ids(make_story(section="Athletics"), make_catalogue(SPORT, other)) == ["sport", "clubs"]


def test_the_author_alone_decides_in_the_authors_order() -> None:
    story = make_story("A goal, a match", section="Sport", by_hand=("politics", "business"))
    assert match_ids(story) == ["politics", "business"]
    assert reasons(story, "politics") == ["set by the author (line 7)"]


@pytest.mark.parametrize(
    ("by_hand", "expected"),
    [
        (("football", "politics"), ["football", "sport", "politics"]),
        (("sport", "football"), ["football", "sport"]),
        (("football", "politics", "tennis"), ["football", "politics", "tennis", "sport"]),
        (("Politics & Law", "BUSINESS"), ["politics", "business"]),
        (("business", "Business"), ["business"]),
        (("gardening", "business"), ["business"]),
        (("gardening",), []),
        ((), []),
    ],
)
def test_the_authors_topics_bring_their_parents(by_hand: tuple[str, ...], expected: list[str]) -> None:
    assert match_ids(make_story("Bank", by_hand=by_hand)) == expected


def test_unknown_topics_of_the_author_are_warned_of_once_a_place() -> None:
    stories = (
        Story(title="One", by_hand=("sport", "gardening"), by_hand_place="line 4", line=3),
        Story(title="Two", by_hand=("gardening",), by_hand_place="line 12", line=11),
        Story(title="Three"),
    )
    brief = Brief(id="b", title="B", date=date(2026, 1, 5), language="en", stories=stories)
    warnings = warn_unknown_topics(brief, CATALOGUE)
    assert [(warning.line, warning.message) for warning in warnings] == [
        (4, "topic “gardening” (line 4) is not in the catalogue"),
        (12, "topic “gardening” (line 12) is not in the catalogue"),
    ]


def test_unknown_topics_of_the_front_matter_are_warned_of_once_a_brief() -> None:
    stories = tuple(
        Story(title=title, by_hand=("gardening",), by_hand_place="front matter, line 3", line=line)
        for line, title in enumerate(("One", "Two"), start=5)
    )
    brief = Brief(id="b", title="B", date=date(2026, 1, 5), language="en", stories=stories)
    assert [warning.line for warning in warn_unknown_topics(brief, CATALOGUE)] == [3]
    by_feed = (Story(title="One", by_hand=("gardening",), by_hand_place="first line"),)
    (warning,) = warn_unknown_topics(replace(brief, stories=by_feed), CATALOGUE)
    assert warning.line is None
    assert warn_unknown_topics(brief, make_catalogue(Topic(id="g", name="Gardening"))) == ()


def test_find_keywords_tells_what_was_cut_as_well() -> None:
    story = make_story("Parliament calls an election", "The bank was closed.")
    assert set(TopicMatcher(CATALOGUE).find_keywords(story, language="en-GB")) == {"politics", "business"}


@given(
    title=st.text(st.sampled_from("goal match tennis bank parliament."), max_size=60),
    words=st.lists(st.sampled_from(["goal", "match", "coach", "racket", "bank", "election"]), max_size=12),
    section=st.sampled_from([None, "Sport", "Football", "Business"]),
)
def test_children_precede_parents_and_nothing_comes_twice(title: str, words: list[str], section: str | None) -> None:
    found = match_ids(make_story(title, " ".join(words), section=section))
    assert len(set(found)) == len(found)
    for topic in found:
        parent = CATALOGUE[topic].parent
        assert parent is None or found.index(parent) > found.index(topic)
