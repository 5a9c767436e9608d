"""What comes back and is no bounce: complaints (RFC 5965), auto-replies (RFC 3834), mailed unsubscribes (RFC 2369).

And the notifications that Amazon SES writes as JSON, by mail or by HTTP.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from newsletter.core.bounces.opening import Opened
from newsletter.core.bounces.plain import is_daemon, is_from_daemon
from newsletter.core.bounces.report import Kind, Report
from newsletter.core.bounces.status import find_address, find_addresses, make_bounce
from newsletter.core.bounces.words import compile_phrases

_AUTO_SUBJECT = compile_phrases(
    r"""
    ^\s*(?:re: ?)?\[?auto(?:matic|mated|matisch\w*|matique)?\]?[-: ]?(?:re(?:ply|sponse|sponder)|antwort|r[eé]ponse)
    ^\s*(?:re: ?)?(?:\[?auto\]?:|automat\w+ \w+|out of (?:the )?office|away from|vacation|ooo\b|abwesen|absen[ct])
    ^\s*(?:re: ?)?(?:on (?:leave|vacation|holiday)|fuera de la oficina|respuesta autom|r[eé]ponse auto|не в офисе|自動)
    """
)
_AUTO_HEADERS = {"x-autoreply", "x-autorespond", "x-auto-response", "x-autoreply-from", "x-mail-autoreply"}
_UNSUBSCRIBE = compile_phrases(
    r"""
    ^\s*(?:re: ?)?(?:please )?(?:unsubscribe|remove me|abmelden|d[eé]sabonner|desinscrire|darse de baja)\b.{0,60}$
    """
)


def read_complaint(opened: Opened) -> Iterator[Report]:
    """The reports of an ARF message; several where it names several recipients (RFC 5965 3.2)."""
    fields = opened.feedback
    if not fields:
        yield from _read_jmrp(opened)
        return
    kind = fields.get("feedback-type", "").strip().lower() or "abuse"
    names = [fields.get(name, "") for name in ("original-rcpt-to", "removal-recipient")]
    told = [email for name in names for email, _ in find_addresses(name)]
    told = told or [email for email in [find_address(opened.returned.get("to", ""))] if email]
    for email in dict.fromkeys(told):
        yield Report(kind=Kind.COMPLAINT, email=email, reason=kind)
    if not told:
        yield Report(kind=Kind.COMPLAINT, reason=kind)


def _read_jmrp(opened: Opened) -> Iterator[Report]:
    """Outlook.com's complaints (Junk Mail Reporting Programme) are of no standard: the mail, with one header more."""
    email = find_address(opened.returned.get("x-hmxmroriginalrecipient", ""))
    if email or opened.headers.get("subject", "").lower().startswith("complaint about message from"):
        yield Report(kind=Kind.COMPLAINT, email=email, reason="abuse")


def read_auto_reply(opened: Opened) -> Iterator[Report]:
    """That it is an auto-reply, by its headers or its subject."""
    headers = opened.headers
    marks = (
        headers.get("auto-submitted", "").lower().startswith(("auto-replied", "auto-notified"))
        or not headers.keys().isdisjoint(_AUTO_HEADERS)
        or headers.get("precedence", "").strip().lower() == "auto_reply"
        or "vacation" in headers.get("x-mailer", "").lower()
        or _AUTO_SUBJECT.search(headers.get("subject", ""))
    )
    if marks and not is_daemon(opened):
        yield Report(kind=Kind.AUTO_REPLY, email=find_address(headers.get("from", "")))


def read_unsubscribe(opened: Opened) -> Iterator[Report]:
    """That somebody writes to leave: their subject is just that."""
    if _UNSUBSCRIBE.search(opened.headers.get("subject", "")) and not is_from_daemon(opened):
        yield Report(kind=Kind.UNSUBSCRIBE, email=find_address(opened.headers.get("from", "")))


def read_notification(notice: str) -> Iterator[Report]:
    """The reports in a notification of Amazon SES: its own JSON, or that in the `Message` of SNS."""
    begin = notice.find("{")
    if begin < 0 or (notice[:begin].strip() and "notificationType" not in notice):
        return
    try:
        told = json.JSONDecoder(strict=False).raw_decode(notice[begin:])[0]
        if isinstance(told, dict) and isinstance(told.get("Message"), str):
            told = json.loads(told["Message"], strict=False)
    except (ValueError, RecursionError):
        return
    if isinstance(told, dict):
        yield from read_ses(told)


def read_ses(told: Mapping[str, Any]) -> Iterator[Report]:
    """The reports of one notification, as its fields give them (Amazon SES, "Notification contents")."""
    match str(told.get("notificationType") or told.get("eventType") or "").lower():
        case "bounce":
            bounce = as_mapping(told.get("bounce"))
            for one in _mappings(bounce.get("bouncedRecipients")):
                if email := find_address(str(one.get("emailAddress", ""))):
                    said = str(one.get("diagnosticCode") or "")
                    said = said or f"{bounce.get('bounceType', '')} {bounce.get('bounceSubType', '')}"
                    yield make_bounce(email, re.sub(r"^\s*smtp\s*;", "", said), str(one.get("status") or "") or None)
        case "complaint":
            complaint = as_mapping(told.get("complaint"))
            kind = str(complaint.get("complaintFeedbackType") or "abuse").lower()
            for one in _mappings(complaint.get("complainedRecipients")):
                if email := find_address(str(one.get("emailAddress", ""))):
                    yield Report(kind=Kind.COMPLAINT, email=email, reason=kind)
        case "delivery":
            for name in as_mapping(told.get("delivery")).get("recipients") or ():
                if email := find_address(str(name)):
                    yield Report(kind=Kind.NO_REPORT, email=email)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A value of JSON where it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
