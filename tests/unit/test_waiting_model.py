"""What waits, against a plain model: whatever happens, counts are right, limits hold, nothing is lost or doubled."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_waiting import Clock, claim

from newsletter.core.throttle import HEALTHY, Backoff, Limit, count_connections
from newsletter.deliver.waiting import Waiting
from newsletter.store.outbox import Claimed

MOST = 6
LIMITS = {"gmail.com": Limit(connections=2), "two.org": Limit(connections=2), "paced.org": Limit(rate=4)}
DOMAINS = ("gmail.com", "googlemail.com", "two.org", "paced.org", "free.org")
GATES = {domain: "gmail.com" if domain == "googlemail.com" else domain for domain in DOMAINS}


def gate_name(row: Claimed) -> str:
    return GATES[row.email.rpartition("@")[2]]


def needs_smtputf8(row: Claimed) -> bool:
    return not row.email.rpartition("@")[0].isascii()


class WaitingModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.waiting = Waiting(most=MOST, limits=LIMITS, backoffs={}, clock=self.clock)
        self.queued: list[Claimed] = []
        self.on_the_wire: list[Claimed] = []
        self.backoffs = dict.fromkeys(GATES.values(), HEALTHY)
        self.free_at = 0.0
        self.number = 0

    def width(self, name: str) -> int:
        most = LIMITS.get(name, Limit()).connections or MOST
        return count_connections(most, self.backoffs[name].step)

    def in_flight(self, name: str) -> int:
        return sum(gate_name(row) == name for row in self.on_the_wire)

    def may_go(self, *, smtputf8: bool) -> list[Claimed]:
        return [
            row
            for row in self.queued
            if (smtputf8 or not needs_smtputf8(row))
            and self.in_flight(gate_name(row)) < self.width(gate_name(row))
            and (gate_name(row) != "paced.org" or self.free_at <= self.clock.seconds)
        ]

    @rule(domain=st.sampled_from(DOMAINS), locals_=st.lists(st.sampled_from(["kim", "jürgen"]), max_size=5))
    def claim_some(self, domain: str, locals_: list[str]) -> None:
        rows = []
        for local in locals_:
            self.number += 1
            rows.append(claim(f"{local}{self.number}@{domain}", self.number))
        self.queued += rows
        self.waiting.add(rows)

    @rule(smtputf8=st.booleans())
    def take(self, smtputf8: bool) -> None:
        candidates = self.may_go(smtputf8=smtputf8)
        taken = self.waiting.take(smtputf8=smtputf8)
        if not candidates:
            assert taken is None
            return
        assert taken in candidates
        fewest = min(self.in_flight(gate_name(row)) for row in candidates)
        assert self.in_flight(gate_name(taken)) == fewest
        alike = [
            row
            for row in self.queued
            if gate_name(row) == gate_name(taken) and needs_smtputf8(row) == needs_smtputf8(taken)
        ]
        assert taken is alike[0]
        self.queued.remove(taken)
        self.on_the_wire.append(taken)
        if gate_name(taken) == "paced.org":
            self.free_at = self.clock.seconds + 0.25

    @precondition(lambda self: self.on_the_wire)
    @rule(data=st.data(), step=st.none() | st.integers(0, 3))
    def answer(self, data: st.DataObject, step: int | None) -> None:
        """A mail is off the wire; its reply may have backed its domain off, or let it recover."""
        row = data.draw(st.sampled_from(self.on_the_wire))
        if step is not None:
            backoff = Backoff(step=step) if step else HEALTHY
            self.backoffs[gate_name(row)] = self.waiting.gate_of(row).backoff = backoff
        self.on_the_wire.remove(row)
        self.waiting.release(row)

    @rule(domain=st.sampled_from(DOMAINS))
    def empty(self, domain: str) -> None:
        emptied = self.waiting.empty(self.waiting.gate_of(claim(f"kim@{domain}")))
        assert {row.key for row in emptied} == {row.key for row in self.queued if gate_name(row) == GATES[domain]}
        assert len(emptied) == len({row.key for row in emptied})
        self.queued = [row for row in self.queued if row not in emptied]

    @rule(keep=st.integers(0, 4), most=st.integers(1, 4))
    def shed(self, keep: int, most: int) -> None:
        """The last of one gate, in their order; [] only where no gate has more than `keep` of a kind."""
        rows = self.waiting.shed(keep, most)
        names = {gate_name(row) for row in self.queued}
        kinds = [
            [row for row in self.queued if gate_name(row) == name and needs_smtputf8(row) == smtputf8]
            for name in names
            for smtputf8 in (True, False)
        ]
        over = [kind for kind in kinds if len(kind) > keep]
        assert bool(rows) == bool(over)
        assert not rows or any(rows == kind[-min(len(kind) - keep, most) :] for kind in over)
        self.queued = [row for row in self.queued if row not in rows]

    @rule(seconds=st.sampled_from([0.1, 0.25, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.waiting) == len(self.queued)
        names = [gate_name(row) for row in self.queued]
        assert self.waiting.count_varied() == sum(min(MOST, names.count(name)) for name in set(names))
        for smtputf8 in (True, False):
            ready = 0
            for name in set(GATES.values()):
                rows = [row for row in self.may_go(smtputf8=smtputf8) if gate_name(row) == name]
                ready += min(len(rows), self.width(name) - self.in_flight(name)) if rows else 0
            assert self.waiting.count_ready(99, smtputf8=smtputf8) == ready

    @invariant()
    def who_waits_for_a_rate_is_woken_when_it_is_due(self) -> None:
        free_at = self.waiting.next_free_at()
        assert free_at is None or free_at > self.clock.seconds


TestWaitingModel = WaitingModel.TestCase
