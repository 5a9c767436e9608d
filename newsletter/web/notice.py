"""The service's own mails to a person: to confirm a sign-up or a new address, or to a reader who signed up again.

One template for all (notice.txt, notice.html); the words come from the catalogues, in the language they signed up in.
"""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from markupsafe import Markup
from sqlalchemy import Row

from newsletter.core.address import parse_address
from newsletter.core.mails.message import Composed, take_apart
from newsletter.core.policy import CONFIRM_WITHIN
from newsletter.core.tokens import Purpose
from newsletter.store.notices import NoticeKind
from newsletter.web.reading import ReaderPages
from newsletter.web.speech import Speech

ENCODING = "quoted-printable"
"""Not the 8bit that the standard library would choose: not every server takes it (RFC 6152)."""


def write_notice(readers: ReaderPages, notice: Row[Any], message_id: str, now: datetime) -> Composed:
    """The mail, ready for the wire; ConfigError where no FROM or SECRET_KEY is set."""
    service = readers.desk.service
    sender = service.settings.require_from()
    speech = readers.speak(None, notice.language)
    said = _find_words(readers, speech, notice)
    context = {
        **said,
        **speech.context,
        "name": readers.name,
        "postal_address": service.settings.postal_address or "",
    }
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(display_name=sender.name, addr_spec=sender.email)
    mail["To"] = parse_address(notice.email).wire
    mail["Subject"] = _unescape(said["heading"])
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message_id
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5
    mail.set_content(_unescape(readers.pages.write("notice.txt", context)), cte=ENCODING)
    mail.add_alternative(readers.pages.write("notice.html", context), subtype="html", cte=ENCODING)
    return take_apart(mail)


def _find_words(readers: ReaderPages, speech: Speech, notice: Row[Any]) -> dict[str, Any]:
    name = readers.name
    if notice.kind == NoticeKind.KNOWN:
        return {
            "heading": speech.say("You get %(name)s already", name=name),
            "texts": [speech.say("Somebody signed up with this address, which gets it already.")],
            "link": readers.link_preferences(notice.subscriber_id),
            "button": speech.say("Change my preferences"),
            "closing": speech.say("You need do nothing: all stays as it is."),
        }
    service = readers.desk.service
    expires_at = notice.created_at + CONFIRM_WITHIN
    token = service.signer.sign(Purpose.CONFIRM, notice.subscriber_id, notice.id, expires_at=expires_at)
    texts = {
        NoticeKind.CONFIRM: speech.say("Somebody, you we hope, wants %(name)s to come to this address.", name=name),
        NoticeKind.ADDRESS: speech.say("Somebody, you we hope, wants %(name)s to come to this new address.", name=name),
    }
    return {
        "heading": speech.say("Please confirm: %(name)s", name=name),
        "texts": [texts[notice.kind], speech.say("The link is valid for seven days.")],
        "link": f"{service.settings.base_url}/confirm/{token}",
        "button": speech.say("Confirm"),
        "closing": speech.say("If you did not ask for this, do nothing: nothing will be sent."),
    }


def _unescape(text: str) -> str:
    """The text part: what was escaped for HTML is itself again."""
    return Markup(text).unescape()  # noqa: S704  it is plain text from here on
