"""Whom reports are about: the person of the token, and nobody else; or, where the operator vouches, who is named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from newsletter.core.address import parse_address
from newsletter.core.bounces.report import Report
from newsletter.core.model import name_delivery
from newsletter.store import issues, reports, subscribers

RECENT_ISSUES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """`email` is the address that is reported on, None where its person was forgotten; `issue` None where unknown;
    `subscriber_id` None for an address of nobody's that the operator vouches for."""

    subscriber_id: int | None
    issue: int | None
    email: str | None
    by_unsubscribe: bool = False

    @property
    def delivery(self) -> str | None:
        """The name of the delivery that the report is on, where that is known."""
        if self.subscriber_id is None or self.issue is None:
            return None
        return name_delivery((self.issue, self.subscriber_id))


def match_reports(
    conn: Connection, told: Sequence[Report], owner: Owner | None, *, by_address: bool, anybody: bool
) -> Iterator[tuple[Report, Owner | None]]:
    """Each report with whom it is about: by a token, or `by_address` that it names, a reader's or `anybody`'s.

    A token vouches for one report: the one that names its person as they are or were, else the first, since mail may be
    forwarded. Where an address is named that the person had before, it is that one, and they have another now.
    """
    theirs = _list_addresses(conn, owner) if owner is not None else {}
    keys = [{key for email in (report.email, report.original) if (key := fold_address(email))} for report in told]
    first = next((number for number, named in enumerate(keys) if named & theirs.keys()), 0)
    for number, (report, named) in enumerate(zip(told, keys, strict=True)):
        if owner is not None and number == first:
            named_email = next((theirs[key] for key in theirs if key in named), owner.email)
            yield replace(report, email=named_email or report.email), replace(owner, email=owner.email and named_email)
        elif by_address:
            yield report, _find_by_address(conn, report, anybody=anybody)
        else:
            yield report, None


def _list_addresses(conn: Connection, owner: Owner) -> dict[str, str]:
    """The addresses of a person by their keys, today's first."""
    if owner.subscriber_id is None:
        return {}
    versions = subscribers.list_versions(conn, owner.subscriber_id)
    return {key: version.email for version in reversed(versions) if (key := fold_address(version.email))}


def _find_by_address(conn: Connection, report: Report, *, anybody: bool) -> Owner | None:
    for email in (report.original, report.email):
        if key := fold_address(email):
            person = subscribers.find_subscribers(conn, [key]).get(key)
            if person is not None:
                return Owner(subscriber_id=person.id, issue=_find_latest(conn, person.id), email=person.email)
    is_address = anybody and fold_address(report.email) is not None
    return Owner(subscriber_id=None, issue=None, email=report.email) if is_address else None


def fold_address(email: str | None) -> str | None:
    """The key of an address; None where it is none."""
    try:
        return parse_address(email).key if email else None
    except ValueError:
        return None


def _find_latest(conn: Connection, subscriber_id: int) -> int | None:
    """The last issue that a relay took for a person: a report that names none is most likely on that."""
    recent = [row.id for row in issues.list_latest(conn, RECENT_ISSUES)]
    return next(iter(reports.list_accepted(conn, subscriber_id, recent)), None)
