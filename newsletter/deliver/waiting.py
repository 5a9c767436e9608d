"""The deliveries in the hands of this process, each behind the gate of its domain, and which of them goes next.

The next one comes from the gate with the fewest mails on the wire, so a slow domain never starves the rest. A gate lets
through no more at a time, and no faster, than its limits say. Does no I/O.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from newsletter.core.throttle import HEALTHY, Backoff, Limit, count_connections
from newsletter.store.outbox import Claimed


@dataclass(eq=False)
class Gate:
    """A domain, or all domains of a great provider: what waits, how many mails are on the wire, and how it does.

    `needs_smtputf8`: of that domain, the addresses that only a relay with SMTPUTF8 can be given.
    """

    name: str
    needs_smtputf8: bool
    limit: Limit
    backoff: Backoff
    waiting: deque[Claimed] = field(default_factory=deque)
    in_flight: int = 0
    free_at: float = 0.0
    troubles_in_a_row: int = 0
    taken: int = 0
    offer: int = 0

    def is_forgettable(self, now: float) -> bool:
        """Whether a new gate would be just like it: a list has more domains than there is room for."""
        idle = not self.waiting and not self.in_flight and self.free_at <= now
        return idle and self.backoff is HEALTHY and not self.troubles_in_a_row


class Waiting:
    """`most` is how many mails may be on the wire at all; `clock` counts seconds, for the rates."""

    def __init__(
        self,
        *,
        most: int,
        limits: Mapping[str, Limit],
        backoffs: Mapping[str, Backoff],
        clock: Callable[[], float],
    ) -> None:
        self._most = most
        self._limits = limits
        self._backoffs = backoffs
        self._clock = clock
        self._gates: dict[tuple[str, bool], Gate] = {}
        self._offers: list[tuple[int, int, Gate]] = []
        self._paced: list[tuple[float, int, Gate]] = []
        self._numbers = count(1)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def gate_of(self, claimed: Claimed) -> Gate:
        """The gate that a delivery goes through.

        A domain has one of its own, unless it belongs to a great provider and its limits are the provider's.
        """
        local, _, domain = claimed.email.rpartition("@")
        name = claimed.lane or domain
        if claimed.lane and domain in self._limits and self._limits[domain] != self._limits.get(claimed.lane):
            name = domain
        key = (name, not local.isascii())
        if key not in self._gates:
            limit, backoff = self._limits.get(name, Limit()), self._backoffs.get(name, HEALTHY)
            self._gates[key] = Gate(name=name, needs_smtputf8=key[1], limit=limit, backoff=backoff)
        return self._gates[key]

    def add(self, rows: Iterable[Claimed]) -> None:
        """Take deliveries into hand, behind those that wait already."""
        for claimed in rows:
            gate = self.gate_of(claimed)
            gate.waiting.append(claimed)
            self._count += 1
            if len(gate.waiting) == 1:
                self._offer(gate)

    def take(self, *, smtputf8: bool) -> Claimed | None:
        """The next delivery that may go now, over a connection with SMTPUTF8 or without; None where there is none."""
        left_out = []
        taken = None
        while (gate := self._next_open()) is not None:
            if gate.needs_smtputf8 and not smtputf8:
                left_out.append(gate)
                continue
            taken = gate.waiting.popleft()
            self._count -= 1
            gate.in_flight += 1
            if gate.limit.rate:
                gate.free_at = max(gate.free_at, self._clock()) + 1 / gate.limit.rate
            self._offer(gate)
            break
        for gate in left_out:
            self._offer(gate)
        return taken

    def release(self, claimed: Claimed) -> None:
        """A delivery that was taken is off the wire, or was not put there."""
        gate = self.gate_of(claimed)
        gate.in_flight -= 1
        self._offer(gate)
        if gate.is_forgettable(self._clock()):
            del self._gates[gate.name, gate.needs_smtputf8]

    def empty(self, gate: Gate) -> list[Claimed]:
        """Hand back everything that waits behind a gate."""
        rows = list(gate.waiting)
        gate.waiting.clear()
        self._count -= len(rows)
        return rows

    def count_ready(self, most: int, *, smtputf8: bool = True) -> int:
        """How many of the deliveries could be taken at once, `most` at the most."""
        ready = 0
        for gate in self._gates.values():
            if gate.waiting and gate.free_at <= self._clock() and (smtputf8 or not gate.needs_smtputf8):
                ready += max(0, min(len(gate.waiting), self._width(gate) - gate.in_flight))
                if ready >= most:
                    return most
        return ready

    def next_free_at(self) -> float | None:
        """When, by the clock, the first gate opens that is only kept by its rate."""
        return self._paced[0][0] if self._paced else None

    def _width(self, gate: Gate) -> int:
        """How many mails a gate lets through at a time."""
        return count_connections(gate.limit.connections or self._most, gate.backoff.step + gate.troubles_in_a_row)

    def _offer(self, gate: Gate) -> None:
        """Put a gate in line by the mails that it has on the wire; an older offer of it does not count any more."""
        if gate.waiting:
            gate.offer = next(self._numbers)
            heapq.heappush(self._offers, (gate.in_flight, gate.offer, gate))

    def _next_open(self) -> Gate | None:
        for gate in self._due_gates():
            self._offer(gate)
        while self._offers:
            _, offer, gate = heapq.heappop(self._offers)
            if offer != gate.offer or not gate.waiting or gate.in_flight >= self._width(gate):
                continue  # a full gate is offered again when a mail of it is off the wire
            if gate.free_at > self._clock():
                heapq.heappush(self._paced, (gate.free_at, offer, gate))
                continue
            return gate
        return None

    def _due_gates(self) -> Iterator[Gate]:
        while self._paced and self._paced[0][0] <= self._clock():
            yield heapq.heappop(self._paced)[2]
