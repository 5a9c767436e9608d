"""Finds the texts of the settings in .env and the environment, and says in one sentence what is wrong with them.

pydantic-settings makes the values but does not read: its own readers (measured in 2.16) let unknown names pass in the
environment, refuse foreign names in .env, fail on empty values, and python-dotenv expands `${HOME}` for them.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from newsletter.core.errors import ConfigError
from newsletter.settings.table import PREFIX, Settings, walk_fields
from newsletter.settings.values import mask_credentials

DEFAULT_FILE = Path(".env")
_PLACES: dict[tuple[str, ...], str] = {place: name for name, place, _ in walk_fields()}
_SECRET = {name for name, _, field in walk_fields() if not field.repr}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """The text of a setting, and where it stands."""

    text: str
    place: str


class _GivenSource(EnvSettingsSource):
    """Hands pydantic-settings the texts that were found, in place of its own view of the environment."""

    def __init__(self, given: Mapping[str, _Given]) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): found.text for name, found in given.items()}


def load_settings(env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `env_file`, or else ./.env where it exists, and from the environment, which wins.

    Empty texts count as not set. ConfigError, one sentence with name, place and value (secrets left out), for an
    unknown NEWSLETTER_ name, a value that does not fit, or a file that cannot be read.
    """
    in_file = _read_file(env_file or DEFAULT_FILE) if env_file or DEFAULT_FILE.exists() else {}
    surroundings = os.environ if environ is None else environ
    in_environment = {name: _Given(text=text, place="environment") for name, text in surroundings.items()}
    given: dict[str, _Given] = {}
    for texts in (in_file, in_environment):
        ours = {name: found for name, found in texts.items() if name.startswith(PREFIX)}
        _refuse_unknown(ours)
        given |= {name: found for name, found in ours.items() if found.text.strip()}
    try:
        # The parameter is BaseSettings' own; to mypy a model's parameters are its fields.
        return Settings(_build_sources=((_GivenSource(given),), {}))  # type: ignore[call-arg]
    except ValidationError as error:
        raise ConfigError(_describe_error(error.errors(include_url=False)[0], given)) from None


def _read_file(path: Path) -> dict[str, _Given]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"file {path} is not UTF-8: octet {error.start + 1} is {error.object[error.start]:#04x}"
        ) from None
    except OSError as error:
        raise ConfigError(f"file {path}, which should hold the settings, cannot be read: {error.strerror}") from None
    return dict(_parse_file(text, path))


def _parse_file(text: str, path: Path) -> Iterator[tuple[str, _Given]]:
    for binding in parse_stream(StringIO(text, newline="")):
        # python-dotenv counts from the blank lines before an entry.
        blank = re.match(r"\s*", binding.original.string)
        line = binding.original.line + len(re.findall(r"\r\n|\n|\r", blank[0] if blank else ""))
        place = f"file {path}, line {line}"
        if binding.error and PREFIX in binding.original.string:
            raise ConfigError(f"{place} is not NAME=value; quotes go around the whole value or are left out")
        if binding.key is not None:
            yield binding.key, _Given(text=binding.value or "", place=place)


def _refuse_unknown(given: Mapping[str, _Given]) -> None:
    known = [name.removeprefix(PREFIX) for name in _PLACES.values()]
    for name, found in given.items():
        own = name.removeprefix(PREFIX)
        if own not in known:
            close = get_close_matches(own.upper(), known, n=1)
            hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
            raise ConfigError(f"setting {name} ({found.place}) is unknown{hint}")


def _describe_error(error: ErrorDetails, given: Mapping[str, _Given]) -> str:
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
    else:
        reason = error["msg"][:1].lower() + error["msg"][1:]
    steps = [f"item {step + 1}" if isinstance(step, int) else step for step in error["loc"]]
    length = next((length for length in (2, 1) if tuple(steps[:length]) in _PLACES), 0)
    if not length:
        return reason  # of several settings together: it names them itself
    name = _PLACES[tuple(steps[:length])]
    text, place = given[name].text, given[name].place
    shown = repr(mask_credentials(text) if "://" in text else text[:80])
    value = "" if name in _SECRET or shown in reason else f" is {shown}"
    within = ", ".join(step for step in steps[length:] if step != "[key]") if text.startswith(("[", "{")) else ""
    return f"setting {name} ({place}){value}: {within}{': ' if within else ''}{reason}"
