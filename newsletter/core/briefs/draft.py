"""A story while its brief is being read: title, tokens and place; and what becomes of it.

Uses markdown.py. Takes the line `Topics: a, b` off the body; refuses to lose anything without a warning.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it.token import Token

from newsletter.core.briefs.markdown import Document, Group, Line, line_of
from newsletter.core.model import BriefWarning, Story

EXCERPT_LENGTH = 60
_TOPICS = re.compile(r"topics\s*[:：]\s*(.*)", re.IGNORECASE | re.DOTALL)
_BETWEEN_TOPICS = re.compile(r"[,;،؛，；、]")


@dataclass(kw_only=True)
class Draft:
    """A story being read. `line` is where its title stands, from 1; `lead` comes before `groups`, its body."""

    title: Line
    line: int
    title_lines: int = 1
    section: str | None = None
    topics: tuple[str, ...] | None = None
    topics_line: int | None = None
    lead: list[Group] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


@dataclass(kw_only=True)
class Reading:
    """What one shape of brief came to."""

    title: str = ""
    drafts: list[Draft] = field(default_factory=list)
    warnings: list[BriefWarning] = field(default_factory=list)

    def warn(self, line: int, message: str) -> None:
        """Note what was read differently from how it was perhaps meant."""
        self.warnings.append(BriefWarning(line=line, message=message))

    def leave_out(self, groups: list[Group], document: Document, place: str) -> None:
        """Warn, with the first words, of text that becomes part of no story; say nothing where there is none."""
        for group in groups:
            blocks = [inner for block in document.blocks(group) for inner in block.walk()]
            text = " ".join(block.text or block.alt for block in blocks).strip()
            if text:
                self.warn(line_of(group), f"the text {place} belongs to no story and is left out: {excerpt(text)}")


def excerpt(text: str) -> str:
    """The first words of a text, in quotation marks."""
    return f"“{text}”" if len(text) <= EXCERPT_LENGTH else f"“{text[:EXCERPT_LENGTH].rstrip()}…”"


def read_topics(text: str) -> tuple[str, ...] | None:
    """The topic ids of a line `Topics: a, b`, lower-cased; None where the text is no such line."""
    match = _TOPICS.fullmatch(text.strip())
    return split_topics(match[1]) if match else None


def split_topics(text: str) -> tuple[str, ...]:
    """The ids in a list that is written with commas or semicolons, lower-cased, each once."""
    return tuple(dict.fromkeys(part.strip().lower() for part in _BETWEEN_TOPICS.split(text) if part.strip()))


def finish_story(draft: Draft, document: Document, reading: Reading) -> Story:
    """The story of a draft; what was dropped or is perhaps a slip goes to the warnings of `reading`."""
    take_topics(draft, document, reading)
    if len(draft.title.links) > 1:
        left = ", ".join(draft.title.links[1:])
        reading.warn(draft.line, f"a title may have one link; the others are left out: {left}")
    tokens: list[Token] = [token for group in draft.lead + draft.groups for token in group]
    return Story(
        title=draft.title.text,
        blocks=document.blocks(tokens),
        url=draft.title.links[0] if draft.title.links else None,
        section=draft.section,
        by_hand=draft.topics,
        by_hand_place=f"line {draft.topics_line}" if draft.topics is not None else "",
        line=draft.line,
    )


def take_topics(draft: Draft, document: Document, reading: Reading) -> None:
    """Move the line `Topics: …` from the start of the body to the draft; warn of one that stands elsewhere."""
    for index, (group, inline, line) in enumerate(_topics_lines(draft.groups)):
        first, _, rest = inline.content.partition("\n")
        topics = read_topics(document.read_line(first).text)
        if topics is None:
            continue
        if index or group is not draft.groups[0]:
            reading.warn(line, "a line “Topics:” counts only directly under a story's title; here it stays text")
            continue
        if topics:
            draft.topics, draft.topics_line = topics, line
        else:
            reading.warn(line, "the line “Topics:” names no topic")
        if rest.strip():
            inline.content = rest
            inline.children = document.read_inline(rest)
        else:
            del draft.groups[0]


def _topics_lines(groups: list[Group]) -> Iterator[tuple[Group, Token, int]]:
    """The paragraphs that perhaps begin with such a line."""
    for group in list(groups):
        if group[0].type == "paragraph_open" and "topics" in group[1].content.partition("\n")[0].lower()[:40]:
            yield group, group[1], line_of(group)
