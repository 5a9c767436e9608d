"""The words of the service as values: topics, stories, briefs, and the states of issues and deliveries.

Frozen, keyword-only, pure. A story's body is a tree of blocks and spans, never HTML: what is not in the tree
(scripts, styles, forms, event handlers) cannot reach a mail.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property

from newsletter.core.errors import QueryError


class DeliveryState(StrEnum):
    """Where a delivery stands; `excluded` and `accepted` stay, see the state table in docs/design.md."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"
    EXCLUDED = "excluded"


class Outcome(StrEnum):
    """What one attempt on the wire came to."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"


class Exclusion(StrEnum):
    """Why a selected subscriber gets no mail of an issue; where several fit, the first in this order is the reason."""

    CANCELLED = "cancelled"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    PAUSED = "paused"
    FREQUENCY = "frequency"
    NO_MATCHING_STORIES = "no_matching_stories"
    EXPIRED = "expired"


class IssueState(StrEnum):
    """`preparing` while its deliveries are written; only a `running` issue is delivered."""

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class SubscriberState(StrEnum):
    """The subscriber's own will (double opt-in)."""

    PENDING = "pending"
    ACTIVE = "active"
    UNSUBSCRIBED = "unsubscribed"


Key = tuple[int, int]
"""(issue, subscriber): what a delivery is named by."""


NOTICE = "notice-"
"""How the log names a mail of the service's own (a confirmation), before its number."""

MOST_KEY = 2**62
"""No number in a delivery's name is larger: a database could not hold it."""

DELIVERY_NAME = re.compile(r"([0-9]{1,100})-([0-9]{1,100})")

EVERY_STORY = "*"
"""In a topic set: all stories, also those that no topic took."""


def name_delivery(key: Key) -> str:
    """A delivery's id as people and logs write it: `ISSUE-SUBSCRIBER`."""
    return f"{key[0]}-{key[1]}"


def parse_delivery(name: str) -> Key:
    """The key in a delivery's name `ISSUE-SUBSCRIBER`; QueryError where it is none.

    A number larger than any is MOST_KEY: a delivery that is not there, as others are not.
    """
    if not (numbers := DELIVERY_NAME.fullmatch(name)):
        raise QueryError(f"{name[:60]!r} is no delivery: one is named ISSUE-SUBSCRIBER")
    issue, subscriber = (min(int(number), MOST_KEY) for number in numbers.groups())
    return issue, subscriber


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """A subject a subscriber may choose. `keywords` are words or phrases; one in capitals matches only so."""

    id: str
    name: str
    keywords: tuple[str, ...] = ()
    description: str = ""
    parent: str | None = None
    languages: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()


Catalogue = Mapping[str, Topic]
"""The topics by id, in the order of topics.toml."""


class BlockKind(StrEnum):
    """What a block is. LIST holds ITEMs, TABLE holds ROWs, ROW holds CELLs; QUOTE and ITEM hold any blocks."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    QUOTE = "quote"
    LIST = "list"
    ITEM = "item"
    CODE = "code"
    IMAGE = "image"
    RULE = "rule"
    TABLE = "table"
    ROW = "row"
    CELL = "cell"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A run of text with one style. A line break in `text` is `\\n`; `href` is http, https or mailto, or None."""

    text: str
    href: str | None = None
    strong: bool = False
    emphasis: bool = False
    code: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A node of a story's body. Text sits in `spans`, nested blocks in `children`; `src` and `alt` belong to IMAGE.

    `level` is a heading's, or the first number of an ordered list that does not begin with 1.
    """

    kind: BlockKind
    spans: tuple[Span, ...] = ()
    children: tuple["Block", ...] = ()
    ordered: bool = False
    level: int = 0
    src: str = ""
    alt: str = ""

    @property
    def text(self) -> str:
        """The block's own text with white space folded, or the image's alt text; without its children."""
        return " ".join("".join(span.text for span in self.spans).split())

    def walk(self) -> Iterator["Block"]:
        """This block and every block below it, in reading order."""
        yield self
        for child in self.children:
            yield from child.walk()


class EvidenceSource(StrEnum):
    """Where a match comes from, strongest first: the author, the section or category, a keyword, a child topic."""

    AUTHOR = "author"
    SECTION = "section"
    KEYWORD = "keyword"
    CHILD = "child"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One reason why a story has a topic. `matched` is the words that fired, `place` is title, text, section, …"""

    source: EvidenceSource
    matched: str
    place: str
    weight: float

    @property
    def sentence(self) -> str:
        """The reason in words, as `because` shows it."""
        match self.source:
            case EvidenceSource.AUTHOR:
                return f"set by the author ({self.place})"
            case EvidenceSource.SECTION:
                return f"{self.place} “{self.matched}”"
            case EvidenceSource.KEYWORD:
                return f"keyword “{self.matched}” in the {self.place}"
            case _:
                return f"parent of {self.matched}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicMatch:
    """A topic that a story has, and the evidence for it."""

    topic: str
    because: tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image that travels within mails: where it was fetched, its media type, and its octets in base64."""

    address: str
    kind: str
    data: str

    @property
    def content_id(self) -> str:
        """What a mail's HTML calls it by (RFC 2392), without the angle brackets."""
        return f"{hashlib.sha256(self.data.encode()).hexdigest()[:24]}@newsletter"


