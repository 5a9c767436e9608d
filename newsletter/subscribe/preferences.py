"""What readers change by the link in their mails: what they chose, a pause, coming back. One transaction each."""

from datetime import datetime, timedelta

from newsletter.core.errors import ImportRowError
from newsletter.core.model import SubscriberState
from newsletter.core.preferences import PersonRow
from newsletter.store import joining, subscribers
from newsletter.store.database import Database

LONGEST_PAUSE = timedelta(days=366)
LINK = "preferences link"


def change_preferences(database: Database, subscriber_id: int, row: PersonRow, *, wording: str, now: datetime) -> None:
    """Write down what a reader chooses from now on; who had left is a reader again, and has agreed to it here."""
    with database.write() as conn:
        person = subscribers.find_by_id(conn, subscriber_id)
        if person is None:
            return
        topics = ";".join(row.topics)
        topic_set = subscribers.intern_topic_sets(conn, {topics})[topics]
        changes = joining.find_changes(row, person, topic_set)
        last_issue, last_due = subscribers.last_issue(conn)
        changes |= joining.begin_window(changes, person, last_issue, last_due)
        if person.state != SubscriberState.ACTIVE:
            changes |= {"state": SubscriberState.ACTIVE, "signed_up_at": now, "covered_issue_id": last_issue}
        if "topic_set_id" in changes or "state" in changes:
            consent = {"at": now, "source": LINK, "wording": wording, "confirmed_at": now}
            subscribers.insert_consents(conn, {subscriber_id: topics}, consent)
        if changes:
            subscribers.update_subscribers(conn, [(person, changes)], now)


def pause_reader(database: Database, subscriber_id: int, until: datetime | None, *, now: datetime) -> None:
    """Send a reader nothing until then; None ends the pause. ImportRowError where that is too far away or gone by."""
    if until is not None and not now < until <= now + LONGEST_PAUSE:
        raise ImportRowError(f"a pause ends in the future, within {LONGEST_PAUSE.days} days")
    with database.write() as conn:
        person = subscribers.find_by_id(conn, subscriber_id)
        if person is not None:
            subscribers.update_subscribers(conn, [(person, {"paused_until": until})], now)
