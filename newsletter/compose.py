"""Makes the mail of a delivery: the edition's stored segments joined, and the person's slots filled.

Needs no template and no setting but the signing keys: frames and stories come from the store as they were compiled.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from functools import lru_cache

from newsletter.core.dkim import DkimSigner, split_signatures, write_signatures
from newsletter.core.errors import StoreError
from newsletter.core.mails.editions import Edition, assemble_edition
from newsletter.core.mails.message import Composed, Links, Recipient, compose_mail, render_copy
from newsletter.core.mails.parts import Frame, Sender, StoryParts
from newsletter.core.model import Key, name_delivery
from newsletter.core.tokens import Purpose, Signer
from newsletter.store import issues, ledger, subscribers
from newsletter.store.database import Database
from newsletter.store.issues import StoredEdition

MESSAGE_ID_OCTETS = 10
EDITIONS_IN_MEMORY = 1_000
FRAMES_IN_MEMORY = 32
STORIES_IN_MEMORY = 2_000


def make_message_id(ledger_key: bytes, key: Key, domain: str) -> str:
    """The Message-ID of a delivery, the same at every attempt; its keyed part proves that it is ours."""
    return prove_message_id(ledger_key, name_delivery(key), domain)


def prove_message_id(ledger_key: bytes, name: str, domain: str) -> str:
    """A Message-ID of ours by the name of what it is of."""
    return f"<{prove_name(ledger_key, name)}@{domain}>"


def prove_name(ledger_key: bytes, name: str) -> str:
    """A name with its proof, as Message-ID and ENVID have it: whoever reports by it has had the mail."""
    mac = hmac.digest(ledger_key, f"message-id:{name}".encode(), hashlib.sha256)[:MESSAGE_ID_OCTETS]
    return f"{name}.{base64.b32encode(mac).decode().lower()}"


def is_proven(ledger_key: bytes, text: str) -> bool:
    """Whether a name was proven by us, letter case aside."""
    given = text.lower()
    return hmac.compare_digest(given.encode(), prove_name(ledger_key, given.partition(".")[0]).encode())


def digest_mail(head: bytes, body_hash: bytes) -> bytes:
    """What the log keeps of a mail that went out: SHA-256 of its header lines and of its body's SHA-256."""
    return hashlib.sha256(head + body_hash).digest()


def sign_one(mail: Composed, signer: DkimSigner | None, at: datetime) -> bytes:
    """A single mail as it goes on the wire, signed where there is a key; `at` is its Date."""
    header = signer.sign_mail(mail.head, hashlib.sha256(mail.body).digest(), at).header if signer else b""
    return header + mail.octets


def make_links(signer: Signer, sender: Sender, key: Key) -> Links:
    """The signed addresses that a person's mail carries, signed with the key that was new at publication."""
    issue, subscriber = key

    def sign(purpose: Purpose, issue: int | None = None) -> str:
        return signer.sign(purpose, subscriber, issue, key_id=sender.key_id)

    leave = sign(Purpose.UNSUBSCRIBE)
    return Links(
        unsubscribe=f"{sender.base_url}/unsubscribe/{leave}",
        preferences=f"{sender.base_url}/preferences/{sign(Purpose.PREFERENCES)}",
        view=f"{sender.base_url}/view/{sign(Purpose.VIEW, issue)}",
        unsubscribe_mailto=f"mailto:u+{leave}@{sender.bounce_domain}" if sender.bounce_domain else None,
    )


