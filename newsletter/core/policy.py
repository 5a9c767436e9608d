"""Every rule on what follows from a reply, a failure or the lapse of time: retry, suppress, throttle or stop.

Tables first, code second. Pure: the text of a reply comes in, a Verdict goes out; deliver.py and feedback.py act on it.
Sources: RFC 5321 4.2, RFC 3463, and what the great providers answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from newsletter.core.bounces.report import Reason
from newsletter.core.model import Outcome
from newsletter.core.replies import Hint, parse_retry_after, read_hints

RETRY_JITTER = 0.2
"""The share by which a delay is made longer or shorter, so that deferred mails do not come back in one wave."""

FINAL_REPLY_TIMEOUT = timedelta(minutes=10)
"""How long the reply to the final dot may take (RFC 5321 4.5.3.2.6)."""

BLAME_LIMIT = 20
BLAME_WINDOW_REPLIES = 200
"""An issue pauses when BLAME_LIMIT of its last BLAME_WINDOW_REPLIES replies say that the fault is ours."""

BLAMED = f"{BLAME_LIMIT} of the last {BLAME_WINDOW_REPLIES} replies say that the fault is ours"
"""How the reason begins for which an issue pauses by itself."""

TROUBLES_IN_A_ROW = 3
"""So many 421 or 4.4.x in a row from one domain, or connections lost in a row by one relay, shut it for a while."""

RECOVERY_MAILS = 20
"""So many mails taken lead a backed off domain or relay one step down."""

IDLE_SECONDS = 30.0
"""A connection without work is closed after this time: relays do it themselves after 30 to 60 s."""

MAILS_A_CONNECTION = 1_000
# What the great providers' own relays take on one connection, by the end of their name.
MAILS_A_CONNECTION_OF: Mapping[str, int] = {
    "google.com": 50,
    "googlemail.com": 50,
    "gmail.com": 50,
    "outlook.com": 50,
    "office365.com": 50,
    "yahoo.com": 20,
    "yahoodns.net": 20,
}

CONFIRM_WITHIN = timedelta(days=7)
"""How long a link that confirms is valid; who has not confirmed by then is forgotten."""

NOTICES_A_DAY = 3
"""So many mails of the service's own an address gets in a day, whoever asks for them."""

LONGEST_PAUSE = timedelta(days=366)
"""So long a reader may pause."""

FORGOTTEN = "forgotten"
"""The reason of suppression that erasure leaves."""

LOGIN_CODES = frozenset({530, 534, 535, 538})
"""The relay wants a login or encryption (RFC 4954 6): every mail would get the same reply."""


class Stage(StrEnum):
    """The step of a transaction that a reply answers; BODY is the final dot."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "BODY"


class Cause(StrEnum):
    """Why a step ended as it did; what to slow down, to count or to tell the operator follows from it."""

    ACCEPTED = "accepted"
    RELAY = "relay"  # the relay or a host behind it is in trouble: back off the destination, not the address
    GREYLISTED = "greylisted"  # come back later, this delivery alone
    RATE = "rate"  # too fast for this domain: throttle its lane
    MAILBOX_FULL = "mailbox_full"
    BAD_ADDRESS = "bad_address"
    OUR_FAULT = "our_fault"  # spam, policy, authentication: never the reader's fault
    OUR_MESSAGE = "our_message"  # this mail's size or syntax
    CONFIGURATION = "configuration"  # login or TLS demanded: every mail would get the same reply
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a relay said. `code` is None where nothing, or no reply, came; `text` then tells what happened instead."""

    code: int | None
    enhanced: str | None
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a reply means for the delivery.

    `suppress`: the address is dead, no mail to it any more. `stop`: send nothing more to this relay and count nothing.
    `retry_after`: how long the relay asked to wait, in a temporary reply that names a time.
    """

    outcome: Outcome
    cause: Cause
    suppress: bool = False
    stop: bool = False
    retry_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A reply has this cause when its code, its detail (`7.1`; `5.*` is a whole subject) or its words are listed."""

    cause: Cause
    codes: frozenset[int] = frozenset()
    details: frozenset[str] = frozenset()
    hints: frozenset[Hint] = frozenset()

    def fits(self, code: int, detail: str, hints: frozenset[Hint]) -> bool:
        """Whether the rule is for a reply of this code, this detail (`` where there is none) and these words."""
        subject = f"{detail.partition('.')[0]}.*"
        return code in self.codes or detail in self.details or subject in self.details or bool(hints & self.hints)


