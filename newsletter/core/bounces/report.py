"""What a message that came back says: the words for it, and the values that the reading of bounces returns.

Owns the kinds and the reasons of reports. Decides nothing: what follows from a report is the business of feedback.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a report is."""

    HARD = "hard"  # the address gets no mail, now or later
    SOFT = "soft"  # this mail did not arrive; another may
    COMPLAINT = "complaint"  # a reader called it spam, or a provider reports on it (RFC 5965)
    AUTO_REPLY = "auto-reply"  # a vacation notice, a receipt (RFC 3834): neither bounce nor unsubscribe
    UNSUBSCRIBE = "unsubscribe"  # mailed to the address of List-Unsubscribe (RFC 2369)
    NO_REPORT = "not-a-report"


class Reason(StrEnum):
    """Why a mail came back."""

    UNKNOWN_USER = "unknown user"
    UNKNOWN_HOST = "unknown host"
    MOVED = "moved"
    TAKES_NO_MAIL = "takes no mail"  # the whole domain (RFC 7504, RFC 7505)
    MAILBOX_FULL = "mailbox full"
    SUSPENDED = "suspended"  # the mailbox is there, and closed for now
    FILTERED = "filtered"  # refused for this recipient after the mail was read
    POLICY = "policy"
    AUTHENTICATION = "authentication"  # SPF, DKIM, DMARC, a login
    BLOCKED = "blocked"  # the relay's address or name is on a list, or has a bad name
    SPAM = "spam"
    VIRUS = "virus"
    CONTENT = "content"
    TOO_LARGE = "too large"
    RATE = "rate"
    RELAYING = "relaying denied"
    EXPIRED = "expired"  # tried for too long
    NETWORK = "network"
    SYSTEM = "system"  # something broke at the other side
    DELAYED = "delayed"  # it is still being tried: nothing has come back
    NONE = "none given"


HARD_REASONS = frozenset({Reason.UNKNOWN_USER, Reason.UNKNOWN_HOST, Reason.MOVED, Reason.TAKES_NO_MAIL})
"""The address itself is dead. All others are about the mailbox's moment, the mail, or the sender."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a message says of one recipient.

    `email` is whom the report names, None where it names nobody; `original` the address that was written to, where the
    report tells it besides. `status` is an enhanced code (RFC 3463), `code` a reply code. `reason` is a Reason for a
    bounce, the type of feedback (RFC 5965 7.3) for a complaint, else empty. `text` is what the other side said.
    """

    kind: Kind
    email: str | None = None
    original: str | None = None
    status: str | None = None
    code: int | None = None
    reason: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        """No half of a pair of surrogates: what somebody wrote in broken bytes must be storable."""
        for name in ("email", "original", "reason", "text"):
            value = getattr(self, name)
            if isinstance(value, str) and not value.isascii():
                object.__setattr__(self, name, type(value)(value.encode("utf-8", "replace").decode()))
