"""Those who deliver on one PostgreSQL database: who they are, whether they live, and their shares of the limits.

A worker lives as long as its lease, by the database's clock; one whose process has gone from this machine is dead at
once. Each step of its ledger touches its own row: after it was declared dead it can write nothing any more.
"""

import json
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, cast, delete, func, or_, select, text, update

from newsletter.core.errors import LeaseLostError
from newsletter.core.model import Key
from newsletter.core.throttle import share_out
from newsletter.store import outbox
from newsletter.store.inserting import upsert
from newsletter.store.postgres import EXCHANGE_LOCK, take_lock
from newsletter.store.schema import batches, shares, workers

NOW = cast(func.floor(func.extract("epoch", func.clock_timestamp()) * 1_000_000), BigInteger)
"""The database's time, in microseconds. It counts for leases, since the clocks of many machines differ."""

NOTHING = "[]"
SIGNATURE = "newsletter worker "

TURN = timedelta(seconds=30)
"""So long the part of a limit that cannot be divided stays with a worker, before it is another's turn."""

ENDED = frozenset("ZX")
"""The states of a process that runs no more, and that nobody has asked after yet (proc(5))."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a worker wants of a limit of the whole fleet: `kind` and `name` say which, `total` how much there is.

    `used` is what it cannot give up yet: connections that are open still. `whole`: only whole numbers are of use.
    """

    kind: str
    name: str
    total: float
    wanted: bool
    used: float = 0.0
    whole: bool = True


def name_process(pid: int | None = None) -> str:
    """This process, or another of this machine, as no other is named: host, boot, namespace, number and start."""
    pid = os.getpid() if pid is None else pid
    state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
    if state in ENDED:
        raise ProcessLookupError(pid)
    space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {BOOT_ID.read_text().strip()} {space} {pid} {started}"


def _has_gone(name: str) -> bool:
    """Whether a process that ran on this machine does not any more; False where it cannot be known."""
    *place, pid, _ = name.split()
    *here, _, _ = name_process().split()
    if place != here:
        return False
    try:
        os.kill(int(pid), 0)  # sees also what /proc hides of others' processes
        return name_process(int(pid)) != name
    except ProcessLookupError:
        return True
    except OSError:
        return False


def join(conn: Connection, worker_id: int, lease: timedelta, *, is_daemon: bool = False) -> int:
    """Enter a worker; returns its slot, the first that is free. The caller holds the write lock."""
    taken = set(conn.execute(select(workers.c.slot)).scalars())
    slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
    values = {"slot": slot, "name": name_process(), "started_at": NOW, "lease_until": NOW + _microseconds(lease)}
    conn.execute(workers.insert().values(id=worker_id, is_daemon=is_daemon, step=0, wire=NOTHING, **values))
    return slot


def renew(conn: Connection, worker_id: int, lease: timedelta) -> None:
    """Let a worker live on; LeaseLostError where it was declared dead."""
    alive = update(workers).where(workers.c.id == worker_id).values(lease_until=NOW + _microseconds(lease))
    if conn.execute(alive).rowcount == 0:
        raise LeaseLostError("another worker took over what this one had: it had not been heard of for too long")


def note_step(conn: Connection, worker_id: int, step: int, keys: Collection[Key]) -> Callable[[], bool]:
    """Note which deliveries a worker has on the wire after a step of its ledger.

    What it returns is asked before the transaction ends: False where this step was written before; LeaseLostError, and
    nothing may be written, where the worker lives no more.
    """
    cursor = conn.connection.cursor()  # as a prepared statement: of others a step has few
    cursor.execute(_NOTE_STEP, {"id": worker_id, "step": step, "wire": json.dumps(sorted(keys))})

    def is_new() -> bool:
        row = cursor.fetchone()
        if row is None or not row[1]:
            raise LeaseLostError("the lease of this worker is over: what it had is another's now")
        return bool(row[0] == step)

    return is_new


# The row as it was is locked, so that who takes over from the dead waits, or was first.
_NOTE_STEP = """
UPDATE workers SET step = greatest(workers.step, %(step)s),
  wire = CASE WHEN workers.step < %(step)s THEN %(wire)s ELSE workers.wire END
FROM (SELECT id, step, lease_until FROM workers WHERE id = %(id)s FOR UPDATE) AS before
WHERE workers.id = before.id
RETURNING CASE WHEN before.step < %(step)s THEN %(step)s END,
  before.lease_until > floor(extract(epoch FROM clock_timestamp()) * 1000000)"""


def leave(conn: Connection, worker_id: int) -> None:
    """A worker goes; what it had claimed is free. What it may have on the wire still, others take over."""
    outbox.free_batches(conn, worker_id)
    mine = workers.c.id == worker_id
    conn.execute(delete(workers).where(mine, workers.c.wire == NOTHING))
    conn.execute(update(workers).where(mine).values(lease_until=NOW - 1))


