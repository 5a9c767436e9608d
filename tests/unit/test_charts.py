"""Charts and words of the pages: whatever the numbers are, boxes stay within the drawing and say what they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.web.charts import (
    HIGH,
    OUTCOMES,
    STATES,
    WIDE,
    Box,
    plot_spark,
    plot_strip,
    plot_throughput,
    stack_states,
)
from newsletter.web.words import find_glyph, write_count, write_moment, write_share, write_span

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
_counts = st.integers(0, 2_000_000)


def assert_within(boxes: list[Box]) -> None:
    for box in boxes:
        assert box.x >= 0
        assert box.x + box.width <= WIDE + 0.01
        assert box.y >= 0
        assert box.y + box.height <= HIGH + 2.01


@given(st.fixed_dictionaries({state: _counts for state in STATES if state != "excluded"}), _counts)
def test_a_bar_fills_its_width_and_shows_even_one_of_a_million(counts: dict[str, int], excluded: int) -> None:
    told = {**counts, "excluded": {"frequency": excluded} if excluded else {}}
    boxes = stack_states(told)
    assert_within(boxes)
    there = [state for state in STATES if (excluded if state == "excluded" else counts[state])]
    assert [box.kind for box in boxes] == there
    if boxes:
        assert sum(box.width for box in boxes) == pytest.approx(WIDE)
        assert min(box.width for box in boxes) > 1


@given(st.dictionaries(st.integers(0, 5_000), st.tuples(*[_counts] * 4), max_size=40))
def test_throughput_stays_within_its_drawing_however_long_it_took(minutes: dict[int, tuple[int, ...]]) -> None:
    rows: list[dict[str, Any]] = [
        {"at": NOON + timedelta(minutes=minute), **dict(zip(OUTCOMES, counts, strict=True))}
        for minute, counts in sorted(minutes.items())
        if any(counts)
    ]
    plot = plot_throughput(rows)
    assert_within(list(plot.boxes))
    assert plot.peak >= max((sum(row[outcome] for outcome in OUTCOMES) for row in rows), default=0)
    if rows:
        assert plot.first_at == rows[0]["at"]
        assert plot.last_at is not None
        assert plot.last_at > rows[-1]["at"]


def test_the_strip_tells_how_each_issue_went() -> None:
    base = {"date": "2026-11-25", "selected": 100, "accepted": 90, "rejected": 1, "owed": 0, "state": "finished"}
    told = [
        {**base, "issue": 5, "owed": 9, "state": "running"},
        {**base, "issue": 4, "state": "paused"},
        {**base, "issue": 3, "state": "cancelled"},
        {**base, "issue": 2, "rejected": 9},
        {**base, "issue": 1, "selected": 0, "accepted": 0, "rejected": 0},
    ]
    boxes = plot_strip(told, 30)
    assert_within(boxes)
    assert [box.kind for box in boxes] == ["sending", "uncertain", "excluded", "rejected", "accepted"]
    assert boxes[0].x > boxes[1].x
    assert "issue 5 of 2026-11-25, running: 100 selected" in boxes[0].text
    assert plot_strip([], 30) == []


def test_a_spark_has_a_box_for_what_is_there() -> None:
    assert [box.text for box in plot_spark([0, 2, 1])] == ["2", "1"]
    assert plot_spark([]) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (3_605, "1 h"), (7_500, "2 h 5 min"), (90_061, "1 d 1 h")],
)
def test_spans_have_two_units_at_most(seconds: float, words: str) -> None:
    assert write_span(seconds) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 2, "50 %"),
        (1, 1_000_000, "0.1 %"),
        (999_999, 1_000_000, "99.9 %"),
    ],
)
def test_a_share_is_whole_only_where_it_is(part: int, whole: int, words: str) -> None:
    assert write_share(part, whole) == words


def test_numbers_moments_and_marks() -> None:
    assert (write_count(1_000_000), write_count(2.5), write_count(3.0)) == ("1,000,000", "2.5", "3")
    assert (write_moment(None), write_moment(NOON)) == ("", "2026-11-25 12:00")
    assert (find_glyph("accepted"), find_glyph("unheard of")) == ("✓", "·")
