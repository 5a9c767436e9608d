"""The YAML front matter of a brief: title, date, language, topics.

Uses PyYAML's node tree, in which every value is the string that was written (`language: no` is not False) and knows
its line. Refuses, with file and line, what is not a mapping or does not fit.
"""

import re
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

import yaml

from newsletter.core.briefs.draft import split_topics
from newsletter.core.errors import BriefError
from newsletter.core.model import BriefWarning

MAX_DEPTH = 20
"""How deep lists and mappings may nest in a front matter."""

_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
_FENCED = re.compile(r"---[ \t]*\n(?=[ \t]*\S)(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[Tt\s].*)?")
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, kw_only=True)
class FrontMatter:
    """What the front matter says; None where it says nothing."""

    title: str | None = None
    day: date | None = None
    language: str | None = None
    topics: tuple[str, ...] | None = None
    topics_line: int | None = None
    warnings: tuple[BriefWarning, ...] = ()


def read_language(tag: str) -> str | None:
    """The language of a tag such as `en-us` in lower case (`en`), or None where it is no language tag (RFC 5646)."""
    match = _LANGUAGE.fullmatch(tag.strip())
    return match[1].lower() if match else None


def split_matter(text: str) -> tuple[str, str]:
    """The front matter's YAML, and the text with as many empty lines in its place, so that line numbers stay.

    A first line `---` that an empty line follows, or that has no second one, is a rule and no front matter.
    """
    match = _FENCED.match(text)
    if not match:
        return "", text
    return match[1] or "", "\n" * match[0].count("\n") + text[match.end() :]


def read_matter(yaml_text: str, source: str) -> FrontMatter:
    """Read the front matter; raises BriefError with file and line where it is malformed or a value does not fit."""
    said: dict[str, tuple[list[str], str]] = {}
    lines: dict[str, int] = {}
    warnings = []
    for key, node in _pairs(yaml_text, source):
        line = key.start_mark.line + 2
        name = str(key.value).strip().lower()
        if name not in ("title", "date", "language", "topics"):
            warnings.append(BriefWarning(line=line, message=f"the front matter's “{name}” is not used"))
            continue
        place = f"{source}, line {line}: {name}"
        if name in said:
            raise BriefError(f"{place} stands twice in the front matter")
        said[name] = _values(node, place), place
        lines[name] = line
    return FrontMatter(
        title=_single(*said["title"]) if "title" in said else None,
        day=_read_date(*said["date"]) if "date" in said else None,
        language=_read_language(*said["language"]) if "language" in said else None,
        topics=split_topics(",".join(said["topics"][0])) if "topics" in said else None,
        topics_line=lines.get("topics"),
        warnings=tuple(warnings),
    )


def _pairs(yaml_text: str, source: str) -> list[tuple[yaml.Node, yaml.Node]]:
    # PyYAML takes quadratic time over open brackets (10,000 took 5 s) and then exceeds Python's recursion limit.
    depth = max(accumulate(_STEPS.get(character, 0) for character in yaml_text), default=0)
    if depth > MAX_DEPTH:
        raise BriefError(f"{source}, line 1: the front matter is nested too deep")
    try:
        node = yaml.compose(yaml_text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise BriefError(f"{source}, line {line}: the front matter is not YAML: {problem}") from error
    except RecursionError:
        raise BriefError(f"{source}, line 1: the front matter is nested too deep") from None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 2
        raise BriefError(f"{source}, line {line}: the front matter is not a list of `name: value` lines")
    return list(node.value)


def _values(node: yaml.Node, place: str) -> list[str]:
    """The written strings of a scalar or of a list of scalars."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(inner, yaml.ScalarNode) for inner in nodes):
        raise BriefError(f"{place} holds names and values where only values may stand")
    return [" ".join(inner.value.split()) for inner in nodes]


def _single(values: list[str], place: str) -> str | None:
    if len(values) > 1:
        raise BriefError(f"{place} is a list where one value should stand: {', '.join(values)}")
    return "".join(values) or None


def _read_date(values: list[str], place: str) -> date | None:
    text = _single(values, place)
    match = _DATE.fullmatch(text or "")
    try:
        found = date(*map(int, match.groups())) if match else None
    except ValueError:
        found = None
    if text and not found:
        raise BriefError(f"{place} “{text}” is not a date such as 2026-10-31")
    return found


def _read_language(values: list[str], place: str) -> str | None:
    text = _single(values, place)
    language = read_language(text or "")
    if text and not language:
        raise BriefError(f"{place} “{text}” is not a language such as en")
    return language
