"""Publishing into a real SQLite database, over days that the test drives."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from newsletter.core.errors import BriefError, StoreError, TemplateError
from newsletter.core.mails.parts import Sender
from newsletter.core.mails.render import Renderer
from newsletter.core.mails.templates import TemplateFile
from newsletter.core.model import Block, BlockKind, Brief, DeliveryState, IssueState, Span, Story
from newsletter.core.preferences import parse_row
from newsletter.core.topics.catalogue import parse_catalogue
from newsletter.core.topics.matcher import TopicMatcher
from newsletter.publish import Publisher, audit
from newsletter.sources.resources import load_templates
from newsletter.store import issues
from newsletter.store.database import Database, open_database
from newsletter.store.schema import deliveries, editions, subscribers
from newsletter.store.subscribers import PAGE
from newsletter.transfer import ImportResult, save_rows

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CATALOGUE = parse_catalogue(
    '[topics.science]\nname = "Science"\n[topics.sport]\nname = "Sport"\n', source="topics.toml"
)
TEMPLATES = load_templates(None)


def make_story(title: str, *topics: str, text: str | None = None, guid: str | None = None) -> Story:
    body = text if text is not None else f"All about {title}."
    blocks = (Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=body),)),) if body else ()
    return Story(title=title, blocks=blocks, by_hand=topics, guid=guid)


def make_brief(name: str, day: datetime, *stories: Story) -> Brief:
    return Brief(id=name, title=name, date=day.date(), language="en", stories=stories, source=f"{name}.md")


@contextmanager
def make_publisher(folder: Path, templates: Mapping[str, TemplateFile] | None = None) -> Iterator[Publisher]:
    database = open_database(f"sqlite:///{folder / 'n.db'}")
    sender = Sender(name="N", from_name="N", from_address="n@example.org", base_url="https://example.org", key_id="00")
    yield Publisher(
        database=database,
        catalogue=CATALOGUE,
        matcher=TopicMatcher(CATALOGUE),
        renderer=Renderer({**TEMPLATES, **(templates or {})}),
        sender=sender,
        language="en",
        timezone="UTC",
    )
    database.close()


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield made


def sign_up(database: Database, now: datetime, *people: str) -> None:
    """Each given as `address topics frequency`."""
    rows = []
    for person in people:
        email, topics, frequency = [*person.split(" "), "", ""][:3]
        row = {"email": email, "topics": topics, "frequency": frequency}
        rows.append(parse_row(row, topics=CATALOGUE, languages=("en", "de")))
    with database.write() as conn:
        save_rows(conn, database.ledger_key, rows, ImportResult(), now=now, source="test")


def settle(database: Database, state: DeliveryState = DeliveryState.ACCEPTED) -> None:
    """Let everything queued have come to this."""
    with database.write() as conn:
        conn.execute(update(deliveries).where(deliveries.c.state == "queued").values(state=state))


def titles_for(database: Database, email: str, issue: int) -> list[str] | str:
    """The titles of a person's mail of an issue, or the reason why there is none."""
    with database.read() as conn:
        row = conn.execute(
            select(deliveries, editions.c.stories)
            .join(subscribers, subscribers.c.id == deliveries.c.subscriber_id)
            .outerjoin(editions, editions.c.id == deliveries.c.edition_id)
            .where(subscribers.c.email == email, deliveries.c.issue_id == issue)
        ).one()
        if row.stories is None:
            return str(row.reason)
        ids = [int(story) for story in row.stories.split(",")]
        titles: dict[int, Any] = {story.id: story.title for story in issues.read_stories(conn, ids)}
        return [titles[story] for story in ids]


