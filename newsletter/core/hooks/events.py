"""What relays say in their calls, each in its own words, as reports: values that are missing or odd are passed over.

The relay's verdict (for now, for good) weighs with the words of the other side: what it holds for temporary is never
hard. Whatever of ours an event carries, a return path or a Message-ID, is found anywhere in it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from newsletter.core.bounces.other import as_mapping, read_ses
from newsletter.core.bounces.report import Kind, Reason, Report
from newsletter.core.bounces.status import find_address, make_bounce
from newsletter.core.bounces.traces import Traces, find_in_text

MOST_EVENTS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One report, what of ours it carries, and the digest by which it is known again."""

    report: Report
    traces: Traces
    digest: bytes


def read_events(provider: str, told: Any) -> Iterator[Event]:
    """The events in the JSON of a call that says something of a mail that came back; the first MOST_EVENTS."""
    listed: Sequence[Any] = told if isinstance(told, list) else [told]
    for one in listed[:MOST_EVENTS]:
        if not isinstance(one, Mapping):
            continue
        text = json.dumps(one, sort_keys=True)
        for number, report in enumerate(_READERS[provider](one)):
            digest = hashlib.sha256(f"{provider} {number} {text}".encode()).digest()
            yield Event(report=report, traces=find_in_text(text), digest=digest)


def _read_postmark(event: Mapping[str, Any]) -> Iterator[Report]:
    email = find_address(str(event.get("Email") or event.get("Recipient") or ""))
    said = f"{event.get('Description') or ''} {event.get('Details') or ''}"
    match (event.get("RecordType"), event.get("Type")):
        case ("Bounce", "SpamComplaint" | "SpamNotification") | ("SpamComplaint", _):
            yield from _complain(email)
        case ("Bounce", "Unsubscribe"):
            yield from _leave(email)
        case ("Bounce", "AutoResponder" | "AddressChange" | "Subscribe" | "OpenRelayTest" | "VirusNotification"):
            yield from ([Report(kind=Kind.AUTO_REPLY, email=email)] if email else [])
        case ("Bounce", kind):
            yield from _bounce(email, said, for_good=kind in ("HardBounce", "BadEmailAddress", "ManuallyDeactivated"))
        case ("SubscriptionChange", _) if event.get("SuppressSending"):
            if event.get("SuppressionReason") == "ManualSuppression":
                yield from _leave(email)


def _read_mailgun(call: Mapping[str, Any]) -> Iterator[Report]:
    event = as_mapping(call.get("event-data"))
    email, status = find_address(str(event.get("recipient") or "")), as_mapping(event.get("delivery-status"))
    match event.get("event"):
        case "failed":
            words = (status.get(name) for name in ("code", "enhanced-code", "message", "description"))
            said = " ".join(str(word) for word in words if word)
            for_good = event.get("severity") == "permanent"
            yield from _bounce(email, said, for_good=for_good) if for_good else _delay(email, said)
        case "complained":
            yield from _complain(email)
        case "unsubscribed":
            yield from _leave(email)


def _read_sendgrid(event: Mapping[str, Any]) -> Iterator[Report]:
    email, said = find_address(str(event.get("email") or "")), str(event.get("reason") or event.get("response") or "")
    match event.get("event"):
        case "deferred":
            yield from _delay(email, said)
        case "bounce" | "dropped" as kind:
            # `blocked` is SendGrid's word for a bounce that is about the mail and not the address.
            for_good = kind == "bounce" and event.get("type") != "blocked"
            yield from _bounce(email, said, for_good=for_good, status=_text(event.get("status")))
        case "spamreport":
            yield from _complain(email)
        case "unsubscribe" | "group_unsubscribe":
            yield from _leave(email)


_SPARKPOST_FOR_GOOD = ("10", "30", "90")
"""SparkPost's classes of bounces that mean the address: invalid recipient, no recipient, unsubscribe."""


def _read_sparkpost(call: Mapping[str, Any]) -> Iterator[Report]:
    for event in map(as_mapping, as_mapping(call.get("msys")).values()):
        email, said = (
            find_address(str(event.get("rcpt_to") or "")),
            str(event.get("raw_reason") or event.get("reason") or ""),
        )
        match event.get("type"):
            case "delay":
                yield from _delay(email, said)
            case "bounce" | "out_of_band" | "policy_rejection":
                for_good = str(event.get("bounce_class")) in _SPARKPOST_FOR_GOOD
                yield from _bounce(email, said, for_good=for_good)
            case "spam_complaint":
                yield from _complain(email, str(event.get("fbtype") or "abuse").lower())
            case "list_unsubscribe" | "link_unsubscribe":
                yield from _leave(email)


def _read_ses(event: Mapping[str, Any]) -> Iterator[Report]:
    for_good = as_mapping(event.get("bounce")).get("bounceType") == "Permanent"
    for report in read_ses(event):
        yield _weigh(report, for_good=for_good) if report.kind in (Kind.HARD, Kind.SOFT) else report


def _read_generic(event: Mapping[str, Any]) -> Iterator[Report]:
    """`{"kind": "hard"|"soft"|"complaint"|"unsubscribe", "email", "status", "text", "message_id"}`."""
    email, said = find_address(str(event.get("email") or "")), str(event.get("text") or "")
    match event.get("kind"):
        case "hard" | "soft" as kind:
            yield from _bounce(email, said, for_good=kind == "hard", status=_text(event.get("status")))
        case "complaint":
            yield from _complain(email, str(event.get("reason") or "abuse").lower())
        case "unsubscribe":
            yield from _leave(email)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Report]]] = {
    "ses": _read_ses,
    "postmark": _read_postmark,
    "mailgun": _read_mailgun,
    "sendgrid": _read_sendgrid,
    "sparkpost": _read_sparkpost,
    "generic": _read_generic,
}


def _bounce(email: str | None, said: str, *, for_good: bool, status: str | None = None) -> Iterator[Report]:
    if email:
        yield _weigh(make_bounce(email, said, status), for_good=for_good)


def _delay(email: str | None, said: str) -> Iterator[Report]:
    """The relay tries again by itself."""
    for report in _bounce(email, said, for_good=False):
        yield replace(report, reason=Reason.DELAYED)


def _weigh(report: Report, *, for_good: bool) -> Report:
    """What the relay holds for temporary is soft; for good, it is hard where nobody said why."""
    if not for_good:
        return replace(report, kind=Kind.SOFT)
    if report.reason == Reason.NONE:
        return replace(report, kind=Kind.HARD, reason=Reason.UNKNOWN_USER)
    return report


def _complain(email: str | None, kind: str = "abuse") -> Iterator[Report]:
    if email:
        yield Report(kind=Kind.COMPLAINT, email=email, reason=kind)


def _leave(email: str | None) -> Iterator[Report]:
    if email:
        yield Report(kind=Kind.UNSUBSCRIBE, email=email)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
