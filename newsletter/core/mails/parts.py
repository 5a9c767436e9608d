"""The compiled parts of mails as values: a frame once per language of an issue, a story once per language.

They are stored as blobs, named by their content, and hold all that composing needs: a mail can be made again byte for
byte whatever templates and settings say by then.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from newsletter.core.errors import StoreError
from newsletter.core.mails.quoted import Passage
from newsletter.core.model import Picture

Day = date
FORMAT = 2
READABLE = (1, FORMAT)
"""Mails of an older format are made again as they were: editions.py says what was other then."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What a mail carries of the settings. `topic_names` are the catalogue's, by id; `key_id` signs its links."""

    name: str
    from_name: str
    from_address: str
    reply_to: str | None = None
    postal_address: str | None = None
    base_url: str
    bounce_domain: str | None = None
    archive: bool = True
    topic_names: Mapping[str, str] = field(default_factory=dict)
    key_id: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """The strings of a language that are needed only when an edition is assembled or a mail composed.

    `subject_pattern` is the operator's, `subject_names` what is the same in it for all mails of the issue.
    """

    language: str
    subject: Mapping[str, str]
    more: Mapping[str, str]
    all_topics: str
    separator: str
    preheader: str
    short_subject: str | None = None
    reading: Mapping[str, str] = field(default_factory=dict)
    subject_pattern: str | None = None
    subject_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Everything around the stories. `headlines` stands in it where there are several, `more` where some are cut.

    `head` and `tail` are the header lines that all its mails share, before and after the subject and the person's own.
    `due_at` is when the issue goes out to all at once, and `timezone` the service's own: where it is the day of the
    issue there, a reader far away sees the day that it is with them.
    """

    sender: Sender
    issue: int | None
    title: str
    date: date
    words: Words
    head: str
    tail: str
    mail: Passage
    headlines: Passage
    more: Passage
    due_at: datetime | None = None
    timezone: str = "UTC"
    format: int = FORMAT

    @property
    def language(self) -> str:
        """The language of the chrome, as in `lang`."""
        return self.words.language

    def find_day(self, timezone: str) -> Day:
        """The day that the mail bears for a reader in this zone."""
        if not timezone or self.due_at is None or self.due_at.astimezone(ZoneInfo(self.timezone)).date() != self.date:
            return self.date
        return self.due_at.astimezone(ZoneInfo(timezone)).date()

    def to_bytes(self) -> bytes:
        """JSON, the same bytes for the same frame."""
        return _write_json(
            {
                "sender": asdict(self.sender),
                "issue": self.issue,
                "title": self.title,
                "date": self.date.isoformat(),
                "words": asdict(self.words),
                "head": self.head,
                "tail": self.tail,
                "due_at": self.due_at.isoformat() if self.due_at else None,
                "timezone": self.timezone,
                **{name: getattr(self, name).to_json() for name in ("mail", "headlines", "more")},
            }
        )

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Frame":
        """Read what `to_bytes` wrote. StoreError when a newer program wrote it, or it is something else."""
        value = _read_json(stored)
        return cls(
            sender=Sender(**value["sender"]),
            issue=value["issue"],
            title=value["title"],
            date=date.fromisoformat(value["date"]),
            words=Words(**value["words"]),
            head=value["head"],
            tail=value["tail"],
            due_at=datetime.fromisoformat(value["due_at"]) if value.get("due_at") else None,
            timezone=value.get("timezone", "UTC"),
            format=value["format"],
            **{name: Passage.from_json(value[name]) for name in ("mail", "headlines", "more")},
        )


@dataclass(frozen=True, kw_only=True)
class StoryParts:
    """A story as it stands in any mail of a language; `seconds` is how long it takes to read.

    `whole` is there where `story` had to be shortened; `lead` and `whole_lead` are how they look as the first of a
    mail, in a theme that shows that one otherwise. `topic_headings` are by the names in `topics`, and "" for none.
    """

    title: str
    teaser: str
    day: date
    headline: Passage
    day_heading: Passage
    story: Passage
    whole: Passage | None = None
    lead: Passage | None = None
    whole_lead: Passage | None = None
    topics: tuple[str, ...] = ()
    topic_headings: Mapping[str, Passage] = field(default_factory=dict)
    seconds: int = 0
    pictures: tuple[Picture, ...] = ()

    def choose_body(self, *, is_lead: bool, is_short: bool) -> Passage:
        """The story as it stands in a mail."""
        whole = self.story if is_short or self.whole is None else self.whole
        if not is_lead or self.lead is None:
            return whole
        return self.lead if is_short or self.whole_lead is None else self.whole_lead

    def to_bytes(self) -> bytes:
        """JSON, the same bytes for the same story."""
        passages = {name: passage.to_json() for name in _PASSAGES if (passage := getattr(self, name)) is not None}
        return _write_json(
            {
                "title": self.title,
                "teaser": self.teaser,
                "day": self.day.isoformat(),
                "topics": self.topics,
                "topic_headings": {name: passage.to_json() for name, passage in self.topic_headings.items()},
                "seconds": self.seconds,
                "pictures": [asdict(picture) for picture in self.pictures],
                **passages,
            }
        )

    @classmethod
    def from_bytes(cls, stored: bytes) -> "StoryParts":
        """Read what `to_bytes` wrote. StoreError when a newer program wrote it, or it is something else."""
        value = _read_json(stored)
        headings = value.get("topic_headings", {}).items()
        return cls(
            title=value["title"],
            teaser=value["teaser"],
            day=date.fromisoformat(value["day"]),
            topics=tuple(value.get("topics", ())),
            topic_headings={name: Passage.from_json(passage) for name, passage in headings},
            seconds=value.get("seconds", 0),
            pictures=tuple(Picture(**picture) for picture in value.get("pictures", ())),
            **{name: Passage.from_json(value[name]) for name in _PASSAGES if value.get(name)},
        )


_PASSAGES = ("headline", "day_heading", "story", "whole", "lead", "whole_lead")


def _write_json(value: Mapping[str, object]) -> bytes:
    return json.dumps({"format": FORMAT, **value}, sort_keys=True, separators=(",", ":")).encode("ascii")


def _read_json(stored: bytes) -> Any:
    value = json.loads(stored)
    if value.get("format") not in READABLE:
        raise StoreError(
            f"a stored part of a mail has the format {value.get('format')!r}; this program reads up to {FORMAT}"
        )
    return value