def bury(conn: Connection, worker_id: int) -> None:
    """A worker is dead, and what it had was taken over."""
    outbox.free_batches(conn, worker_id)
    conn.execute(delete(workers).where(workers.c.id == worker_id))


def list_workers(conn: Connection) -> Sequence[Row[Any]]:
    """All workers that were not declared dead, the longest running first; `seconds_left` of their leases."""
    left = (cast(workers.c.lease_until, BigInteger) - NOW) / 1_000_000
    return conn.execute(select(workers, left.label("seconds_left")).order_by(workers.c.started_at, workers.c.id)).all()


def free_orphans(conn: Connection) -> None:
    """Free the batches of workers that nobody knows any more."""
    known = select(workers.c.id)
    conn.execute(update(batches).where(~batches.c.done, batches.c.owner.not_in(known)).values(owner=None))


def find_leader(conn: Connection) -> int | None:
    """The daemon that does what only one shall do: the one that has run the longest."""
    alive = select(workers.c.id).where(workers.c.is_daemon, workers.c.lease_until > NOW)
    number: int | None = conn.execute(alive.order_by(workers.c.started_at, workers.c.id).limit(1)).scalar()
    return number


def sign(conn: Connection, worker_id: int, *, for_good: bool = False) -> None:
    """Let the server know whose transaction this is, or whose connection: who takes over from the dead ends theirs."""
    name = {"name": f"{SIGNATURE}{worker_id}", "local": not for_good}
    conn.execute(text("SELECT set_config('application_name', :name, :local)"), name)


def _silence(conn: Connection, ids: Collection[int]) -> None:
    """End the sessions of dead workers: one that sleeps in the middle of a step holds its row as long as it does."""
    theirs = "datname = current_database() AND application_name = ANY(:names)"
    names = {"names": [f"{SIGNATURE}{number}" for number in ids]}
    conn.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {theirs}"), names)  # noqa: S608


def list_dead(conn: Connection, abandoned: Collection[int]) -> Sequence[Row[Any]]:
    """The workers that live no more, each held so that only the caller takes over; `abandoned` are earlier selves."""
    known = list_workers(conn)
    ids = [row.id for row in known if row.seconds_left <= 0 or row.id in abandoned or _has_gone(row.name)]
    if not ids:
        return []
    _silence(conn, ids)
    certain = workers.c.id.in_([row.id for row in known if row.id in ids and row.seconds_left > 0])
    over = workers.c.lease_until <= NOW  # asked again: it may have been renewed meanwhile
    held = workers.select().where(workers.c.id.in_(ids), or_(certain, over)).with_for_update(skip_locked=True)
    return conn.execute(held).all()


def read_wire(worker: Row[Any]) -> list[Key]:
    """What a worker had on the wire."""
    return [(issue, subscriber) for issue, subscriber in json.loads(worker.wire)]


def exchange_shares(conn: Connection, worker_id: int, wanted: Sequence[Share]) -> dict[tuple[str, str], float]:
    """Say what a worker can use of each limit, and learn how much it may use now, by (kind, name).

    Of those that want it each has the same, and what cannot be divided goes round; nobody gets before another has
    given, so that the sum never passes the total. One worker at a time exchanges.
    """
    take_lock(conn, EXCHANGE_LOCK)
    turn: int = conn.execute(select(NOW // _microseconds(TURN))).scalar_one()
    held: dict[tuple[str, str], dict[int, Row[Any]]] = {}
    for row in conn.execute(shares.select().where(shares.c.worker_id != worker_id)):
        held.setdefault((row.kind, row.name), {})[row.worker_id] = row
    allowed = {}
    for share in wanted:
        others = held.get((share.kind, share.name), {})
        allowed[share.kind, share.name] = amount = _allow(share, worker_id, others, turn)
        key = {"kind": share.kind, "name": share.name, "worker_id": worker_id}
        upsert(conn, shares, key, {"wanted": share.wanted, "granted": max(amount, share.used)})
    return allowed


def _allow(share: Share, worker_id: int, others: Mapping[int, Row[Any]], turn: int) -> float:
    """How much one worker may use of a limit, while the others have what they have."""
    if not share.wanted:
        return 0.0
    asking = sorted([worker_id, *(number for number, row in others.items() if row.wanted)])
    place = (asking.index(worker_id) + turn) % len(asking)
    taken = sum(row.granted for row in others.values())
    return share_out(share.total, place, len(asking), taken, whole=share.whole)


def _microseconds(span: timedelta) -> Any:
    return span // timedelta(microseconds=1)
