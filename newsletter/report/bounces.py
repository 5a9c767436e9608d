"""What came back, and what was refused at once: by reason, by domain, by day; and what is nobody's of ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from newsletter.report import describe_report
from newsletter.store import issues, reports, search, subscribers, tallies

LATELY = timedelta(days=30)
REFUSING_ISSUES = 30
"""Of so many issues, the last, refusals are told."""
MOST_FAILURES = 10_000
"""So many rejections, the latest, are looked at for their domains."""
FAILING = ("hard", "soft", "complaint")
MOST_TOLD = 10
MOST_KINDS, MOST_DOMAINS, MOST_UNCLEAR = 50, 30, 50


def count_came_back(conn: Connection, now: datetime) -> dict[str, int]:
    """How much came back lately, by kind."""
    counted = Counter(dict.fromkeys(reports.COUNTED, 0))
    for row in reports.count_by(conn, "kind", now - LATELY, len(reports.COUNTED)):
        counted[row.kind] = row.n
    return {"days": LATELY.days, **counted}


def describe_came_back(conn: Connection, now: datetime) -> dict[str, Any]:
    """The same, and of what came back hard or softly or as a complaint the most frequent reasons and domains."""
    told: dict[str, dict[str, int]] = {}
    for column, name in (("reason", "reasons"), ("domain", "domains")):
        counted: Counter[str] = Counter()
        for row in reports.count_by(conn, column, now - LATELY, MOST_KINDS):
            if row.kind in FAILING:
                counted[row.by] += row.n
        told[name] = dict(counted.most_common(MOST_TOLD))
    return {**count_came_back(conn, now), **told}


def describe_bounces(conn: Connection, now: datetime) -> dict[str, Any]:
    """What came back lately; what was refused in the last issues; who is suppressed, by reason."""
    return {**_describe_reports(conn, now), **_describe_refusals(conn)}


def _describe_reports(conn: Connection, now: datetime) -> dict[str, Any]:
    since = now - LATELY
    domains: dict[str, Counter[str]] = {}
    for row in reports.count_by(conn, "domain", since, MOST_DOMAINS * len(reports.COUNTED)):
        domains.setdefault(row.by, Counter())[row.kind] += row.n
    most = sorted(domains.items(), key=lambda item: -item[1].total())[:MOST_DOMAINS]
    unclear = reports.list_reports(conn, unclear=True, since=since, most=MOST_UNCLEAR)
    return {
        "came_back": count_came_back(conn, now),
        "reasons": [
            {"kind": row.kind, "reason": row.by, "reports": row.n}
            for row in reports.count_by(conn, "reason", since, MOST_KINDS)
        ],
        "came_back_from": [{"domain": domain, **_name_kinds(counted)} for domain, counted in most],
        "by_day": _count_days(reports.list_moments(conn, since), since.date(), now.date()),
        "unclear": [{"report": row.id, **describe_report(row)} for row in unclear],
    }


def _name_kinds(counted: Mapping[str, int]) -> dict[str, int]:
    return {kind: counted.get(kind, 0) for kind in reports.COUNTED}


def _count_days(moments: Sequence[tuple[datetime, str]], first: date, last: date) -> list[dict[str, Any]]:
    """Every day, in UTC, also those on which nothing came."""
    days: dict[date, Counter[str]] = {first + timedelta(days=n): Counter() for n in range((last - first).days + 1)}
    for at, kind in moments:
        days[at.date()][kind] += 1
    return [{"day": day, **_name_kinds(counted)} for day, counted in days.items()]


def _describe_refusals(conn: Connection) -> dict[str, Any]:
    numbers = [row.id for row in issues.list_latest(conn, REFUSING_ISSUES)]
    kinds: Counter[tuple[int | None, str | None, str]] = Counter()
    for number in numbers:
        for kind in tallies.count_failures(conn, number, most=MOST_KINDS, outcome="rejected"):
            kinds[kind.code or None, kind.enhanced or None, kind.wording] += kind.n
    failed = search.list_rejected_addresses(conn, numbers, MOST_FAILURES)
    domains = Counter(address.rpartition("@")[2] for address in failed)
    return {
        "issues": len(numbers),
        "kinds": [
            {"code": code, "enhanced_code": enhanced, "wording": wording, "attempts": n}
            for (code, enhanced, wording), n in kinds.most_common(MOST_KINDS)
        ],
        "domains": [{"domain": domain, "rejected": n} for domain, n in domains.most_common(MOST_DOMAINS)],
        "looked_at": len(failed),
        "suppressions": [{"reason": reason, "addresses": n} for reason, n in subscribers.count_suppressions(conn)],
    }
