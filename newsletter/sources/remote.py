"""What a feed at an address is called, and how its content becomes a brief. Does no I/O: http.py fetches it.

The same feed is the same brief for ever, with a new date whenever its content changes; its items are stories once.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, tzinfo
from email.message import Message
from urllib.parse import urlsplit

from newsletter.core.model import Brief, Story, fold
from newsletter.settings.values import mask_credentials
from newsletter.sources.feed import parse_feed

ID_LENGTH = 60
"""How long the id of a feed may be, in characters."""

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_GLOBAL_ID = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)  # a URI (RFC 3986 3): http:, tag:, urn:, …


def is_address(source: str) -> bool:
    """Whether a source is a feed's address, and not a folder."""
    return bool(_ADDRESS.match(source))


def show_address(address: str) -> str:
    """An address as it may be shown: without the name and password before its `@`; a path `/@name` stays."""
    return mask_credentials(address) if "@" in address.replace("/@", "") else address


def strip_password(address: str) -> str:
    """An address as the database knows it: with the name that logs in, without the password."""
    parts = urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=login.partition(":")[0] + at + host, fragment="").geturl()


def name_feed(address: str) -> str:
    """The id of a feed's brief: host and path in letters, digits, dots and dashes, as in `example.org-news-feed`.

    A part of a hash follows where that leaves something out, so that two feeds have two ids.
    """
    parts = urlsplit(strip_password(address))
    host = parts.netloc.rpartition("@")[2].lower()
    wanted = f"{host}{parts.path}".strip("/")
    slug = re.sub(r"[^a-z0-9._~]+", "-", wanted.lower()).strip("-.")
    if (
        re.fullmatch(r"[a-z0-9._~/:-]+", wanted)
        and not parts.query
        and "@" not in parts.netloc
        and len(slug) <= ID_LENGTH
    ):
        return slug
    digest = hashlib.sha256(strip_password(address).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{slug[: ID_LENGTH - 9].rstrip('-.')}-{digest}".lstrip("-")


def find_address(sources: Iterable[str], reference: str) -> str | None:
    """The address among the sources that is meant by its brief's id, or by itself, with or without its credentials."""
    for source in filter(is_address, sources):
        if reference in (name_feed(source), source, show_address(source), strip_password(source)):
            return source
    return None


def parse_remote(
    body: bytes, *, content_type: str | None, address: str, changed_at: datetime, language: str, zone: tzinfo
) -> Brief:
    """The brief that a feed is, dated by the day in `zone` of its last change; BriefError where it is no feed.

    An item's id counts everywhere if it is an address or another URI, else within the feed's host; an item without one
    gets an id made of its link and title.
    """
    brief = parse_feed(
        body,
        brief_id=name_feed(address),
        source=show_address(address),
        modified_at=changed_at,
        language=language,
        charset=_read_charset(content_type),
        base=strip_password(address),
    )
    host = urlsplit(address).hostname or ""
    stories: dict[str, Story] = {}
    for story in brief.stories:
        guid = _scope_id(story, host)
        stories.setdefault(guid, replace(story, guid=guid))
    day = changed_at.astimezone(zone).date()
    return replace(brief, date=day, stories=tuple(stories.values()), is_continuous=True)


def _scope_id(story: Story, host: str) -> str:
    if not story.guid:
        said = f"{host}\n{fold(story.title)}\n{fold(story.text)}"
        return f"made:{hashlib.sha256(said.encode()).hexdigest()}"
    return story.guid if _GLOBAL_ID.fullmatch(story.guid) else f"{host} {story.guid}"


def _read_charset(content_type: str | None) -> str | None:
    """The charset that a Content-Type names, None where there is no such charset."""
    header = Message()
    header["Content-Type"] = content_type or ""
    try:
        return codecs.lookup(header.get_content_charset() or "").name
    except (LookupError, ValueError):
        return None
