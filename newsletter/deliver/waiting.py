"""The deliveries in the hands of this process, each behind the gate of its domain, and which of them goes next.

The next one comes from the gate with the fewest mails on the wire, so a slow domain never starves the rest. A gate lets
through no more at a time, and no faster, than its limits say. Does no I/O.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from newsletter.core.policy import LANES, lane_of
from newsletter.core.throttle import HEALTHY, Backoff, Limit, count_connections
from newsletter.store.fleet import Share
from newsletter.store.outbox import Claimed
from newsletter.store.throttles import ASIDE

ENOUGH_A_CONNECTION = 2
"""So many deliveries of a gate in hand for each mail that may be on the wire at all are enough for now."""

FEW_OFFERS = 100
"""So many offers that count no more may lie in the line, and as many as there are gates."""


@dataclass(eq=False)
class Gate:
    """A domain, or all domains of a great provider: what waits, how many mails are on the wire, and how it does.

    `plain` and `smtputf8` wait: the latter are the addresses that only a relay with SMTPUTF8 can be given.
    `aside`: it is slow, and has a lane of its own in the store. `more`: there may be more in its lane than is in hand.
    """

    name: str
    limit: Limit
    backoff: Backoff
    plain: deque[Claimed] = field(default_factory=deque)
    smtputf8: deque[Claimed] = field(default_factory=deque)
    in_flight: int = 0
    free_at: float = 0.0
    troubles_in_a_row: int = 0
    taken: int = 0
    offer: int = 0
    aside: bool = False
    more: bool = False

    def __len__(self) -> int:
        return len(self.plain) + len(self.smtputf8)

    def is_forgettable(self) -> bool:
        """Whether nothing is lost when it is made anew, as there are many domains with few readers."""
        busy = self.plain or self.smtputf8 or self.in_flight or self.troubles_in_a_row or self.limit.rate
        return not (busy or self.aside or self.more) and self.backoff is HEALTHY


class Waiting:
    """`most` is how many mails may be on the wire at all; `clock` counts seconds, for the rates.

    `enough` of a gate are enough in hand; `low` are the gates that have no more than that, while there may be more.
    """

    def __init__(
        self,
        *,
        most: int,
        limits: Mapping[str, Limit],
        backoffs: Mapping[str, Backoff],
        clock: Callable[[], float],
    ) -> None:
        self.enough = most * ENOUGH_A_CONNECTION
        self.low: set[Gate] = set()
        self.clock = clock
        self._most = most
        self._limits = limits
        self._shares: dict[str, Limit] = {}
        self._has_asked = False
        self._backoffs = dict(backoffs)
        self._gates: dict[str, Gate] = {}
        self._offers: list[tuple[int, int, Gate]] = []
        self._paced: list[tuple[float, int, Gate]] = []
        self._numbers = count(1)
        self._aside: dict[str, Gate] = {}
        self.split_lanes = {
            lane for name, limit in limits.items() if (lane := lane_of(f"@{name}")) and limit != limits.get(lane)
        }
        self._count = self._varied = 0

    def __len__(self) -> int:
        return self._count

    def gate_of(self, claimed: Claimed) -> Gate:
        """The gate that a delivery goes through.

        A domain has one of its own, unless it belongs to a great provider and its limits are the provider's.
        """
        domain = claimed.email.rpartition("@")[2]
        name = claimed.lane or domain
        if claimed.lane and domain in self._limits and self._limits[domain] != self._limits.get(claimed.lane):
            name = domain
        if name not in self._gates:
            limit, backoff = self._limits.get(name, Limit()), self._backoffs.get(name, HEALTHY)
            self._gates[name] = Gate(name=name, limit=limit, backoff=backoff)
        return self._gates[name]

    def add(self, rows: Iterable[Claimed]) -> None:
        """Take deliveries into hand, behind those that wait already."""
        for claimed in rows:
            gate = self.gate_of(claimed)
            needs_smtputf8 = not claimed.email.rpartition("@")[0].isascii()
            (gate.smtputf8 if needs_smtputf8 else gate.plain).append(claimed)
            self._count += 1
            self._varied += len(gate) <= self._most
            if len(gate) == 1:
                self._offer(gate)

    def take(self, *, smtputf8: bool) -> Claimed | None:
        """The next delivery that may go now, over a connection with SMTPUTF8 or without; None where there is none."""
        left_out = []
        taken = None
        while (gate := self._next_open()) is not None:
            if not gate.plain and not smtputf8:
                left_out.append(gate)
                continue
            taken = (gate.smtputf8 if smtputf8 and gate.smtputf8 else gate.plain).popleft()
            self._count -= 1
            self._varied -= len(gate) < self._most
            if gate.more and len(gate) <= self.enough:
                self.low.add(gate)
            gate.in_flight += 1
            if rate := self._share(gate).rate:
                gate.free_at = max(gate.free_at, self.clock()) + 1 / rate
            self._offer(gate)
            break
        for gate in left_out:
            self._offer(gate)
        return taken

    def release(self, claimed: Claimed) -> None:
        """A delivery that was taken is off the wire, or was not put there."""
        gate = self.gate_of(claimed)
        gate.in_flight -= 1
        if gate.is_forgettable() and gate.name not in self._backoffs:
            del self._gates[gate.name]
        self._offer(gate)

    def ask(self) -> Iterator[Share]:
        """What this process can use of the domains' limits, where it shares them with others."""
        for name, limit in self._limits.items():
            gate = self._gates.get(name)
            used = gate.in_flight if gate else 0
            wanted = not self._has_asked or bool(gate) or used > 0  # at first, what may come is not known
            if limit.connections:
                kind = "domain connections"
                yield Share(kind=kind, name=name, total=limit.connections, wanted=wanted, used=used)
            if limit.rate:
                yield Share(kind="domain rate", name=name, total=limit.rate, wanted=wanted, whole=False)
        self._has_asked = True

    def take_shares(self, allowed: Mapping[tuple[str, str], float]) -> None:
        """Keep to this much of them from now on; a share of nothing shuts a gate."""
        for name, limit in self._limits.items():
            connections = allowed.get(("domain connections", name), limit.connections)
            share = Limit(connections=int(connections), rate=allowed.get(("domain rate", name), limit.rate))
            if self._shares.get(name) != share:
                self._shares[name] = share
                if name in self._gates:
                    self._offer(self._gates[name])

    def adopt(self, backoffs: Mapping[str, Backoff], now: datetime) -> None:
        """Leave alone what others have found to be in trouble, from the next claim on."""
        for name, backoff in backoffs.items():
            gate = self._gates.get(name)
            known = gate.backoff if gate else self._backoffs.get(name, HEALTHY)
            if backoff.is_shut(now) and not known.is_shut(now):
                self._backoffs[name] = backoff
                if gate:
                    gate.backoff = backoff

    def list_all(self) -> Iterator[Claimed]:
        """Everything that waits."""
        for gate in self._gates.values():
            yield from gate.plain
            yield from gate.smtputf8

    def empty(self, gate: Gate) -> list[Claimed]:
        """Hand back everything that waits behind a gate."""
        rows = [*gate.plain, *gate.smtputf8]
        gate.plain.clear()
        gate.smtputf8.clear()
        self._count -= len(rows)
        self._varied -= min(len(rows), self._most)
        return rows

    def pass_over(self) -> set[str]:
        """The lanes of which enough is in hand; as the others may be claimed now, no gate is `low` any more."""
        self.low.clear()
        passed = set()
        of_lanes = {name: self._gates[name] for name in LANES if name in self._gates and name not in self.split_lanes}
        for gate in (of_lanes | self._aside).values():
            if len(gate) > self.enough:
                gate.more = True
                passed |= {gate.name, f"{ASIDE}{gate.name}"}
            elif not gate.aside:
                gate.more = False
        return passed - self.split_lanes

    def set_aside(self, gate: Gate) -> None:
        """Note that a gate has a lane of its own in the store, with more in it."""
        gate.aside = gate.more = True
        self._aside[gate.name] = gate

    def shed(self, keep: int, most: int) -> list[Claimed]:
        """Hand back the last deliveries of a gate that has more than `keep`, and set it aside; `most` at a time, [] at
        the end."""
        for gate in self._gates.values():
            for line in (gate.plain, gate.smtputf8):
                count = min(len(line) - keep, most)
                if count > 0:
                    self.set_aside(gate)
                    self._count -= count
                    self._varied -= min(len(gate), self._most) - min(len(gate) - count, self._most)
                    return [line.pop() for _ in range(count)][::-1]
        return []

    def count_varied(self) -> int:
        """How many wait, of each domain no more than could be on the wire at once: what keeps a slow one company."""
        return self._varied

    def count_ready(self, most: int, *, smtputf8: bool = True) -> int:
        """How many of the deliveries could be taken at once, `most` at the most."""
        ready = 0
        for gate in self._gates.values():
            count = len(gate) if smtputf8 else len(gate.plain)
            if count and gate.free_at <= self.clock():
                ready += max(0, min(count, self._width(gate) - gate.in_flight))
                if ready >= most:
                    return most
        return ready

    def next_free_at(self) -> float | None:
        """When, by the clock, the first gate opens that is kept by its rate; those that have opened do not count."""
        self._offer_due()
        return self._paced[0][0] if self._paced else None

    def _width(self, gate: Gate) -> int:
        """How many mails a gate lets through at a time."""
        share = self._share(gate)
        if (gate.limit.connections and not share.connections) or (gate.limit.rate and not share.rate):
            return 0
        return count_connections(share.connections or self._most, gate.backoff.step + gate.troubles_in_a_row)

    def _share(self, gate: Gate) -> Limit:
        """How much of a gate's limit this process may use: all, unless it shares it."""
        return self._shares.get(gate.name, gate.limit)

    def _offer(self, gate: Gate) -> None:
        """Put a gate in line by the mails that it has on the wire; an older offer of it does not count any more."""
        if gate:
            gate.offer = next(self._numbers)
            heapq.heappush(self._offers, (gate.in_flight, gate.offer, gate))
        if len(self._offers) > FEW_OFFERS + 2 * len(self._gates):
            self._offers = [offered for offered in self._offers if offered[1] == offered[2].offer and offered[2]]
            heapq.heapify(self._offers)

    def _next_open(self) -> Gate | None:
        self._offer_due()
        while self._offers:
            _, offer, gate = heapq.heappop(self._offers)
            if offer != gate.offer or not gate or gate.in_flight >= self._width(gate):
                continue  # a full gate is offered again when a mail of it is off the wire
            if gate.free_at > self.clock():
                heapq.heappush(self._paced, (gate.free_at, offer, gate))
                continue
            return gate
        return None

    def _offer_due(self) -> None:
        while self._paced and self._paced[0][0] <= self.clock():
            self._offer(heapq.heappop(self._paced)[2])
