"""Bounces that follow no standard: qmail, Exim, old sendmail, Exchange, Notes and all who write in sentences.

What they share is used, not their names: an address stands at the beginning of a line or after a word such as
`recipient`, what the other side said stands around it, and a copy of the mail follows.
"""

import re
from collections.abc import Iterator, Sequence

from newsletter.core.bounces.opening import DAEMON, Opened
from newsletter.core.bounces.report import Reason, Report
from newsletter.core.bounces.status import (
    MOST_RECIPIENTS,
    find_address,
    find_addresses,
    find_context,
    find_numbers,
    make_bounce,
)
from newsletter.core.bounces.words import compile_phrases

_SUBJECT = compile_phrases(
    r"""
    undeliver|non-?deliver|not (?:be )?deliver|deliver\w* (?:status|fail|error|problem|report|has|incomplete|delayed)
    fail\w*(?: to)? (?:deliver|notice|mail|message|delivery)
    (?:mail|message|delivery|mailbox|dsn)[:\s]+(?:\w+ ){0,2}(?:fail|error|return|reject|block|delay|refus|not)
    return(?:ed|ing) (?:mail|message|to sender)|failure notice|error (?:in|while|sending|delivering)|rejected
    could ?n[o']t (?:send|be (?:sent|deliver))|user unknown|unknown user|warning: (?:could not|message)
    problem deliver|unable to deliver|bounce|mail system error|unzustellbar|non remis|no se puede
    не (?:доставлено|удалось)|недоставленн|配信|送信|エラー
    """
)
_FAILED = compile_phrases(
    r"""
    (?:could|can|was|were|is|are|ha[sv]e?|did|will|be) ?n[o']t\b.{0,60}\b(?:deliver|reach|sen[dt]|accept|process|post)
    (?:un|non)-?deliver|fail\w*.{0,60}(?:deliver|recipient|address)
    deliver\w*.{0,80}(?:fail|error|problem|trouble|unable)|fatal error|permanent(?:ly)? (?:error|failure|fatal)
    unable to (?:deliver|send)|returned to (?:you|sender)|reject(?:ed|s)?\b|user (?:is )?unknown
    unknown (?:user|recipient)|mailbox|does not like recipient|(?:following|these) (?:address|recipient)|rcpt to
    transcript of session|failure reasons?|\b5\d\d[ -]\S|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])|quota
    problem.{0,40}deliver
    """
)
# A reply of the other side, to the end of its line: what it says counts before the sentences around it.
_REPLY = re.compile(r"(?<![\d.:@/-])[45]\d\d(?:[ -]|: )[^\n]*(?:\n[ \t]+[^\n]*){0,2}")
_TRANSCRIPT = re.compile(
    r"^[^\n]{0,20}\b5\d\d[ -].{1,600}rcpt to:? ?<?\S{1,64}@", re.IGNORECASE | re.DOTALL | re.MULTILINE
)
_BEFORE_SENDER = re.compile(
    r"(?:message-?id|\bfrom|sender|reply-to|return-path|mail from|contact|mailto|e-?mail us|administrator|postmaster"
    r"|support|write to|complaints?|in-reply-to|references)[^\n@]{0,30}$",
    re.IGNORECASE,
)
_BEFORE_RECIPIENT = re.compile(
    r"(?:^|\n)[^\n\w@]{0,12}$|reason: [^\n]{0,30}$|\d{3}(?: [245]\.\d+\.\d+)?[ -]{1,2}[<(\"']*$"
    r"|(?:recipients?|\w to|for|addressee|address(?:es)?|mailbox|user|rcpt to|deliver\w*|errors?)[^\n\w]{0,12}$",
    re.IGNORECASE,
)
_PASSED_ON = re.compile(r"\s*(?:re|fwd?|aw|wg|tr|rv|sv|i)\s*:", re.IGNORECASE)
_OURS = re.compile(
    r"^(?:mailer-daemon|postmaster|abuse|hostmaster|no-?reply|support|help|helpdesk|bounces?|double-bounce)[@+]",
    re.IGNORECASE,
)


def is_from_daemon(opened: Opened) -> bool:
    """Whether the message comes from a mail system, by its sender or the null return path (RFC 5321 4.5.5)."""
    return opened.headers.get("return-path", "").strip() == "<>" or is_daemon(opened)


def is_daemon(opened: Opened) -> bool:
    """Whether its sender is called as mail systems are."""
    return any(DAEMON.search(opened.headers.get(name, "")) for name in ("from", "sender", "x-mailer"))


def is_by_people(opened: Opened) -> bool:
    """Whether a person forwards or answers something, or writes to a list: a bounce may be in it, but is not theirs."""
    is_passed_on = _PASSED_ON.match(opened.headers.get("subject", "")) or "list-id" in opened.headers
    return bool(is_passed_on) and not is_from_daemon(opened)


def read_plain(opened: Opened) -> Iterator[Report]:
    """The reports that can be read out of the sentences of a bounce; none where it is no bounce, or names nobody."""
    notice = opened.notice
    failed = opened.headers.get("x-failed-recipients", "")
    if not failed and not _is_bounce(opened):
        return
    emails = _split(failed) or _find_recipients(opened)
    for email in emails[:MOST_RECIPIENTS]:
        said = (find_context(notice, {email}) if len(emails) > 1 else "") or notice[:4_000]
        report = make_bounce(email, "\n".join(_REPLY.findall(said)), None)
        yield make_bounce(email, said, None) if report.reason == Reason.NONE else report


def _is_bounce(opened: Opened) -> bool:
    told = bool(_SUBJECT.search(opened.headers.get("subject", "")))
    if is_from_daemon(opened):
        return told or bool(_FAILED.search(opened.notice))
    if told and _FAILED.search(opened.notice):
        numbers = find_numbers(opened.notice)
        return bool(opened.copy or numbers.status or numbers.code)
    return bool(_TRANSCRIPT.search(opened.notice))


def _split(failed: str) -> list[str]:
    return list(dict.fromkeys(email for email, _ in find_addresses(failed)))


def _find_recipients(opened: Opened) -> list[str]:
    """Whom a notice names, its own sender and ours aside; the best placed ones, or whom the mail was to."""
    notice = opened.notice
    senders = {find_address(opened.returned.get(name, "")) for name in ("from", "return-path", "reply-to", "sender")}
    senders |= {find_address(opened.headers.get(name, "")) for name in ("from", "to", "return-path", "reply-to")}
    ours = {sender.lower() for sender in senders if sender}
    wanted = find_address(opened.returned.get("to", ""))
    if wanted:
        ours.discard(wanted.lower())
    well: list[str] = []
    badly: list[str] = []
    for email, start in find_addresses(notice):
        before = notice[max(0, start - 80) : start]
        if email.lower() in ours or _OURS.match(email) or _BEFORE_SENDER.search(before):
            continue
        (well if _BEFORE_RECIPIENT.search(before) else badly).append(email)
    return _once(well) or _once(badly) or ([wanted] if wanted else [])


def _once(emails: Sequence[str]) -> list[str]:
    return list({email.lower(): email for email in reversed(emails)}.values())[::-1]
