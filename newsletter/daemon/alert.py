"""Tells the operator of alarms by mail: one a cause and hour at most, through whichever relay takes it.

A mail that no relay takes is tried again at the next look. It stands in no issue's books.
"""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.compose import sign_one
from newsletter.core.alarms import MAIL_EVERY
from newsletter.core.errors import TransportError
from newsletter.core.mails.message import take_apart
from newsletter.core.model import Outcome
from newsletter.store import alarms
from newsletter.transport.smtp import Envelope, open_connection

CLOSING = "`newsletter status` shows how all stands now, `newsletter doctor` what may be wrong."

log = logging.getLogger("newsletter.alarms")


async def mail_alarms(service: Service, now: datetime) -> None:
    """Mail what no mail has told of yet, to ALERT_TO; nothing where that is not set."""
    to = service.settings.alert_to
    if to is None:
        return
    with service.database.read() as conn:
        unmailed = alarms.list_unmailed(conn, now, now - MAIL_EVERY)
    for cause, group in groupby(unmailed, key=lambda row: row.cause):
        rows = list(group)
        if await _send(service, to, write_mail(service, to, cause, rows, now)):
            with service.database.write() as conn:
                alarms.note_mailed(conn, [(row.cause, row.subject) for row in rows], now)


def write_mail(service: Service, to: str, cause: str, rows: Sequence[Row[Any]], now: datetime) -> EmailMessage:
    """The mail on all new alarms of one cause."""
    sender = service.settings.require_from()
    name, words = service.settings.name or sender.name or sender.email, cause.replace("_", " ")
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender.email, to
    mail["Subject"] = f"{name}: {words}" + (f" ({len(rows)})" if len(rows) > 1 else "")
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<alarm.{secrets.token_hex(12)}@{sender.email.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5
    told = "\n".join(f"- {row.message} (since {row.first_at:%Y-%m-%d %H:%M} UTC)" for row in rows)
    mail.set_content(
        f"{told}\n\n`newsletter status` shows how all stands now, `newsletter doctor` what may be wrong.\n"
    )
    return mail


async def _send(service: Service, to: str, mail: EmailMessage) -> bool:
    envelope = Envelope(return_path=service.settings.require_from().email, recipient=to, envid="")
    octets = sign_one(take_apart(mail), service.make_dkim_signer(), service.now())
    said = ""
    for relay in service.make_relays():
        try:
            connection = await open_connection(relay)
        except TransportError as error:
            said = str(error)
            continue
        try:
            attempted = await connection.send(envelope, octets)
        finally:
            await connection.quit()
        if attempted.outcome is Outcome.ACCEPTED:
            return True
        said = f"relay {relay.name}: {attempted.reply.code or ''} {attempted.reply.text}"
    log.warning("an alarm could not be mailed", extra={"fields": {"error": said}})
    return False
