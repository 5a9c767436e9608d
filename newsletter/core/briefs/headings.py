"""The brief with headings: `#` its title, `##` a story, or `##` a section and `###` its stories.

Uses markdown.py and draft.py. A heading inside a quote or a list, and one of level 4 or more, is body.
"""

from dataclasses import dataclass, field

from newsletter.core.briefs.draft import Draft, Reading
from newsletter.core.briefs.markdown import Document, Group, Line, line_of, warn_of_markup

STORY_LEVELS = 3


@dataclass(kw_only=True)
class _Heading:
    level: int
    title: Line
    line: int
    groups: list[Group] = field(default_factory=list)


def read_headings(document: Document) -> Reading:
    """Stories in the order of their headings; text that stands under no story's heading gets a warning."""
    reading = Reading()
    groups = document.groups()
    reading.warnings += warn_of_markup(document, groups)
    intro, headings = _collect(document, groups)
    reading.leave_out(intro, document, "before the first heading")
    levels = [heading.level for heading in headings]
    if levels.count(1) > 1 and set(levels) == {1}:
        reading.warn(headings[0].line, "the stories have headings of level 1 (#); level 2 (##) is meant for them")
        reading.drafts = [_draft(heading, None) for heading in headings]
        return reading
    if levels[:1] == [1]:
        top = headings.pop(0)
        reading.title = top.title.text
        reading.leave_out(top.groups, document, "between the brief's title and its first story")
    _sort(document, headings, reading)
    return reading


def read_heading(document: Document, group: Group) -> Line | None:
    """The text of a heading of the top level, or None where the group is another block or the heading is empty."""
    if group[0].type != "heading_open":
        return None
    title = document.read_line(group[1].content)
    return title if title.text else None


def _collect(document: Document, groups: list[Group]) -> tuple[list[Group], list[_Heading]]:
    intro: list[Group] = []
    headings: list[_Heading] = []
    for group in groups:
        level = int(group[0].tag[1]) if group[0].type == "heading_open" else STORY_LEVELS + 1
        title = read_heading(document, group) if level <= STORY_LEVELS else None
        if title:
            headings.append(_Heading(level=level, title=title, line=line_of(group)))
        else:
            (headings[-1].groups if headings else intro).append(group)
    return intro, headings


def _sort(document: Document, headings: list[_Heading], reading: Reading) -> None:
    """Tell sections from stories: a section has deeper headings below it."""
    part: str | None = None
    section: str | None = None
    for index, heading in enumerate(headings):
        below = headings[index + 1].level if index + 1 < len(headings) else 0
        if heading.level == STORY_LEVELS or below <= heading.level:
            if heading.level == 1:
                reading.warn(heading.line, "a second heading of level 1 (#) is read as a story")
            section = section if heading.level == STORY_LEVELS else part
            reading.drafts.append(_draft(heading, section))
            continue
        section = heading.title.text
        if heading.level == 1:
            part = section
            reading.warn(heading.line, "a second heading of level 1 (#) is read as a section")
        reading.leave_out(heading.groups, document, f"between the section “{section}” and its first story")


def _draft(heading: _Heading, section: str | None) -> Draft:
    return Draft(title=heading.title, line=heading.line, section=section, groups=heading.groups)
