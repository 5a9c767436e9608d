"""What the words of an SMTP reply say, whatever its numbers claim: enhanced codes lie often.

Owns the word patterns (English, as mail servers speak), the reading of "try again in N minutes", and what two replies
have in common. Decides nothing: core/policy.py does.
"""

import re
from datetime import timedelta
from enum import StrEnum

MAX_RETRY_AFTER = timedelta(hours=24)


class Hint(StrEnum):
    """Something that a reply's text says in so many words."""

    SIZE = "the mail is too large"
    RATE = "too many mails in too short a time"
    FULL = "the mailbox is full"
    BLAME = "spam, policy, block lists, authentication: it is about the sender"
    GREYLIST = "greylisting"
    UNKNOWN = "no such user"


# Addresses, links and host names are no words: nospam@example.org is not accused, and mx.antispam.example only answers.
_NAMES = re.compile(r"<[^<>]*>|\S+@\S+|https?://\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")

_WHO = r"(?:user|recipient|mailbox|account|address(?:ee)?|alias|customer)"

_PATTERNS: dict[Hint, re.Pattern[str]] = {
    hint: re.compile(pattern)
    for hint, pattern in {
        Hint.SIZE: r"message (?:is )?(?:too (?:large|big|long)|(?:size|length))|size limit|headers? too (?:large|big)"
        r"|exceed\w*.{0,30} (?:size|length)",
        Hint.RATE: r"\brate\b|throttl|too (?:fast|quickly)|frequency|\btss0\d|complaints"
        r"|too many (?:\w+ )?(?:connection|session|message|mail|e-?mail|recipient|request|error)"
        r"|(?:sending|hourly|daily|message) (?:\w+ ){0,2}(?:quota|limit)",
        Hint.FULL: rf"\b{_WHO}\b.{{0,40}}\b(?:full|out of storage)\b|over ?-?quota|quota (?:is |has been )?exceeded"
        r"|exceed\w* (?:\w+ ){0,3}(?:quota|storage allocation)",
        Hint.BLAME: r"spam|unsolicited|\bube\b|phish|malware|virus|suspicious|\bbanned\b|reputation"
        r"|\bblock(?:ed|ing|list)|(?:black|deny) ?-?list|\b(?:dns|r)bls?\b|\bpolic(?:y|ies)\b"
        r"|\b(?:spf|dkim|dmarc|ptr|helo)\b|reverse dns|authenticat|relay(?:ing)? (?:access )?(?:denied|prohibited)"
        r"|(?:unable|not (?:permitted|allowed)) to relay|client host|content rejected|recipient preferences"
        r"|\b(?:sender|mail from)\b.{0,40}\b(?:reject|denied|refused|unknown|invalid|verif|not (?:exist|found|allow))",
        Hint.GREYLIST: r"gr[ae]y ?-?list",
        Hint.UNKNOWN: rf"\bunknown (?:\w+ )?{_WHO}\b|\bno such (?:\w+ )?(?:{_WHO}|person|domain)\b"
        rf"|\binvalid (?:recipient|mailbox|user)\b"
        rf"|\b{_WHO}\b[^.;]{{0,60}}\b(?:unknown|no longer|not (?:found|known|exist)|doesn't exist)"
        r"|\bno (?:mailbox|account|user) (?:here|by that name)|\bnot a (?:known|valid) (?:user|mailbox)"
        r"|doesn't have an? (?:\w+ )?account",
    }.items()
}

_AFTER = re.compile(
    r"\b(?:in|after|for|wait)\s+(?:at least |about |another )?"
    r"(\d{1,9})\s*(s(?:ecs?|econds?)?|m(?:ins?|inutes?)?|h(?:rs?|ours?)?)\b"
)
_CLOCK = re.compile(r"\b(\d{1,2}):([0-5]\d):([0-5]\d)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def read_hints(text: str) -> frozenset[Hint]:
    """Everything that the text of a reply says, its addresses, links and host names aside."""
    words = _NAMES.sub(" ", text.lower().replace("’", "'"))
    words = " ".join(words.split())
    return frozenset(hint for hint, pattern in _PATTERNS.items() if pattern.search(words))


def parse_retry_after(text: str) -> timedelta | None:
    """The "try again in N seconds", "after 5 minutes" or "in 00:04:32" of a text; at most MAX_RETRY_AFTER."""
    words = text.lower()
    if found := _AFTER.search(words):
        seconds = int(found[1]) * _SECONDS[found[2][0]]
    elif found := _CLOCK.search(words):
        seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    else:
        return None
    return min(timedelta(seconds=seconds), MAX_RETRY_AFTER) if seconds else None


MOST_WORDING = 200
_ENHANCED = re.compile(r"^\s*[245]\.\d{1,3}\.\d{1,3}\s")
_CHANGING = re.compile(
    r"<[^<>]*>|\S+@[^\s,;:]+"  # addresses
    r"|https?://\S+"
    r"|\b(?=\w*\d)[\w.:+=/-]*\w"  # numbers, queue ids, IP addresses, session names: whatever word holds a digit
)


def take_out_numbers(response: str) -> str:
    """What replies of one kind have in common: addresses, links and every word with a digit become `…`.

    The enhanced code that it begins with is left out: it is told by itself.
    """
    words = " ".join(_CHANGING.sub("…", _ENHANCED.sub("", response)).split())
    return words if len(words) <= MOST_WORDING else words[: MOST_WORDING - 1] + "…"
