"""The schedule kept over days that the test drives, with real briefs in a real folder and a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_house import House

from newsletter.core.errors import TemplateError
from newsletter.daemon.ticker import Ticker
from newsletter.publish import Publisher
from newsletter.store import issues, upkeep
from newsletter.store.agenda import read_agenda
from newsletter.store.alarms import list_standing
from newsletter.store.schema import subscribers

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SEVEN = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)  # 7 in Berlin


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_readers("Europe/Berlin")
    yield house
    house.service.database.close()


def list_alarms(house: House) -> list[tuple[str, str]]:
    with house.service.database.read() as conn:
        return [(row.cause, row.subject) for row in list_standing(conn)]


def test_publishes_at_the_moment_and_only_the_latest_brief_at_first(house: House) -> None:
    house.add_brief("2026-11-23-mon", "Monday")
    house.add_brief("2026-11-24-tue", "Tuesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN - timedelta(seconds=1))
    assert house.list_issues() == []
    house.turn(ticker, SEVEN)
    assert house.list_issues() == [(1, "run:2026-11-25T06:00Z", "2026-11-24-tue")]
    house.turn(ticker, SEVEN + 2 * DAY, step=HOUR)
    assert len(house.list_issues()) == 1, "what went before stays away, the older one too"


def test_takes_all_that_came_since_newest_first_and_the_newest_names_the_issue(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN, step=HOUR)
    house.add_brief("2026-11-24-extra", "Extra")
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.add_brief("2026-11-23-old", "Too old")
    house.turn(ticker, SEVEN + DAY, step=HOUR)
    assert house.list_issues()[1:] == [(2, "run:2026-11-26T06:00Z", "2026-11-25-wed+2026-11-24-extra")]
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, 2).title == "Wednesday"
        titles = [story.title for story in issues.list_stories(conn, 2)]
    assert titles == ["Wednesday: a story", "Extra: a story"]


def test_several_sources_make_one_brief_in_the_order_given(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "2026-11-25-late.md").write_text("# Late\n\n## Late: a story\n\nText.\n")
    house = House(tmp_path / "house", settings={"BRIEFS": f'["{tmp_path / "house" / "briefs"}", "{other}"]'})
    house.age(other / "2026-11-25-late.md")
    house.add_readers("Europe/Berlin")
    house.add_brief("2026-11-24-tue", "Tuesday")
    house.turn(house.make_ticker(), SEVEN, step=HOUR)
    with house.service.database.read() as conn:
        assert [s.title for s in issues.list_stories(conn, 1)] == ["Tuesday: a story", "Late: a story"]
        assert issues.find_issue(conn, 1).title == "Late"


def test_two_daemons_publish_once(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    first, second = house.make_ticker(), house.make_ticker()
    house.now = SEVEN
    first.tick(SEVEN)
    second.tick(SEVEN)
    assert len(house.list_issues()) == 1
    assert house.count_rows() == 1


def test_the_second_of_two_that_meet_over_one_run_steps_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the agenda and compiled; the write lock decides."""
    house.add_brief("2026-11-24-tue", "Tuesday")
    first, second = house.make_ticker(), house.make_ticker()
    house.now = SEVEN
    compile_all = Publisher.compile_all

    def let_the_other_be_first(publisher: Publisher, *args: Any) -> None:
        compile_all(publisher, *args)
        monkeypatch.setattr(Publisher, "compile_all", compile_all)
        second.tick(SEVEN)

    monkeypatch.setattr(Publisher, "compile_all", let_the_other_be_first)
    first.tick(SEVEN)
    assert len(house.list_issues()) == 1
    assert house.count_rows() == 1


def test_without_news_nothing_is_published_and_the_log_says_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.turn(house.make_ticker(), SEVEN, step=HOUR)
    assert house.list_issues() == []
    assert "no news" in caplog.text
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.turn(house.make_ticker(), SEVEN + HOUR)
    assert house.list_issues() == [], "it waits for the next run"


def test_a_run_missed_while_nothing_ran_goes_once_within_the_grace(house: House) -> None:
    house.make_ticker()
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.now = SEVEN + 5 * HOUR
    house.turn(house.make_ticker(), SEVEN + 8 * HOUR)
    assert [period for _, period, _ in house.list_issues()] == ["run:2026-11-25T06:00Z"]


def test_a_run_missed_for_longer_is_told_of_and_does_not_go(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.make_ticker()
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.now = SEVEN + 7 * HOUR
    house.turn(house.make_ticker(), SEVEN + 8 * HOUR)
    assert house.list_issues() == []
    assert list_alarms(house) == [("run_missed", "2026-11-25 06:00 UTC")]
    assert "was missed" in caplog.text
    house.turn(house.make_ticker(), SEVEN + DAY, step=HOUR)
    assert [period for _, period, _ in house.list_issues()] == ["run:2026-11-26T06:00Z"]


def test_what_a_new_or_changed_schedule_asked_for_before_it_was_set_is_no_missed_run(house: House) -> None:
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.now = SEVEN + HOUR
    house.turn(house.make_ticker(), SEVEN + 2 * HOUR)
    house.turn(house.make_ticker(SCHEDULE="0 8 * * *"), SEVEN + 3 * HOUR)
    assert house.list_issues() == []


def test_a_clock_that_jumps_back_sends_nothing_twice(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN + HOUR)
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.now = SEVEN - 2 * HOUR
    house.turn(ticker, SEVEN + HOUR)
    assert len(house.list_issues()) == 1
    house.turn(ticker, SEVEN + DAY, step=HOUR)
    assert len(house.list_issues()) == 2


def test_a_paused_service_publishes_nothing_until_it_goes_on(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    ticker = house.make_ticker()
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, True)
    house.turn(ticker, SEVEN + HOUR)
    assert house.list_issues() == []
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, False)
    house.turn(ticker, SEVEN + 2 * HOUR)
    assert len(house.list_issues()) == 1


