"""Checks of what the law and mailbox providers want at the end of both parts: the ways out, and who writes."""

from collections.abc import Iterator

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.mails.quoted import clean_text

_LINKS = {"unsubscribe": "unsubscribe link", "preferences": "link to the preferences", "view": "link to the web copy"}


def check_footer(mail: CheckedMail) -> Iterator[Finding]:
    """In the HTML the addresses must be links, in the text words of their own."""
    linked = {element.attributes.get("href", "").strip() for element in mail.page.find_all("a")}
    words = set(mail.text.split())
    for name, called in _LINKS.items():
        for part, found in (("html", linked), ("text", words)):
            if getattr(mail.links, name) not in found:
                remedy = f"Print {{{{ slot.{name} }}}} in the template"
                yield find(f"footer.{name}", f"{part}:1", f"the {_name(part)} part has no {called}. {remedy}")
    yield from _check_address(mail)


def _check_address(mail: CheckedMail) -> Iterator[Finding]:
    if not mail.sender.postal_address:
        remedy = "Many laws want it in every newsletter: set NEWSLETTER_POSTAL_ADDRESS"
        yield find("footer.no-address", "html:1", f"the mail names no postal address. {remedy}")
        return
    address = _fold(clean_text(mail.sender.postal_address))
    for part, text in (("html", mail.page.text), ("text", mail.text)):
        if address not in _fold(text):
            remedy = "Print {{ sender.postal_address }} in the template"
            yield find("footer.address", f"{part}:1", f"the {_name(part)} part lacks the postal address. {remedy}")


def _name(part: str) -> str:
    return {"html": "HTML", "text": "text"}[part]


def _fold(text: str) -> str:
    return " ".join(text.split())
