"""What comes back is taken down, each message once, and what follows from it is done: one transaction a message.

A report counts where it carries a token of ours, and then only against the person whom the token names. Others are
kept for the operator, who may vouch for them. Uses core/bounces and core/policy.py; sends nothing, answers nothing.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.compose import is_proven
from newsletter.core.address import parse_address
from newsletter.core.bounces.opening import MOST_OCTETS, open_message
from newsletter.core.bounces.reading import read_opened
from newsletter.core.bounces.report import Kind, Report
from newsletter.core.bounces.traces import Traces, find_traces
from newsletter.core.errors import StoreError, TokenError
from newsletter.core.model import NOTICE, SubscriberState, parse_delivery
from newsletter.core.policy import FORGOTTEN
from newsletter.core.tokens import Purpose, Signer, hash_address
from newsletter.feedback.owners import Owner, fold_address, match_reports
from newsletter.feedback.patience import must_suppress_soft, watch_issue
from newsletter.store import issues, joining, notices, subscribers
from newsletter.store import reports as rows
from newsletter.store.database import Database

LEAVING = ("abuse", "opt-out")
"""The types of feedback by which a reader leaves (RFC 5965 7.3, RFC 6449)."""


BEFORE = "taken before"
_ON_THE_WAY = re.compile(
    rb"^(?:from |(?:delivered-to|x-original-to|envelope-to|return-path|received|x-sieve|lines|status):)[^\n]*\n"
    rb"(?:[ \t][^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)
UNKNOWN = "it carries no token of ours"


class Action(StrEnum):
    """What was done about a report."""

    SUPPRESSED = "suppressed"
    COUNTED = "counted"
    UNSUBSCRIBED = "unsubscribed"
    IGNORED = "ignored"


class Trust(StrEnum):
    """Who vouches for reports without a token of ours, and for which."""

    NOBODY = "nobody"
    READERS = "readers"  # a relay that has proven itself, where it names a reader of ours
    EVERYBODY = "everybody"  # the operator: an address of nobody's is suppressed too


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A report as it was taken: of which delivery, what was done, and why it was not where it was not."""

    report: Report
    action: Action
    owner: Owner | None = None
    note: str = ""

    @property
    def is_unclear(self) -> bool:
        """Whether an operator should look at it: it is no report, or nobody's of ours."""
        is_nobodys = self.report.kind is Kind.NO_REPORT and self.owner is None and self.note != BEFORE
        return UNKNOWN in self.note or is_nobodys

    @property
    def was_taken(self) -> bool:
        """Whether its message was taken before, so that nothing was done now."""
        return self.note.startswith(BEFORE)

    def describe(self) -> dict[str, Any]:
        """The *report* of the contract, and more."""
        return {
            "kind": self.report.kind,
            "email": self.report.email,
            "status": self.report.status,
            "reason": self.report.reason,
            "action": self.action,
            "code": self.report.code,
            "text": self.report.text,
            "delivery": self.owner.delivery if self.owner else None,
            "note": self.note,
        }


def _digest_message(octets: bytes) -> bytes:
    """The same for a message by whichever way it comes: without its line ends and what mail servers put before it."""
    head, _, body = octets[:MOST_OCTETS].replace(b"\r\n", b"\n").partition(b"\n\n")
    return hashlib.sha256(_ON_THE_WAY.sub(b"", head + b"\n") + body).digest()


