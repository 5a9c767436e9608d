"""A proof: one mail as a reader with these topics would get it, and why each story is in it or not.

Made without publishing anything and without a database. Of several briefs, as for a reader who gathers, the first gives
the mail its title and date.
"""

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row

from newsletter.compose import make_links, make_message_id
from newsletter.core.errors import BriefError
from newsletter.core.mails.editions import Edition, assemble_edition
from newsletter.core.mails.message import Composed, Links, Recipient, compose_mail, render_html, render_text
from newsletter.core.mails.render import StoryParts, StorySource
from newsletter.core.model import EVERY_STORY, Brief, Story
from newsletter.core.tokens import Signer
from newsletter.publish.typesetter import Matches, Typesetter

SAMPLE_ADDRESS = "reader@example.org"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A story of the briefs: with the topics it has (name and reasons), and why it is left out, None where it is in."""

    title: str
    brief: str
    topics: tuple[tuple[str, tuple[str, ...]], ...]
    left_out: str | None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A mail in all its forms, what it was made of, and why each story of its briefs is in it or not.

    `sources` and `parts` are the mail's stories, in its order; `stories` are all of its briefs'.
    """

    theme: str
    html: str
    text: str
    mjml: str
    eml: bytes
    edition: Edition
    sources: tuple[StorySource, ...]
    parts: tuple[StoryParts, ...]
    links: Links
    stories: tuple[Placed, ...]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A story with its matches, the brief it stands in, and why it is left out."""

    story: Story
    matches: Matches
    brief: Brief
    left_out: str | None

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(match.topic for match in self.matches)

    @property
    def day(self) -> date:
        return self.brief.date


def make_proof(
    briefs: Brief | Sequence[Brief],
    wanted: Sequence[str],
    *,
    publisher: Typesetter,
    signer: Signer,
    person: Row[Any] | None,
    now: datetime,
    held: Collection[str] = (),
) -> Proof:
    """The mail for a reader who chose `wanted`; BriefError where no story matches.

    `held` are the content keys of stories that the reader has had already: they are left out.
    """
    briefs = [briefs] if isinstance(briefs, Brief) else list(briefs)
    lead, language = briefs[0], (person.language if person else None) or publisher.language
    candidates = list(_choose(briefs, wanted, publisher, frozenset(held)))
    taken = [candidate for candidate in candidates if candidate.left_out is None]
    if not taken:
        raise BriefError(f"{lead.source}: no story has any of the topics {', '.join(wanted) or '(none)'}")
    sender, renderer = publisher.sender, publisher.renderer
    sources = [publisher.name_story(c.story, c.topics, c.day) for c in taken]
    parts = renderer.compile_stories(sources, language)
    frame = renderer.compile_frame(sender, issue=None, title=lead.title, date=lead.date, language=language)
    edition = assemble_edition(frame, parts)
    sources = [sources[place.index] for place in edition.places]
    parts = [parts[place.index] for place in edition.places]
    recipient = Recipient(
        email=person.email if person else SAMPLE_ADDRESS,
        name=person.name if person else "",
        topics=tuple(wanted),
        timezone=person.timezone if person else "",
    )
    key = (0, person.id if person else 0)
    links = make_links(signer, sender, key)
    message_id = make_message_id(b"proof", key, sender.from_address.rpartition("@")[2])
    return Proof(
        theme=renderer.theme.name,
        html=render_html(edition, recipient, links),
        text=render_text(edition, recipient, links),
        mjml=renderer.render_mjml(edition, sources, recipient, links),
        eml=compose_mail(edition, recipient, links, message_id=message_id, date=now).octets,
        edition=edition,
        sources=tuple(sources),
        parts=tuple(parts),
        links=links,
        stories=tuple(_place(candidate, publisher) for candidate in candidates),
    )


def compose_trial(
    proof: Proof, *, to: str, name: str, topics: Sequence[str], publisher: Typesetter, signer: Signer, now: datetime
) -> Composed:
    """The mail of a proof, addressed to who tries it; its links are nobody's, and its Message-ID is new."""
    sender, nobody = publisher.sender, (0, 0)
    message_id = make_message_id(secrets.token_bytes(16), nobody, sender.from_address.rpartition("@")[2])
    recipient = Recipient(email=to, name=name, topics=tuple(topics))
    links = make_links(signer, sender, nobody)
    return compose_mail(proof.edition, recipient, links, message_id=message_id, date=now)


def explain_stories(briefs: Sequence[Brief], wanted: Sequence[str], publisher: Typesetter) -> tuple[Placed, ...]:
    """The stories of briefs alone, with why each would be in the mail or not."""
    return tuple(_place(candidate, publisher) for candidate in _choose(briefs, wanted, publisher, frozenset()))


def _choose(
    briefs: Sequence[Brief], wanted: Sequence[str], publisher: Typesetter, held: frozenset[str]
) -> Iterator[_Candidate]:
    """Every story with the reason against it, the first that fits."""
    seen: set[str] = set()
    for brief in briefs:
        for story, matches in publisher.match_topics(brief):
            topics = [match.topic for match in matches]
            left_out = None
            if EVERY_STORY not in wanted and set(wanted).isdisjoint(topics):
                names = ", ".join(publisher.name_topics(topics))
                left_out = f"not chosen: {names}" if names else "it has no topic: only readers of everything get it"
            elif not seen.isdisjoint(story.identity):
                left_out = "it stands in a newer brief already"
            elif story.content_key in held:
                left_out = "an earlier mail holds it"
            else:
                seen |= story.identity
            yield _Candidate(story=story, matches=matches, brief=brief, left_out=left_out)


def _place(candidate: _Candidate, publisher: Typesetter) -> Placed:
    topics = tuple(
        (publisher.catalogue[match.topic].name, tuple(evidence.sentence for evidence in match.because))
        for match in candidate.matches
        if match.topic in publisher.catalogue
    )
    return Placed(title=candidate.story.title, brief=candidate.brief.id, topics=topics, left_out=candidate.left_out)
