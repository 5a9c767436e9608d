"""In which language a page or a system mail speaks, and how it says it: gettext, plural forms, dates by locale.

The reader's own language wins, then the browser's, then the service's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.support import NullTranslations
from markupsafe import Markup, escape

from newsletter.sources.catalogues import choose_catalogue

MOST_ACCEPTED = 20


@dataclass(frozen=True, kw_only=True)
class Speech:
    """One language of the pages."""

    language: str
    translations: NullTranslations

    def say(self, message: str, **values: object) -> Markup:
        """A sentence with its values put in, both escaped."""
        return _fill(self.translations.gettext(message), values)

    def say_many(self, one: str, many: str, count: int, **values: object) -> Markup:
        """The same in the form that goes with a number, which it may name as `count`."""
        return _fill(self.translations.ngettext(one, many, count), {"count": count, **values})

    def write_day(self, day: date) -> str:
        """A date in full."""
        return format_date(day, format="full", locale=self._locale)

    def write_moment(self, moment: datetime, zone: ZoneInfo) -> str:
        """A date and a time in a zone."""
        return format_datetime(moment, format="medium", tzinfo=zone, locale=self._locale)

    @property
    def _locale(self) -> Locale:
        return Locale.parse(self.language, sep="-")

    @property
    def context(self) -> dict[str, Any]:
        """What templates need of it."""
        return {
            "_": self.say,
            "ngettext": self.say_many,
            "lang": self.language,
            "dir": self._locale.text_direction,
            "day": self.write_day,
        }


def _fill(text: str, values: Mapping[str, object]) -> Markup:
    return escape(text) % {name: escape(value) for name, value in values.items()} if values else escape(text)


def choose_speech(catalogues: Mapping[str, NullTranslations], *, own: str | None, accepted: str, usual: str) -> Speech:
    """`own` is the reader's language, `accepted` the browser's Accept-Language (RFC 9110 12.5.4), `usual` ours."""
    wanted = [own] if own else _read_accepted(accepted)
    language = choose_catalogue(catalogues, *wanted, usual)
    return Speech(language=language, translations=catalogues[language])


def _read_accepted(header: str) -> list[str]:
    """The languages of the header, the most wanted first; what is none of it is passed over."""
    found: list[tuple[float, str]] = []
    for part in header.split(",")[:MOST_ACCEPTED]:
        tag, _, quality = part.strip().partition(";")
        weight = quality.strip().removeprefix("q=")
        try:
            found.append((float(weight) if weight else 1.0, tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(found, key=lambda one: -one[0]) if weight > 0 and tag and tag != "*"]
