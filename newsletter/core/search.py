"""What an operator types to find deliveries: `to: state: code: issue: topic: since:`, and a bare word for `to:`. Pure.

`to:ann@example.org` one address, `to:@example.org` a domain, `to:ann` what an address begins with;
`state:rejected` or a reason of exclusion; `code:550`, `code:5.1.1`, `code:4` what a reply's code begins with;
`issue:7` or `issue:latest`; `topic:sport`; `since:2h`, `since:2026-11-25` or `since:2026-11-25T08:00` (UTC).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from newsletter.core.errors import QueryError
from newsletter.core.model import DeliveryState, Exclusion

KEYS = ("to", "state", "code", "issue", "topic", "since")
STATES = (
    *(DeliveryState.QUEUED, "deferred", DeliveryState.SENDING, DeliveryState.ACCEPTED),
    *(DeliveryState.REJECTED, DeliveryState.UNCERTAIN, DeliveryState.EXCLUDED),
)
LATEST = "latest"
MOST_CHARACTERS = 500
MOST_ISSUE = 2**31
CODE = r"[245](?:[0-9]{0,2}|\.[0-9]{1,3}|\.[0-9]{1,3}\.[0-9]{1,3})"
"""A reply code or an enhanced one, or how one begins."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is asked for; a field that is empty or None asks for nothing. `issue` 0 is the latest."""

    to: str = ""
    state: str = ""
    reason: str = ""
    code: str = ""
    issue: int | None = None
    topic: str = ""
    since: datetime | None = None


def parse_search(text: str, *, now: datetime) -> Search:
    """Read a line of the grammar; QueryError naming the word that does not fit."""
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"the search is longer than {MOST_CHARACTERS} characters")
    given: dict[str, Any] = {}
    for word in text.split():
        key, colon, value = word.partition(":")
        if not colon:
            key, value = "to", word
        if key not in KEYS:
            raise QueryError(f"{word!r}: there is no {key!r} to search by; there are {', '.join(KEYS)}")
        if not value:
            raise QueryError(f"{word!r} says nothing after the colon")
        if key in given:
            raise QueryError(f"{word!r}: {key!r} is asked for twice")
        given[key] = value
    state = given.get("state", "")
    if state and state not in STATES and state not in [*Exclusion]:
        raise QueryError(f"'state:{state}': there is no such state; there are {', '.join([*STATES, *Exclusion])}")
    is_reason = state in [*Exclusion]
    return Search(
        to=given.get("to", "").casefold(),
        state=DeliveryState.EXCLUDED if is_reason else state,
        reason=state if is_reason else "",
        code=_parse_code(given.get("code", "")),
        issue=_parse_issue(given["issue"]) if "issue" in given else None,
        topic=given.get("topic", ""),
        since=_parse_since(given["since"], now) if "since" in given else None,
    )


def _parse_code(text: str) -> str:
    if text and not re.fullmatch(CODE, text):
        raise QueryError(f"'code:{text}' is neither a reply code such as 550 nor an enhanced one such as 5.1.1")
    return text


def _parse_issue(text: str) -> int:
    if text == LATEST:
        return 0
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 0 < int(text) < MOST_ISSUE:
        raise QueryError(f"'issue:{text}' is neither the number of an issue nor {LATEST!r}")
    return int(text)


def _parse_since(text: str, now: datetime) -> datetime:
    try:
        if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise QueryError(f"'since:{text}' is neither a span such as 2h nor a time such as 2026-11-25T08:00") from None