def test_every_active_subscriber_gets_one_row_and_one_edition_a_distinct_story_list(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science", "b@x.org sport", "c@x.org science;sport", "d@x.org science")
    sign_up(publisher.database, MONDAY, "e@x.org", "f@x.org *")
    brief = make_brief("one", MONDAY, make_story("Comet", "science"), make_story("Match", "sport"), make_story("Other"))
    published = publisher.publish(brief, now=MONDAY)
    assert (published.new, published.editions) == (6, 4)
    books = audit(publisher.database, published.issue)
    assert (books.selected, books.queued, books.excluded) == (6, 5, {"no_matching_stories": 1})
    assert books.balanced
    assert titles_for(publisher.database, "c@x.org", 1) == ["Comet", "Match"]
    assert titles_for(publisher.database, "f@x.org", 1) == ["Comet", "Match", "Other"]


def test_the_same_brief_again_writes_nothing(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    brief = make_brief("one", MONDAY, make_story("Comet", "science"))
    first = publisher.publish(brief, now=MONDAY)
    sign_up(publisher.database, MONDAY, "late@x.org science")
    again = publisher.publish(brief, now=MONDAY + DAY)
    assert (again.issue, again.new) == (first.issue, 0)
    assert audit(publisher.database, None).selected == 1


def test_a_changed_brief_is_refused_until_it_is_reissued_with_what_is_new(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    publisher.publish(make_brief("one", MONDAY, make_story("Comet", "science")), now=MONDAY)
    settle(publisher.database)
    changed = make_brief("one", MONDAY, make_story("Comet", "science"), make_story("Second comet", "science"))
    with pytest.raises(BriefError, match=r"one\.md: this brief was published as issue 1 and has changed"):
        publisher.publish(changed, now=MONDAY)
    reissued = publisher.publish(changed, now=MONDAY, reissue=True)
    assert reissued.issue == 2
    assert titles_for(publisher.database, "a@x.org", 2) == ["Second comet"]
    assert publisher.publish(changed, now=MONDAY).new == 0
    only_less = make_brief("one", MONDAY, make_story("Second comet", "science"))
    with pytest.raises(BriefError, match="no story that was not published before"):
        publisher.publish(only_less, now=MONDAY, reissue=True)


def test_a_brief_of_the_same_name_with_a_new_date_is_a_new_brief(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    first = publisher.publish(make_brief("daily", MONDAY, make_story("Comet", "science")), now=MONDAY)
    later = make_brief("daily", MONDAY + DAY, make_story("Eclipse", "science"))
    assert publisher.publish(later, now=MONDAY + DAY).issue == (first.issue or 0) + 1


def test_a_story_reaches_nobody_twice_whether_by_feed_id_or_by_title_and_text(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "a@x.org science", "b@x.org sport")
    one = make_brief("one", MONDAY, make_story("Comet", "science", guid="g1"), make_story("Eclipse", "science"))
    publisher.publish(one, now=MONDAY)
    settle(database)
    sign_up(database, MONDAY, "new@x.org science")
    two = make_brief(
        "two",
        MONDAY + DAY,
        make_story("Comet, corrected", "science", guid="g1"),
        make_story("ECLIPSE ", "science", text="all about eclipse."),
        make_story("Moon", "science"),
    )
    publisher.publish(two, now=MONDAY + DAY)
    assert titles_for(database, "a@x.org", 2) == ["Moon"]
    assert titles_for(database, "new@x.org", 2) == ["Comet, corrected", "ECLIPSE ", "Moon"]


def test_a_story_that_a_brief_has_twice_stands_once(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    twice = (make_story("Comet", "science"), make_story("COMET", "science", text="All about comet."))
    by_id = (make_story("One", "science", guid="g"), make_story("Two", "science", guid="g"))
    brief = make_brief("one", MONDAY, *twice, *by_id)
    assert publisher.plan(brief, now=MONDAY).editions == 1
    publisher.publish(brief, now=MONDAY)
    assert titles_for(publisher.database, "a@x.org", 1) == ["Comet", "One"]


def test_a_title_alone_never_makes_two_stories_one(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    publisher.publish(make_brief("one", MONDAY, make_story("Live blog", "science", text="")), now=MONDAY)
    settle(publisher.database)
    publisher.publish(make_brief("two", MONDAY + DAY, make_story("Live blog", "science", text="")), now=MONDAY + DAY)
    assert titles_for(publisher.database, "a@x.org", 2) == ["Live blog"]


def test_a_rejected_mail_does_not_hold_its_stories(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    publisher.publish(make_brief("one", MONDAY, make_story("Comet", "science")), now=MONDAY)
    settle(publisher.database, DeliveryState.REJECTED)
    again = make_brief("two", MONDAY + DAY, make_story("Comet", "science"))
    publisher.publish(again, now=MONDAY + DAY)
    assert titles_for(publisher.database, "a@x.org", 2) == ["Comet"]


def test_a_story_first_seen_over_31_days_ago_is_not_sent_again(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science")
    publisher.publish(make_brief("one", MONDAY, make_story("Comet", "science")), now=MONDAY)
    later = MONDAY + 32 * DAY
    old_and_new = make_brief("two", later, make_story("Comet", "science"), make_story("Moon", "science"))
    publisher.publish(old_and_new, now=later)
    assert titles_for(publisher.database, "a@x.org", 2) == ["Moon"]
    with pytest.raises(BriefError, match="no story that was not published before"):
        publisher.publish(make_brief("three", later, make_story("Comet", "science")), now=later)


def test_a_weekly_reader_gets_the_week_and_none_of_it_twice(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY + timedelta(hours=1), "w@x.org science weekly", "e@x.org science")
    for day in range(1, 9):  # Tuesday to the Tuesday after
        now = MONDAY + day * DAY
        publisher.publish(make_brief(f"day{day}", now, make_story(f"Story {day}", "science")), now=now)
        settle(database)
    assert [titles_for(database, "w@x.org", issue) for issue in range(1, 7)] == ["frequency"] * 6
    assert titles_for(database, "w@x.org", 7) == [f"Story {day}" for day in range(7, 0, -1)]
    assert titles_for(database, "w@x.org", 8) == "frequency"
    assert titles_for(database, "e@x.org", 7) == ["Story 7"]


def test_nothing_from_before_the_sign_up_reaches_a_gathering_reader(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "e@x.org science")
    publisher.publish(make_brief("before", MONDAY, make_story("Before", "science")), now=MONDAY)
    sign_up(database, MONDAY + DAY, "d@x.org science daily")
    publisher.publish(make_brief("after", MONDAY + 2 * DAY, make_story("After", "science")), now=MONDAY + 2 * DAY)
    assert titles_for(database, "d@x.org", 2) == ["After"]


def test_no_matching_story_leaves_a_gathering_reader_due_but_covered(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "d@x.org science daily", "e@x.org *")
    for number, topic in enumerate(("sport", "science"), start=1):
        now = MONDAY + DAY + timedelta(hours=number)
        publisher.publish(make_brief(f"b{number}", now, make_story(f"Story {number}", topic)), now=now)
        settle(database)
    assert titles_for(database, "d@x.org", 1) == "no_matching_stories"
    assert titles_for(database, "d@x.org", 2) == ["Story 2"]


def test_a_gathering_readers_lost_mail_is_offered_again(publisher: Publisher) -> None:
    from newsletter import control

    database = publisher.database
    sign_up(database, MONDAY, "d@x.org science daily")
    first = publisher.publish(make_brief("b1", MONDAY + DAY, make_story("One", "science")), now=MONDAY + DAY)
    control.cancel_issue(database, first.issue, now=MONDAY + DAY)
    with database.write() as conn:  # a cancelled issue's stories are withdrawn; this one was lost otherwise
        issues.set_issue_state(conn, first.issue, IssueState.RUNNING)
    publisher.publish(make_brief("b2", MONDAY + 2 * DAY, make_story("Two", "science")), now=MONDAY + 2 * DAY)
    assert titles_for(database, "d@x.org", 2) == ["Two", "One"]


def test_switching_from_each_to_weekly_begins_a_window_after_the_newest_issue(publisher: Publisher) -> None:
    database = publisher.database
    sign_up(database, MONDAY, "a@x.org science")
    publisher.publish(make_brief("b1", MONDAY, make_story("One", "science")), now=MONDAY)
    settle(database)
    sign_up(database, MONDAY + DAY, "a@x.org science weekly")
    publisher.publish(make_brief("b2", MONDAY + 2 * DAY, make_story("Two", "science")), now=MONDAY + 2 * DAY)
    publisher.publish(make_brief("b3", MONDAY + 7 * DAY, make_story("Three", "science")), now=MONDAY + 7 * DAY)
    assert titles_for(database, "a@x.org", 2) == "frequency"
    assert titles_for(database, "a@x.org", 3) == ["Three", "Two"]


def test_the_plan_says_what_publishing_then_does(publisher: Publisher) -> None:
    sign_up(publisher.database, MONDAY, "a@x.org science", "b@x.org sport", "c@x.org", "d@x.org science daily")
    brief = make_brief("one", MONDAY, make_story("Comet", "science"), make_story("Match", "sport"))
    planned = publisher.plan(brief, now=MONDAY)
    with publisher.database.read() as conn:
        assert list(issues.list_issues(conn)) == []
    published = publisher.publish(brief, now=MONDAY)
    books = audit(publisher.database, published.issue)
    assert (planned.issue, planned.new, planned.editions) == (None, published.new, published.editions)
    assert (planned.audit.queued, planned.audit.excluded) == (books.queued, books.excluded)
    assert publisher.plan(brief, now=MONDAY).issue == published.issue


def test_more_subscribers_than_a_page_each_get_exactly_one_row(publisher: Publisher) -> None:
    people = [f"p{number}@x.org {'science' if number % 3 else 'sport'}" for number in range(PAGE + 5)]
    sign_up(publisher.database, MONDAY, *people)
    published = publisher.publish(make_brief("one", MONDAY, make_story("Comet", "science")), now=MONDAY)
    books = audit(publisher.database, published.issue)
    assert published.new == books.selected == PAGE + 5
    assert books.balanced


def test_a_publication_that_was_killed_goes_on_where_it_stopped(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(publisher.database, MONDAY, *(f"p{number}@x.org science" for number in range(PAGE + 5)))
    brief = make_brief("one", MONDAY, make_story("Comet", "science"))
    real, calls = issues.insert_page, []

    def die_on_the_second_page(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(issues, "insert_page", die_on_the_second_page)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish(brief, now=MONDAY)
    assert not audit(publisher.database, None).balanced
    published = publisher.publish(brief, now=MONDAY)
    assert published.new == 5
    books = audit(publisher.database, published.issue)
    assert books.balanced
    assert books.queued == PAGE + 5


def test_a_template_error_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = TEMPLATES["headline.mjml.j2"].text.replace("{{ story.title }}", "{{ story.blocks[9].text }}")
    mine = TemplateFile(path="my/headline.mjml.j2", text=broken)
    with make_publisher(tmp_path, {"headline.mjml.j2": mine}) as publisher:
        sign_up(publisher.database, MONDAY, "a@x.org science")
        with pytest.raises(TemplateError, match=r"my/headline\.mjml\.j2"):
            publisher.publish(make_brief("one", MONDAY, make_story("Comet", "science")), now=MONDAY)
        with publisher.database.read() as conn:
            assert list(issues.list_issues(conn)) == []


@pytest.mark.parametrize("fails", [False, True])
def test_no_page_is_held_up_by_a_garbage_collection(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """A full one takes 100 ms once there is much, and nobody else can write meanwhile."""
    sign_up(publisher.database, MONDAY, "a@x.org science")
    seen: list[bool] = []

    def look(*arguments: Any, **named: Any) -> None:
        seen.append(gc.isenabled())
        if fails:
            raise StoreError("no more")
        insert_page(*arguments, **named)

    insert_page = issues.insert_page
    monkeypatch.setattr(issues, "insert_page", look)
    with pytest.raises(StoreError) if fails else nullcontext():
        publisher.publish(make_brief("mon", MONDAY, make_story("Comet", "science")), now=MONDAY)
    assert seen == [False]
    assert gc.isenabled()
