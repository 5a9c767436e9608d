"""The relays of a run: which of them the next connection goes to, and which are left alone for a while.

Connections are shared out by weight. A relay that cannot be reached is backed off, and the others take over its share;
until it has answered, one connection at a time tries it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from newsletter.core.policy import RECOVERY_MAILS, TROUBLES_IN_A_ROW, Stage
from newsletter.core.throttle import HEALTHY, Backoff, back_off, count_connections, recover
from newsletter.store.fleet import Share
from newsletter.transport.smtp import (
    Attempted,
    Connection,
    Relay,
    RelayRefusedError,
    RelayUnreachableError,
    open_connection,
)

SHORTEST_SHUT = timedelta(seconds=1)
"""A relay in trouble is left alone so long at least, whatever RETRY_DELAYS say: else it would be dialed without end."""

CLOSING = 421
"""The reply of a relay that ends the connection (RFC 5321 3.8)."""


@dataclass(eq=False)
class Member:
    """A relay, and how it does in this run. `refused`: it will not have us as we are set up, whatever we try.

    `connections` and `rate` are how much of its limits this process may use: all, unless it shares them.
    """

    relay: Relay
    id: int
    backoff: Backoff
    open: int = 0
    dialing: int = 0
    most: int | None = None  # fewer than its settings say, where it refused more
    answered: bool = False
    refused: bool = False
    takes_smtputf8: bool | None = None
    lost_in_a_row: int = 0
    taken: int = 0
    free_at: float = 0.0
    changed: bool = False
    connections: int = 0
    rate: float = 0.0

    def __post_init__(self) -> None:
        self.connections, self.rate = self.relay.connections, self.relay.rate

    @property
    def has_too_many(self) -> bool:
        """Whether more connections are open than this process may have."""
        return self.open > self.connections

    def is_shut(self, now: datetime) -> bool:
        """Whether no new connection is to be tried."""
        return self.refused or self.backoff.is_shut(now)


class RelayPool:
    """`relays` with their ids and what is known of their health by name; `delays` are the steps of backing off."""

    def __init__(
        self,
        relays: Sequence[tuple[Relay, int]],
        backoffs: Mapping[str, Backoff],
        delays: Sequence[timedelta],
    ) -> None:
        self.members = [
            Member(relay=relay, id=number, backoff=backoffs.get(relay.name, HEALTHY)) for relay, number in relays
        ]
        self._delays = delays

    @property
    def most_connections(self) -> int:
        """How many connections there may be at all."""
        return sum(member.connections for member in self.members)

    def ask(self) -> Iterator[Share]:
        """What this process can use of the relays' limits, where it shares them with others."""
        for member in self.members:
            open_ = member.open + member.dialing
            relay = member.relay
            yield Share(kind="connections", name=relay.name, total=relay.connections, wanted=True, used=open_)
            if relay.rate:
                yield Share(kind="rate", name=relay.name, total=relay.rate, wanted=True, whole=False)

    def take_shares(self, allowed: Mapping[tuple[str, str], float]) -> None:
        """Keep to this much of them from now on."""
        for member in self.members:
            name, rate = member.relay.name, member.relay.rate
            member.rate = allowed.get(("rate", name), rate)
            member.connections = int(allowed.get(("connections", name), member.relay.connections))
            if rate and not member.rate:
                member.connections = 0

    def choose(self, now: datetime, *, smtputf8: bool = False) -> Member | None:
        """The relay for one more connection, the one furthest below its share; None where none may have one."""
        free = [m for m in self.members if not m.is_shut(now) and m.open + m.dialing < self._allow(m, now)]
        if smtputf8 and self.may_have_smtputf8:  # else any may have it, and it is refused here
            free = [m for m in free if m.takes_smtputf8 is not False]
        return min(free, key=lambda m: (m.open + m.dialing + 1) / m.relay.weight, default=None)

    def is_dead(self, now: datetime, *, smtputf8: bool = False) -> bool:
        """Whether there is no connection, and none to be had: of all relays, or of those that may take SMTPUTF8."""
        needed = [m for m in self.members if m.takes_smtputf8 is not False] if smtputf8 else self.members
        return bool(needed) and all(m.is_shut(now) and not m.open and not m.dialing for m in needed)

    @property
    def may_have_smtputf8(self) -> bool:
        """Whether any relay takes addresses that are not ASCII, or may turn out to, now or when it is back."""
        return any(m.takes_smtputf8 is not False and not m.refused for m in self.members)

    def tell_troubles(self, now: datetime) -> str:
        """What keeps us from the relays, in words."""
        return "; ".join(dict.fromkeys(m.backoff.reason for m in self.members if m.is_shut(now)))

    async def dial(self, member: Member, now: datetime) -> Connection | None:
        """Open a connection, counted as dialing before; None where that fails, which is then known of the relay."""
        try:
            connection = await open_connection(member.relay)
        except RelayRefusedError as error:
            member.refused = True
            self._shut(member, now, str(error))
            return None
        except RelayUnreachableError as error:
            if member.open:  # it allows fewer connections than we want, and works on through those that it took
                member.most = member.open
            else:
                self._shut(member, now, str(error))
            return None
        finally:
            member.dialing -= 1
        member.open += 1
        member.answered = True
        member.takes_smtputf8 = connection.takes_smtputf8
        return connection

    def note_lost(self, member: Member, now: datetime, connection: Connection, attempted: Attempted) -> None:
        """A mail came back that the relay gave no answer to, or that it wants a login for."""
        stop = attempted.verdict.stop
        if not connection.mails_answered:  # relays close a connection after some mails; that is no failure of theirs
            member.lost_in_a_row += 1
        member.refused = member.refused or stop
        if stop or member.lost_in_a_row >= TROUBLES_IN_A_ROW:
            self._shut(member, now, _quote(member, attempted))

    def note_answered(self, member: Member, now: datetime, attempted: Attempted) -> None:
        """The relay answered a mail. A relay that says 421 to one MAIL after another is left alone like a lost one."""
        if attempted.stage is Stage.MAIL and attempted.reply.code == CLOSING:
            member.lost_in_a_row += 1
            if member.lost_in_a_row >= TROUBLES_IN_A_ROW:
                self._shut(member, now, _quote(member, attempted))
            return
        member.lost_in_a_row = 0
        member.taken += 1
        if member.taken >= RECOVERY_MAILS:
            member.taken = 0
            if member.most is not None:
                member.most += 1
            if member.backoff.step:
                member.backoff, member.changed = recover(member.backoff), True

    def book_turn(self, member: Member) -> float:
        """How many seconds to wait until a relay may be given the next mail; that one's turn is then taken."""
        if not member.rate:
            return 0.0
        now = asyncio.get_running_loop().time()
        at = max(member.free_at, now)
        member.free_at = at + 1 / member.rate
        return at - now

    def take_changes(self) -> Iterator[tuple[str, Backoff]]:
        """The relays whose health has changed since this was last asked, by name."""
        for member in self.members:
            if member.changed:
                member.changed = False
                yield member.relay.name, member.backoff

    def _allow(self, member: Member, now: datetime) -> int:
        """How many connections a relay may have now: its share while the others do their part, else all it takes."""
        if not member.answered or not member.connections:
            return min(1, member.connections)
        healthy = [m for m in self.members if not m.is_shut(now)]
        share = member.connections
        if len({m.relay.weight for m in healthy}) > 1:  # alike, each may have all that it takes
            unit = min(m.connections / m.relay.weight for m in healthy)
            share = max(1, round(unit * member.relay.weight))
        most = min(member.connections, share, member.most or share)
        return count_connections(most, member.backoff.step)

    def _shut(self, member: Member, now: datetime, reason: str) -> None:
        """Leave a relay alone; until it has answered again, one connection at a time tries it."""
        if member.backoff.is_shut(now):  # several connections met the same trouble: it is one step up, not one each
            return
        member.backoff = back_off(member.backoff, now, self._delays, reason=reason, asked=SHORTEST_SHUT)
        member.answered, member.most = False, None
        member.taken, member.changed = 0, True


def _quote(member: Member, attempted: Attempted) -> str:
    code = f"{attempted.reply.code} " if attempted.reply.code else ""
    return f"relay {member.relay.name}: {code}{attempted.reply.text}"
