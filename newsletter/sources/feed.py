"""Feeds into briefs: RSS and Atom through feedparser, JSON Feed by a small reader of our own.

Takes bytes and does no I/O: feedparser would open a string that looks like an address or a path, so it gets a stream.
Refuses, with the file's name, what is no feed or holds no item with any text.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import urljoin
from xml.sax import SAXException

import feedparser

from newsletter.core.briefs.draft import read_topics
from newsletter.core.briefs.markup import parse_html
from newsletter.core.briefs.matter import read_language
from newsletter.core.briefs.parser import date_in_name
from newsletter.core.briefs.text import allow_image, clean_text
from newsletter.core.errors import BriefError
from newsletter.core.model import Block, BlockKind, Brief, BriefWarning, Story, fold

TITLE_LENGTH = 100
"""The longest title, in characters, made from the text of an item that has none."""

_SENTENCE = re.compile(r".{0,98}?(?:(?:(?<!\b[A-Z])\.|[!?؟۔])+[”’»\"')]*(?=\s|\Z)|[。！？]+[”’」』]*)", re.DOTALL)
_REFERENCE = re.compile(rb"&#(?:0*([0-9]+)|[xX]0*([0-9a-fA-F]+));?")
_TOPICS_LINE = re.compile(r"\s*(?:<p\b[^>]*>)?\s*(topics\s*:[^<\n]*?)\s*(?:</p>|<br\s*/?>|\n|\Z)", re.IGNORECASE)
_JSON_FEED = "https://jsonfeed.org/version/"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """An item as its feed has it. `title` and `body` are HTML; addresses may still be relative to `base`."""

    title: str
    body: str
    base: str
    link: str
    guid: str | None
    categories: tuple[str, ...]
    image: str = ""
    language: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Feed:
    title: str
    language: str
    items: tuple[_Item, ...]
    warnings: tuple[BriefWarning, ...] = ()


def parse_feed(
    data: bytes,
    *,
    brief_id: str,
    source: str,
    modified_at: datetime,
    language: str,
    charset: str | None = None,
    base: str = "",
) -> Brief:
    """The brief in a feed of any format and charset; raises BriefError with the file's name if it is none.

    Items stay in the feed's order; one without a title gets its first sentence, one without any text is left out with
    a warning, one without an id gets one made of its link and title. The date is that in `brief_id`, else that of
    `modified_at`. A first line `Topics: a, b` of an item sets its topics by hand. `charset` is what the feed's server
    says of it, `base` the feed's own address, which links may be relative to.
    """
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        feed = _read_json(data, source, base)
    else:
        feed = _read_xml(data, source, base, charset)
    warnings = list(feed.warnings)
    stories = []
    for number, item in enumerate(feed.items, start=1):
        story = _story(item)
        if story.title:
            stories.append(story)
        else:
            warnings.append(
                BriefWarning(line=None, message=f"item {number} has neither title nor text and is left out")
            )
    if not stories:
        raise BriefError(f"{source} holds no story: it is a feed without items")
    return Brief(
        id=brief_id,
        title=_plain(feed.title) or brief_id,
        date=date_in_name(brief_id) or modified_at.date(),
        language=read_language(feed.language) or language,
        stories=tuple(stories),
        warnings=tuple(warnings),
        source=source,
        modified_at=modified_at,
    )


def is_json_feed(data: bytes) -> bool:
    """Whether the bytes are a JSON object that says it is a JSON Feed."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and str(said.get("version", "")).startswith(_JSON_FEED)


def _story(item: _Item) -> Story:
    url = allow_image(item.link, item.base)
    by_hand, body = _take_topics(item.body)
    blocks = parse_html(body, base=url or item.base)
    image = allow_image(item.image, item.base)
    if image and not any(inner.kind is BlockKind.IMAGE for block in blocks for inner in block.walk()):
        blocks = (Block(kind=BlockKind.IMAGE, src=image), *blocks)
    story = Story(
        title=_plain(item.title),
        blocks=blocks,
        language=read_language(item.language),
        by_hand=by_hand,
        by_hand_place="first line" if by_hand else "",
        url=url,
        guid=item.guid,
        categories=item.categories,
    )
    if not story.title:
        story = replace(story, title=_title_of_text(story))
    return replace(story, guid=_made_id(url, story.title)) if url and not story.guid else story


def _made_id(url: str, title: str) -> str:
    """The id of an item that has none: it stays when its text is corrected."""
    said = f"{url}\n{fold(title)}"
    return f"made:{hashlib.sha256(said.encode()).hexdigest()}"


def _title_of_text(story: Story) -> str:
    images = (block.alt for top in story.blocks for block in top.walk() if block.alt)
    return _first_sentence(next(iter(story.paragraphs), "") or next(images, "") or story.url or "")


def _take_topics(body: str) -> tuple[tuple[str, ...] | None, str]:
    """The topics that a first line `Topics: a, b` sets by hand, and the body without it."""
    line = _TOPICS_LINE.match(body)
    topics = read_topics(_plain(line[1])) if line else None
    return (topics, body[line.end() :]) if line and topics else (None, body)


def _plain(html: str) -> str:
    """The text of a title: its markup and entities resolved, on one line."""
    spans = [span for block in parse_html(html) for inner in block.walk() for span in inner.spans]
    return " ".join(re.split(r"[ \t\n]+", "".join(span.text for span in spans))).strip()


