"""The translations of pages and system mails: gettext catalogues (`templates/web/locale/LANGUAGE.po`), by language.

The operator's catalogue stands before the built-in one of the same language. English is what the texts are written in.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.support import NullTranslations, Translations

from newsletter.core.errors import TemplateError
from newsletter.sources.resources import builtin_path

SOURCE_LANGUAGE = "en"


def load_catalogues(override: Path | None) -> dict[str, NullTranslations]:
    """Each language's catalogue; TemplateError naming a file that is none."""
    found: dict[str, NullTranslations] = {SOURCE_LANGUAGE: NullTranslations()}
    for folder in (builtin_path("templates"), override):
        for path in sorted((folder / "web" / "locale").glob("*.po")) if folder else ():
            found[path.stem] = _read(path)
    return found


def _read(path: Path) -> Translations:
    try:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem.replace("-", "_"), abort_invalid=True)
    except (PoFileError, ValueError, OSError) as error:
        raise TemplateError(f"{path}: it is no gettext catalogue: {error}") from None
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(fp=compiled)


def choose_catalogue(catalogues: Mapping[str, NullTranslations], *wanted: str) -> str:
    """The first of the wanted languages that there is a catalogue of, or of the language it is a kind of."""
    for language in wanted:
        for candidate in (language, language.partition("-")[0]):
            if candidate in catalogues:
                return candidate
    return SOURCE_LANGUAGE
