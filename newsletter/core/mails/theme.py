"""A theme: colours, fonts, logo, width and footer of the mails, as `THEME/theme.toml` says them.

A theme is a folder of the templates. What it lacks, values or templates, is that of its base; what is wrong in it is an
error that names file, line and key.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from newsletter.core.errors import TemplateError
from newsletter.core.mails.templates import FRAME, STORY, TemplateFile, Templates, find_host

THEME = "theme.toml"
FIRST_THEME = "brief"
"""The theme that is used where none is named, and the base of all that name none."""


def _check_colour(colour: str) -> str:
    if not re.fullmatch("#[0-9a-f]{6}", colour):  # Outlook for Windows knows no shorter ones
        raise ValueError("a colour is six hexadecimal digits in lower case, as in #22262b")
    return colour


def _check_family(family: str) -> str:
    if not re.fullmatch(r"[\w ,.-]+", family):  # in an attribute a quote takes five octets, and no name here needs any
        raise ValueError("fonts are names with commas between, without quotes")
    return family


def _check_image(address: str) -> str:
    if address and not (address.startswith("https://") and find_host(address)):
        raise ValueError("an image is loaded from an https address")
    return address


Colour = Annotated[str, AfterValidator(_check_colour)]
Family = Annotated[str, AfterValidator(_check_family)]


_WORDS = {
    "extra_forbidden": "there is no such key",
    "missing": "it is missing, here and in every base",
    "model_type": "it is a table of keys and values",
    "string_type": "it is text in quotes",
    "int_type": "it is a whole number",
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Palette(_Table):
    """The colours of one scheme; what each is for stands in templates/brief/theme.toml."""

    page: Colour
    paper: Colour
    text: Colour
    soft: Colour
    link: Colour
    line: Colour
    fill: Colour
    button: Colour
    button_text: Colour


class Logo(_Table):
    """What stands above the title in place of the newsletter's name; `width` and `height` are the image's (pixels)."""

    text: str
    image: Annotated[str, AfterValidator(_check_image)]
    width: int = Field(ge=16, le=600)
    height: int = Field(ge=16, le=300)


class Script(_Table):
    """How a language is set that needs its own fonts, or more height: of text in pixels, of headings by their size."""

    family: Family
    line: int | None = Field(default=None, ge=20, le=60)
    heading: float | None = Field(default=None, ge=1, le=4)


class Fonts(_Table):
    """Font stacks; `size` and `line`, the line height, are those of the text in pixels."""

    text: Family
    headings: Family
    code: Family
    size: int = Field(ge=16, le=20)
    line: int = Field(ge=20, le=40)
    languages: Mapping[str, Script] = Field(default_factory=dict)


class Footer(_Table):
    """`text` is a line of the operator's own."""

    text: str


class Theme(_Table):
    """A theme with all its values. `folders` are those whose templates it uses, its own first."""

    name: str
    folders: tuple[str, ...]
    width: int = Field(ge=480, le=700)
    logo: Logo
    fonts: Fonts
    light: Palette
    dark: Palette
    footer: Footer

    def choose_font(self, language: str, is_heading: bool) -> str:
        """The font stack for text in a language."""
        script = self._find_script(language)
        return script.family if script else self.fonts.headings if is_heading else self.fonts.text

    def choose_line(self, language: str, line: int = 0, size: int = 0) -> int:
        """The line height in pixels for text in a language; `line` is that of English, `size` that of a heading."""
        line = line or self.fonts.line
        script = self._find_script(language)
        if script and script.heading and size:
            return round(size * script.heading)
        return round(line * script.line / self.fonts.line) if script and script.line else line

    def _find_script(self, language: str) -> Script | None:
        return self.fonts.languages.get(language.partition("-")[0])


def list_themes(templates: Templates) -> list[str]:
    """The themes that there are: the folders with a theme.toml, in the order of their names."""
    return sorted(name.removesuffix(f"/{THEME}") for name in templates if name.endswith(f"/{THEME}"))


def load_theme(templates: Templates, name: str) -> Theme:
    """The theme of that name. TemplateError when there is none, or with file, line and key what is wrong in it."""
    tables: list[tuple[TemplateFile, dict[str, Any]]] = []
    folders: list[str] = []
    while name:
        file = _find_file(templates, name)
        folders.append(name)
        table = _read_toml(file)
        base = table.pop("base", FIRST_THEME if name != FIRST_THEME else "")
        if base and (base not in list_themes(templates) or base in folders):
            why = "a theme cannot be its own base" if base in folders else _list(templates)
            raise TemplateError(f"{place_key(file, ('base',))}: base = {base!r}: {why}")
        if odd := table.keys() & {"name", "folders"}:
            raise TemplateError(f"{place_key(file, (min(odd),))}: {min(odd)}: there is no such key")
        tables.append((file, table))
        name = base
    said: dict[str, Any] = {"name": folders[0], "folders": tuple(folders)}
    for _, table in reversed(tables):
        said = _merge(said, table)
    try:
        return Theme.model_validate(said)
    except ValidationError as error:
        raise _explain(error, tables) from None


def gather_theme(templates: Templates, theme: Theme) -> dict[str, TemplateFile]:
    """The templates by the names that they call each other by: the theme's own, its base's, then what all share.

    TemplateError for a frame or a story that stands in no theme's folder.
    """
    shared = {name: file for name, file in templates.items() if "/" not in name}
    if lost := [shared[name] for name in (FRAME, STORY) if name in shared]:
        raise TemplateError(f"{lost[0].path}, line 1: it belongs into the folder of a theme, such as {FIRST_THEME}/")
    for folder in reversed(theme.folders):
        own = {name.removeprefix(f"{folder}/"): file for name, file in templates.items()}
        shared |= {name: file for name, file in own.items() if "/" not in name and f"{folder}/{name}" in templates}
    return shared


def place_key(file: TemplateFile, keys: tuple[str, ...]) -> str:
    """Where a key of a theme.toml stands, as errors say it."""
    section, found = "", 1
    for number, line in enumerate(file.text.splitlines(), 1):
        if header := re.match(r"\s*\[([\w.-]+)\]", line):
            section = header[1]
        key = re.match(r"\s*([\w-]+)\s*=", line)
        path = (*filter(None, section.split(".")), *([key[1]] if key else ()))
        if (header or key) and path == keys[: len(path)]:
            found = number
    return f"{file.path}, line {found}"


def _find_file(templates: Templates, name: str) -> TemplateFile:
    file = templates.get(f"{name}/{THEME}")
    if file is None:
        raise TemplateError(f"there is no theme {name!r}; {_list(templates)}")
    return file


def _list(templates: Templates) -> str:
    return f"there are {', '.join(list_themes(templates))}"


def _read_toml(file: TemplateFile) -> dict[str, Any]:
    try:
        return tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise TemplateError(f"{file.path}, line {line[1] if line else 1}: it is not TOML: {error}") from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables key by key, `above` before `below`."""
    both = {
        key: _merge(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return {**below, **both}


def _explain(error: ValidationError, tables: list[tuple[TemplateFile, dict[str, Any]]]) -> TemplateError:
    """The first thing wrong, in the file that says it; a key that lacks, in the last of the bases."""
    first = error.errors()[0]
    keys = tuple(str(key) for key in first["loc"])
    file = next((file for file, table in tables if _says(table, keys)), tables[-1][0])
    value = f" = {first['input']!r}" if first["type"] != "missing" else ""
    message = _WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    return TemplateError(f"{place_key(file, keys)}: {'.'.join(keys)}{value}: {message}")


def _says(table: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True
