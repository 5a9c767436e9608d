"""Checks of the brief and its stories: what was read otherwise, what has no topic, whether both parts tell the same."""

import re
from collections.abc import Iterator, Sequence

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail, place_in_brief
from newsletter.core.checks.page import fold_white, list_lines
from newsletter.core.mails.quoted import clean_text
from newsletter.core.model import Brief, Catalogue
from newsletter.core.topics.matcher import warn_unknown_topics

_BULLET = re.compile(r"(?:[-*•–—#>]+|\d+[.)])\s+")


def check_brief(brief: Brief, catalogue: Catalogue) -> Iterator[Finding]:
    """The brief's own warnings; those about unknown topics have a code of their own."""
    unknown = warn_unknown_topics(brief, catalogue)
    for warning in dict.fromkeys((*brief.warnings, *unknown)):
        remedy = ". Add it to the catalogue, or write another" if warning in unknown else ""
        code = "topic.unknown" if warning in unknown else "brief.read"
        yield find(code, place_in_brief(brief, warning.line), f"{warning.message}{remedy}")


def check_topics(mail: CheckedMail) -> Iterator[Finding]:
    """Stories that no topic took."""
    for source in mail.sources:
        if not source.topics:
            remedy = "Only readers of every story get it: name one under its title, as in “Topics: …”, or add a keyword"
            said = f"no topic took the story “{source.story.title}”. {remedy}"
            yield find("topic.none", mail.place_in_brief(source.story.line), said)


def check_titles(mail: CheckedMail) -> Iterator[Finding]:
    """Every title unaltered in both parts, and as often in the one as in the other."""
    lines = {"html": list_lines(mail.page), "text": [fold_white(line) for line in mail.text.split("\n")]}
    for source in mail.sources[: mail.edition.shown]:
        title, place = fold_white(clean_text(source.story.title).strip()), mail.place_in_brief(source.story.line)
        counts = {part: _count(title, told) for part, told in lines.items()}
        missing = [part for part, told in lines.items() if not any(title in line for line in told)]
        for part in missing:
            remedy = "Print {{ story.title }} in the template as it is"
            name = "HTML" if part == "html" else "text"
            yield find(
                "story.missing", place, f"the {name} part lacks the title “{title}”, or has it altered. {remedy}"
            )
        if not missing and counts["html"] != counts["text"]:
            said = (
                f"“{title}” stands {counts['html']} times in the HTML part and {counts['text']} times in the text part"
            )
            yield find("story.uneven", place, f"{said}. Let both parts tell the same stories")


def _count(title: str, lines: Sequence[str]) -> int:
    """On how many lines the title stands alone, or after a bullet."""
    return sum(line == title or _BULLET.sub("", line, count=1) == title for line in lines)
