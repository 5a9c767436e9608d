"""A mail's HTML as other eyes see it: in the light, in its own dark scheme, or darkened by a client that asks nobody.

For looking at in a browser, whatever scheme that browser is set to; no mail goes out so.
"""

import colorsys
import re
from enum import StrEnum

_DARK_QUERY = re.compile(r"\(prefers-color-scheme:\s*dark\)")
_STYLE = re.compile(r'(style|bgcolor)="([^"]*)"')
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})([0-9a-fA-F]{2})?\b")


class Scheme(StrEnum):
    """How a mail is lit. `forced`: every light colour is made dark and every dark one light, as Outlook does."""

    LIGHT = "light"
    DARK = "dark"
    FORCED = "forced"


def light_html(html: str, scheme: Scheme) -> str:
    """The HTML part with its dark rules always on, always off, or off and all its colours turned over."""
    if scheme is Scheme.DARK:
        return _DARK_QUERY.sub("all", html)
    light = _DARK_QUERY.sub("not all", html)
    return _STYLE.sub(_turn_style, light) if scheme is Scheme.FORCED else light


def turn_colour(text: str) -> str:
    """Every colour in a text (`#rrggbb`) as a client that darkens by force shows it."""
    return _COLOUR.sub(_turn_one, text)


def _turn_style(attribute: re.Match[str]) -> str:
    return f'{attribute[1]}="{turn_colour(attribute[2])}"'


def _turn_one(colour: re.Match[str]) -> str:
    red, green, blue = (int(colour[1][start : start + 2], 16) / 255 for start in (0, 2, 4))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    turned = colorsys.hls_to_rgb(hue, 1 - lightness, saturation)
    return "#" + "".join(f"{round(part * 255):02x}" for part in turned) + (colour[2] or "")
