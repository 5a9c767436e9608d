"""A Markdown brief into stories: tells its shape, settles its title, date and language, numbers its warnings.

Uses matter.py, headlines.py and headings.py. Refuses, with the file's name and the line, a brief that holds
no story or whose front matter is malformed; everything else that looks like a slip is a warning.
"""

import re
from dataclasses import replace
from datetime import date, datetime

from newsletter.core.briefs.draft import Reading, finish_story
from newsletter.core.briefs.headings import read_headings
from newsletter.core.briefs.headlines import read_headlines
from newsletter.core.briefs.markdown import Document
from newsletter.core.briefs.matter import FrontMatter, read_matter, split_matter
from newsletter.core.briefs.text import clean_text
from newsletter.core.errors import BriefError
from newsletter.core.model import Brief, Story

_DATE_IN_NAME = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")


def parse_brief(text: str, *, brief_id: str, source: str, modified_at: datetime, language: str) -> Brief:
    """The brief in a Markdown text, of either shape: headlines and details, or headings (CONTRACT, Briefs).

    `source` is the file's name, as errors shall show it; `language` stands where the brief names none. Raises
    BriefError for a text without a story and for malformed front matter.
    """
    text = clean_text(text.replace("\r\n", "\n").replace("\r", "\n"))
    yaml_text, text = split_matter(text)
    matter = read_matter(yaml_text, source)
    document = Document(text)
    reading = read_headlines(document) or read_headings(document)
    stories = tuple(_finish(document, reading, matter))
    if not stories:
        raise BriefError(f"{source} holds {'no story' if text.strip() else 'no text'}: {_WANTED}")
    if matter.title and reading.title and matter.title != reading.title:
        reading.warn(1, f"the front matter's title stands instead of the heading “{reading.title}”")
    return Brief(
        id=brief_id,
        title=matter.title or reading.title or brief_id,
        date=matter.day or date_in_name(brief_id) or modified_at.date(),
        language=matter.language or language,
        stories=stories,
        warnings=tuple(sorted((*matter.warnings, *reading.warnings), key=lambda warning: warning.line or 0)),
        source=source,
        modified_at=modified_at,
    )


def date_in_name(brief_id: str) -> date | None:
    """The first `YYYY-MM-DD` in a brief's id that is a day of the calendar."""
    for found in _DATE_IN_NAME.findall(brief_id):
        try:
            return date.fromisoformat(found)
        except ValueError:
            continue
    return None


_WANTED = "it needs a list of titles under a line “Headlines:”, or headings of level 2 (##)"


def _finish(document: Document, reading: Reading, matter: FrontMatter) -> list[Story]:
    stories = []
    for draft in reading.drafts:
        story = finish_story(draft, document, reading)
        if story.by_hand is None and matter.topics:
            story = replace(story, by_hand=matter.topics, by_hand_place=f"front matter, line {matter.topics_line}")
        stories.append(story)
    return stories
