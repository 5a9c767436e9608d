"""The brief with headlines and details: the lines that mark its two parts, and the list of titles.

Uses markdown.py, draft.py, and details.py for the second part. Refuses to guess: without a line “Headlines:”
and titles below it, a document is of another shape.
"""

import re
from collections.abc import Iterator

from newsletter.core.briefs.details import read_details
from newsletter.core.briefs.draft import Draft, Reading, excerpt, read_topics
from newsletter.core.briefs.headings import read_heading
from newsletter.core.briefs.markdown import Document, Group, Mark, is_list, line_of
from newsletter.core.briefs.text import title_key
from newsletter.core.model import fold

HEADLINES = (
    *("headlines", "schlagzeilen", "überschriften", "titres", "gros titres", "à la une", "titulares"),
    *("العناوين", "عناوين", "أبرز العناوين", "سرخیاں", "شہ سرخیاں", "اہم سرخیاں"),
    *("כותרות", "הכותרות", "כותרות היום"),
)
DETAILS = (
    *("details", "einzelheiten", "meldungen", "détails", "en détail", "detalles"),
    *("التفاصيل", "تفاصيل", "تفصیلات", "تفصیل"),
    *("פרטים", "הפרטים", "בהרחבה"),
)
"""The words of the two lines in English, German, French, Spanish, Arabic, Urdu and Hebrew."""

_PARTS = {fold(word): "headlines" for word in HEADLINES} | {fold(word): "details" for word in DETAILS}
_MARKER = re.compile(r" {0,3}(#{1,6}\s+)?([*_]{1,3})?\s*([^*_#:：]+)([:：])?\s*([*_]{1,3})?\s*([:：])?[\s#]*")
_MARKER_LENGTH = 60
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*")


def read_headlines(document: Document) -> Reading | None:
    """Stories in the order of their headlines; None where the document is of another shape.

    Where no line “Details:” follows, the text after the list is read as the details, with a warning.
    """
    marks = dict(_find_markers(document.lines))
    if not any(mark.meta["part"] == "headlines" for mark in marks.values()):
        return None
    outline = document.outline(lambda line, _silent: marks.get(line))
    parts = [group[0].meta.get("part") if group[0].type == "mark" else None for group in outline]
    if "headlines" not in parts:
        return None
    start = parts.index("headlines")
    after = next((i for i in range(start + 1, len(parts)) if not is_list(outline[i])), len(parts))
    end = parts.index("details", start) if "details" in parts[start:] else None
    if end is None and (after == start + 1 or any(_level(group) > 1 for group in outline[:start])):
        return None
    reading = Reading()
    _read_intro(document, outline[:start], reading)
    _read_titles(document, outline[start + 1 : after if end is None else end], reading)
    if end is None:
        reading.warn(
            line_of(outline[start]), "no line “Details:” follows the headlines; any text after them is read as such"
        )
        first_line = line_of(outline[after]) - 1 if after < len(outline) else len(document.lines)
    else:
        first_line = line_of(outline[end]) - 1 + outline[end][0].meta["lines"]
    read_details(document, first_line, reading)
    return reading


def _find_markers(lines: list[str]) -> Iterator[tuple[int, Mark]]:
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True)):
        match = _MARKER.fullmatch(line) if len(line) <= _MARKER_LENGTH else None
        part = _PARTS.get(fold(match[3])) if match else None
        if not match or not part:
            continue
        underlined = not match[1] and bool(_UNDERLINE.fullmatch(following))
        bold = match[2] and len(match[2]) > 1 and match[2] == match[5]
        if match[4] or match[6] or match[1] or bold or underlined:
            count = 1 + underlined
            yield number, Mark(meta={"part": part, "lines": count}, count=count)


def _level(group: Group) -> int:
    return int(group[0].tag[1]) if group[0].type == "heading_open" else 0


def _read_intro(document: Document, groups: list[Group], reading: Reading) -> None:
    """What stands before the headlines: the brief's title, if it is a heading."""
    others = []
    for group in groups:
        title = None if reading.title else read_heading(document, group)
        if title:
            reading.title = title.text
        else:
            others.append(group)
    reading.leave_out(others, document, "before the headlines")


def _read_titles(document: Document, area: list[Group], reading: Reading) -> None:
    """One draft a title; `lead` is what stands under a title in its item."""
    lists = [group for group in area if is_list(group)]
    if lists:
        reading.leave_out([group for group in area if not is_list(group)], document, "among the headlines")
    elif area:
        reading.warn(line_of(area[0]), "the headlines are no list; each line is read as one")
    drafts: dict[str, Draft] = {}
    for draft in _list_drafts(document, lists) if lists else _line_drafts(document, area):
        if not draft.title.text:
            reading.warn(draft.line, "a headline without text is left out")
            continue
        first = drafts.setdefault(title_key(draft.title.text), draft)
        if first is not draft:
            first.lead += draft.lead
            reading.warn(draft.line, f"the headline {excerpt(draft.title.text)} repeats that of line {first.line}")
    reading.drafts = list(drafts.values())


def _list_drafts(document: Document, lists: list[Group]) -> Iterator[Draft]:
    for item in (item for group in lists for item in document.items(group)):
        *above, last = item.content.split("\n")
        topics = read_topics(document.read_line(last).text) if above else None
        yield Draft(
            title=document.read_line(item.content if topics is None else "\n".join(above)),
            line=item.line,
            title_lines=len(above) + (topics is None),
            topics=topics or None,
            topics_line=item.line + len(above) if topics else None,
            lead=item.groups,
        )


def _line_drafts(document: Document, groups: list[Group]) -> Iterator[Draft]:
    for group in groups:
        for number, content in enumerate(group[1].content.split("\n") if len(group) > 1 else []):
            yield Draft(title=document.read_line(content), line=line_of(group) + number)
