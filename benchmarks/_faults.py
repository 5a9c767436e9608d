"""How the drill's server misbehaves, as tables, and what it writes down of it: see _faulty_server.py.

A reader's *fate* holds at every try (unknown, full for good, greylisted first). A *fault* strikes one transaction or
one connection, each reader FAULTS_A_READER times at most. Both come from a seed: the same seed gives the same fates,
and the same faults in the same order of events.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from math import inf

FAULTS_A_READER = 3
STALL_SECONDS = (0.3, 3.0)
LONGEST_CUT = 12_000
WRITING_SECONDS = 0.5


class Kind(StrEnum):
    """How a transaction is disturbed. LOSE takes the mail and hangs up before the reply."""

    REFUSE = "421"
    DEFER = "452"
    DROP = "drop"
    LEAVE = "drop after the reply"
    RESET = "reset"
    STALL = "stall"
    LOSE = "lose the reply"


Fault = tuple[str, Kind]
FAULTS: Mapping[Fault, float] = {
    ("BANNER", Kind.DROP): 0.01,
    ("BANNER", Kind.REFUSE): 0.01,
    ("BANNER", Kind.STALL): 0.01,
    ("EHLO", Kind.DROP): 0.01,
    ("MAIL", Kind.REFUSE): 0.003,
    ("MAIL", Kind.DROP): 0.003,
    ("RCPT", Kind.REFUSE): 0.004,
    ("RCPT", Kind.DEFER): 0.02,
    ("RCPT", Kind.DROP): 0.004,
    ("RCPT", Kind.STALL): 0.001,
    ("DATA", Kind.REFUSE): 0.004,
    ("DATA", Kind.DROP): 0.004,
    ("DATA", Kind.LEAVE): 0.004,
    ("DATA", Kind.STALL): 0.001,
    ("DATA", Kind.RESET): 0.01,
    ("BODY", Kind.REFUSE): 0.004,
    ("BODY", Kind.DEFER): 0.01,
    ("BODY", Kind.DROP): 0.004,
    ("BODY", Kind.LEAVE): 0.004,
    ("BODY", Kind.STALL): 0.001,
    ("BODY", Kind.LOSE): 0.01,
}
"""The share of the connections (BANNER, EHLO) or transactions that have this fault. DATA is from the command to the
last octet of the body, BODY is the final dot."""


class Fate(Enum):
    """What a reader's mailbox is, whenever it is asked; the share of the readers, and the reply."""

    UNKNOWN = (0.02, "550 5.1.1 no such user here")
    FULL = (0.01, "552 5.2.2 mailbox is full")
    STAYS_FULL = (0.005, "452 4.2.2 mailbox is full")
    GREYLISTED = (0.1, "451 4.7.1 greylisted, come again")
    FINE = (0.865, "250 2.1.5 ok")


DEAD = frozenset({Fate.UNKNOWN, Fate.FULL, Fate.STAYS_FULL})
"""The fates that no number of tries can end well."""


@cache
def find_fate(seed: int, recipient: str) -> Fate:
    """What becomes of a reader: always the same for one seed."""
    chance = random.Random(f"{seed}:{recipient}").random()
    for fate in Fate:
        if (chance := chance - fate.value[0]) < 0:
            return fate
    return Fate.FINE


def find_fault(seed: int, event: str, stages: tuple[str, ...], faults: Mapping[Fault, float]) -> Fault | None:
    """The fault of an event, of those at `stages`, or None."""
    chance = random.Random(f"{seed}:{event}").random()
    for fault, share in faults.items():
        if fault[0] in stages and (chance := chance - share) < 0:
            return fault
    return None


@dataclass(eq=False, kw_only=True)
class Visit:
    """One connection: the sender's process that opened it (by number), and when it ended.

    `left`: the server hung up right after a reply; the sender may have been about to write that reply down.
    """

    run: int
    opened_at: float
    ended_at: float = inf
    left: bool = False

    def was_open(self, run: int, at: float) -> bool:
        """Whether a process had this connection, or the reply that ended it, in its hands at a moment."""
        grace = WRITING_SECONDS if self.left else 0.0
        return self.run == run and self.opened_at <= at <= self.ended_at + grace


@dataclass(eq=False, kw_only=True)
class Taken:
    """A mail that the server took. `lost`: by its own fault no reply went out. `settled`: the sender went on to its
    next mail on the same connection, so it says that it has written this one down."""

    recipient: str
    message_id: str
    visit: Visit
    lost: bool
    settled: bool = False
