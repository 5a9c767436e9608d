"""What an element looks like: colour, background, size and weight of its text, by the cascade and by inheritance.

Limits: the properties of `Look` and no others; sizes in px, pt, em, rem and %; opacity counts only where it is 0; the
colour of a background image, and what positioned elements cover, is not known. css.py and colours.py state theirs.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from newsletter.core.checks.colours import Colour, parse_colour
from newsletter.core.checks.css import Declaration, Rule, applies, match_selector, parse_declarations
from newsletter.core.checks.page import UNSEEN, Element

ROOT_PIXELS = 16.0
_SIZE = re.compile(r"([\d.]+)(px|pt|em|rem|%)")
_LARGER = {"h1": 2.0, "h2": 1.5, "h3": 1.17, "h5": 0.83, "h6": 0.67, "small": 0.83, "pre": 0.81, "code": 0.81}
_BOLD = ("h1", "h2", "h3", "h4", "h5", "h6", "th", "b", "strong")
# Words of a `background` that are no colour.
_NO_COLOUR = re.compile(
    r"none|initial|unset|(?:no-)?repeat(?:-[xy])?|fixed|scroll|local|top|left|right|bottom|center|/|[\d.-].*"
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How text directly in an element is shown; `unread` is a colour or background that cannot be read."""

    colour: Colour
    background: Colour
    pixels: float = ROOT_PIXELS
    bold: bool = False
    hidden: bool = False
    unread: str = ""

    @property
    def is_large(self) -> bool:
        """Whether it is large by WCAG: 18 points, or 14 in bold."""
        return self.pixels >= 24 or (self.bold and self.pixels >= 18.66)


LIGHT = Look(colour=Colour(0, 0, 0), background=Colour(1, 1, 1))
DARK = Look(colour=Colour(1, 1, 1), background=Colour(0x12 / 255, 0x12 / 255, 0x12 / 255))
"""What browsers begin with, the dark where a page says that it has a dark scheme."""
FORCED = Look(colour=Colour(1, 1, 1), background=Colour(0, 0, 0))
_BEGINNINGS = {"light": LIGHT, "dark": DARK, "forced": FORCED}
_LINKS = {
    "light": Colour(0, 0, 0xEE / 255),
    "dark": Colour(0x9E / 255, 0x9E / 255, 1),
    "forced": Colour(0x11 / 255, 0x11 / 255, 1),
}


def walk_looks(page: Element, rules: Sequence[Rule], scheme: str) -> Iterator[tuple[Element, Look]]:
    """Every element that is shown in a scheme, `light`, `dark` or `forced`, with its look, in the page's order.

    Of a page that is `forced`, the colours are those that the client has turned already.
    """
    valid = [rule for rule in rules if applies(rule.media, "dark" if scheme == "dark" else "light")]
    yield from _walk(page, _BEGINNINGS[scheme], valid, scheme)


def _walk(element: Element, above: Look, rules: Sequence[Rule], scheme: str) -> Iterator[tuple[Element, Look]]:
    look = _find_look(element, above, rules, scheme)
    if look.hidden or element.tag in UNSEEN:
        return
    yield element, look
    for node in element.content:
        if isinstance(node, Element):
            yield from _walk(node, look, rules, scheme)


def _find_look(element: Element, above: Look, rules: Sequence[Rule], scheme: str) -> Look:
    look = replace(
        above,
        pixels=above.pixels * _LARGER.get(element.tag, 1.0),
        bold=above.bold or element.tag in _BOLD,
        hidden=above.hidden or "hidden" in element.attributes,
    )
    if element.tag == "a" and "href" in element.attributes:
        look = replace(look, colour=_LINKS[scheme])
    for declaration in _cascade(element, rules):
        look = _apply(look, above, declaration)
    return look


def _cascade(element: Element, rules: Sequence[Rule]) -> list[Declaration]:
    """The element's declarations, the strongest last."""
    found: list[tuple[tuple[bool, bool, tuple[int, int, int]], Declaration]] = []
    for rule in rules:
        if (specificity := match_selector(rule.selector, element)) is not None:
            found += (((d.important, False, specificity), d) for d in rule.declarations)
    inline = parse_declarations(element.attributes.get("style", ""))
    found += (((d.important, True, (0, 0, 0)), d) for d in inline)
    return [declaration for _, declaration in sorted(found, key=lambda pair: pair[0])]


def _apply(look: Look, above: Look, declaration: Declaration) -> Look:
    name, value = declaration.name, declaration.value.lower()
    match name:
        case "color":
            return _set_colour(look, above, value)
        case "background" | "background-color":
            return _set_background(look, above, value)
        case "font-size":
            return replace(look, pixels=_measure(value, above.pixels))
        case "font-weight":
            number = int(value) if value.isdecimal() else None
            bold = (
                above.bold if value == "inherit" else number >= 600 if number is not None else value.startswith("bold")
            )
            return replace(look, bold=bold)
        case "display" | "visibility" | "opacity":
            return replace(look, hidden=above.hidden or value in ("none", "hidden", "0"))
    return look


def _set_colour(look: Look, above: Look, value: str) -> Look:
    if value in ("inherit", "currentcolor", "unset"):
        return replace(look, colour=above.colour)
    if colour := parse_colour(value):
        return replace(look, colour=colour, unread=above.unread)
    return replace(look, unread=value)


def _set_background(look: Look, above: Look, value: str) -> Look:
    if value == "inherit":
        return replace(look, background=above.background)
    words = re.findall(r"[\w-]+\([^()]*\)|[^\s,]+", value)
    colours = [colour for word in words if (colour := parse_colour(word))]
    unread = [word for word in words if not parse_colour(word) and not _NO_COLOUR.fullmatch(word)]
    if unread:
        return replace(look, unread=value)
    background = colours[-1].over(above.background) if colours else above.background
    return replace(look, background=background, unread=above.unread)


def _measure(value: str, above: float) -> float:
    """A font's size in pixels; as that around it where it cannot be read."""
    if value == "0":
        return 0.0
    found = _SIZE.fullmatch(value)
    if not found:
        return above
    try:
        number = float(found[1])
    except ValueError:
        return above
    return number * {"px": 1.0, "pt": 4 / 3, "em": above, "rem": ROOT_PIXELS, "%": above / 100}[found[2]]
