"""Delivery status notifications (RFC 3464, RFC 6533): a report for each recipient of whom there are fields."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from newsletter.core.bounces.opening import Fields, Opened, decode_words
from newsletter.core.bounces.reasons import find_kind, find_reason
from newsletter.core.bounces.report import Kind, Reason, Report

MOST_SAID = 500
MOST_ADDRESSES = 500
MOST_RECIPIENTS = 100
_LABEL = r"(?:[a-zA-Z0-9\u00a1-\u1fff-]{1,63}|[\u2e80-\uffef]{1,63})"  # jp, bücher, 例え; not all of jp例え
_ADDRESS = re.compile(r"(?:\"[^\"\s]{1,62}\"|[\w.!#$%&'*+/=?^`{|}~-]{1,64})@" + rf"(?:{_LABEL}\.)*{_LABEL}")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]|\.\d)")
_CODE = re.compile(r"(?<![\d.:@/-])([245]\d\d)(?=[\s-]|$|;|:)(?!\s*(?:bytes|octets|secs?|seconds|hours|days|min))")
_ESCAPED = re.compile(r"\\x\{([0-9A-F]{2,5})\}")
_DATA = re.compile(r"\bend of data\b|(?:after|reply to) (?:end of )?DATA", re.IGNORECASE)
_TALK_DATA = re.compile(r"^>>> ?DATA", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """The enhanced code and the reply code in a text."""

    status: str | None = None
    code: int | None = None


def find_address(text: str) -> str | None:
    """The first address in a text."""
    found = _ADDRESS.search(text)
    return _tidy(found[0]) if found else None


def find_addresses(text: str) -> Iterator[tuple[str, int]]:
    """The addresses in a text, each with where it begins; the first MOST_ADDRESSES."""
    return ((_tidy(found[0]), found.start()) for found in islice(_ADDRESS.finditer(text), MOST_ADDRESSES))


def _tidy(address: str) -> str:
    return address.lstrip("'`*").rstrip(".'")


def find_numbers(text: str) -> Numbers:
    """The first enhanced code and the first reply code."""
    status, code = _STATUS.search(text), _CODE.search(text)
    return Numbers(status=status[1] if status else None, code=int(code[1]) if code else None)


def read_status(opened: Opened) -> Iterator[Report]:
    """The reports that fields of the message give; none where it has no such part."""
    told: set[str] = set()
    for block in opened.blocks[: MOST_RECIPIENTS + 1]:
        report = _read_block(block, opened)
        if report and report.email and report.email.lower() not in told:
            told.add(report.email.lower())
            yield report


def make_bounce(
    email: str, said: str, status: str | None, *, original: str | None = None, data: bool = False
) -> Report:
    """A report of a bounce from what was said; `status` is one given by a field, the words may know better."""
    numbers = find_numbers(said)
    status = _choose(status, numbers.status)
    reason = find_reason(said, status, numbers.code, after_data=data or bool(_DATA.search(said)))
    return Report(
        kind=find_kind(reason, status, numbers.code),
        email=email,
        original=original if original and original.lower() != email.lower() else None,
        status=status,
        code=numbers.code,
        reason=reason,
        text=" ".join(said.split())[:MOST_SAID],
    )


def _choose(given: str | None, said: str | None) -> str | None:
    """The more telling of two enhanced codes: x.0.0 says nothing."""
    if given and not given.endswith(".0.0"):
        return given
    return said or given


def _read_block(block: Fields, opened: Opened) -> Report | None:
    final, original = (_read_recipient(block.get(f"{which}-recipient", "")) for which in ("final", "original"))
    if not (email := final or original):
        return None
    action, status = block.get("action", "").lower(), find_numbers(block.get("status", "")).status
    if action.startswith(("delivered", "relayed", "expanded")):
        return Report(kind=Kind.NO_REPORT, email=email, status=status)
    said, context = (
        _drop_type(decode_words(block.get("diagnostic-code", ""))),
        find_context(opened.notice, {email, original or email}),
    )
    data = bool(_DATA.search(context) or (_TALK_DATA.search(context) and _is_of_mailbox(status)))
    report = make_bounce(email, said or context, status, original=original, data=data)
    if report.reason is Reason.NONE and said and context:
        report = make_bounce(email, f"{said} {context}", status, original=original, data=data)
    if action.startswith("delayed"):
        return replace(report, kind=Kind.SOFT, reason=Reason.DELAYED)
    return report


def _read_recipient(value: str) -> str | None:
    """The address in a field of a recipient; other than ASCII it may be escaped (RFC 6533 3)."""
    return find_address(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), _drop_type(value)))


def _is_of_mailbox(status: str | None) -> bool:
    """Whether a status says that the mailbox is there: it is about its state, or a rule of its (RFC 3463 3.3, 3.8)."""
    return (status or "").startswith(("5.2.", "5.7."))


def _drop_type(value: str) -> str:
    """The value of a field without the type before it (`rfc822;`, `smtp;`)."""
    return re.sub(r"^\s*[\w-]{1,30}\s*;", "", value, count=1).strip()


@lru_cache(maxsize=1)
def _list_addresses(notice: str) -> list[tuple[str, int]]:
    """The same as a list, kept for the next recipient of the message."""
    return list(find_addresses(notice))


def find_context(notice: str, emails: set[str]) -> str:
    """What a notice says where it names an address: that line and what follows, up to where it names another."""
    wanted = {email.lower() for email in emails}
    pieces: list[str] = []
    found = _list_addresses(notice)
    for number, (email, start) in enumerate(found):
        if email.lower() not in wanted:
            continue
        begin = notice.rfind("\n", 0, start) + 1
        later = (at for other, at in found[number + 1 :] if other.lower() not in wanted)
        end = next(later, len(notice))
        pieces.append(notice[begin : min(end, begin + 1_000)])
        if len(pieces) == 4:
            break
    return "\n".join(pieces)
