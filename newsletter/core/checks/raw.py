"""Checks of the raw bytes: the headers that the contract names, the one click, and the length of lines."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail

HEADERS = (
    *("From", "To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
    *("Feedback-ID", "MIME-Version", "Content-Type"),
)
QUOTED_OCTETS = 76  # RFC 2045 6.7 (5)
LINE_OCTETS = 998  # RFC 5322 2.1.1
_ADDRESS = re.compile("<([^<>]*)>")
_ONE_CLICK = "List-Unsubscribe=One-Click"
_LISTED = "header List-Unsubscribe"


def check_headers(mail: CheckedMail) -> Iterator[Finding]:
    """Exactly one of each."""
    for name in HEADERS:
        count = len(mail.find_headers(name))
        if not count:
            yield find(
                "header.missing", f"header {name}", f"the mail has no {name}. No template can cause that: report it"
            )
        elif count > 1:
            remedy = "No template can cause that: report it"
            yield find("header.repeated", f"header {name}", f"{name} stands {count} times. {remedy}")


def check_unsubscribe(mail: CheckedMail) -> Iterator[Finding]:
    """List-Unsubscribe (RFC 2369) and its twin (RFC 8058), as mailbox providers read them: undecoded."""
    for value in mail.find_headers("List-Unsubscribe"):
        if "=?" in value:
            remedy = "Shorten NEWSLETTER_BASE_URL"
            yield find(
                "header.encoded", _LISTED, f"List-Unsubscribe holds an encoded word: the one click is lost. {remedy}"
            )
        yield from _check_addresses([a for a in _ADDRESS.findall(value) if a.lower().startswith(("http:", "https:"))])
    for value in mail.find_headers("List-Unsubscribe-Post"):
        if value != _ONE_CLICK:
            said = f"it should be {_ONE_CLICK!r} and is {value!r}: the one click is lost"
            yield find("unsubscribe.one-click", "header List-Unsubscribe-Post", said)


def _check_addresses(addresses: list[str]) -> Iterator[Finding]:
    if len(addresses) != 1:
        remedy = "RFC 8058 wants exactly one: look at NEWSLETTER_BASE_URL"
        said = f"List-Unsubscribe holds {len(addresses) or 'no'} http or https addresses. {remedy}"
        yield find("unsubscribe.address", _LISTED, said)
    elif _is_local(addresses[0]):
        remedy = "Set NEWSLETTER_BASE_URL to the public https address of the pages before sending"
        yield find("unsubscribe.local", _LISTED, f"List-Unsubscribe leads to this machine. {remedy}")
    elif addresses[0].lower().startswith("http:"):
        remedy = "Set NEWSLETTER_BASE_URL to an https address"
        yield find(
            "unsubscribe.insecure", _LISTED, f"List-Unsubscribe leads to http, and RFC 8058 wants https. {remedy}"
        )


def _is_local(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_lines(mail: CheckedMail) -> Iterator[Finding]:
    """The lines as they go out: servers cut, or refuse, what is longer. The first long one of a kind is told."""
    head = mail.eml.partition(b"\r\n\r\n")[0].count(b"\n") + 1
    longest = {"line.long": QUOTED_OCTETS, "line.overlong": LINE_OCTETS}
    if any(part.encoding != "quoted-printable" for part in mail.mime_parts):
        del longest["line.long"]
    for code, octets in longest.items():
        for number, line in enumerate(mail.eml.split(b"\r\n"), 1):
            if len(line) > octets and (code == "line.overlong" or number > head):
                said = (
                    f"the line has {len(line)} octets, and {octets} are allowed. No template can cause that: report it"
                )
                yield find(code, f"mail:{number}", said)
                break
