"""Takes bounces out of their mailbox: as they come where the server tells of news, else every few seconds.

A message is moved when it was taken, so one that we die over is taken again, and counts once.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.feedback import Feedback
from newsletter.mailbox import DONE, UNCLEAR, Mailbox, open_mailbox

log = logging.getLogger("newsletter.feedback")

WAIT_SECONDS = 20.0
CONNECTION_SECONDS = 1_500.0
"""A connection is made anew after this time: servers end an IDLE after 30 minutes (RFC 2177)."""


@dataclass(kw_only=True)
class Collector:
    """`collect` from one thread at a time; `failure` is why it could not, the last time."""

    service: Service
    should_stop: Callable[[], bool]
    failure: str | None = None

    def collect(self) -> None:
        """Take everything that has come, and what comes while the connection lasts."""
        address = self.service.settings.bounce_mailbox
        if address is None:
            return
        try:
            mailbox = open_mailbox(address)
            try:
                self._stay(mailbox)
            finally:
                mailbox.close()
        except NewsletterError as error:
            self.failure = str(error)

    def _stay(self, mailbox: Mailbox) -> None:
        until = time.monotonic() + CONNECTION_SECONDS
        while not self.should_stop():
            self._take_all(mailbox)
            self.failure = None
            if time.monotonic() > until or not mailbox.wait(WAIT_SECONDS):
                return

    def _take_all(self, mailbox: Mailbox) -> None:
        feedback = Feedback(database=self.service.database, signer=self.service.signer)
        for name, octets in mailbox.list_messages():
            if self.should_stop():
                return
            taken = feedback.take_message(octets, source="mailbox", now=self.service.now())
            mailbox.move_message(name, UNCLEAR if any(one.is_unclear for one in taken) else DONE)
            for one in taken:
                fields = {"kind": one.report.kind, "reason": one.report.reason, "action": one.action}
                log.info("came back", extra={"fields": {**fields, "delivery": one.owner and one.owner.delivery}})
