"""Checks of what the HTML says to those who hear it: language, direction, headings, images without sight."""

from collections.abc import Iterator

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.page import HEADINGS
from newsletter.core.model import BlockKind

_NO_LANGUAGE = ("", "und")  # MJML writes lang="und" dir="auto" where a template says nothing


def check_language(mail: CheckedMail) -> Iterator[Finding]:
    """`lang` and `dir` of the html element."""
    element = next(iter(mail.page.find_all("html")), mail.page)
    if element.attributes.get("lang", "").strip().lower() in _NO_LANGUAGE:
        remedy = 'Write <mjml lang="{{ language }}" …>: screen readers choose their voice by it'
        yield find("html.lang", element.place, f"the html element has no lang. {remedy}")
    if element.attributes.get("dir", "").lower() not in ("ltr", "rtl"):
        remedy = 'Write <mjml dir="{{ direction }}" …>'
        yield find("html.dir", element.place, f"the html element has no dir of ltr or rtl. {remedy}")


def check_headings(mail: CheckedMail) -> Iterator[Finding]:
    """One h1, no level left out on the way down, none without text."""
    headings = mail.page.find_all(*HEADINGS)
    first = [element for element in headings if element.tag == "h1"]
    if len(first) != 1:
        place = first[1].place if first else "html:1"
        remedy = "Let the mail's title be its one h1"
        yield find("heading.h1", place, f"the HTML has {len(first) or 'no'} h1. {remedy}")
    above = 0
    for element in headings:
        level = int(element.tag[1])
        if not element.text:
            yield find("heading.empty", element.place, f"an {element.tag} has no text. Fill it, or take it away")
        if above and level > above + 1:
            remedy = f"Make it an h{above + 1}"
            said = f"the {element.tag} “{element.text}” follows an h{above}: a level is left out. {remedy}"
            yield find("heading.skipped", element.place, said)
        above = level


def check_images(mail: CheckedMail) -> Iterator[Finding]:
    """Alt text always (an empty one is right for decoration, which a story's images seldom are), and https."""
    for told in mail.sources:
        for block in (inner for top in told.story.blocks for inner in top.walk()):
            if block.kind is BlockKind.IMAGE and not block.alt:
                remedy = "Say in words what it shows: some readers see nothing else"
                said = f"the image “{block.src}” of a story has no alt text. {remedy}"
                yield find("image.silent", mail.place_in_brief(told.story.line), said)
    for element in mail.page.find_all("img"):
        source, alt = element.attributes.get("src", "").strip(), element.attributes.get("alt")
        place = mail.place_of(element, source)
        if alt is None:
            remedy = 'Say in words what it shows, or write alt="" where it is decoration'
            yield find("image.alt", place, f"the image “{source}” has no alt. {remedy}")
        elif alt.lower().startswith(("http://", "https://")):
            remedy = "Say in words what it shows"
            yield find("image.address", place, f"the image “{source}” is known by the address “{alt}” only. {remedy}")
        if not source.lower().startswith("https://"):
            remedy = "Put it behind an https address"
            yield find("image.source", place, f"the image “{source}” is not loaded over https. {remedy}")
