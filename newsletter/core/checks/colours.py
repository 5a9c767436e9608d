"""Colours as mails write them, and the contrast of two of them (WCAG 2.2, 1.4.3).

Reads hexadecimal notation, rgb() and rgba(), and the sixteen names of HTML 4 with `transparent`; nothing else.
"""

import re
from typing import NamedTuple

_HEX = re.compile("#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_FUNCTION = re.compile(r"rgba?\(([^()]+)\)")
_NAMES = {
    "black": "#000000",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "grey": "#808080",
    "white": "#ffffff",
    "maroon": "#800000",
    "red": "#ff0000",
    "purple": "#800080",
    "fuchsia": "#ff00ff",
    "green": "#008000",
    "lime": "#00ff00",
    "olive": "#808000",
    "yellow": "#ffff00",
    "navy": "#000080",
    "blue": "#0000ff",
    "teal": "#008080",
    "aqua": "#00ffff",
    "transparent": "#00000000",
}


class Colour(NamedTuple):
    """Red, green, blue and opacity, each from 0 to 1."""

    red: float
    green: float
    blue: float
    opacity: float = 1.0

    def over(self, below: "Colour") -> "Colour":
        """What is seen where this lies on an opaque colour."""
        mixed = (mine * self.opacity + its * (1 - self.opacity) for mine, its in zip(self[:3], below[:3], strict=True))
        return Colour(*mixed)

    @property
    def luminance(self) -> float:
        """How bright it is, by WCAG's formula."""
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in self[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def __str__(self) -> str:
        return "#" + "".join(f"{round(part * 255):02x}" for part in self[:3])


def parse_colour(text: str) -> Colour | None:
    """The colour that is written so; None where it cannot be read."""
    text = text.strip().lower()
    text = _NAMES.get(text, text)
    if found := _HEX.fullmatch(text):
        digits = found[1] if len(found[1]) > 4 else "".join(digit * 2 for digit in found[1])
        return Colour(*(int(digits[at : at + 2], 16) / 255 for at in range(0, len(digits), 2)))
    if found := _FUNCTION.fullmatch(text):
        return _parse_parts(re.split(r"[\s,/]+", found[1].strip()))
    return None


def _parse_parts(parts: list[str]) -> Colour | None:
    if len(parts) not in (3, 4):
        return None
    try:
        values = [float(part[:-1]) / 100 if part.endswith("%") else float(part) / 255 for part in parts[:3]]
        values += [float(part[:-1]) / 100 if part.endswith("%") else float(part) for part in parts[3:]]
    except ValueError:
        return None
    if any(value != value for value in values):  # float() reads `nan`
        return None
    return Colour(*(min(1.0, max(0.0, value)) for value in values))


def measure_contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21 (black and white); both opaque."""
    dark, bright = sorted((one.luminance, other.luminance))
    return (bright + 0.05) / (dark + 0.05)