def _details(*listed: str) -> frozenset[str]:
    return frozenset(listed)


# In both tables the first rule that fits decides. 4xx is always deferred: that an unknown user may be there tomorrow is
# what the relay itself says.
TEMPORARY: tuple[Rule, ...] = (
    Rule(cause=Cause.RATE, details=_details("7.28"), hints=frozenset({Hint.RATE})),
    Rule(cause=Cause.MAILBOX_FULL, details=_details("2.2"), hints=frozenset({Hint.FULL})),
    Rule(cause=Cause.GREYLISTED, hints=frozenset({Hint.GREYLIST})),
    Rule(cause=Cause.RELAY, codes=frozenset({421, 454}), details=_details("3.1", "3.2", "4.*")),
    Rule(cause=Cause.BAD_ADDRESS, details=_details("1.*"), hints=frozenset({Hint.UNKNOWN})),
    Rule(cause=Cause.GREYLISTED, details=_details("2.1", "7.*")),
)

# The words come before the numbers: 5.1.1 is given for policy, 5.7.1 and 5.5.0 for unknown users.
PERMANENT: tuple[Rule, ...] = (
    Rule(cause=Cause.CONFIGURATION, codes=LOGIN_CODES, details=_details("7.8")),
    Rule(cause=Cause.OUR_MESSAGE, details=_details("2.3", "3.4"), hints=frozenset({Hint.SIZE})),
    Rule(cause=Cause.OUR_FAULT, hints=frozenset({Hint.RATE})),
    Rule(cause=Cause.MAILBOX_FULL, details=_details("2.2"), hints=frozenset({Hint.FULL})),
    Rule(cause=Cause.OUR_FAULT, details=_details("1.7", "1.8"), hints=frozenset({Hint.BLAME})),
    Rule(
        cause=Cause.BAD_ADDRESS,
        details=_details("1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "7.13", "7.17", "7.18"),
        hints=frozenset({Hint.UNKNOWN}),
    ),
    Rule(cause=Cause.OUR_FAULT, details=_details("7.*")),
    Rule(cause=Cause.OUR_MESSAGE, codes=frozenset({500, 501, 502, 503, 504, 552, 555}), details=_details("5.*", "6.*")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How many different issues must fail for one cause, over how long, before the address is suppressed."""

    issues: int
    span: timedelta


SUPPRESS_AFTER: Mapping[Cause, Patience] = {
    Cause.BAD_ADDRESS: Patience(issues=1, span=timedelta(0)),
    Cause.OTHER: Patience(issues=3, span=timedelta(0)),
    Cause.MAILBOX_FULL: Patience(issues=4, span=timedelta(days=14)),
}
"""Permanent replies only. A cause that is not here never suppresses anybody."""

BOUNCES_SUPPRESS_AFTER: Mapping[Reason, Patience] = {
    **dict.fromkeys(
        (Reason.MAILBOX_FULL, Reason.SUSPENDED, Reason.FILTERED), Patience(issues=4, span=timedelta(days=14))
    ),
    **dict.fromkeys(
        (Reason.EXPIRED, Reason.NETWORK, Reason.SYSTEM, Reason.NONE, Reason.UNKNOWN_USER, Reason.UNKNOWN_HOST),
        Patience(issues=6, span=timedelta(days=30)),
    ),
}
"""Soft bounces in a row. A reason that is not here says something of us or of the mail, and suppresses nobody."""

HARD_SHARE, COMPLAINT_SHARE = 0.05, 0.003
REPORTED_AT_LEAST = 20
"""An issue pauses when so large a share of the mails that were taken came back hard, or as complaints, and so many at
least. Gmail and Yahoo act on senders over 0.3 % of complaints."""

REPORTED = "of the mails that were taken"
"""Stands in the reason for which an issue pauses so."""

# The great providers, each under the domain it is best known by; all its domains are throttled together.
LANES: Mapping[str, re.Pattern[str]] = {
    lane: re.compile(pattern)
    for lane, pattern in {
        "gmail.com": r"g(?:oogle)?mail\.com",
        "outlook.com": r"(?:outlook|hotmail|live)\.(?:com|[a-z]{2}|com?\.[a-z]{2})|(?:msn|windowslive|passport)\.com",
        "yahoo.com": r"yahoo\.(?:com|[a-z]{2}|com?\.[a-z]{2})|aol\.(?:com|[a-z]{2}|co\.uk)"
        r"|(?:ymail|rocketmail|myyahoo|aim)\.com|verizon\.net",
        "icloud.com": r"(?:icloud|me|mac)\.com",
        "gmx.net": r"gmx\.(?:com|net|org|de|at|ch|fr|es|it|co\.uk|us)|web\.de|mail\.com",
        "mail.ru": r"(?:mail|inbox|list|bk|internet)\.ru",
        "yandex.ru": r"yandex\.(?:com|ru|by|kz|ua|com\.tr)|ya\.ru",
        "proton.me": r"(?:proton|protonmail)\.(?:me|com|ch)|pm\.me",
        "orange.fr": r"orange\.fr|wanadoo\.fr",
        "comcast.net": r"(?:comcast|xfinity)\.(?:net|com)",
        "qq.com": r"(?:vip\.)?qq\.com|foxmail\.com",
        "163.com": r"(?:163|126)\.com|yeah\.net",
    }.items()
}

_ACCEPTED = Verdict(outcome=Outcome.ACCEPTED, cause=Cause.ACCEPTED)
_ENHANCED = re.compile(r"#?([245]\.\d{1,3}\.\d{1,3})(?![\d.])")


def parse_enhanced(text: str) -> str | None:
    """The enhanced code (RFC 3463) at the start of a reply's text, as in `5.1.1 no such user`."""
    found = _ENHANCED.match(text)
    return found[1] if found else None


def judge_reply(reply: Reply, *, stage: Stage) -> Verdict:
    """What a reply at `stage` means. ACCEPTED before the final dot says only that the next step may follow.

    A reply that fits no step (no number, 354 to MAIL, 250 to DATA) is the relay's trouble, and after the final dot it
    leaves open whether the mail was taken.
    """
    match (reply.code or 0) // 100:
        case 2 if stage is not Stage.DATA:
            return _ACCEPTED
        case 3 if stage is Stage.DATA:
            return _ACCEPTED
        case 4:
            cause = _find_cause(TEMPORARY, reply, stage)
            return Verdict(outcome=Outcome.DEFERRED, cause=cause, retry_after=parse_retry_after(reply.text))
        case 5:
            return _give_up(_find_cause(PERMANENT, reply, stage))
        case _:
            return judge_loss(in_doubt=stage is Stage.BODY)


def judge_loss(*, in_doubt: bool) -> Verdict:
    """What a lost connection means; `in_doubt` from the last byte of the body on until the reply to it has come."""
    return Verdict(outcome=Outcome.UNCERTAIN if in_doubt else Outcome.DEFERRED, cause=Cause.RELAY)


def judge_unsendable(enhanced: str) -> Verdict:
    """What it means that we refuse a mail ourselves, under an enhanced code of the 5 class, before any command."""
    return _give_up(_find_cause(PERMANENT, Reply(None, enhanced, ""), Stage.RCPT))


def next_delay(
    attempts: int, delays: Sequence[timedelta], *, jitter: float, asked: timedelta | None = None
) -> timedelta | None:
    """How long to wait after so many attempts (1 or more), or None when they are used up.

    The last attempt is number len(delays) + 1. `jitter` is a random number from -1 to 1. A time that the relay `asked`
    for is obeyed: spread, but never undercut.
    """
    if attempts > len(delays):
        return None
    if asked is not None:
        return asked * (1 + RETRY_JITTER * abs(jitter))
    return delays[attempts - 1] * (1 + RETRY_JITTER * jitter)


def has_expired(due_at: datetime, now: datetime, expire_after: timedelta) -> bool:
    """Whether a delivery first due at `due_at` is too old to be sent."""
    return now - due_at > expire_after


def must_pause(causes: Sequence[Cause]) -> bool:
    """Whether an issue must be paused, from the causes of its replies so far, the latest last."""
    return sum(cause is Cause.OUR_FAULT for cause in causes[-BLAME_WINDOW_REPLIES:]) >= BLAME_LIMIT


def must_suppress(cause: Cause, *, issues: int, span: timedelta) -> bool:
    """Whether an address that was rejected for `cause` in so many issues, over `span`, gets no more mail."""
    patience = SUPPRESS_AFTER.get(cause)
    return patience is not None and issues >= patience.issues and span >= patience.span


def must_suppress_bounced(reason: Reason, *, issues: int, span: timedelta) -> bool:
    """Whether an address whose mails came back softly, for so many issues in a row over `span`, gets no more."""
    patience = BOUNCES_SUPPRESS_AFTER.get(reason)
    return patience is not None and issues >= patience.issues and span >= patience.span


def judge_reports(*, accepted: int, hard: int, complaints: int) -> str | None:
    """Why an issue must be paused, by what came back of it; None where it may go on."""
    for count, share, what in ((complaints, COMPLAINT_SHARE, "complaints"), (hard, HARD_SHARE, "hard bounces")):
        if count >= REPORTED_AT_LEAST and count > share * accepted:
            return f"{count} {what} {REPORTED} ({count / max(accepted, 1):.1%} of {accepted})"
    return None


def may_sign_up(suppression: str | None) -> bool:
    """Whether an address suppressed for this reason may confirm a sign-up: its owner's erasure alone is lifted."""
    return suppression in (None, FORGOTTEN)


def mails_per_connection(host: str) -> int:
    """How many mails go over one connection to a relay before it is made anew."""
    name = host.casefold().rstrip(".")
    most = (n for end, n in MAILS_A_CONNECTION_OF.items() if name == end or name.endswith(f".{end}"))
    return next(most, MAILS_A_CONNECTION)


def lane_of(address: str) -> str:
    """The throttled group of an address's domain: a great provider's best known domain, or '' for all others."""
    domain = address.rpartition("@")[2].casefold().rstrip(".")
    return next((lane for lane, pattern in LANES.items() if pattern.fullmatch(domain)), "")


def _find_cause(table: Sequence[Rule], reply: Reply, stage: Stage) -> Cause:
    """The first rule that fits; an enhanced code of another class than the code is ignored (RFC 3463 2)."""
    told_class, _, detail = (reply.enhanced or "..").partition(".")
    if reply.code is not None and told_class != str(reply.code // 100):
        detail = ""
    hints = read_hints(reply.text)
    cause = next((rule.cause for rule in table if rule.fits(reply.code or 0, detail, hints)), Cause.OTHER)
    # What answers MAIL knows no recipient yet: a dead address or a full mailbox there is the return path's.
    if stage is Stage.MAIL and table is PERMANENT and cause in SUPPRESS_AFTER:
        return Cause.OUR_FAULT
    return cause


def _give_up(cause: Cause) -> Verdict:
    if cause is Cause.CONFIGURATION:
        return Verdict(outcome=Outcome.DEFERRED, cause=cause, stop=True)
    return Verdict(outcome=Outcome.REJECTED, cause=cause, suppress=must_suppress(cause, issues=1, span=timedelta(0)))
