"""What the tests of mails share: the built-in templates, a sender, a reader, stories, and how a mail is read back."""

import email
import email.policy
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

from newsletter.core.mails.editions import Edition, assemble_edition
from newsletter.core.mails.message import Links, Recipient, compose_mail
from newsletter.core.mails.render import Frame, Renderer, Sender, StoryParts, TemplateFile, Templates
from newsletter.core.model import Block, BlockKind, Span, Story

FOLDER = Path(__file__).parents[2] / "templates"
DAY = date(2026, 3, 3)
NOW = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
SENDER = Sender(
    name="The Morning Ledger",
    from_name="The Morning Ledger",
    from_address="news@ledger.example",
    postal_address="Ledger House\n12 Harbour Street",
    base_url="https://news.ledger.example",
    topic_names={"sci": "Science", "biz": "Business & Trade"},
    key_id="k1",
)
READER = Recipient(email="jo@reader.example", name="Jo Reader", topics=("sci", "biz"))
LINKS = Links(
    unsubscribe="https://news.ledger.example/unsubscribe/aaaa",
    preferences="https://news.ledger.example/preferences/bbbb",
    view="https://news.ledger.example/view/cccc",
    unsubscribe_mailto="mailto:u+dddd@bounce.ledger.example",
)


def load_templates(changed: Mapping[str, str] | None = None) -> Templates:
    """The built-in templates, with other texts in the place of those named."""
    paths = [path for path in sorted((*FOLDER.glob("*"), *FOLDER.glob("*/*"))) if path.suffix in (".j2", ".toml")]
    names = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    names |= changed or {}
    return {name: TemplateFile(path=f"templates/{name}", text=text) for name, text in names.items()}


RENDERER = Renderer(load_templates())


def paragraph(*spans: str | Span) -> Block:
    return Block(kind=BlockKind.PARAGRAPH, spans=tuple(Span(text=s) if isinstance(s, str) else s for s in spans))


def block(kind: BlockKind, *children: Block, text: str = "", ordered: bool = False) -> Block:
    return Block(kind=kind, spans=(Span(text=text),) if text else (), children=children, ordered=ordered)


def make_story(title: str, *paragraphs: str, url: str | None = None) -> Story:
    return Story(title=title, blocks=tuple(paragraph(text) for text in paragraphs), url=url)


def compile_frame(language: str = "en", title: str = "Tuesday brief", sender: Sender = SENDER) -> Frame:
    return RENDERER.compile_frame(sender, issue=12, title=title, date=DAY, language=language)


def compile_story(story: Story, *topics: str, day: date = DAY, language: str = "en") -> StoryParts:
    return RENDERER.compile_story(story, topics, day=day, language=language)


def make_edition(*stories: Story, language: str = "en") -> Edition:
    return assemble_edition(compile_frame(language), [compile_story(story, language=language) for story in stories])


def compose(edition: Edition, recipient: Recipient = READER, links: Links = LINKS) -> bytes:
    return compose_mail(edition, recipient, links, message_id="<1-2@ledger.example>", date=NOW).octets


def read_mail(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def read_part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


def with_name(name: str, address: str = READER.email) -> Recipient:
    return replace(READER, name=name, email=address)


class ReadHtml(HTMLParser):
    """The text of every element, by tag; `attributes` are those of every start tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[tuple[str, int]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag == "br":
            self.handle_data("\n")
        elif tag not in ("meta", "img", "hr"):
            self.text.setdefault(tag, []).append("")
            self._open.append((tag, len(self.text[tag]) - 1))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "img", "hr", "br"):
            assert self._open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for tag, index in self._open:
            self.text[tag][index] += data
