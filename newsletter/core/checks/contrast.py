"""Checks of contrast (WCAG AA): all text against its background, in the light, in the mail's own dark and forced."""

from collections.abc import Iterable, Iterator

from newsletter.core.checks.cascade import Look, walk_looks
from newsletter.core.checks.colours import measure_contrast
from newsletter.core.checks.css import parse_sheets
from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.page import Element, fold_white, parse_page
from newsletter.core.mails.viewing import Scheme, light_html

NORMAL, LARGE = 4.5, 3.0
SHOWN_CHARACTERS = 40


def check_contrast(mail: CheckedMail) -> Iterator[Finding]:
    """One finding for each pair of colours that is too close, at the first text that has it."""
    yield from _check_scheme("light", walk_looks(mail.page, mail.rules, "light"))
    if any("prefers-color-scheme" in query for rule in mail.rules for query in rule.media):
        yield from _check_scheme("dark", walk_looks(mail.page, mail.rules, "dark"))
    forced = parse_page(light_html(mail.find_part("text/html").text, Scheme.FORCED))
    yield from _check_scheme("forced", walk_looks(forced, parse_sheets(forced), "forced"))


def _check_scheme(scheme: str, looks: Iterable[tuple[Element, Look]]) -> Iterator[Finding]:
    told = set()
    for element, look in looks:
        text = _find_text(element)
        if not text or look.pixels == 0 or (key := (look.colour, look.background, look.is_large, look.unread)) in told:
            continue
        told.add(key)
        if look.unread and scheme == "forced":
            continue  # it was told already
        if look.unread:
            remedy = "Write colours as #rrggbb"
            said = f"“{look.unread}”, around the text “{text}”, cannot be read as a colour. {remedy}"
            yield find("contrast.unread", element.place, said)
        elif (ratio := measure_contrast(look.colour.over(look.background), look.background)) < _demand(look):
            yield find(f"contrast.{scheme}", element.place, _describe(text, look, ratio, scheme))


def _describe(text: str, look: Look, ratio: float, scheme: str) -> str:
    seen = look.colour.over(look.background)
    return (
        f"the text “{text}” is {seen} on {look.background} in the {scheme} scheme: the contrast is {ratio:.2f}, and "
        f"{_demand(look)} is demanded. Make one of them {'darker' if scheme == 'light' else 'brighter'} in the template"
    )


def _demand(look: Look) -> float:
    return LARGE if look.is_large else NORMAL


def _find_text(element: Element) -> str:
    """The beginning of the text directly in an element, or an image's alt text, which stands where images are off."""
    own = " ".join(node for node in element.content if isinstance(node, str))
    text = fold_white(element.attributes.get("alt", "") if element.tag == "img" else own)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