class _DryRunError(Exception):
    """Ends a transaction of which nothing is to stay."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Takes what comes back. `signer` knows the tokens of return paths and of mailed unsubscribes."""

    database: Database
    signer: Signer

    def take_message(
        self, octets: bytes, *, source: str, now: datetime, trust: Trust = Trust.NOBODY, dry_run: bool = False
    ) -> list[Taken]:
        """Read a message and do what follows."""
        opened = open_message(octets)
        return self.take_reports(
            read_opened(opened),
            find_traces(opened),
            digest=_digest_message(octets),
            source=source,
            now=now,
            trust=trust,
            dry_run=dry_run,
        )

    def take_reports(
        self,
        reports: Sequence[Report],
        traces: Traces,
        *,
        digest: bytes,
        source: str,
        now: datetime,
        trust: Trust = Trust.NOBODY,
        dry_run: bool = False,
    ) -> list[Taken]:
        """The same for reports that were read already; `digest` names the message, which is taken once."""
        taken: list[Taken] = []
        try:
            with self.database.write() as conn:
                if trust is not Trust.NOBODY:
                    rows.drop_unclear(conn, digest)
                number = rows.take_message(conn, digest, source, now)
                if number is None:
                    note = BEFORE if rows.was_clear(conn, digest) else f"{BEFORE}, {UNKNOWN}"
                    return [Taken(report=report, action=Action.IGNORED, note=note) for report in reports]
                owner = self._find_owner(conn, traces, now)
                if owner is not None and owner.by_unsubscribe and reports[0].kind in _MAILED:
                    reports = [Report(kind=Kind.UNSUBSCRIBE, email=owner.email)]
                for report, its_owner in match_reports(
                    conn,
                    reports,
                    owner,
                    by_address=trust is not Trust.NOBODY,
                    anybody=trust is Trust.EVERYBODY,
                ):
                    taken.append(self._apply(conn, report, its_owner, source=source, now=now, number=number))
                if dry_run:
                    raise _DryRunError
        except _DryRunError:
            pass
        return taken

    def vouch(self, number: int, *, now: datetime) -> Taken:
        """Let a report that carries no token of ours count by the address that it names; StoreError where it does."""
        with self.database.write() as conn:
            row = rows.find_report(conn, number)
            if row.is_ours or row.email is None:
                raise StoreError(f"report {number} needs nobody to vouch for it")
            report = Report(
                kind=Kind(row.kind),
                email=row.email,
                status=row.status,
                code=row.code,
                reason=row.reason,
                text=row.text,
            )
            ((_, owner),) = match_reports(conn, [report], None, by_address=True, anybody=True)
            action, note = self._act(conn, report, owner, f"{row.source}, vouched for", now)
            about = {"subscriber_id": owner.subscriber_id, "issue_id": owner.issue} if owner else {}
            with watch_issue(conn, owner.issue if owner else None, report.kind):
                rows.update_report(conn, number, {"action": action, "is_ours": True, **about})
        return Taken(report=report, action=action, owner=owner, note=note)

    def _find_owner(self, conn: Connection, traces: Traces, now: datetime) -> Owner | None:
        """Whom the first valid token of ours is about."""
        for purpose, tokens in ((Purpose.UNSUBSCRIBE, traces.unsubscribe), (Purpose.BOUNCE, traces.bounce)):
            for token in tokens:
                try:
                    claim = self.signer.verify(token, purpose, now=now)
                except TokenError:
                    continue
                return _make_owner(conn, claim.subscriber, claim.issue, purpose is Purpose.UNSUBSCRIBE)
        for name in traces.names:
            if is_proven(self.database.ledger_key, name):
                return _find_named(conn, name.partition(".")[0])
        return None

    def _apply(
        self, conn: Connection, report: Report, owner: Owner | None, *, source: str, now: datetime, number: int
    ) -> Taken:
        action, note = self._act(conn, report, owner, source, now)
        email = (owner.email if owner else None) or report.email
        if owner is None and self._is_forgotten(conn, email):
            email, report = None, replace(report, text="")
        row = {
            "inbound_id": number,
            "at": now,
            "kind": report.kind,
            "issue_id": owner.issue if owner else None,
            "subscriber_id": owner.subscriber_id if owner else None,
            "email": email if owner is None or owner.email else None,
            "domain": (email or "").rpartition("@")[2].lower(),
            "status": report.status,
            "code": report.code,
            "reason": report.reason,
            "text": report.text if owner is None or owner.email else "",
            "action": action,
            "is_ours": owner is not None,
        }
        with watch_issue(conn, owner.issue if owner else None, report.kind):
            rows.insert_reports(conn, [row])
        return Taken(report=report, action=action, owner=owner, note=note)

    def _act(
        self, conn: Connection, report: Report, owner: Owner | None, source: str, now: datetime
    ) -> tuple[Action, str]:
        """Do what a report demands; what was done, and why not where it was not."""
        if report.kind in (Kind.NO_REPORT, Kind.AUTO_REPLY):
            return Action.IGNORED, ""
        if owner is None:
            return Action.IGNORED, UNKNOWN
        if owner.email is None:
            return Action.IGNORED, "the person was forgotten"
        why = f"{source}, delivery {owner.delivery}" if owner.delivery else source
        match report.kind:
            case Kind.HARD:
                self._suppress(conn, owner, report.reason, why, now)
                return Action.SUPPRESSED, ""
            case Kind.SOFT:
                if must_suppress_soft(conn, owner, report, now):
                    self._suppress(conn, owner, report.reason, why, now)
                    return Action.SUPPRESSED, ""
                return (Action.IGNORED, "still being tried") if report.reason == "delayed" else (Action.COUNTED, "")
            case Kind.COMPLAINT if report.reason not in LEAVING:
                return Action.IGNORED, "no complaint of a reader"
            case _:
                _unsubscribe(conn, owner, now, "complaint" if report.kind is Kind.COMPLAINT else "mail")
                if report.kind is Kind.COMPLAINT:
                    self._suppress(conn, owner, "complaint", why, now)
                return Action.UNSUBSCRIBED, ""

    def _is_forgotten(self, conn: Connection, email: str | None) -> bool:
        """Whether an address is one of somebody erased: nothing of it is to be written down again."""
        key = fold_address(email)
        known = key and joining.find_suppression(conn, hash_address(self.database.ledger_key, key))
        return known == FORGOTTEN

    def _suppress(self, conn: Connection, owner: Owner, reason: str, source: str, now: datetime) -> None:
        key = parse_address(owner.email or "").key
        address_hash = hash_address(self.database.ledger_key, key)
        subscribers.suppress(conn, address_hash, key, reason=reason, source=source, now=now)


