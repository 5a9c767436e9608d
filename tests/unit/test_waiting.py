"""Which delivery goes next: fair between domains, and within the limits of each."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from newsletter.core.policy import lane_of
from newsletter.core.throttle import HEALTHY, Backoff, Limit
from newsletter.deliver.waiting import FEW_OFFERS, Waiting
from newsletter.store.outbox import Claimed

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Seconds that the test drives."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def claim(email: str, number: int = 0) -> Claimed:
    return Claimed(
        issue_id=1,
        subscriber_id=number,
        edition_id=1,
        language="en",
        frame=b"",
        stories="1",
        batch_id=1,
        attempts=0,
        due_at=NOW,
        email=email,
        name="",
        topics="",
        address_hash=b"",
        lane=lane_of(email),
    )


def claim_many(domain: str, count: int) -> list[Claimed]:
    return [claim(f"p{number}@{domain}", number) for number in range(count)]


def make_waiting(
    *, most: int = 10, clock: Clock | None = None, backoffs: dict[str, Backoff] | None = None, **limits: Limit
) -> Waiting:
    """Limits by the first label of a domain of `.org`."""
    named = {f"{name}.org": limit for name, limit in limits.items()}
    return Waiting(most=most, limits=named, backoffs=backoffs or {}, clock=clock or Clock())


def take_all(waiting: Waiting, *, smtputf8: bool = True) -> list[Claimed]:
    """Take until nothing may go."""
    taken = []
    while (claimed := waiting.take(smtputf8=smtputf8)) is not None:
        taken.append(claimed)
    return taken


def count_domains(rows: list[Claimed]) -> Counter[str]:
    return Counter(row.email.rpartition("@")[2] for row in rows)


def test_nothing_waits_at_first() -> None:
    waiting = make_waiting()
    assert len(waiting) == 0
    assert waiting.take(smtputf8=True) is None
    assert waiting.count_ready(10) == 0
    assert waiting.next_free_at() is None


def test_within_a_domain_the_first_goes_first() -> None:
    waiting = make_waiting()
    rows = claim_many("a.org", 5)
    waiting.add(rows)
    assert len(waiting) == 5
    assert take_all(waiting) == rows
    assert len(waiting) == 0


def test_the_domain_with_the_fewest_mails_on_the_wire_goes_next() -> None:
    waiting = make_waiting()
    waiting.add([*claim_many("a.org", 100), *claim_many("b.org", 100), *claim_many("c.org", 100)])
    taken = [waiting.take(smtputf8=True) for _ in range(9)]
    assert count_domains([row for row in taken if row]) == {"a.org": 3, "b.org": 3, "c.org": 3}


def test_a_slow_domain_does_not_starve_the_others() -> None:
    waiting = make_waiting()
    waiting.add([*claim_many("slow.org", 1_000), *claim_many("fast.org", 1_000)])
    on_the_wire = [row for row in (waiting.take(smtputf8=True) for _ in range(10)) if row]
    done: list[Claimed] = []
    while (fast := next((row for row in on_the_wire if row.email.endswith("fast.org")), None)) is not None:
        on_the_wire.remove(fast)
        waiting.release(fast)
        done.append(fast)
        following = waiting.take(smtputf8=True)
        assert following is not None
        on_the_wire.append(following)
    assert len(done) == 1_000


def test_lanes_with_enough_in_hand_are_passed_over_until_they_run_low() -> None:
    waiting = make_waiting(most=3)
    waiting.add([*claim_many("gmail.com", 8), *claim_many("gmx.net", 6), *claim_many("a.org", 50)])
    assert waiting.pass_over() == {"gmail.com", "=gmail.com"}
    assert waiting.low == set()
    taken = [waiting.take(smtputf8=True) for _ in range(6)]
    assert {gate.name for gate in waiting.low} == {"gmail.com"}
    assert waiting.pass_over() == set()
    assert waiting.low == set()
    for claimed in taken:
        assert claimed is not None
        waiting.release(claimed)
    take_all(waiting)
    assert waiting.low == set()


def test_a_domain_set_aside_is_passed_over_in_its_own_lane_and_stays_known() -> None:
    waiting = make_waiting(most=2)
    waiting.add(claim_many("a.org", 9))
    assert len(waiting.shed(keep=6, most=500)) == 3
    assert waiting.shed(keep=6, most=500) == []
    assert waiting.pass_over() == {"a.org", "=a.org"}
    for _ in range(6):
        taken = waiting.take(smtputf8=True)
        assert taken is not None
        waiting.release(taken)
    (gate,) = waiting.low
    assert gate is waiting.gate_of(claim("new@a.org"))
    assert waiting.pass_over() == set()
    assert gate.aside
    assert gate.more


def test_a_lane_with_a_domain_that_has_limits_of_its_own_is_never_passed_over() -> None:
    limits = {"gmail.com": Limit(connections=2), "googlemail.com": Limit(connections=1)}
    waiting = Waiting(most=3, limits=limits, backoffs={}, clock=Clock())
    assert waiting.split_lanes == {"gmail.com"}
    waiting.add(claim_many("gmail.com", 20))
    assert waiting.pass_over() == set()
    waiting.shed(keep=10, most=500)
    assert waiting.pass_over() == {"=gmail.com"}
    alike = dict.fromkeys(limits, Limit(connections=2))
    assert Waiting(most=3, limits=alike, backoffs={}, clock=Clock()).split_lanes == set()


def test_a_domain_alone_may_use_every_connection() -> None:
    waiting = make_waiting(most=7)
    waiting.add(claim_many("a.org", 20))
    assert waiting.count_ready(100) == 7
    assert len(take_all(waiting)) == 7


def test_a_domain_has_no_more_connections_than_its_limit() -> None:
    waiting = make_waiting(a=Limit(connections=2))
    waiting.add([*claim_many("a.org", 9), *claim_many("b.org", 3)])
    assert waiting.count_ready(100) == 5
    taken = take_all(waiting)
    assert count_domains(taken) == {"a.org": 2, "b.org": 3}
    assert waiting.count_ready(100) == 0
    waiting.release(taken[0])
    assert [row.email for row in take_all(waiting)] == ["p2@a.org"]


def test_addresses_with_smtputf8_share_their_domains_limit() -> None:
    waiting = make_waiting(a=Limit(connections=2))
    waiting.add([*claim_many("a.org", 5), *(claim(f"jürgen{number}@a.org") for number in range(5))])
    assert len(take_all(waiting)) == 2


def test_a_domain_in_trouble_has_half_its_connections_at_each_step() -> None:
    waiting = make_waiting(backoffs={"a.org": Backoff(step=1)})
    waiting.add(claim_many("a.org", 10))
    gate = waiting.gate_of(claim("p0@a.org"))
    assert waiting.count_ready(100) == 5
    gate.troubles_in_a_row = 1
    assert waiting.count_ready(100) == 2
    gate.troubles_in_a_row = 9
    assert len(take_all(waiting)) == 1


def test_a_rate_spaces_the_mails_of_its_domain_alone() -> None:
    clock = Clock()
    waiting = make_waiting(clock=clock, a=Limit(rate=2))
    waiting.add([*claim_many("a.org", 3), *claim_many("b.org", 2)])
    assert count_domains(take_all(waiting)) == {"a.org": 1, "b.org": 2}
    assert (waiting.next_free_at(), waiting.count_ready(10)) == (0.5, 0)
    clock.seconds = 0.49
    assert take_all(waiting) == []
    clock.seconds = 0.5
    assert waiting.count_ready(10) == 2
    assert count_domains(take_all(waiting)) == {"a.org": 1}
    clock.seconds = 9
    assert count_domains(take_all(waiting)) == {"a.org": 1}
    assert take_all(waiting) == []


def test_time_without_mails_saves_up_no_rate() -> None:
    clock = Clock()
    waiting = make_waiting(clock=clock, a=Limit(rate=1))
    clock.seconds = 100
    waiting.add(claim_many("a.org", 5))
    assert len(take_all(waiting)) == 1
    assert waiting.next_free_at() == 101


def test_who_waits_for_a_rate_waits_for_a_moment_to_come_and_never_for_one_that_is_past() -> None:
    clock = Clock()
    waiting = make_waiting(clock=clock, a=Limit(rate=1))
    waiting.add(claim_many("a.org", 3))
    take_all(waiting)
    assert waiting.next_free_at() == 1
    clock.seconds = 5
    assert waiting.next_free_at() is None
    assert len(take_all(waiting)) == 1


def test_addresses_that_need_smtputf8_wait_for_a_connection_with_it() -> None:
    waiting = make_waiting()
    waiting.add([claim("jürgen@a.org"), claim("kim@a.org"), claim("zoë@b.org")])
    assert (waiting.count_ready(9), waiting.count_ready(9, smtputf8=False)) == (3, 1)
    assert [row.email for row in take_all(waiting, smtputf8=False)] == ["kim@a.org"]
    assert {row.email for row in take_all(waiting)} == {"jürgen@a.org", "zoë@b.org"}


def test_an_internationalised_domain_needs_no_smtputf8() -> None:
    waiting = make_waiting()
    waiting.add([claim("kim@bücher.example")])
    assert len(take_all(waiting, smtputf8=False)) == 1


def test_all_domains_of_a_provider_share_its_limit() -> None:
    waiting = Waiting(most=10, limits={"gmail.com": Limit(connections=2)}, backoffs={}, clock=Clock())
    waiting.add([*claim_many("gmail.com", 3), *claim_many("googlemail.com", 3)])
    assert len(take_all(waiting)) == 2


def test_a_providers_domain_with_limits_of_its_own_goes_by_them() -> None:
    limits = {"gmail.com": Limit(connections=2), "googlemail.com": Limit(connections=1)}
    waiting = Waiting(most=10, limits=limits, backoffs={}, clock=Clock())
    waiting.add([*claim_many("gmail.com", 3), *claim_many("googlemail.com", 3)])
    assert count_domains(take_all(waiting)) == {"gmail.com": 2, "googlemail.com": 1}


def test_a_providers_domain_with_the_same_limits_shares_them() -> None:
    limits = {"gmail.com": Limit(connections=2), "googlemail.com": Limit(connections=2)}
    waiting = Waiting(most=10, limits=limits, backoffs={}, clock=Clock())
    waiting.add([*claim_many("gmail.com", 3), *claim_many("googlemail.com", 3)])
    assert len(take_all(waiting)) == 2


def test_a_gate_is_emptied_of_what_waits_and_not_of_what_is_on_the_wire() -> None:
    waiting = make_waiting(a=Limit(connections=2))
    waiting.add([*claim_many("a.org", 5), claim("jürgen@a.org", 5), *claim_many("b.org", 1)])
    on_the_wire = [row for row in take_all(waiting) if row.email.endswith("a.org")]
    gate = waiting.gate_of(on_the_wire[0])
    emptied = waiting.empty(gate)
    assert len(emptied) == 4
    assert (len(waiting), waiting.count_ready(10), gate.in_flight) == (0, 0, 2)
    assert waiting.empty(gate) == []
    for row in on_the_wire:
        waiting.release(row)
    assert take_all(waiting) == []
    waiting.add(emptied)
    assert len(take_all(waiting)) == 2


def test_what_waits_counts_as_varied_only_as_far_as_a_domain_could_use_it() -> None:
    waiting = make_waiting(most=4)
    waiting.add([*claim_many("a.org", 100), *claim_many("b.org", 3)])
    assert (len(waiting), waiting.count_varied()) == (103, 7)
    take_all(waiting)
    assert (len(waiting), waiting.count_varied()) == (96, 4)


@pytest.mark.parametrize("backoff", [HEALTHY, Backoff(step=2)])
def test_a_domain_that_was_through_comes_back_as_it_was(backoff: Backoff) -> None:
    waiting = make_waiting(backoffs={"a.org": Backoff(step=3)})
    row = claim("p0@a.org")
    waiting.add([row])
    take_all(waiting)
    waiting.gate_of(row).backoff = backoff
    waiting.release(row)
    assert waiting.gate_of(row).backoff is backoff


def test_it_keeps_nothing_of_what_is_through() -> None:
    waiting = make_waiting(most=3)
    for number in range(2_000):
        waiting.add([claim(f"p@d{number}.org"), *claim_many("a.org", 3)])
        for row in take_all(waiting):
            waiting.release(row)
    waiting.add(claim_many("a.org", 5_000))
    on_the_wire = take_all(waiting)
    while on_the_wire:
        waiting.release(on_the_wire.pop())
        following = waiting.take(smtputf8=True)
        on_the_wire += [following] if following else []
    assert len(waiting) == 0
    assert len(waiting._offers) <= FEW_OFFERS + 10
    assert len(waiting._gates) <= 1