class Composer:
    """Composes mails out of the store. What is compiled is kept in memory: most editions have few readers, of the same
    few stories."""

    def __init__(self, database: Database, signer: Signer) -> None:
        self._database = database
        self._signer = signer
        self._edition = lru_cache(maxsize=EDITIONS_IN_MEMORY)(self._join_edition)
        self._frame = lru_cache(maxsize=FRAMES_IN_MEMORY)(self._load_frame)
        self._story = lru_cache(maxsize=STORIES_IN_MEMORY)(self._load_story)

    def _join_edition(self, stored: StoredEdition) -> Edition:
        parts = [self._story(stored.issue_id, stored.language, int(story)) for story in stored.stories.split(",")]
        return assemble_edition(self._frame(stored.frame), parts)

    def _load_frame(self, sha256: bytes) -> Frame:
        with self._database.read() as conn:
            return Frame.from_bytes(issues.read_blob(conn, sha256))

    def _load_story(self, issue_id: int, language: str, story: int) -> StoryParts:
        with self._database.read() as conn:
            return StoryParts.from_bytes(issues.read_rendering(conn, issue_id, language, story))

    def write_return_path(self, stored: StoredEdition, key: Key) -> str:
        """Where the bounces of a delivery go: to an address that names it, where there is a domain for that."""
        sender = self._edition(stored).frame.sender
        if sender.bounce_domain is None:
            return sender.from_address
        issue, subscriber = key
        return f"b+{self._signer.sign(Purpose.BOUNCE, subscriber, issue)}@{sender.bounce_domain}"

    def write_envid(self, key: Key) -> str:
        """What a delivery is called in delivery status notifications (RFC 3461 4.4), with its proof."""
        return prove_name(self._database.ledger_key, name_delivery(key))

    def compose(
        self, stored: StoredEdition, key: Key, *, email: str, name: str, topics: str, timezone: str, date: datetime
    ) -> Composed:
        """The mail of a delivery, ready for the wire, for a person as they are given here."""
        edition = self._edition(stored)
        sender = edition.frame.sender
        domain = sender.from_address.rpartition("@")[2]
        return compose_mail(
            edition,
            Recipient(email=email, name=name, topics=tuple(filter(None, topics.split(";"))), timezone=timezone),
            make_links(self._signer, sender, key),
            message_id=make_message_id(self._database.ledger_key, key, domain),
            date=date,
        )

    def render_copy(self, stored: StoredEdition, topics: tuple[str, ...], path: str) -> str:
        """The HTML of an edition for the web, with nothing that is a person's; `topics` are those of its stories."""
        edition = self._edition(stored)
        base = edition.frame.sender.base_url
        links = Links(unsubscribe=f"{base}/", preferences=f"{base}/", view=f"{base}{path}")
        return render_copy(edition, Recipient(email="…", topics=topics), links)


def reproduce_mail(database: Database, signer: Signer, key: Key) -> bytes:
    """The exact bytes of a delivery's last attempt, or of the mail that it would send where none was made yet.

    A person may have changed since: what their mails were filled with before is tried until the digest that was
    stored when it was sent fits. StoreError names what is missing where the bytes cannot be made again.
    """
    name = name_delivery(key)
    with database.read() as conn:
        delivery = ledger.find_delivery(conn, *key)
        if delivery is None or delivery.edition_id is None:
            raise StoreError(
                f"there is no mail of delivery {name}: " + (delivery.reason if delivery else "no such row")
            )
        tried = list(ledger.list_attempts(conn, issue_id=key[0], subscriber_id=key[1]))
        identities = ledger.read_dkim_identities(conn, tried[-1].dkim_id) if tried else ()
        stored, issue = issues.read_edition(conn, delivery.edition_id), issues.find_issue(conn, key[0])
        date, digest = (tried[-1].at, tried[-1].digest) if tried else (issue.due_at, None)
        people = list(subscribers.list_versions(conn, key[1]))
        if digest is None and tried:  # nothing proves which it was but the time
            people = [person for person in [subscribers.find_version(conn, key[1], date)] if person is not None]
    if not people:
        raise StoreError(f"the mail of delivery {name} cannot be made again: the person was forgotten")
    composer = Composer(database, signer)
    for person in people:
        filled = {"email": person.email, "name": person.name, "topics": person.topics, "timezone": person.timezone}
        mail = composer.compose(stored, key, **filled, date=date)
        body_hash = hashlib.sha256(mail.body).digest()
        signed = b""
        if identities:  # the stored signatures say it all: no key is needed
            signatures = split_signatures(identities, tried[-1].signatures)
            signed = write_signatures(identities, mail.head, body_hash, date, signatures)
        if digest is None or digest_mail(signed + mail.head, body_hash) == digest:
            return signed + mail.octets
    raise StoreError(
        f"the mail of delivery {name} cannot be made again byte for byte: the SECRET_KEY that signed it is not in "
        "NEWSLETTER_SECRET_KEY any more, or the database was changed by hand"
    )