_MAILED = (Kind.NO_REPORT, Kind.UNSUBSCRIBE)
"""What a mail to the address of an unsubscribe may look like: whatever its subject is, but no vacation notice."""


def _find_named(conn: Connection, name: str) -> Owner | None:
    """Whom a delivery, or a mail of the service's own, went to."""
    if not name.startswith(NOTICE):
        issue, subscriber = parse_delivery(name)
        return _make_owner(conn, subscriber, issue, False)
    notice = notices.find_notice(conn, int(name.removeprefix(NOTICE)))
    if notice is None:
        return None
    if notice.kind == notices.NoticeKind.ADDRESS:
        return Owner(subscriber_id=None, issue=None, email=notice.email)
    return _make_owner(conn, notice.subscriber_id, None, False)


def _make_owner(conn: Connection, subscriber_id: int, issue: int | None, by_unsubscribe: bool) -> Owner:
    """Whom a token names, with the address that they had when that issue went out."""
    person: Row[Any] | None = subscribers.find_by_id(conn, subscriber_id)
    if person is not None and issue is not None and (sent := issues.find_by_number(conn, issue)) is not None:
        person = subscribers.find_version(conn, subscriber_id, sent.published_at or sent.created_at)
    email = person.email if person is not None else None
    return Owner(subscriber_id=subscriber_id, issue=issue, email=email, by_unsubscribe=by_unsubscribe)


def _unsubscribe(conn: Connection, owner: Owner, now: datetime, channel: str) -> None:
    person = subscribers.find_by_id(conn, owner.subscriber_id) if owner.subscriber_id else None
    if person is not None and person.state != SubscriberState.UNSUBSCRIBED:
        subscribers.unsubscribe(conn, person.id, now, channel)
