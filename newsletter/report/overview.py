"""What an operator sees first, and the pages beside: the next runs, what goes on now, people, failures by domain."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from newsletter.core.cron import describe_cron, next_occurrence
from newsletter.core.model import IssueState
from newsletter.core.runs import Timetable, tell_clock_change
from newsletter.core.throttle import Limit
from newsletter.report import describe_briefly
from newsletter.report.progress import describe_issues, describe_progress
from newsletter.report.status import describe_domains, describe_relays
from newsletter.store import issues, search, tallies, upkeep
from newsletter.store.alarms import describe_alarms
from newsletter.transport.smtp import Relay

STRIP = 30
"""So many issues are told at a glance."""


def describe_schedule(timetable: Timetable | None, now: datetime, count: int) -> dict[str, Any]:
    """The schedule in words, and its next runs with what the clocks do to them."""
    if timetable is None:
        return {
            "cron": None,
            "words": "no schedule is set: issues go out by hand",
            "zone": None,
            "local": False,
            "runs": [],
        }
    runs = []
    moment = now
    for _ in range(count):
        occurrence = next_occurrence(timetable.cron, timetable.zone, moment)
        moment = occurrence.at
        runs.append(
            {
                "utc": moment,
                "local": moment.astimezone(timetable.zone),
                "seconds": round((moment - now).total_seconds()),
                "note": tell_clock_change(timetable.zone, occurrence),
            }
        )
    return {
        "cron": timetable.cron.text,
        "words": describe_cron(timetable.cron),
        "zone": str(timetable.zone),
        "local": timetable.local,
        "runs": runs,
    }


def describe_overview(
    conn: Connection,
    *,
    relays: Sequence[Relay],
    limits: Mapping[str, Limit],
    timetable: Timetable | None,
    now: datetime,
) -> dict[str, Any]:
    """What runs, what comes, what is wrong, and the last issues."""
    rows = issues.list_latest(conn, STRIP)
    last = describe_issues(conn, rows)
    going = next((told["issue"] for told in last if told["owed"] and told["state"] != IssueState.PAUSED), None)
    return {
        "now": now,
        "paused": upkeep.is_paused(conn),
        "sending": upkeep.count_sending(conn),
        "owed": sum(told["owed"] for told in last),
        "current": describe_progress(conn, going, now) if going is not None else None,
        "schedule": describe_schedule(timetable, now, 3),
        "alarms": describe_alarms(conn),
        "relays": describe_relays(conn, relays, now),
        "domains": [told for told in describe_domains(conn, limits, now) if told["state"] != "healthy"],
        "people": tallies.count_people(conn),
        "issues": last,
    }


def find_people(conn: Connection, words: str, *, after: int, most: int) -> dict[str, Any]:
    """A page of subscribers by address: all, one, those of a domain (`@x.org`), or whose address begins so.

    `after` is the number of the last one of the page before (0: none); `next` that of this page's last, or None.
    """
    rows = search.list_people(conn, words.strip().casefold(), after=after, most=most + 1)
    return {
        "subscribers": [{"subscriber": row.id, **describe_briefly(row)} for row in rows[:most]],
        "next": rows[most - 1].id if len(rows) > most else None,
    }
