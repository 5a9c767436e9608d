"""Sends the service's own mails to persons (confirmations), and forgets who never confirmed.

Each attempt is written down before it is made, and logged after. One daemon sends: the one that delivers.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.core.errors import TransportError
from newsletter.core.model import Outcome
from newsletter.core.policy import CONFIRM_WITHIN
from newsletter.daemon.threads import in_thread
from newsletter.store import notices, outbox
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
            due = notices.list_due(conn, now, MOST_AT_ONCE)
        for notice in due:
            if not await self._send(notice):
                self._wait_until = now + PATIENCE
                return

    def tidy(self) -> int:
        """Forget who signed up and did not confirm in time; returns how many."""
        with self.service.database.write() as conn:
            return notices.delete_unconfirmed(conn, self.service.now() - CONFIRM_WITHIN)

    async def _send(self, notice: Row[Any]) -> bool:
        """Send one; False where no relay can be reached."""
        said = "there is no relay"
        for relay in self.service.make_relays():
            try:
                connection = await open_connection(relay)
            except TransportError as error:
                said = str(error)
                continue
            try:
                now = self.service.now()
                if not await in_thread(self._start, notice):
                    return True
                sender = self.service.settings.require_from()
                domain = sender.email.rpartition("@")[2]
                message_id = f"<notice.{notice.id}.{secrets.token_hex(8)}@{domain}>"
                mail = await in_thread(write_notice, self.readers, notice, message_id, now)
                dkim = self.service.make_dkim_signer()
                signed = dkim.sign_mail(mail.head, hashlib.sha256(mail.body).digest(), now).header if dkim else b""
                envelope = Envelope(return_path=sender.email, recipient=notice.email)
                attempted = await connection.send(envelope, signed + mail.octets)
            finally:
                await connection.quit()
            await in_thread(self._finish, notice, relay, message_id, attempted)
            return True
        log.warning("a mail to a person could not be sent", extra={"fields": {"error": said}})
        return False

    def _start(self, notice: Row[Any]) -> bool:
        with self.service.database.write() as conn:
            return notices.start_notice(conn, notice, self.service.now() + AGAIN_AFTER)

    def _finish(self, notice: Row[Any], relay: Relay, message_id: str, attempted: Attempted) -> None:
        now, delays = self.service.now(), self.service.settings.retry_delays
        tried = notice.attempts + 1
        goes_again = attempted.outcome in (Outcome.DEFERRED, Outcome.UNCERTAIN) and tried <= len(delays)
        with self.service.database.write() as conn:
            values = {
                "notice_id": notice.id,
                "attempt": tried,
                "at": now,
                "relay_id": outbox.intern_relay(conn, relay.name),
                "outcome": attempted.outcome,
                "code": attempted.reply.code,
                "enhanced": attempted.reply.enhanced,
                "response": attempted.reply.text,
                "seconds": attempted.seconds,
                "message_id": message_id,
            }
            notices.finish_notice(conn, values, now + delays[tried - 1] if goes_again else None)
        log.info("attempt", extra={"fields": {"notice": notice.id, "to": notice.email, "status": attempted.outcome}})