@dataclass(frozen=True, kw_only=True)
class Story:
    """One news item as its author wrote it, before any topic was matched. In a brief its language is always known.

    `pictures` are those of its images that travel within mails.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    url: str | None = None
    guid: str | None = None
    section: str | None = None
    categories: tuple[str, ...] = ()
    by_hand: tuple[str, ...] | None = None
    by_hand_place: str = ""
    line: int | None = None
    language: str | None = None
    pictures: tuple[Picture, ...] = ()

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The addresses of its images, in reading order, each once."""
        blocks = (inner for block in self.blocks for inner in block.walk())
        return tuple(dict.fromkeys(block.src for block in blocks if block.kind is BlockKind.IMAGE))

    @cached_property
    def paragraphs(self) -> tuple[str, ...]:
        """Plain text, one string a paragraph (or list item, table row, …), its lines joined by spaces."""
        return tuple(_paragraphs(self.blocks))

    @cached_property
    def links(self) -> tuple[str, ...]:
        """Every address the body links to, in reading order, each once; the story's own `url` first."""
        found = [self.url] if self.url else []
        found += [s.href for b in self.blocks for inner in b.walk() for s in inner.spans if s.href]
        return tuple(dict.fromkeys(found))

    @property
    def text(self) -> str:
        """All paragraphs, joined by line breaks."""
        return "\n".join(self.paragraphs)

    @cached_property
    def content_key(self) -> str:
        """What makes two stories one beside their feed ids: a hash of the folded title and text (64 hex digits)."""
        return hashlib.sha256(f"{fold(self.title)}\n{fold(self.text)}".encode()).hexdigest()

    @property
    def identity(self) -> frozenset[str]:
        """By any of these two stories are one: the feed id, and title with text. A title alone never is enough."""
        return frozenset(key for key in (self.guid, self.content_key if self.text else None) if key)

    @property
    def id(self) -> str:
        """A short stable name: the start of the hash of the feed id, or else of title and text."""
        return (hashlib.sha256(self.guid.encode()).hexdigest() if self.guid else self.content_key)[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class BriefWarning:
    """Something in a brief that was read differently from how it was perhaps meant; `line` counts from 1."""

    line: int | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a source said for a period: ordered stories. `id` is the file's name without its suffix.

    A continuous one goes on under its id for ever, as a feed does: what changes in it is news, not a correction.
    """

    id: str
    title: str
    date: date
    language: str
    stories: tuple[Story, ...]
    warnings: tuple[BriefWarning, ...] = ()
    source: str = ""
    is_continuous: bool = False
    modified_at: datetime | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        spoken = (s if s.language else replace(s, language=self.language) for s in self.stories)
        object.__setattr__(self, "stories", tuple(spoken))

    @cached_property
    def digest(self) -> str:
        """A hash (64 hex digits) of everything that a reader could see or that decides a story's topics."""
        usual = {"language": self.language, "pictures": ()}
        said = [
            {k: v for k, v in asdict(story).items() if k != "line" and usual.get(k, ...) != v} for story in self.stories
        ]
        return hashlib.sha256(json.dumps([self.title, self.language, said], sort_keys=True).encode()).hexdigest()


def fold(text: str) -> str:
    """Fold case, compatibility forms and white space, so that two spellings of one text compare equal."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _paragraphs(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        if block.kind is BlockKind.ROW:
            yield " | ".join(" ".join(_paragraphs((cell,))) for cell in block.children)
            continue
        if block.text:
            yield block.text
        yield from _paragraphs(block.children)
