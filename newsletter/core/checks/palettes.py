"""The contrasts of a theme's colours: which stand on which in a mail, in each scheme (WCAG 2.2, 1.4.3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from newsletter.core.checks.colours import Colour, measure_contrast, parse_colour
from newsletter.core.mails.theme import Palette, Theme
from newsletter.core.mails.viewing import Scheme, turn_colour

LEAST = 4.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Text in one colour of a scheme on another; `#rrggbb`, and how much they differ, from 1 to 21."""

    scheme: Scheme
    ink: str
    background: str
    ink_colour: str
    background_colour: str
    contrast: float

    @property
    def is_enough(self) -> bool:
        """Whether text of any size can be read so."""
        return self.contrast >= LEAST


def list_pairs(theme: Theme) -> Iterator[Pair]:
    """Every pair that stands together in a mail, scheme by scheme."""
    for scheme in Scheme:
        palette = theme.dark if scheme is Scheme.DARK else theme.light
        for ink, background in [
            *product(("text", "soft", "link"), ("page", "paper", "fill")),
            ("button_text", "button"),
        ]:
            colours = [_read(palette, name, scheme) for name in (ink, background)]
            yield Pair(
                scheme=scheme,
                ink=ink,
                background=background,
                ink_colour=str(colours[0]),
                background_colour=str(colours[1]),
                contrast=measure_contrast(*colours),
            )


def _read(palette: Palette, name: str, scheme: Scheme) -> Colour:
    text: str = getattr(palette, name)
    colour = parse_colour(turn_colour(text) if scheme is Scheme.FORCED else text)
    assert colour is not None  # noqa: S101 - a theme takes no other
    return colour
