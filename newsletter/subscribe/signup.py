"""Signing up and confirming: nothing is sent to anybody who did not confirm, and nobody learns who is known already.

Every step is one transaction. The mails are written down here and sent by the daemon (notices.py).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.model import SubscriberState
from newsletter.core.policy import FORGOTTEN, NOTICES_A_DAY, lane_of, may_sign_up
from newsletter.core.preferences import PersonRow, parse_row
from newsletter.core.tokens import hash_address
from newsletter.store import joining, notices, subscribers
from newsletter.store.database import Database
from newsletter.store.notices import NoticeKind


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What somebody agrees to: the wording that they saw, where, and in which language they read it."""

    source: str
    wording: str
    language: str


def sign_up(database: Database, row: PersonRow, agreement: Agreement, *, now: datetime) -> None:
    """Take a sign-up down, and the mail that asks to confirm it; who is a reader already gets their link instead.

    Nothing at all for an address that gets no mail, or has had enough of ours today.
    """
    address_hash = hash_address(database.ledger_key, row.email_key)
    with database.write() as conn:
        if not may_sign_up(joining.find_suppression(conn, address_hash)):
            return
        person = subscribers.find_subscribers(conn, [row.email_key]).get(row.email_key)
        if person is None:
            number = _insert_pending(conn, row, address_hash, now)
        elif notices.count_notices(conn, person.id, now - timedelta(days=1)) >= NOTICES_A_DAY:
            return
        else:
            number = person.id
        kind = NoticeKind.KNOWN if person is not None and person.state == SubscriberState.ACTIVE else NoticeKind.CONFIRM
        if notices.is_waiting(conn, number, kind, choice := _write_choice(row)):
            return
        if kind is NoticeKind.CONFIRM:
            given = {"at": now, "source": agreement.source, "wording": agreement.wording, "confirmed_at": None}
            subscribers.insert_consents(conn, {number: ";".join(row.topics)}, given)
        # Whatever was typed, a link goes to the address that is held, and to a reader in their own language.
        email = person.email if person is not None else row.email
        own = person.language if person is not None and kind is NoticeKind.KNOWN else row.language
        _write_notice(conn, number, kind, email, own or agreement.language, now, choice=choice)


def confirm(
    database: Database,
    notice_id: int,
    subscriber_id: int,
    *,
    topics: set[str],
    languages: tuple[str, ...],
    now: datetime,
) -> NoticeKind | None:
    """Do what the mail asked to confirm; once more changes nothing. None where there is nothing (any more)."""
    with database.write() as conn:
        notice = notices.find_notice(conn, notice_id)
        person = subscribers.find_by_id(conn, subscriber_id)
        if notice is None or person is None or not is_open(notice, person):
            return None
        kind = NoticeKind(notice.kind)
        if notice.confirmed_at is not None:
            return kind
        if kind is NoticeKind.ADDRESS and not _change_address(conn, database.ledger_key, person, notice.email, now):
            return None
        if kind is NoticeKind.CONFIRM:
            _begin(conn, person, notice, topics, languages, now)
        notices.confirm_notice(conn, notice_id, now)
        return kind


def is_open(notice: Row[Any] | None, person: Row[Any]) -> bool:
    """Whether a person may confirm what a mail asked. Pressed twice it says the same, unless they have left since."""
    if notice is None or notice.subscriber_id != person.id:
        return False
    return notice.confirmed_at is None or bool(person.state == SubscriberState.ACTIVE)


def ask_for_address(database: Database, subscriber_id: int, row: PersonRow, language: str, *, now: datetime) -> None:
    """Write to the new address of a reader, who has it once they confirm it from there."""
    with database.write() as conn:
        if notices.count_notices(conn, subscriber_id, now - timedelta(days=1)) >= NOTICES_A_DAY:
            return
        taken = subscribers.find_subscribers(conn, [row.email_key])
        refused = joining.find_suppression(conn, hash_address(database.ledger_key, row.email_key))
        if row.email_key in taken or not may_sign_up(refused):
            return
        if subscribers.find_by_id(conn, subscriber_id) is not None:
            _write_notice(conn, subscriber_id, NoticeKind.ADDRESS, row.email, language, now)


def _insert_pending(conn: Connection, row: PersonRow, address_hash: bytes, now: datetime) -> int:
    topic_set = subscribers.intern_topic_sets(conn, {";".join(row.topics)})[";".join(row.topics)]
    last_issue, _ = subscribers.last_issue(conn)
    values = joining.write_person(
        row,
        address_hash=address_hash,
        topic_set=topic_set,
        state=SubscriberState.PENDING,
        now=now,
        last_issue=last_issue,
    )
    return joining.insert_person(conn, values)


def _write_notice(
    conn: Connection, number: int, kind: NoticeKind, email: str, language: str, now: datetime, *, choice: str = "{}"
) -> None:
    values = {"subscriber_id": number, "kind": kind, "email": email, "language": language, "choice": choice}
    notices.insert_notice(conn, values, now)


def _write_choice(row: PersonRow) -> str:
    chosen = {
        "name": row.name,
        "topics": list(row.topics),
        "frequency": str(row.frequency),
        "timezone": row.timezone,
        "language": row.language,
    }
    return json.dumps({name: chosen[name] for name in chosen if name in row.given}, ensure_ascii=False)


def _begin(
    conn: Connection, person: Row[Any], notice: Row[Any], topics: set[str], languages: tuple[str, ...], now: datetime
) -> None:
    """A person becomes a reader, with what they chose when they signed up."""
    chosen = json.loads(notice.choice)
    chosen["topics"] = [topic for topic in chosen.get("topics", ()) if topic in topics or topic == "*"]
    row = parse_row({**chosen, "email": person.email}, topics={*topics, "*"}, languages=languages)
    joining.take_choice(conn, person, row, now)
    joining.confirm_consents(conn, person.id, now)
    if joining.find_suppression(conn, person.address_hash) == FORGOTTEN:
        subscribers.lift_suppression(conn, person.address_hash)


def _change_address(conn: Connection, ledger_key: bytes, person: Row[Any], email: str, now: datetime) -> bool:
    """Let a person have another address; False where somebody else has it by now."""
    row = parse_row({"email": email}, topics=(), languages=())
    if row.email_key in subscribers.find_subscribers(conn, [row.email_key]):
        return False
    address_hash = hash_address(ledger_key, row.email_key)
    suppression = joining.find_suppression(conn, address_hash)
    if not may_sign_up(suppression):
        return False
    if suppression == FORGOTTEN:  # its owner had themselves erased, and comes back by it now
        subscribers.lift_suppression(conn, address_hash)
    changes = {
        "email": row.email,
        "email_key": row.email_key,
        "address_hash": address_hash,
        "lane": lane_of(row.email_key),
    }
    subscribers.update_subscribers(conn, [(person, changes)], now)
    return True
