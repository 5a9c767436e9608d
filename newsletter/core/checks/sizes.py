"""Checks of the HTML part's size: what Gmail clips, what was left out, and how much more would fit."""

from collections.abc import Iterator

from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.mails.editions import HTML_OCTETS, measure_free, measure_story

CLIPPED_OCTETS = 100_000  # where Gmail clips: others measured from 99.5 to 105 KB
_PLACE = "html:1"


def check_size(mail: CheckedMail) -> Iterator[Finding]:
    """The size as it is once the transfer encoding is undone, which is what Gmail counts."""
    octets = len(mail.find_part("text/html").octets)
    if octets > CLIPPED_OCTETS:
        yield find("size.clipped", _PLACE, f"the HTML part has {_kb(octets)}: Gmail clips it. {_REMEDY}")
    elif octets > HTML_OCTETS:
        yield find("size.large", _PLACE, f"the HTML part has {_kb(octets)}, and Gmail clips at about 100 KB. {_REMEDY}")
    yield from _check_cut(mail)
    mean = max(1, sum(map(measure_story, mail.parts)) // len(mail.parts))
    more = max(0, measure_free(mail.edition.frame, mail.parts) // mean)
    stories = "1 more story" if more == 1 else f"{more} more stories"
    yield find(
        "size.room",
        _PLACE,
        f"the HTML part has {_kb(octets)} of {_kb(HTML_OCTETS)}; {stories} of {_kb(mean)}, the brief's mean, would fit",
    )


_REMEDY = "Make the templates shorter."


def _check_cut(mail: CheckedMail) -> Iterator[Finding]:
    edition = mail.edition
    if left_out := [source.story for source in mail.sources[edition.shown :]]:
        first = f"the story “{left_out[0].title}”"
        which = f"{len(left_out)} stories, of which {first} is the first, are" if len(left_out) > 1 else f"{first} is"
        said = f"{which} left out of the mail, which is full: only the web copy has all. Shorten the stories"
        yield find("size.cut", mail.place_in_brief(left_out[0].line), said)
    for place in sorted(edition.shortened):
        story = mail.sources[place].story
        yield find(
            "size.cut",
            mail.place_in_brief(story.line),
            f"the story “{story.title}” is too long for a mail, and goes on in the web copy. Shorten it",
        )


def _kb(octets: int) -> str:
    return f"{octets / 1000:.1f} KB"
