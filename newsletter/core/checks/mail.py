"""A mail as the checks look at it: its raw bytes taken apart, beside what it was made of.

Takes nothing on trust: parts and headers are read back from the bytes that would go out.
"""

import email
import email.header
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from newsletter.core.checks.css import Rule, parse_sheets
from newsletter.core.checks.page import Element, parse_page
from newsletter.core.mails.editions import Edition
from newsletter.core.mails.message import Links
from newsletter.core.mails.parts import Sender, StoryParts
from newsletter.core.mails.render import StorySource
from newsletter.core.model import BlockKind, Brief, Catalogue


class Header(NamedTuple):
    """A header as it stands in the bytes, its name in lower case and its lines unfolded."""

    name: str
    value: str


class Part(NamedTuple):
    """A part of the mail; `octets` is what is left when the transfer encoding is undone."""

    kind: str
    encoding: str
    octets: bytes

    @property
    def text(self) -> str:
        """The part as text, lines ended by `\\n`."""
        return self.octets.decode("utf-8", "replace").replace("\r\n", "\n")


_NO_PART = Part("", "", b"")


@dataclass(frozen=True, kw_only=True)
class CheckedMail:
    """The bytes of a mail, the brief, and its stories in the mail's order, as written and as compiled."""

    eml: bytes
    brief: Brief
    catalogue: Catalogue
    edition: Edition
    sources: tuple[StorySource, ...]
    parts: tuple[StoryParts, ...]
    links: Links

    @property
    def sender(self) -> Sender:
        """Whose mail it is."""
        return self.edition.frame.sender

    @cached_property
    def headers(self) -> list[Header]:
        """All header fields in order."""
        head = self.eml.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        fields = head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
        split = (field.partition(":") for field in fields)
        return [Header(name.lower(), value.strip()) for name, _, value in split]

    def find_headers(self, name: str) -> list[str]:
        """The values of all headers of this name."""
        return [header.value for header in self.headers if header.name == name.lower()]

    @cached_property
    def subject(self) -> str:
        """The subject as a reader sees it; empty where there is none."""
        return "".join(
            text if isinstance(text, str) else text.decode(charset or "ascii", "replace")
            for value in self.find_headers("Subject")[:1]
            for text, charset in email.header.decode_header(value)
        )

    @cached_property
    def mime_parts(self) -> list[Part]:
        """The parts that hold text or data, in order."""
        message = email.message_from_bytes(self.eml, policy=email.policy.compat32)
        return [
            Part(
                leaf.get_content_type(),
                str(leaf.get("Content-Transfer-Encoding", "7bit")).lower(),
                bytes(leaf.get_payload(decode=True)),
            )
            for leaf in message.walk()
            if not leaf.is_multipart()
        ]

    def find_part(self, kind: str) -> Part:
        """The first part of a content type; an empty one where there is none."""
        return next((part for part in self.mime_parts if part.kind == kind), _NO_PART)

    @cached_property
    def text(self) -> str:
        """The text part."""
        return self.find_part("text/plain").text

    @cached_property
    def page(self) -> Element:
        """The HTML part as a tree."""
        return parse_page(self.find_part("text/html").text)

    @cached_property
    def rules(self) -> list[Rule]:
        """The rules of its style sheets."""
        return parse_sheets(self.page)

    def place_of(self, element: Element, address: str) -> str:
        """Where in the brief stands the story that names this address; else where the element stands in the HTML."""
        return self._places.get(address, element.place)

    @cached_property
    def _places(self) -> dict[str, str]:
        places: dict[str, str] = {}
        for source in self.sources:
            images = (b.src for top in source.story.blocks for b in top.walk() if b.kind is BlockKind.IMAGE)
            for address in (*source.story.links, *images):
                places.setdefault(address, self.place_in_brief(source.story.line))
        return places

    def place_in_brief(self, line: int | None) -> str:
        """A place in the brief, as findings say it."""
        return place_in_brief(self.brief, line)

    def list_own_links(self) -> Iterator[str]:
        """The addresses that the service itself puts in."""
        yield from (self.links.unsubscribe, self.links.preferences, self.links.view)


def place_in_brief(brief: Brief, line: int | None) -> str:
    """`file:line`, or the file alone where no line is known, as in a feed."""
    source = brief.source or brief.id
    return source if line is None else f"{source}:{line}"
