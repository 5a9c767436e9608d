"""An edition: a frame and an ordered list of stories, joined from their compiled parts; nothing is rendered here.

Keeps the HTML under 90,000 octets, since Gmail clips at about 100 KB: very long stories go on in the web copy, then
stories that do not fit are left out of both parts, with a link to it. The footer is always there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import escape

from newsletter.core.errors import BriefError
from newsletter.core.mails.chrome import choose_form
from newsletter.core.mails.headers import write_text
from newsletter.core.mails.inbox import write_preheader, write_subject
from newsletter.core.mails.order import Place, place_stories
from newsletter.core.mails.parts import Frame, StoryParts
from newsletter.core.mails.quoted import Passage, Piece, Segments, encode_quoted
from newsletter.core.model import Picture

HTML_OCTETS = 90_000
FORMER_HEADLINE_OCTETS = 20_000  # of those, for the headlines of a mail of format 1
SECONDS_A_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One edition, ready to be filled per person.

    `places` say in which order the mail has the given stories; of these the first `listed` headlines and `shown`
    stories are in it, and those at the places in `shortened` go on in the web copy. `said` are the words of its own.
    """

    frame: Frame
    places: tuple[Place, ...]
    subject: str
    said: Mapping[str, str]
    listed: int
    shown: int
    shortened: frozenset[int]
    pictures: tuple[Picture, ...]
    head: bytes
    text: tuple[Piece, ...]
    html: tuple[Piece, ...]

    @property
    def preheader(self) -> str:
        """What an inbox shows after the subject."""
        return self.said["preheader"]


def assemble_edition(frame: Frame, stories: Sequence[StoryParts], *, whole: bool = False) -> Edition:
    """Join the parts, in the order and under the headings of order.py.

    `whole` leaves nothing out, for the web copy. BriefError when there is no story.
    """
    if not stories:
        raise BriefError(f"an edition of {frame.title!r} needs at least one story")
    places = place_stories(stories)
    ordered = [stories[place.index] for place in places]
    headings = [place.choose_heading(story) for place, story in zip(places, ordered, strict=True)]
    fit = _Fit(listed=len(ordered), shown=len(ordered)) if whole else _fit_stories(frame, ordered, headings)
    said = {
        "preheader": write_preheader(frame.words, ordered),
        "more_stories": _write_count(frame.words.more, frame.language, len(ordered) - fit.shown),
        "reading_time": _write_reading_time(frame, ordered[: fit.shown]),
    }
    bodies = [_choose_body(ordered, place, fit.shortened) for place in range(fit.shown)]
    plan = _Plan(
        frame=frame,
        headlines=[story.headline for story in ordered[: fit.listed]],
        stories=[passage for pair in zip(headings, bodies, strict=False) for passage in pair],
        prints_headlines=len(ordered) > 1,
        prints_more=fit.shown < len(ordered),
    )
    subject = write_subject(frame.words, [story.title for story in ordered])
    return Edition(
        frame=frame,
        places=places,
        subject=subject,
        said=said,
        listed=fit.listed,
        shown=fit.shown,
        shortened=fit.shortened,
        pictures=tuple(dict.fromkeys(picture for story in ordered[: fit.shown] for picture in story.pictures)),
        head=(frame.head + write_text("Subject", subject)).encode(),
        text=plan.join(lambda passage: passage.text, said),
        html=plan.join(lambda passage: passage.html, {name: escape(words) for name, words in said.items()}),
    )


def measure_free(frame: Frame, stories: Sequence[StoryParts]) -> int:
    """How many octets of the budget all these stories leave over; less than 0 where they do not fit."""
    headings = sum(place.choose_heading(stories[place.index]).html.size for place in place_stories(stories))
    return _measure_room(frame) - headings - sum(map(measure_story, stories))


def measure_story(story: StoryParts) -> int:
    """The octets that a story takes in the HTML part, its headline included."""
    return story.headline.html.size + (story.whole or story.story).html.size


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """How many headlines and stories of a mail stand in it, and the places of those that are shortened."""

    listed: int
    shown: int
    shortened: frozenset[int] = frozenset()


def _fit_stories(frame: Frame, stories: Sequence[StoryParts], headings: Sequence[Passage]) -> _Fit:
    """Shortens long stories, the last first, then leaves whole ones out; headlines stay as long as they leave room."""
    headlines = [story.headline.html.size for story in stories]
    places = range(len(stories))
    shortened: frozenset[int] = frozenset()

    def measure() -> list[int]:
        return [headings[p].html.size + _choose_body(stories, p, shortened).html.size for p in places]

    room = _measure_room(frame)
    long = [place for place in places if stories[place].whole and frame.format > 1]
    for place in (None, *reversed(long)):
        shortened |= {place} if place is not None else frozenset()
        blocks = measure()
        if sum(headlines) + sum(blocks) <= room:
            return _Fit(listed=len(stories), shown=len(stories), shortened=shortened)
    room -= frame.more.html.size
    most = room - blocks[0] if frame.format > 1 else min(room, FORMER_HEADLINE_OCTETS)
    listed = _count_fitting(headlines, most)
    shown = _count_fitting(blocks, room - sum(headlines[:listed]))
    if not shown:  # a mail holds whole stories, but one that alone is too long gets as far as it goes
        return _Fit(listed=listed, shown=1, shortened=frozenset({0}))
    return _Fit(listed=listed, shown=shown, shortened=shortened & set(range(shown)))


def _choose_body(stories: Sequence[StoryParts], place: int, shortened: frozenset[int]) -> Passage:
    return stories[place].choose_body(is_lead=place == 0, is_short=place in shortened)


def _measure_room(frame: Frame) -> int:
    """What the frame leaves for headlines and stories."""
    return HTML_OCTETS - 1 - frame.mail.html.size - frame.headlines.html.size


def _count_fitting(sizes: Iterable[int], room: int) -> int:
    return sum(1 for total in accumulate(sizes) if total <= room)


def _write_reading_time(frame: Frame, stories: Sequence[StoryParts]) -> str:
    minutes = max(1, round(sum(story.seconds for story in stories) / SECONDS_A_MINUTE))
    return _write_count(frame.words.reading, frame.language, minutes)


def _write_count(forms: Mapping[str, str], language: str, count: int) -> str:
    return choose_form(forms, language, count) % {"count": count} if count and forms else ""


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
