"""How far relays and domains are backed off, kept so that a restart does not forget it."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CompoundSelect, Connection, delete, exists, literal, select

from newsletter.core.throttle import HEALTHY, Backoff
from newsletter.store.inserting import insert_ignoring, upsert
from newsletter.store.schema import service, throttles

ASIDE = "="
"""How the lane of a domain that is set aside begins: its deliveries wait in a line of their own, and block nobody."""

SPLIT = "split:"


class Throttled(StrEnum):
    """What is backed off: a relay, named `host:port`, or a recipients' domain (or a provider's lane)."""

    RELAY = "relay"
    DOMAIN = "domain"


def read_backoffs(conn: Connection, kind: Throttled) -> dict[str, Backoff]:
    """Everything of a kind that is not healthy, by name."""
    rows = conn.execute(throttles.select().where(throttles.c.kind == kind))
    return {row.name: Backoff(step=row.step, until_at=row.until_at, reason=row.reason) for row in rows}


def write_backoff(conn: Connection, kind: Throttled, name: str, backoff: Backoff) -> None:
    """Note where a relay or a domain stands now; what is healthy has no row."""
    if backoff == HEALTHY:
        conn.execute(delete(throttles).where(throttles.c.kind == kind, throttles.c.name == name))
        return
    values = {"step": backoff.step, "until_at": backoff.until_at, "reason": backoff.reason}
    upsert(conn, throttles, {"kind": kind, "name": name}, values)


def write_relay(conn: Connection, *, name: str, backoff: Backoff) -> None:
    """`write_backoff` of a relay."""
    write_backoff(conn, Throttled.RELAY, name, backoff)


def note_split_lanes(conn: Connection, lanes: Collection[str]) -> None:
    """Note the lanes some of whose domains have gates of their own, which may be open while the lane's is shut."""
    keys = {f"{SPLIT}{lane}" for lane in lanes}
    noted = set(conn.execute(select(service.c.key).where(service.c.key.startswith(SPLIT))).scalars())
    if gone := noted - keys:
        conn.execute(delete(service).where(service.c.key.in_(gone)))
    if new := sorted(keys - noted):
        conn.execute(insert_ignoring(conn, service), [{"key": key, "value": "yes"} for key in new])


def shut_lanes(now: datetime) -> CompoundSelect[Any]:
    """The lanes to which nothing may go now. What waits in a split lane is looked at one by one instead."""
    shut = (throttles.c.kind == Throttled.DOMAIN, throttles.c.until_at > now)
    whole = ~exists().where(service.c.key == literal(SPLIT) + throttles.c.name)
    aside = select(literal(ASIDE) + throttles.c.name).where(*shut)
    return select(throttles.c.name).where(*shut, whole).union_all(aside)
