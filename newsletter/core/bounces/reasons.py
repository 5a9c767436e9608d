"""Why a mail came back, from the words of the other side first and from its numbers after: numbers lie often.

Uses words.py. Sources of the numbers: RFC 3463, RFC 5321 4.2, RFC 7504, RFC 7505, and what the great providers add.
"""

import re
from collections.abc import Mapping

from newsletter.core.bounces.report import HARD_REASONS, Kind, Reason
from newsletter.core.bounces.words import OF_SENDER, PATTERNS, WEAK

# RFC 3463 3, and what RFC 7372, RFC 7505 and the great providers added.
_DETAILS: Mapping[str, Reason] = {
    "1.0": Reason.UNKNOWN_USER,
    "1.1": Reason.UNKNOWN_USER,
    "1.2": Reason.UNKNOWN_HOST,
    "1.3": Reason.UNKNOWN_USER,
    "1.4": Reason.FILTERED,
    "1.6": Reason.MOVED,
    "1.7": Reason.POLICY,
    "1.8": Reason.POLICY,
    "1.9": Reason.SYSTEM,
    "1.10": Reason.TAKES_NO_MAIL,
    "2.0": Reason.FILTERED,
    "2.1": Reason.SUSPENDED,
    "2.2": Reason.MAILBOX_FULL,
    "2.3": Reason.TOO_LARGE,
    "2.4": Reason.FILTERED,
    "3.0": Reason.SYSTEM,
    "3.1": Reason.SYSTEM,
    "3.2": Reason.SYSTEM,
    "3.3": Reason.SYSTEM,
    "3.4": Reason.TOO_LARGE,
    "3.5": Reason.SYSTEM,
    "4.0": Reason.NETWORK,
    "4.1": Reason.EXPIRED,
    "4.2": Reason.NETWORK,
    "4.3": Reason.SYSTEM,
    "4.4": Reason.UNKNOWN_HOST,
    "4.5": Reason.SYSTEM,
    "4.6": Reason.NETWORK,
    "4.7": Reason.EXPIRED,
    "5.3": Reason.RATE,
    "6.0": Reason.CONTENT,
    "6.1": Reason.CONTENT,
    "7.1": Reason.POLICY,
    "7.7": Reason.CONTENT,
    "7.8": Reason.AUTHENTICATION,
    "7.13": Reason.SUSPENDED,
    "7.17": Reason.UNKNOWN_USER,
    "7.18": Reason.UNKNOWN_HOST,
    "7.25": Reason.BLOCKED,
    "7.27": Reason.POLICY,
    "7.28": Reason.RATE,
}
_SUBJECTS: Mapping[str, Reason] = {"5": Reason.SYSTEM, "6": Reason.CONTENT, "7": Reason.POLICY}
_CODES: Mapping[int, Reason] = {
    421: Reason.SYSTEM,
    451: Reason.SYSTEM,
    452: Reason.MAILBOX_FULL,
    525: Reason.AUTHENTICATION,
    530: Reason.AUTHENTICATION,
    535: Reason.AUTHENTICATION,
    551: Reason.MOVED,
    552: Reason.MAILBOX_FULL,
    553: Reason.UNKNOWN_USER,
}

# Addresses, links and host names are no words: who is called nospam is not accused of it.
_NAMES = re.compile(r"<[^<>]{0,300}>|[^\s<>]{1,100}@[^\s<>]{1,200}|https?://\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")


def find_reason(text: str, status: str | None, code: int | None, *, after_data: bool = False) -> Reason:
    """What the words, the enhanced code and the reply code come to; `after_data`: the mail itself was read before."""
    words = " ".join(_NAMES.sub(" ", text.lower().replace("’", "'")).split())
    reason = next((reason for reason, pattern in PATTERNS if pattern.search(words)), None)
    detail = (status or "").partition(".")[2]
    if code in (521, 556) and detail in ("", "0.0", "1.10", "3.2"):
        return Reason.TAKES_NO_MAIL  # RFC 7504
    if reason is None:
        reason = _DETAILS.get(detail) or _SUBJECTS.get(detail.partition(".")[0]) or _CODES.get(code or 0, Reason.NONE)
    if reason is Reason.NONE and WEAK.search(words):
        reason = Reason.UNKNOWN_USER
    if reason is Reason.UNKNOWN_USER and after_data:
        return Reason.FILTERED  # the mailbox is there: its owner, or a rule of theirs, does not want the mail
    if reason in HARD_REASONS and (detail in ("1.7", "1.8") or OF_SENDER.search(words)):
        return Reason.POLICY  # it is the sender that is unknown
    if reason is Reason.SUSPENDED and detail == "1.1":
        return Reason.UNKNOWN_USER
    return reason


def find_kind(reason: Reason, status: str | None, code: int | None) -> Kind:
    """Hard or soft. A temporary number is never hard: the other side itself says that it may work later."""
    temporary = (status or "").startswith("4.") or (code or 0) // 100 == 4
    return Kind.HARD if reason in HARD_REASONS and not temporary else Kind.SOFT