def test_a_broken_brief_is_left_out_and_the_one_before_is_not_sent_in_its_place(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN, step=HOUR)
    path = house.add_brief("2026-11-25-wed", "Wednesday")
    path.write_bytes(b"# Wed\n\n## \xff\n")
    house.age(path)
    house.turn(ticker, SEVEN + DAY, step=HOUR)
    assert len(house.list_issues()) == 1


def test_a_brief_still_being_written_is_waited_for_and_then_left_out(house: House) -> None:
    house.add_brief("2026-11-24-tue", "Tuesday")
    half = house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN - timedelta(seconds=1), step=HOUR)
    with half.open("a") as writing:
        house.turn(ticker, SEVEN + timedelta(seconds=30), step=timedelta(seconds=1))
        assert house.list_issues() == [], "a file that is open for writing"
        writing.write("\n## One more\n\nText.\n")
    house.age(half, seconds=-1000)
    house.turn(ticker, SEVEN + timedelta(seconds=32), step=timedelta(seconds=1))
    assert [names for _, _, names in house.list_issues()] == ["2026-11-25-wed"]
    later = house.add_brief("2026-11-26-thu", "Thursday")
    with later.open("a"):
        house.turn(ticker, SEVEN + DAY + 2 * HOUR, step=timedelta(seconds=20))
    assert len(house.list_issues()) == 1, "not without end"


def test_a_file_changed_a_moment_ago_may_not_be_whole(house: House) -> None:
    path = house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker()
    house.now = SEVEN
    house.age(path, seconds=1)
    ticker.tick(house.now)
    assert house.list_issues() == []
    house.turn(ticker, SEVEN + timedelta(seconds=3), step=timedelta(seconds=1))
    assert len(house.list_issues()) == 1


def test_topics_that_cannot_be_read_stop_no_daemon_and_the_run_goes_when_they_are_mended(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker()
    topics = house.folder / "topics.toml"
    right = topics.read_text()
    topics.write_text("[topics.sport\n")
    house.turn(ticker, SEVEN + 10 * timedelta(minutes=1))
    assert house.list_issues() == []
    assert ticker.failure is not None
    assert "topics.toml" in ticker.failure
    assert caplog.text.count("could not be published") == 1
    topics.write_text(right)
    house.turn(ticker, SEVEN + 12 * timedelta(minutes=1))
    assert [period for _, period, _ in house.list_issues()] == ["run:2026-11-25T06:00Z"]
    assert ticker.failure is None


def test_a_publication_that_was_stopped_goes_on(house: House) -> None:
    house.add_readers(*ZONES)
    house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker()
    house.turn(ticker, SEVEN - HOUR / 2)
    ticker.should_stop = lambda: bool(house.list_issues())
    house.turn(ticker, SEVEN)
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, 1).state == "preparing"
    ticker.should_stop = lambda: False
    house.turn(ticker, SEVEN + 5 * timedelta(minutes=1))
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, 1).state == "running"


ZONES = ("Asia/Tokyo", "Europe/London", "America/New_York")


def test_local_time_gives_each_zone_its_own_moment_within_one_issue(house: House) -> None:
    house.add_readers(*ZONES)
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.turn(house.make_ticker(LOCAL_TIME="true"), SEVEN + DAY, step=HOUR / 4)
    assert [period for _, period, _ in house.list_issues()] == ["run:2026-11-25T07:00 local"]
    due = [batch.due_at for batch in house.list_batches()]
    assert due == [SEVEN, SEVEN + HOUR, SEVEN + 6 * HOUR, SEVEN + 16 * HOUR]  # Berlin, London, New York, Tokyo


def test_local_time_counts_the_days_of_a_frequency_at_the_readers_own_moment(house: House) -> None:
    """Weekly on Wednesday: in Tokyo the issue of Wednesday, 7 in Berlin, comes on Thursday morning, and is due."""
    house.add_readers("Asia/Tokyo", frequency="weekly:thu")
    house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker(LOCAL_TIME="true")
    house.turn(ticker, SEVEN, step=HOUR)
    with house.service.database.read() as conn:
        row = conn.execute(subscribers.select().where(subscribers.c.frequency == "weekly:thu")).one()
    assert row.last_mail_at == SEVEN + 16 * HOUR


def test_without_a_schedule_it_only_tidies_up(house: House) -> None:
    house.add_brief("2026-11-25-wed", "Wednesday")
    house.turn(house.make_ticker(SCHEDULE=""), SEVEN + DAY, step=HOUR)
    assert house.list_issues() == []
    with house.service.database.read() as conn:
        assert read_agenda(conn) is None


def test_what_no_sentence_was_written_for_is_the_schedulers_business(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TemplateError is told as a failure of the run, anything else passes through to the tick's own guard."""
    house.add_brief("2026-11-25-wed", "Wednesday")
    ticker = house.make_ticker()

    def fail(*_: Any) -> None:
        raise TemplateError("story.mjml:3: no such filter")

    monkeypatch.setattr(Publisher, "compile_all", fail)
    house.turn(ticker, SEVEN)
    assert ticker.failure == "story.mjml:3: no such filter"
    monkeypatch.setattr(Ticker, "_keep", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        house.turn(ticker, SEVEN + HOUR)
