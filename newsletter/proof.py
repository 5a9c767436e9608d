"""A proof: one mail of a brief as a reader with these topics would get it, made without publishing anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from newsletter.compose import make_links, make_message_id
from newsletter.core.errors import BriefError
from newsletter.core.mails.editions import Edition, assemble_edition
from newsletter.core.mails.message import Links, Recipient, compose_mail, render_html, render_text
from newsletter.core.mails.render import StoryParts, StorySource
from newsletter.core.model import EVERY_STORY, Brief
from newsletter.core.tokens import Signer
from newsletter.publish import Publisher

SAMPLE_ADDRESS = "reader@example.org"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A mail in all its forms, and what it was made of; `sources` and `parts` are its stories, in its order."""

    html: str
    text: str
    mjml: str
    eml: bytes
    edition: Edition
    sources: tuple[StorySource, ...]
    parts: tuple[StoryParts, ...]
    links: Links


def make_proof(
    brief: Brief,
    wanted: Sequence[str],
    *,
    publisher: Publisher,
    signer: Signer,
    person: Row[Any] | None,
    now: datetime,
) -> Proof:
    """The mail for a reader who chose `wanted`; BriefError where no story of the brief matches."""
    language = (person.language if person else None) or publisher.language
    sources = []
    parts = []
    for story, matches in publisher.match_topics(brief):
        topics = [match.topic for match in matches]
        if EVERY_STORY in wanted or not set(wanted).isdisjoint(topics):
            names = tuple(publisher.catalogue[topic].name for topic in topics)
            sources.append(StorySource(story=story, topics=names, day=brief.date))
            parts.append(publisher.renderer.compile_story(story, names, day=brief.date, language=language))
    if not parts:
        raise BriefError(f"{brief.source}: no story has any of the topics {', '.join(wanted) or '(none)'}")
    sender, renderer = publisher.sender, publisher.renderer
    frame = renderer.compile_frame(sender, issue=None, title=brief.title, date=brief.date, language=language)
    edition = assemble_edition(frame, parts)
    recipient = Recipient(
        email=person.email if person else SAMPLE_ADDRESS, name=person.name if person else "", topics=tuple(wanted)
    )
    key = (0, person.id if person else 0)
    links = make_links(signer, sender, key)
    domain = sender.from_address.rpartition("@")[2]
    message_id = make_message_id(b"proof", key, domain)
    return Proof(
        html=render_html(edition, recipient, links),
        text=render_text(edition, recipient, links),
        mjml=renderer.render_mjml(edition, sources, recipient, links),
        eml=compose_mail(edition, recipient, links, message_id=message_id, date=now).octets,
        edition=edition,
        sources=tuple(sources),
        parts=tuple(parts),
        links=links,
    )