def _first_sentence(text: str) -> str:
    match = _SENTENCE.match(text)
    if match and len(match[0]) <= TITLE_LENGTH:
        return match[0]
    if len(text) <= TITLE_LENGTH:
        return text
    cut = text[: TITLE_LENGTH - 1]
    return f"{cut.rsplit(maxsplit=1)[0] if ' ' in cut else cut}…"


def _read_xml(data: bytes, source: str, base: str, charset: str | None) -> _Feed:
    # We clean HTML and resolve addresses ourselves (markup.py); feedparser's ways lose what its lists do not know.
    data = _REFERENCE.sub(_valid_reference, data)
    # The server's word goes before the document's own (RFC 7303 3.2); its media type is not needed, and often wrong.
    headers = {"content-type": f"application/xml; charset={charset}"} if charset else {}
    try:
        parsed = feedparser.parse(
            io.BytesIO(data), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except (ValueError, OverflowError) as error:
        raise BriefError(f"{source} is a feed that cannot be read: {error}") from error
    if not parsed.get("version") and not parsed.entries:
        raise BriefError(f"{source} is not a feed: neither RSS nor Atom nor JSON Feed")
    warnings = []
    problem = parsed.get("bozo_exception")
    if parsed.bozo and isinstance(problem, SAXException):
        warnings.append(
            BriefWarning(line=_line(problem), message=f"the feed is not well-formed XML: {_message(problem)}")
        )
    base = _join(base, _text(parsed.feed, "link"))
    return _Feed(
        title=_html_of(parsed.feed.get("title_detail")),
        language=_text(parsed.feed, "language"),
        items=tuple(_xml_item(entry, base) for entry in parsed.entries),
        warnings=tuple(warnings),
    )


def _valid_reference(match: re.Match[bytes]) -> bytes:
    """The reference, or one to U+FFFD where it names no character: feedparser raises over it outside of strict XML."""
    digits, base = (match[1], 10) if match[1] else (match[2], 16)
    number = int(digits, base) if len(digits) < 9 else 0x110000
    return match[0] if number < 0xD800 or 0xDFFF < number < 0x110000 else b"&#65533;"


def _xml_item(entry: Any, base: str) -> _Item:
    bodies = entry.get("content") or [entry.get("summary_detail")]
    body = next((body for body in bodies if body and "html" in body.get("type", "")), bodies[0])
    terms = (tag.get("term") or tag.get("label") for tag in entry.get("tags") or ())
    return _Item(
        title=_html_of(entry.get("title_detail")),
        body=_html_of(body),
        base=_text(body or {}, "base") or base,
        link=_text(entry, "link"),
        guid=_text(entry, "id") or None,
        categories=_clean_each(terms),
        image=_find_image(entry),
        language=_text(entry.get("title_detail") or {}, "language"),
    )


def _find_image(entry: Any) -> str:
    """The picture that an item names beside its text: an enclosure (RSS 2.0), or Media RSS."""
    media = [m for m in entry.get("media_content") or () if m.get("medium") == "image" or _is_picture(m)]
    enclosed = [e for e in entry.get("enclosures") or () if _is_picture(e)]
    return next((str(m.get("url") or m.get("href") or "") for m in (*enclosed, *media)), "")


def _is_picture(said: Any) -> bool:
    return str(said.get("type", "")).startswith("image/")


def _html_of(detail: Any) -> str:
    """A text construct of feedparser as HTML; plain text is escaped, its blank lines are paragraph breaks."""
    if not detail:
        return ""
    value = str(detail.get("value") or "")
    return value if "html" in detail.get("type", "") else _escape(value)


def _escape(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in re.split(r"\n[ \t\r]*\n", text))


def _line(problem: SAXException) -> int | None:
    return problem.getLineNumber() if hasattr(problem, "getLineNumber") else None


def _message(problem: SAXException) -> str:
    return str(problem.getMessage())


def _join(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:
        return base


def _read_json(data: bytes, source: str, base: str) -> _Feed:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BriefError(f"{source} is not a feed: it is not JSON ({error})") from error
    if not isinstance(said, dict) or not str(said.get("version", "")).startswith(_JSON_FEED):
        raise BriefError(f"{source} is not a feed: it is JSON, but names no version of JSON Feed")
    items = said.get("items")
    return _Feed(
        title=_escape(_text(said, "title")),
        language=_text(said, "language"),
        items=tuple(_json_items(items if isinstance(items, list) else [], _join(base, _text(said, "home_page_url")))),
    )


def _json_items(items: list[Any], base: str) -> Iterator[_Item]:
    for item in items:
        if isinstance(item, dict):
            tags = item.get("tags")
            text = _text(item, "content_text") or _text(item, "summary")
            yield _Item(
                title=_escape(_text(item, "title")),
                body=_text(item, "content_html") or _escape(text),
                base=base,
                link=_text(item, "url") or _text(item, "external_url"),
                guid=_text(item, "id") or None,
                categories=_clean_each(tags if isinstance(tags, list) else []),
                image=_text(item, "image") or _text(item, "banner_image"),
                language=_text(item, "language"),
            )


def _text(said: dict[str, Any], name: str) -> str:
    """A member as text; an `id` may be a number (JSON Feed 1.1, Items)."""
    value = said.get(name)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _clean_each(names: Any) -> tuple[str, ...]:
    cleaned = (" ".join(clean_text(name).split()) for name in names if isinstance(name, str))
    return tuple(dict.fromkeys(name for name in cleaned if name))
