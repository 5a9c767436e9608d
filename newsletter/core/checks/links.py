"""Checks of links: that they lead somewhere, and say where. What the other side answers is judged here, not asked."""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.page import Element
from newsletter.core.model import fold

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\s\x00-\x20<>\"\\^`{|}\x7f]")  # RFC 3986 lets none of them stand in an address
_MAILBOX = re.compile(r"[^@\s]+@[^@\s]+")
_WEB = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_EDGES = " .,:;!?…»«›‹>→←()[]\"'“”"
# In the languages that the built-in templates speak.
_VAGUE = frozenset(
    text
    for row in (
        "here|click here|click|link|this link|this|more|read more|learn more|see more|read on|continue|details",
        "hier|hier klicken|klick hier|klicken sie hier|mehr|mehr lesen|mehr erfahren|weiter|weiterlesen|dieser link",
        "ici|cliquez ici|cliquer ici|lien|ce lien|plus|lire la suite|lire plus|en savoir plus|la suite",
        "aquí|haz clic aquí|haga clic aquí|clic aquí|enlace|este enlace|más|leer más|ver más|saber más",
        "هنا|اضغط هنا|انقر هنا|المزيد|اقرأ المزيد|رابط",
        "یہاں|یہاں کلک کریں|مزید|مزید پڑھیں|لنک",
        "כאן|לחצו כאן|לחץ כאן|קישור|קישור זה|הקישור הזה|עוד|קראו עוד|קרא עוד|לקריאה נוספת|להמשך קריאה|פרטים נוספים",
    )
    for text in row.split("|")
)


class State(Enum):
    """What came of asking for a page."""

    ALIVE = "alive"
    DEAD = "link.dead"
    PRIVATE = "link.private"
    UNANSWERED = "link.unanswered"


class Answer(NamedTuple):
    """What an address answered; `reason` is a clause such as “it answers 404 (Not Found)”."""

    state: State
    reason: str = ""


def check_links(mail: CheckedMail) -> Iterator[Finding]:
    """Every link of the HTML part, by itself."""
    for element in mail.page.find_all("a"):
        if "name" in element.attributes and "href" not in element.attributes:  # an anchor, no link
            continue
        address = element.attributes.get("href", "").strip()
        place = mail.place_of(element, address)
        yield from _check_address(address, place, is_own=_is_own(mail, address))
        yield from _check_text(element, address, place)


def list_web_links(mail: CheckedMail) -> dict[str, str]:
    """The http and https addresses of others that can be asked for, each with its place."""
    found: dict[str, str] = {}
    for element in mail.page.find_all("a"):
        address = element.attributes.get("href", "").strip()
        if _split_web(address) and not _is_own(mail, address):
            found.setdefault(address, mail.place_of(element, address))
    return found


def judge_answers(places: Mapping[str, str], answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """What the answers come to."""
    for address, answer in answers.items():
        if answer.state is not State.ALIVE:
            yield find(answer.state.value, places[address], f"{_quote(address)}: {answer.reason}")


def _is_own(mail: CheckedMail, address: str) -> bool:
    base = mail.sender.base_url.rstrip("/")
    return address in mail.list_own_links() or address == base or address.startswith(f"{base}/")


def _check_address(address: str, place: str, *, is_own: bool) -> Iterator[Finding]:
    scheme = address.partition(":")[0].lower() if _SCHEME.match(address) else ""
    if not address or address.startswith("#"):
        yield find("link.empty", place, "a link leads nowhere. Give it an address, or take the link away")
    elif not scheme:
        remedy = "Begin it with https://"
        yield find("link.relative", place, f"a mail has no place that {_quote(address)} could be relative to. {remedy}")
    elif scheme not in ("http", "https", "mailto"):
        remedy = "Link with http, https or mailto"
        yield find("link.scheme", place, f"no mail client follows {_quote(address)}. {remedy}")
    elif _split_web(address) is None and not (scheme == "mailto" and _is_mailto(address)):
        yield find("link.syntax", place, f"{_quote(address)} cannot be read as an address. Write it anew")
    elif scheme == "http" and not is_own:
        yield find(
            "link.insecure", place, f"{_quote(address)} is not https. See whether the page is there by https too"
        )


def _check_text(element: Element, address: str, place: str) -> Iterator[Finding]:
    text = element.text or " ".join(image.attributes.get("alt", "") for image in element.find_all("img")).strip()
    if not text:
        yield find("link.silent", place, f"the link to {_quote(address)} has no text. Say where it leads")
    elif fold(text).strip(_EDGES) in _VAGUE:
        remedy = "Let the link's words say what is there: some readers hear only the links"
        yield find("link.vague", place, f"the link “{text}” does not say where it leads. {remedy}")
    elif _WEB.fullmatch(text) and (said := _host(text if "://" in text else f"https://{text}")):
        leads = _host(address)
        if leads and not f".{leads}".endswith(f".{said}") and not f".{said}".endswith(f".{leads}"):
            remedy = "Filters take that for fraud: make both the same, or use words"
            yield find("link.mismatch", place, f"a link says “{text}” and leads to {leads}. {remedy}")


def _split_web(address: str) -> SplitResult | None:
    """The parts of an http or https address; None where it is none, or cannot be read."""
    if _FORBIDDEN.search(address):
        return None
    try:
        split = urlsplit(address)
        host, _ = split.hostname, split.port
    except ValueError:
        return None
    whole = bool(host) and ("" not in str(host).removesuffix(".").split(".") or ":" in str(host))
    return split if split.scheme in ("http", "https") and whole else None


def _is_mailto(address: str) -> bool:
    return not _FORBIDDEN.search(address) and bool(_MAILBOX.fullmatch(address[len("mailto:") :].partition("?")[0]))


def _host(address: str) -> str:
    split = _split_web(address)
    return (split.hostname or "").removeprefix("www.") if split else ""


def _quote(address: str) -> str:
    return f"“{address if len(address) <= 120 else address[:119] + '…'}”"
