"""The details of a brief with headlines: finds each title's line and gives it the blocks below.

Uses markdown.py and draft.py. Finds titles inside markdown-it's own block parser, so that a title needs no blank
line around it, may look like a list (`1. FC …`), and is none inside code; one dictionary lookup a line.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from newsletter.core.briefs.draft import Draft, Reading, excerpt, read_topics
from newsletter.core.briefs.headings import read_heading
from newsletter.core.briefs.markdown import Document, Group, Item, Line, Mark, is_list, line_of, warn_of_markup
from newsletter.core.briefs.text import title_key
from newsletter.core.model import fold

MAX_TITLE_LINES = 4
"""How many lines a title may be wrapped into."""

MAX_TITLE_LENGTH = 4000
"""The longest line, in characters of Markdown, that may be a title."""

PREFIX_LENGTH = 4
_LINE = re.compile(r" {0,3}\S")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*")
_PERHAPS_BOLD = re.compile(r"\s*(?:[*_\[]|<(?:a|b|strong|em|i)\b)", re.IGNORECASE)
_NO_LETTER = re.compile(r"[\W_]+")
_OPAQUE = re.compile(r"[\]<&]")


@dataclass(kw_only=True)
class _State:
    """The drafts by the key of their title, which of them the details have met, and the one that is open."""

    drafts: dict[str, Draft]
    met: set[str] = field(default_factory=set)
    open: Draft | None = None
    before: list[Group] = field(default_factory=list)


def read_details(document: Document, start: int, reading: Reading) -> None:
    """Give the drafts of `reading` their bodies from line `start` (from 0) on, and add those that have no headline.

    Text before the first title goes to the first story; each thing that does not match gets a warning.
    """
    state = _State(drafts={title_key(draft.title.text): draft for draft in reading.drafts})
    headlines = list(state.drafts.items())
    wrapped = max((draft.title_lines for _, draft in headlines), default=1)
    finder = _TitleFinder(document, set(state.drafts), min(wrapped, MAX_TITLE_LINES))
    groups = document.groups(start=start, finder=finder)
    reading.warnings += warn_of_markup(document, groups)
    for group in groups:
        _read_group(document, group, state, reading)
    reading.drafts = list(state.drafts.values())
    for key, draft in headlines:
        if key not in state.met:
            reading.warn(draft.line, f"the headline {excerpt(draft.title.text)} has no details")
    if document.blocks([token for group in state.before for token in group]) and reading.drafts:
        reading.drafts[0].lead += state.before
        reading.warn(line_of(state.before[0]), "the text before the first title is put at the start of the first story")


def _read_group(document: Document, group: Group, state: _State, reading: Reading) -> None:
    if group[0].type == "mark":
        _open_story(group[0].meta["title"], line_of(group), state, reading)
        return
    if is_list(group):
        titles = _match_items(document, group, state)
        for item, title in titles:
            _open_item(document, item, title, state, reading)
        if titles:
            return
    heading = read_heading(document, group)
    if heading and "\n" not in group[1].content:
        _open_story(heading, line_of(group), state, reading)
        return
    body = _as_paragraph(group) if heading else group
    (state.open.groups if state.open else state.before).append(body)


def _open_story(title: Line, line: int, state: _State, reading: Reading) -> Draft:
    key = title_key(title.text)
    draft = state.drafts.get(key)
    if draft is None:
        draft = state.drafts[key] = Draft(title=title, line=line)
        reading.warn(line, f"the title {excerpt(title.text)} is no headline; its story stands at the end")
    elif key in state.met:
        reading.warn(
            line, f"the title {excerpt(title.text)} stands here again; its text is added to that of line {draft.line}"
        )
    else:
        draft.line = line
    links = dict.fromkeys(draft.title.links + title.links)
    draft.title = Line(text=draft.title.text, links=tuple(links))
    state.met.add(key)
    state.open = draft
    return draft


def _match_items(document: Document, group: Group, state: _State) -> list[tuple[Item, Line]]:
    """The items of a list with their titles, if each begins with a headline not met yet: details that are numbered."""
    found = []
    for item in document.items(group):
        title = document.read_line(item.content.partition("\n")[0])
        key = title_key(title.text)
        if key not in state.drafts or key in state.met:
            return []
        found.append((item, title))
    return found


def _open_item(document: Document, item: Item, title: Line, state: _State, reading: Reading) -> None:
    draft = _open_story(title, item.line, state, reading)
    rest = item.content.partition("\n")[2]
    draft.groups += document.read_groups(rest, item.line + 1) + item.groups


def _as_paragraph(group: Group) -> Group:
    """Lines above a row of dashes are one heading to Markdown; in the details they are a paragraph."""
    opening, inline, closing = group
    return [
        opening.copy(type="paragraph_open", tag="p", markup=""),
        inline,
        closing.copy(type="paragraph_close", tag="p", markup=""),
    ]


class _TitleFinder:
    """Tells markdown-it's block parser which lines are titles: those of headlines, and lines all in bold."""

    def __init__(self, document: Document, keys: set[str], wrapped: int) -> None:
        self._document = document
        self._keys = keys
        self._wrapped = wrapped
        self._prefixes = _prefixes(keys)
        self._marks: dict[int, Mark | None] = {}
        self._met: set[str] = set()

    def __call__(self, line: int, silent: bool) -> Mark | None:
        if line not in self._marks:
            self._marks[line] = self._read(line)
        mark = self._marks[line]
        if mark is None:
            return None
        key = mark.meta["key"]
        if not silent:
            self._met.add(key)
        elif key in self._met or self._document.lines[line].startswith("  "):
            return None  # a story may repeat its title in the middle of a paragraph; a list item's text is indented
        return mark

    def _read(self, line: int) -> Mark | None:
        source = self._document.lines[line]
        if not _LINE.match(source) or len(source) > MAX_TITLE_LENGTH:
            return None
        if self._may_match(source):
            for count in range(self._wrapped, 0, -1):
                title = self._document.read_line("\n".join(self._document.lines[line : line + count]))
                if title_key(title.text) in self._keys:
                    return self._mark(title, line, count)
        if _PERHAPS_BOLD.match(source):
            title = self._document.read_line(source)
            if title.strong and read_topics(title.text) is None:
                return self._mark(title, line, 1)
        return None

    def _mark(self, title: Line, line: int, count: int) -> Mark:
        following = self._document.lines[line + count : line + count + 1]
        underlined = bool(following and _UNDERLINE.fullmatch(following[0]))
        return Mark(meta={"title": title, "key": title_key(title.text)}, count=count + underlined)

    def _may_match(self, source: str) -> bool:
        """Whether the line begins like a headline, so that most lines need not be parsed a second time."""
        visible = _OPAQUE.split(source, maxsplit=1)[0]
        start = _NO_LETTER.sub("", fold(visible[: 20 * PREFIX_LENGTH]))[:PREFIX_LENGTH]
        return not start or start in self._prefixes


def _prefixes(keys: Iterable[str]) -> set[str]:
    letters = (_NO_LETTER.sub("", key) for key in keys)
    return {word[:length] for word in letters for length in range(1, PREFIX_LENGTH + 1)}
