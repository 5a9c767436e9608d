"""Sends the service's own mails to persons (confirmations), and forgets who never confirmed.

Each attempt is written down before it is made, and logged after. One daemon sends: the one that delivers.
"""

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.compose import prove_message_id, prove_name, sign_one
from newsletter.core.address import parse_address
from newsletter.core.errors import TransportError
from newsletter.core.model import NOTICE, Outcome
from newsletter.core.policy import CONFIRM_WITHIN, has_expired, may_sign_up, next_delay
from newsletter.core.throttle import HEALTHY
from newsletter.core.tokens import Purpose, hash_address
from newsletter.daemon.threads import in_thread
from newsletter.store import joining, notices, outbox, upkeep
from newsletter.store.throttles import Throttled, read_backoffs
from newsletter.transport.smtp import Attempted, Envelope, Relay, open_connection
from newsletter.web.desk import Desk
from newsletter.web.notice import write_notice
from newsletter.web.pages import PageTemplates
from newsletter.web.reading import ReaderPages

MOST_AT_ONCE = 50
PATIENCE = timedelta(seconds=30)
"""How long no relay is asked again after none could be reached."""
AGAIN_AFTER = timedelta(minutes=5)
"""When an attempt that we did not live to see the end of is made again."""

log = logging.getLogger("newsletter.notices")


@dataclass
class Postman:
    """`await run()` now and then; `readers` write what he carries."""

    service: Service
    readers: ReaderPages = field(init=False)
    _wait_until: datetime | None = None

    def __post_init__(self) -> None:
        self.readers = ReaderPages(Desk(self.service), PageTemplates(self.service.settings.templates))

    async def run(self) -> None:
        """Send what is due; a relay that cannot be reached leaves it due."""
        now = self.service.now()
        if self._wait_until is not None and now < self._wait_until:
            return
        self._wait_until = None
        with self.service.database.read() as conn:
            due = [] if upkeep.is_paused(conn) else notices.list_due(conn, now, MOST_AT_ONCE)
            backoffs = read_backoffs(conn, Throttled.RELAY)
        relays = [relay for relay in self.service.make_relays() if not backoffs.get(relay.name, HEALTHY).is_shut(now)]
        for notice in due if relays else ():
            if not await self._send(notice, relays):
                self._wait_until = now + PATIENCE
                return

    def tidy(self) -> int:
        """Forget who signed up and did not confirm in time; returns how many."""
        with self.service.database.write() as conn:
            return notices.delete_unconfirmed(conn, self.service.now() - CONFIRM_WITHIN)

    async def _send(self, notice: Row[Any], relays: Sequence[Relay]) -> bool:
        """Send one over the first relay that takes it up; False where none does."""
        said = ""
        for relay in relays:
            try:
                connection = await open_connection(relay)
            except TransportError as error:
                said = str(error)
                continue
            try:
                octets = await in_thread(self._start, notice, relay)
                if octets is None:
                    return True
                envid = prove_name(self.service.database.ledger_key, f"{NOTICE}{notice.id}")
                path = self._write_return_path(notice)
                envelope = Envelope(return_path=path, recipient=notice.email, envid=envid)
                attempted = await connection.send(envelope, octets)
            finally:
                await connection.quit()
            if await in_thread(self._finish, notice, attempted):
                return True
            said = f"the relay {relay.name} does not take it up: {attempted.reply.text}"
        log.warning("a mail to a person could not be sent", extra={"fields": {"error": said}})
        return False

    def _start(self, notice: Row[Any], relay: Relay) -> bytes | None:
        """Write the attempt down and then the mail; None where it is not to go any more."""
        service, now = self.service, self.service.now()
        domain = service.settings.require_from().email.rpartition("@")[2]
        message_id = prove_message_id(service.database.ledger_key, f"{NOTICE}{notice.id}", domain)
        mail = write_notice(self.readers, notice, message_id, now)
        address_hash = hash_address(service.database.ledger_key, parse_address(notice.email).key)
        with service.database.write() as conn:
            if has_expired(notice.created_at, now, service.settings.expire_after) or not may_sign_up(
                joining.find_suppression(conn, address_hash)
            ):
                notices.drop_notice(conn, notice)
                return None
            attempt = {"at": now, "relay_id": outbox.intern_relay(conn, relay.name), "message_id": message_id}
            if not notices.start_notice(conn, notice, attempt, now + AGAIN_AFTER):
                return None
        return sign_one(mail, service.make_dkim_signer(), now)

    def _write_return_path(self, notice: Row[Any]) -> str:
        settings, signer = self.service.settings, self.service.signer
        # A new address is not the reader's yet: what comes back of it says nothing of the one that they have.
        if settings.bounce_domain is None or notice.kind == notices.NoticeKind.ADDRESS:
            return settings.require_from().email
        return f"b+{signer.sign(Purpose.BOUNCE, notice.subscriber_id)}@{settings.bounce_domain}"

    def _finish(self, notice: Row[Any], attempted: Attempted) -> bool:
        """Write down what came of it; False where the relay never answered, so that it does not count."""
        with self.service.database.write() as conn:
            if not attempted.counted:
                notices.take_back(conn, notice)
                return False
            result = {
                "outcome": attempted.outcome,
                "code": attempted.reply.code,
                "enhanced": attempted.reply.enhanced,
                "response": attempted.reply.text,
                "seconds": attempted.seconds,
            }
            notices.finish_notice(conn, notice, result, self._find_next(notice, attempted))
        log.info("attempt", extra={"fields": {"notice": notice.id, "to": notice.email, "status": attempted.outcome}})
        return True

    def _find_next(self, notice: Row[Any], attempted: Attempted) -> datetime | None:
        """When it goes again, by the rules of every mail; None where it does not."""
        if attempted.outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
            return None
        delays, jitter = self.service.settings.retry_delays, secrets.SystemRandom().uniform(-1.0, 1.0)
        delay = next_delay(notice.attempts + 1, delays, jitter=jitter, asked=attempted.verdict.retry_after)
        return self.service.now() + delay if delay is not None else None
