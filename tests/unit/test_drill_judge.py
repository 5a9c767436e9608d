"""The drill's judge can say no: each promise is broken once, in made-up records."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _faults import DEAD, Taken, Visit, find_fate
from _judge import Evidence, Finding, Kill, judge

READERS = frozenset({"ada@example.org", "ben@example.org", "cleo@example.org"})
ADA = "ada@example.org"


def take(reader: str, *, name: str = "", visit: Visit | None = None, lost: bool = False, settled: bool = True) -> Taken:
    return Taken(
        recipient=reader,
        message_id=name or f"<{reader}>",
        visit=visit or Visit(run=1, opened_at=0.0, ended_at=1.0),
        lost=lost,
        settled=settled,
    )


def make_evidence(**changes: Any) -> Evidence:
    """Ada and Ben got their mail, Cleo does not exist."""
    good = Evidence(
        readers=READERS,
        dead=frozenset({"cleo@example.org"}),
        states={ADA: "accepted", "ben@example.org": "accepted", "cleo@example.org": "rejected"},
        balanced=True,
        attempts=[(ADA, "accepted"), ("ben@example.org", "accepted"), ("cleo@example.org", "rejected")],
        taken=[take(ADA), take("ben@example.org")],
        kills=[],
        connections=2,
    )
    return replace(good, **changes)


def with_state(reader: str, state: str, **changes: Any) -> Evidence:
    return make_evidence(states={**make_evidence().states, reader: state}, **changes)


def killed(*, ended_at: float = 5.0, left: bool = False, **changes: Any) -> Evidence:
    """Ada's first mail was on a connection of run 1, which was killed at 4.0."""
    first = take(ADA, visit=Visit(run=1, opened_at=0.0, ended_at=ended_at, left=left), settled=False)
    fields = {"kills": [Kill(run=1, at=4.0, open=1)], "taken": [first, take(ADA), take("ben@example.org")], **changes}
    return make_evidence(**fields)


def test_good_books_break_no_promise() -> None:
    finding = judge(make_evidence())
    assert finding.broken == []
    assert finding.figures["lost"] == finding.figures["duplicates"] == 0
    assert finding.figures["accepted"] == 2


@pytest.mark.parametrize(
    ("evidence", "told"),
    [
        (make_evidence(balanced=False), "the books do not balance"),
        (make_evidence(taken=[take(ADA)]), "the server never took it: ben@"),
        (with_state("ben@example.org", "queued"), "in no final state: ben@"),
        (with_state("eve@example.org", "accepted"), "nobody we know: eve@"),
        (with_state("ben@example.org", "excluded"), "excluded, without a reason to be: ben@"),
        (with_state("ben@example.org", "rejected"), "the server would have taken it: ben@"),
        (with_state("cleo@example.org", "accepted"), "never can be delivered: cleo@"),
        (make_evidence(taken=[*make_evidence().taken, take("cleo@example.org")]), "the server refused it: cleo@"),
        (make_evidence(attempts=[(ADA, "accepted")]), "without an attempt that says so: ben@"),
        (make_evidence(taken=[take(ADA, name="<1>"), take("ben@example.org", name="<1>")]), "several readers: <1>"),
        (make_evidence(rude={"said nonsense": 2}), "broke the protocol: said nonsense (2 times)"),
        (make_evidence(attempts=[*make_evidence().attempts, (ADA, "uncertain")]), "1 attempts are uncertain"),
        (with_state(ADA, "uncertain"), "its reply was written down: ada@"),
    ],
)
def test_a_broken_promise_is_told(evidence: Evidence, told: str) -> None:
    assert any(told in sentence for sentence in judge(evidence).broken)


def test_whoever_is_missing_from_the_books_is_lost() -> None:
    states = {ADA: "accepted", "cleo@example.org": "rejected"}
    finding = judge(make_evidence(states=states))
    assert finding.figures["lost"] == 1


def test_a_mail_that_went_twice_keeps_its_message_id() -> None:
    lost = take(ADA, name="<1>", lost=True, settled=False)
    finding = judge(make_evidence(taken=[lost, take(ADA, name="<2>"), take("ben@example.org")]))
    assert finding.broken == ["several Message-IDs: ada@example.org"]


def test_a_lost_reply_explains_a_duplicate() -> None:
    finding = judge(make_evidence(taken=[take(ADA, lost=True, settled=False), take(ADA), take("ben@example.org")]))
    assert finding.broken == []
    assert finding.figures["… after a lost reply"] == 1


def test_a_kill_explains_a_duplicate_of_a_connection_that_was_open() -> None:
    assert judge(killed()).broken == []
    assert judge(killed()).figures["most after one kill"] == 1


def test_a_reply_right_before_a_kill_may_not_have_been_written_down() -> None:
    assert judge(killed(ended_at=3.9, left=True)).broken == []


@pytest.mark.parametrize(
    "evidence",
    [
        killed(ended_at=3.0),
        killed(ended_at=3.0, left=True),
        killed(kills=[Kill(run=2, at=4.0, open=1)]),
        make_evidence(taken=[take(ADA), take(ADA), take("ben@example.org")]),
    ],
    ids=["closed before the kill", "left long before the kill", "another process", "the sender had gone on"],
)
def test_any_other_duplicate_is_told(evidence: Evidence) -> None:
    finding = judge(evidence)
    assert finding.figures["… unexplained"] == 1
    assert any("no kill or lost reply" in sentence for sentence in finding.broken)


def test_more_duplicates_than_open_connections_are_told() -> None:
    broken = judge(killed(kills=[Kill(run=1, at=4.0, open=0)])).broken
    assert broken == [
        "1 duplicates after a kill with 0 connections open",
        "1 duplicates, and the bound is 0",
    ]


def test_while_uncertain_ones_are_held_nothing_goes_twice_but_by_order() -> None:
    assert "1 duplicates, though uncertain ones are held" in judge(killed(hold=True)).broken
    asked = judge(killed(hold=True, resent=frozenset({ADA})))
    assert asked.broken == []
    assert asked.figures["… asked for by the operator"] == 1


def test_a_long_list_is_cut() -> None:
    finding = Finding()
    finding.expect_none("broken", range(7))
    assert finding.broken == ["broken: 0, 1, 2, 3, 4 and 2 more"]


def test_fates_come_from_the_seed_alone() -> None:
    readers = [f"reader{number}@example.org" for number in range(2_000)]
    dead = [reader for reader in readers if find_fate(1, reader) in DEAD]
    assert 20 < len(dead) < 140
    assert dead == [reader for reader in readers if find_fate(1, reader) in DEAD]
    assert dead != [reader for reader in readers if find_fate(2, reader) in DEAD]
