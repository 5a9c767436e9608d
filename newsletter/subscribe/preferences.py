"""What readers change by the link in their mails: what they chose, a pause, coming back. One transaction each."""

from datetime import datetime

from newsletter.core.errors import ImportRowError
from newsletter.core.model import SubscriberState
from newsletter.core.policy import LONGEST_PAUSE
from newsletter.core.preferences import PersonRow
from newsletter.store import joining, subscribers
from newsletter.store.database import Database

LINK = "preferences link"


def change_preferences(database: Database, subscriber_id: int, row: PersonRow, *, wording: str, now: datetime) -> None:
    """Write down what a reader chooses from now on; who had left and chooses topics is a reader again, and has
    agreed to it here."""
    with database.write() as conn:
        person = subscribers.find_by_id(conn, subscriber_id)
        if person is None:
            return
        if person.state != SubscriberState.ACTIVE and "topics" not in row.given:
            changes = joining.find_changes(row, person, person.topic_set_id)
            subscribers.update_subscribers(conn, [(person, changes)] if changes else [], now)
        elif joining.take_choice(conn, person, row, now):
            consent = {"at": now, "source": LINK, "wording": wording, "confirmed_at": now}
            subscribers.insert_consents(conn, {subscriber_id: ";".join(row.topics)}, consent)


def pause_reader(database: Database, subscriber_id: int, until: datetime | None, *, now: datetime) -> None:
    """Send a reader nothing until then; None ends the pause. ImportRowError where that is too far away or gone by."""
    if until is not None and not now < until <= now + LONGEST_PAUSE:
        raise ImportRowError(f"a pause ends in the future, within {LONGEST_PAUSE.days} days", "until")
    with database.write() as conn:
        person = subscribers.find_by_id(conn, subscriber_id)
        if person is not None:
            subscribers.update_subscribers(conn, [(person, {"paused_until": until})], now)
