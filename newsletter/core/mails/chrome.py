"""The words of a mail that are not its stories', in every language the service speaks (templates/languages.toml).

Plural forms go by the CLDR categories, dates by the language's own full form, both from Babel.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date

from newsletter.core.errors import TemplateError
from newsletter.core.mails.templates import LANGUAGES, TemplateFile, Templates, find_template

FALLBACK_LANGUAGE = "en"
STRINGS = (
    "headlines",
    "view",
    "continue_reading",
    "source",
    "image",
    "why",
    "all_topics",
    "separator",
    "topics",
    "pause",
    "other",
    "short_subject",
    "unsubscribe",
    "archive",
    "preheader",
)
PLURALS = ("subject", "more", "reading")


@dataclass(frozen=True, kw_only=True)
class Chrome:
    """One language's words: `strings` by name, `plurals` by name and CLDR category (`other` is always there)."""

    language: str
    strings: Mapping[str, str]
    plurals: Mapping[str, Mapping[str, str]]

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return find_text_direction(self.language)

    def format_day(self, day: date) -> str:
        """The date in full, as in Tuesday, March 3, 2026."""
        return format_day(day, self.language)


def load_chrome(templates: Templates) -> dict[str, Chrome]:
    """Read languages.toml. TemplateError with file, language and name when it is wrong or something lacks."""
    file = find_template(templates, LANGUAGES)
    try:
        tables = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{file.path} is not TOML: {error}") from None
    found = {language: _read_language(file, language, table) for language, table in tables.items()}
    if FALLBACK_LANGUAGE not in found:
        raise TemplateError(f"{file.path} has no language {FALLBACK_LANGUAGE!r}, which stands in where one lacks")
    return found


def chrome_languages(templates: Templates) -> tuple[str, ...]:
    """The languages that a mail's chrome can be in, in the file's order."""
    return tuple(load_chrome(templates))


def choose_chrome(chromes: Mapping[str, Chrome], language: str) -> Chrome:
    """The language itself, else the one it is a kind of (`de` for `de-AT`), else English."""
    return chromes.get(language) or chromes.get(language.partition("-")[0]) or chromes[FALLBACK_LANGUAGE]


def find_text_direction(language: str) -> str:
    """`ltr` or `rtl`."""
    return _find_locale(language).text_direction


@lru_cache(maxsize=1_024)
def format_day(day: date, language: str) -> str:
    """The date in full in a language of the chrome."""
    return format_date(day, format="full", locale=_find_locale(language))


def choose_form(forms: Mapping[str, str], language: str, count: int) -> str:
    """The plural form that this language uses for this count."""
    return forms.get(_find_locale(language).plural_form(count), forms["other"])


@lru_cache(maxsize=64)
def _find_locale(language: str) -> Locale:
    return Locale.parse(language, sep="-")


def _read_language(file: TemplateFile, language: str, table: Any) -> Chrome:
    where = f"{file.path}, language {language!r}"
    try:
        _find_locale(language)
    except (ValueError, UnknownLocaleError) as error:
        raise TemplateError(f"{where}: no such language is known ({error})") from None
    if not isinstance(table, dict):
        raise TemplateError(f"{where}: {table!r} stands where a table of strings should")
    strings = {name: text for name, text in table.items() if isinstance(text, str)}
    plurals = {name: forms for name, forms in table.items() if isinstance(forms, dict)}
    for name in STRINGS:
        if name not in strings:
            raise TemplateError(f"{where}: the string {name!r} is missing")
    for name in PLURALS:
        if "other" not in plurals.get(name, {}):
            raise TemplateError(f"{where}: the plural {name!r} has no form 'other'")
        for form in plurals[name].values():
            _try_form(where, name, form)
    _try_form(where, "short_subject", strings["short_subject"])
    return Chrome(language=language, strings=strings, plurals=plurals)


def _try_form(where: str, name: str, form: Any) -> None:
    """A plural form is filled when an edition is assembled, too late to complain about a wrong placeholder."""
    try:
        str(form) % {"lead": "", "count": 2}
    except (KeyError, ValueError, TypeError) as error:
        raise TemplateError(f"{where}: {name!r} cannot be filled ({form!r}: {error})") from None
