"""Checks of what an inbox shows before a mail is opened: the subject, and the preheader."""

from collections.abc import Iterator

from newsletter.core.checks.css import parse_declarations
from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.page import UNSEEN, Element
from newsletter.core.mails.quoted import clean_line
from newsletter.core.model import fold

SUBJECT_CHARACTERS = 60
PREHEADER_CHARACTERS = range(40, 131)
SAME_CHARACTERS = 12  # a shorter text may stand in another by chance
# What stands after a preheader so that the inbox shows nothing more: joiners, and spaces that do not fold.
_SPACER = "\u034f\u200b\u200c\u200d\u2007\u2060\ufeff\u00a0\u00ad "


def check_subject(mail: CheckedMail) -> Iterator[Finding]:
    """That there is one, and how much of it a reader sees."""
    place, length = "header Subject", len(mail.subject)
    title = clean_line(mail.sources[0].story.title)
    if not mail.subject.strip():
        yield find("subject.empty", place, "the mail has no subject. Give the first story a title")
    elif mail.subject.startswith(mail.edition.subject) and "…" in mail.subject and title not in mail.subject:
        remedy = f"Shorten it: an inbox shows {SUBJECT_CHARACTERS} characters at most"
        yield find("subject.long", place, f"the title of the first story stands in the subject cut short. {remedy}")
    elif length > SUBJECT_CHARACTERS:
        if len(title) <= SUBJECT_CHARACTERS and mail.subject.startswith(title):
            said = "an inbox may leave out the end, which only counts the further stories"
            yield find("subject.tail", place, f"the subject has {length} characters: {said}")
        else:
            remedy = f"Shorten the title of the first story: an inbox shows {SUBJECT_CHARACTERS} at most"
            yield find("subject.long", place, f"the subject has {length} characters. {remedy}")


def check_preheader(mail: CheckedMail) -> Iterator[Finding]:
    """That there is one, of a length that fills the row, and says something new."""
    element = _find_preheader(mail.page)
    if element is None:
        remedy = "Begin the body with a hidden element that prints {{ slot.preheader }}"
        yield find("preheader.missing", "html:1", f"the HTML has no preheader. {remedy}")
        return
    text = element.text.rstrip(_SPACER)
    if len(text) < PREHEADER_CHARACTERS.start:
        remedy = "Write more into the first stories: what follows in the mail fills the row"
        yield find("preheader.short", element.place, f"the preheader has {len(text)} characters. {remedy}")
    elif len(text) >= PREHEADER_CHARACTERS.stop:
        remedy = "An inbox shows 130 at most: shorten it"
        yield find("preheader.long", element.place, f"the preheader has {len(text)} characters. {remedy}")
    shorter, longer = sorted((fold(text), fold(mail.subject)), key=len)
    if len(shorter) >= SAME_CHARACTERS and shorter in longer:
        remedy = "Let it say what comes after the first story"
        yield find("preheader.repeats", element.place, f"the preheader says the subject again: “{text}”. {remedy}")


def _find_preheader(page: Element) -> Element | None:
    """The first element with text, if it is hidden by its style attribute."""
    for element in page.walk():
        if element.tag in UNSEEN or any(above.tag in UNSEEN for above in element.ancestors()):
            continue
        if _is_hidden(element) and element.text:
            return element
        if any(isinstance(node, str) and node.strip() for node in element.content):
            return None
    return None


def _is_hidden(element: Element) -> bool:
    declared = parse_declarations(element.attributes.get("style", ""))
    return any(declaration[:2] == ("display", "none") for declaration in declared)
