"""How an editor looks at a mail: all of it stands in the address, so a view can be shared. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from newsletter.core.errors import ConfigError
from newsletter.core.mails.viewing import Scheme

WIDTHS = {"phone": 375, "tablet": 600, "desktop": 900}
PARTS = ("html", "text", "headers", "mjml", "source", "eml")
NARROWEST, WIDEST = 240, 2400


@dataclass(frozen=True, kw_only=True)
class Look:
    """As which person or with which topics, how wide, how lit, with images or without, and which part.

    Without a `brief` it is the sample, on the page of a theme.
    """

    brief: str = ""
    theme: str = ""
    email: str = ""
    topics: str = ""
    width: int = WIDTHS["desktop"]
    scheme: Scheme = Scheme.LIGHT
    images: bool = True
    part: str = ""
    gathered: bool = False
    without_held: bool = False

    def change(self, **changes: object) -> str:
        """The address of the same look but for these."""
        return replace(self, **changes).address  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        """Where this look is; what is as usual is left out."""
        return self._write(self._path)

    @property
    def compare_address(self) -> str:
        """Where the same mail stands in several looks side by side."""
        return self._write(f"{self._path}/compare")

    @property
    def checks_address(self) -> str:
        """Where it stands what is wrong with the mail."""
        return self._write(f"{self._path}/checks")

    @property
    def test_address(self) -> str:
        """Where the mail can be sent to try it."""
        return self._write(f"{self._path}/test")

    @property
    def _path(self) -> str:
        return f"/preview/{quote(self.brief, safe='')}" if self.brief else f"/themes/{quote(self.theme, safe='')}"

    def _write(self, path: str) -> str:
        usual = Look(brief=self.brief)
        given = {
            "as": self.email,
            "topics": self.topics,
            "theme": self.theme if self.brief else "",
            "width": str(self.width) if self.width != usual.width else "",
            "scheme": str(self.scheme) if self.scheme != usual.scheme else "",
            "images": "" if self.images else "off",
            "part": self.part,
            "gathered": "on" if self.gathered else "",
            "held": "out" if self.without_held else "",
        }
        query = urlencode({name: value for name, value in given.items() if value}, safe="@,*")
        return f"{path}?{query}" if query else path


def read_look(brief: str, query: Mapping[str, str], *, theme: str = "") -> Look:
    """The look that an address asks for; ConfigError naming what in it cannot be."""
    part, width, scheme = query.get("part", ""), query.get("width", ""), query.get("scheme", "light")
    if part and part not in PARTS:
        raise ConfigError(f"there is no part {part[:40]!r} of a mail; there are {', '.join(PARTS)}")
    if scheme not in [*Scheme]:
        raise ConfigError(f"there is no scheme {scheme[:40]!r}; there are {', '.join(Scheme)}")
    wide = WIDTHS.get(width) or (int(width) if width.isascii() and width.isdecimal() and len(width) < 6 else 0)
    if width and not NARROWEST <= wide <= WIDEST:
        raise ConfigError(f"the width {width[:40]!r} is no number of pixels from {NARROWEST} to {WIDEST}")
    return Look(
        brief=brief,
        theme=theme or query.get("theme", ""),
        email=query.get("as", "").strip(),
        topics=",".join(topic.strip() for topic in query.get("topics", "").split(",") if topic.strip()),
        width=wide or WIDTHS["desktop"],
        scheme=Scheme(scheme),
        images=query.get("images", "") != "off",
        part=part,
        gathered=query.get("gathered") == "on",
        without_held=query.get("held") == "out",
    )
