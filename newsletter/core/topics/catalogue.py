"""Reads the catalogue of topics (topics.toml) into values, or says with file and line what is wrong in it.

The text comes in as an argument; what a topic may hold stands in `_TEXTS` and `_LISTS` and nowhere else.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from newsletter.core.errors import ConfigError
from newsletter.core.model import Topic
from newsletter.core.topics.words import primary_language

_TEXTS = ("name", "description", "parent")
_LISTS = ("keywords", "sections", "languages")
_ID = re.compile(r"[a-z0-9_-]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def parse_catalogue(text: str, *, source: str) -> dict[str, Topic]:
    """The topics by id, in the order of the file; `source` is the file's name, for messages.

    Raises ConfigError with file, line and value: no TOML, a topic twice, an id not of `a-z 0-9 - _`, no name, an
    unknown key, a wrong type, an empty keyword, an unknown parent, parents in a circle.
    """
    file = _File(text=text, name=source)
    document = file.load()
    for key in document:
        if key != "topics":
            raise file.error(f"{key!r} is not known here, topics stand in tables [topics.ID]")
    tables = document.get("topics", {})
    if not isinstance(tables, dict):
        raise file.error(f"topics must be tables [topics.ID], not {tables!r}")
    catalogue = {topic: _read_topic(topic, table, file) for topic, table in tables.items()}
    for topic in catalogue:
        _check_parents(topic, catalogue, file)
    return catalogue


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """The text of a catalogue, which knows where in it a topic and its keys stand."""

    text: str
    name: str

    def load(self) -> dict[str, object]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as problem:
            reason, *lines = _AT_LINE.split(str(problem))
            line = lines[0] if lines and lines[0] else len(self.text.splitlines())
            raise ConfigError(f"{self.name}, line {line}: {reason}") from problem

    def error(self, sentence: str, topic: str = "", key: str = "") -> ConfigError:
        line = self._find_line(topic, key) if topic else None
        return ConfigError(f"{self.name}{f', line {line}' if line else ''}: {sentence}")

    def _find_line(self, topic: str, key: str) -> int | None:
        """The line of a key in the table `[topics.ID]`, or else of the table's head, where it is written so."""
        head = re.compile(rf"\s*\[\s*topics\s*\.\s*([\"']?){re.escape(topic)}\1\s*\]")
        entry = re.compile(rf"\s*([\"']?){re.escape(key)}\1\s*=")
        found: int | None = None
        for number, line in enumerate(self.text.splitlines(), start=1):
            if found is None:
                found = number if head.match(line) else None
            elif line.lstrip().startswith("["):
                break
            elif key and entry.match(line):
                return number
        return found


def _read_topic(topic: str, table: object, file: _File) -> Topic:
    if not _ID.fullmatch(topic):
        raise file.error(f"the topic id {topic!r} may hold only the letters a to z, digits, - and _", topic)
    if not isinstance(table, dict):
        raise file.error(f"topic {topic!r} must be a table [topics.{topic}], not {table!r}")
    for key, value in table.items():
        if problem := _judge(key, value):
            raise file.error(f"{key!r} of topic {topic!r} {problem}", topic, key)
    if "name" not in table:
        raise file.error(f"topic {topic!r} has no name", topic)
    return Topic(
        id=topic,
        name=table["name"].strip(),
        description=table.get("description", ""),
        parent=table.get("parent"),
        keywords=tuple(table.get("keywords", ())),
        sections=tuple(table.get("sections", ())),
        languages=tuple(primary_language(tag) for tag in table.get("languages", ())),
    )


def _judge(key: str, value: object) -> str | None:
    """What is wrong with a value, in words that follow “KEY of topic ID”."""
    if key in _TEXTS:
        if not isinstance(value, str):
            return f"must be text, not {value!r}"
        return "is empty" if key == "name" and not value.strip() else None
    if key not in _LISTS:
        return f"is not known, a topic has {', '.join(_TEXTS + _LISTS)}"
    if not isinstance(value, list):
        return f"must be a list of texts, not {value!r}"
    for item in value:
        if not isinstance(item, str):
            return f"must hold texts only, not {item!r}"
        if not _LETTER_OR_DIGIT.search(item):
            return f"holds {item!r}, which has no letter or digit"
        if key == "languages" and not _LANGUAGE.fullmatch(item):
            return f"holds {item!r}, which is not a language such as en or pt-BR"
    return None


def _check_parents(topic: str, catalogue: Mapping[str, Topic], file: _File) -> None:
    line = [topic]
    while (parent := catalogue[line[-1]].parent) is not None:
        if parent not in catalogue:
            raise file.error(f"topic {line[-1]!r} has the unknown parent {parent!r}", line[-1], "parent")
        if parent in line:
            circle = " → ".join([*line, parent])
            raise file.error(f"the parents of topic {topic!r} go in a circle: {circle}", topic, "parent")
        line.append(parent)
