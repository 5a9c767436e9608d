"""An edition: a frame and an ordered list of stories, joined from their compiled parts; nothing is rendered here.

Keeps the HTML under 90,000 octets, since Gmail clips at about 100 KB: stories that do not fit are left out of both
parts, with a link to the web copy, and the footer is always there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from markupsafe import escape

from newsletter.core.errors import BriefError
from newsletter.core.mails.chrome import choose_form
from newsletter.core.mails.columns import shorten_text
from newsletter.core.mails.headers import write_text
from newsletter.core.mails.parts import Frame, StoryParts
from newsletter.core.mails.quoted import Passage, Piece, Segments, clean_line, encode_quoted

HTML_OCTETS = 90_000
HEADLINE_OCTETS = 20_000  # of those, for the list of headlines where stories are cut
LEAD_COLUMNS = 60
PREHEADER_CHARACTERS = 40  # at least
PREHEADER_COLUMNS = 130  # at most
_NOTHING = Passage()


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One edition, ready to be filled per person. The first `listed` headlines and `shown` stories are in it.

    `shortened`: the one story shown is too long for a mail by itself, and goes on in the web copy.
    """

    frame: Frame
    subject: str
    preheader: str
    more_stories: str
    listed: int
    shown: int
    shortened: bool
    head: bytes
    text: tuple[Piece, ...]
    html: tuple[Piece, ...]


def assemble_edition(frame: Frame, stories: Sequence[StoryParts], *, whole: bool = False) -> Edition:
    """Join the parts; day headings stand where the stories are of several days.

    `whole` leaves nothing out, for the web copy. BriefError when there is no story.
    """
    if not stories:
        raise BriefError(f"an edition of {frame.title!r} needs at least one story")
    days = [s.day for s in stories]
    headings = [s.day_heading if begins_day(days, i) else _NOTHING for i, s in enumerate(stories)]
    bodies = [s.whole or s.story for s in stories]
    listed = shown = len(stories)
    if not whole:
        listed, shown = _fit_stories(frame, stories, bodies, headings)
    if shortened := not shown:  # a mail holds whole stories, but one that alone is too long gets as far as it goes
        bodies, shown = [stories[0].story], 1
    said = {
        "preheader": _write_preheader(frame, stories),
        "more_stories": _write_count(frame, len(stories) - shown),
    }
    plan = _Plan(
        frame=frame,
        headlines=[s.headline for s in stories[:listed]],
        stories=[passage for pair in zip(headings[:shown], bodies[:shown], strict=True) for passage in pair],
        prints_headlines=len(stories) > 1,
        prints_more=shown < len(stories),
    )
    subject = _write_subject(frame, stories)
    return Edition(
        frame=frame,
        subject=subject,
        **said,
        listed=listed,
        shown=shown,
        shortened=shortened,
        head=(frame.head + write_text("Subject", subject)).encode(),
        text=plan.join(lambda passage: passage.text, said),
        html=plan.join(lambda passage: passage.html, {name: escape(words) for name, words in said.items()}),
    )


def measure_free(frame: Frame, stories: Sequence[StoryParts]) -> int:
    """How many octets of the budget all these stories leave over; less than 0 where they do not fit."""
    days = [s.day for s in stories]
    headings = sum(s.day_heading.html.size for i, s in enumerate(stories) if begins_day(days, i))
    return _measure_room(frame) - headings - sum(map(measure_story, stories))


def measure_story(story: StoryParts) -> int:
    """The octets that a story takes in the HTML part, its headline included."""
    return story.headline.html.size + (story.whole or story.story).html.size


def begins_day(days: Sequence[date], index: int) -> bool:
    """Whether a day heading stands before this story; none does where all are of one day."""
    if index == 0:
        return len(set(days)) > 1
    return days[index] != days[index - 1]


def _fit_stories(
    frame: Frame, stories: Sequence[StoryParts], bodies: Sequence[Passage], headings: Sequence[Passage]
) -> tuple[int, int]:
    """How many headlines and how many whole stories fit. Headlines of stories that are cut stay while there is room."""
    headlines = [s.headline.html.size for s in stories]
    blocks = [body.html.size + day.html.size for body, day in zip(bodies, headings, strict=True)]
    room = _measure_room(frame)
    if sum(headlines) + sum(blocks) <= room:
        return len(stories), len(stories)
    room -= frame.more.html.size
    listed = _count_fitting(headlines, min(room, HEADLINE_OCTETS))
    return listed, _count_fitting(blocks, room - sum(headlines[:listed]))


def _measure_room(frame: Frame) -> int:
    """What the frame leaves for headlines and stories."""
    return HTML_OCTETS - 1 - frame.mail.html.size - frame.headlines.html.size


def _count_fitting(sizes: Iterable[int], room: int) -> int:
    return sum(1 for total in accumulate(sizes) if total <= room)


def _write_subject(frame: Frame, stories: Sequence[StoryParts]) -> str:
    lead, others = shorten_text(stories[0].title, LEAD_COLUMNS), len(stories) - 1
    if not others:
        return lead
    return choose_form(frame.words.subject, frame.language, others) % {"lead": lead, "count": others}


def _write_preheader(frame: Frame, stories: Sequence[StoryParts]) -> str:
    """What an inbox shows after the subject: the next headlines; where they are short, what the stories begin with."""
    said = clean_line(" · ".join(s.title[: 2 * PREHEADER_COLUMNS] for s in stories[1:5]))
    for offer in (*(s.teaser for s in stories[:5]), frame.words.preheader):
        if len(said) >= PREHEADER_CHARACTERS:
            break
        if offer and offer != stories[0].title:
            said = f"{said} · {offer}" if said else offer
    return shorten_text(said, PREHEADER_COLUMNS)


def _write_count(frame: Frame, cut: int) -> str:
    return choose_form(frame.words.more, frame.language, cut) % {"count": cut} if cut else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Which passages stand in an edition; either part is joined after it."""

    frame: Frame
    headlines: Sequence[Passage]
    stories: Sequence[Passage]
    prints_headlines: bool
    prints_more: bool

    def join(self, pick: Callable[[Passage], Segments], said: Mapping[str, str]) -> tuple[Piece, ...]:
        """The pieces of one part in order; only a person's slots are left."""
        values: dict[str, Sequence[Piece]] = {name: (encode_quoted(words),) for name, words in said.items()}
        values["headline_list"] = [piece for passage in self.headlines for piece in pick(passage).pieces]
        values["story_list"] = [piece for passage in self.stories for piece in pick(passage).pieces]
        headlines, more = pick(self.frame.headlines).pieces, pick(self.frame.more).pieces
        values["headlines"] = _substitute(headlines, values) if self.prints_headlines else ()
        values["more"] = _substitute(more, values) if self.prints_more else ()
        return tuple(_substitute(pick(self.frame.mail).pieces, values))


def _substitute(pieces: Iterable[Piece], values: Mapping[str, Sequence[Piece]]) -> Sequence[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and piece in values:
            joined += values[piece]
        else:
            joined.append(piece)
    return joined
