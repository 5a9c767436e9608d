"""What an inbox shows of a mail before it is opened: the subject, and the preheader after it."""

import re
from collections.abc import Callable, Sequence

from newsletter.core.mails.chrome import choose_form
from newsletter.core.mails.columns import measure_columns, shorten_text
from newsletter.core.mails.parts import StoryParts, Words
from newsletter.core.mails.quoted import clean_line

SUBJECT_COLUMNS = 60
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
SHORTEST_LEAD = 20  # columns; a lead is cut no further for the sake of what stands around it
PREHEADER_CHARACTERS = 40  # at least
PREHEADER_COLUMNS = 130  # at most


def write_subject(words: Words, titles: Sequence[str]) -> str:
    """The subject of a mail with these stories, the lead first: of at most 60 columns where that can be.

    The lead stays whole where it fits; what stands around it grows shorter before it does.
    """
    lead, others = clean_line(_BIDI.sub("", titles[0])), len(titles) - 1
    if words.subject_pattern is not None:
        pattern, names = words.subject_pattern, {**words.subject_names, "count": str(len(titles))}
        return _fit_lead(lambda shown: clean_line(pattern.format_map({**names, "lead": shown})), lead)
    if not others:
        return shorten_text(lead, SUBJECT_COLUMNS)
    full = choose_form(words.subject, words.language, others)
    if words.short_subject is None:  # as mails were published before there was one
        return full % {"lead": shorten_text(titles[0], SUBJECT_COLUMNS), "count": others}
    for form in (full, words.short_subject, "%(lead)s"):
        if _measure(subject := form % {"lead": lead, "count": others}) <= SUBJECT_COLUMNS:
            return subject
    short = words.short_subject
    return _fit_lead(lambda shown: short % {"lead": shown, "count": others}, lead)


def write_preheader(words: Words, stories: Sequence[StoryParts]) -> str:
    """What an inbox shows after the subject: the next headlines; where they are short, what the stories begin with."""
    said = clean_line(" · ".join(s.title[: 2 * PREHEADER_COLUMNS] for s in stories[1:5]))
    if words.short_subject is not None:  # in the mail each title stands alone; here one would turn the others
        said = _BIDI.sub("", said)
    for offer in (*(s.teaser for s in stories[:5]), words.preheader):
        if len(said) >= PREHEADER_CHARACTERS:
            break
        if offer and offer != stories[0].title:
            said = f"{said} · {offer}" if said else offer
    return shorten_text(said, PREHEADER_COLUMNS)


def _fit_lead(write: Callable[[str], str], lead: str) -> str:
    subject = write(lead)
    if (over := _measure(subject) - SUBJECT_COLUMNS) <= 0:
        return subject
    return write(shorten_text(lead, max(SHORTEST_LEAD, _measure(lead) - over)))


def _measure(text: str) -> int:
    """As wide as it is in columns, or as long as it is in characters: an inbox may count either."""
    return max(measure_columns(text), len(text))
