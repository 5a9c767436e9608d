"""Persons: they leave, are erased, are suppressed. Each change is one transaction."""

from datetime import datetime

from newsletter.core.errors import StoreError
from newsletter.core.model import Exclusion, SubscriberState
from newsletter.core.tokens import hash_address
from newsletter.store import exclusions, reports, subscribers
from newsletter.store.database import Database


def remove_subscriber(database: Database, email_key: str, *, now: datetime, channel: str) -> None:
    """Unsubscribe a person; once more changes nothing. StoreError where nobody has the address."""
    with database.write() as conn:
        person = subscribers.find_subscriber(conn, email_key)
        if person.state != SubscriberState.UNSUBSCRIBED:
            subscribers.unsubscribe(conn, person.id, now, channel)


def leave(database: Database, subscriber_id: int, *, now: datetime, channel: str) -> None:
    """Unsubscribe who came by a link of their own mail; once more, or after they were erased, it changes nothing."""
    with database.write() as conn:
        person = subscribers.find_by_id(conn, subscriber_id)
        if person is not None and person.state != SubscriberState.UNSUBSCRIBED:
            subscribers.unsubscribe(conn, subscriber_id, now, channel)


def forget_subscriber(database: Database, email_key: str, *, now: datetime) -> None:
    """Erase a person; a keyed hash stays in the suppressions, and nameless rows, so that past books still close.

    What they are still owed is excluded as unsubscribed. StoreError where nobody has the address.
    """
    with database.write() as conn:
        person = subscribers.find_subscriber(conn, email_key)
        subscribers.keep_only_hash(conn, person.address_hash, now=now)
        exclusions.exclude_deliveries(conn, Exclusion.UNSUBSCRIBED, exclusions.belongs_to(person.id))
        reports.forget_reports(conn, person.id, person.email_key)
        subscribers.forget_subscriber(conn, person.id)
    database.wipe_log()


def suppress_address(database: Database, email_key: str, *, reason: str, now: datetime, source: str) -> None:
    """Put an address on the suppression list; the first reason stays."""
    address_hash = hash_address(database.ledger_key, email_key)
    with database.write() as conn:
        subscribers.suppress(conn, address_hash, email_key, reason=reason, source=source, now=now)


def lift_suppression(database: Database, email_key: str) -> None:
    """Take an address off the suppression list; StoreError where it is not on it."""
    with database.write() as conn:
        if not subscribers.lift_suppression(conn, hash_address(database.ledger_key, email_key)):
            raise StoreError(f"{email_key} is not suppressed")
