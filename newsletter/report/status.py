"""How the service stands now, as JSON-ready values: what runs, what is owed, how relays and domains do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from newsletter.core.cron import next_occurrence
from newsletter.core.policy import mails_per_connection
from newsletter.core.runs import Timetable
from newsletter.core.throttle import HEALTHY, Backoff, Limit
from newsletter.report import describe_issue
from newsletter.report.bounces import describe_came_back
from newsletter.store import fleet, issues, upkeep
from newsletter.store.agenda import read_agenda
from newsletter.store.alarms import describe_alarms
from newsletter.store.database import Database
from newsletter.store.lock import DeliveryLock
from newsletter.store.throttles import Throttled, read_backoffs
from newsletter.transport.smtp import Relay

UNLIMITED = Limit()


def describe_status(
    database: Database,
    *,
    relays: Sequence[Relay],
    limits: Mapping[str, Limit],
    timetable: Timetable | None,
    now: datetime,
) -> dict[str, Any]:
    """What runs, what is owed, the last issue, what is wrong, and the health of every relay and limited domain."""
    with database.read() as conn:
        queue = upkeep.survey_queue(conn, now)
        agenda = read_agenda(conn)
        workers = describe_workers(conn) if database.path is None else []
        published = issues.list_issues(conn)[:1]
        return {
            "running": bool(workers) if database.path is None else DeliveryLock(database.path).is_held(),
            "workers": workers,
            "paused": upkeep.is_paused(conn),
            "next_run": next_occurrence(timetable.cron, timetable.zone, now).at if timetable else None,
            "last_run": agenda.last_at if agenda else None,
            **asdict(queue),
            "last_issue": describe_issue(conn, published[0]) if published else None,
            "came_back": describe_came_back(conn, now),
            "alarms": describe_alarms(conn),
            "relays": describe_relays(conn, relays, now),
            "domains": describe_domains(conn, limits, now),
        }


def describe_workers(conn: Connection) -> list[dict[str, Any]]:
    """Who delivers, where many may (PostgreSQL): the longest running first, those of whom nothing is heard left out."""
    return [
        {"host": row.name.split()[0], "pid": int(row.name.split()[-2]), "since": row.started_at}
        for row in fleet.list_workers(conn)
        if row.seconds_left > 0
    ]


def describe_relays(conn: Connection, relays: Sequence[Relay], now: datetime) -> list[dict[str, Any]]:
    """Each relay with its limits and its health."""
    backoffs = read_backoffs(conn, Throttled.RELAY)
    return [
        {
            "name": relay.name,
            "weight": relay.weight,
            "connections": relay.connections,
            "rate": relay.rate,
            "mails_per_connection": mails_per_connection(relay.host),
            **_describe_health(backoffs.get(relay.name, HEALTHY), now),
        }
        for relay in relays
    ]


def describe_domains(conn: Connection, limits: Mapping[str, Limit], now: datetime) -> list[dict[str, Any]]:
    """The domains that are backed off, and then those that only have limits."""
    backoffs = read_backoffs(conn, Throttled.DOMAIN)
    names = [*backoffs, *(name for name, limit in limits.items() if name not in backoffs and limit != UNLIMITED)]
    return [
        {
            "name": name,
            **asdict(limits.get(name, UNLIMITED)),
            **_describe_health(backoffs.get(name, HEALTHY), now),
        }
        for name in names
    ]


def _describe_health(backoff: Backoff, now: datetime) -> dict[str, Any]:
    """`shut`: nothing goes there before `until_at`; `recovering`: with fewer connections than usual."""
    shut = backoff.is_shut(now)
    return {
        "state": "shut" if shut else "recovering" if backoff.step else "healthy",
        "step": backoff.step,
        "until_at": backoff.until_at if shut else None,
        "reason": backoff.reason or None,
    }
