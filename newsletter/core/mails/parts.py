"""The compiled parts of mails as values: a frame once per language of an issue, a story once per language.

They are stored as blobs, named by their content, and hold all that composing needs: a mail can be made again byte for
byte whatever templates and settings say by then.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from newsletter.core.errors import StoreError
from newsletter.core.mails.quoted import Passage

FORMAT = 1


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
    """The strings of a language that are needed only when an edition is assembled or a mail composed."""

    language: str
    subject: Mapping[str, str]
    more: Mapping[str, str]
    all_topics: str
    separator: str
    preheader: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Everything around the stories. `headlines` stands in it where there are several, `more` where some are cut.

    `head` and `tail` are the header lines that all its mails share, before and after the subject and the person's own.
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

    @property
    def language(self) -> str:
        """The language of the chrome, as in `lang`."""
        return self.words.language

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
            **{name: Passage.from_json(value[name]) for name in ("mail", "headlines", "more")},
        )


@dataclass(frozen=True, kw_only=True)
class StoryParts:
    """A story as it stands in any mail of a language. `whole` is there where `story` had to be shortened."""

    title: str
    teaser: str
    day: date
    headline: Passage
    day_heading: Passage
    story: Passage
    whole: Passage | None = None

    def to_bytes(self) -> bytes:
        """JSON, the same bytes for the same story."""
        return _write_json(
            {
                "title": self.title,
                "teaser": self.teaser,
                "day": self.day.isoformat(),
                "whole": self.whole.to_json() if self.whole else None,
                **{name: getattr(self, name).to_json() for name in ("headline", "day_heading", "story")},
            }
        )

    @classmethod
    def from_bytes(cls, stored: bytes) -> "StoryParts":
        """Read what `to_bytes` wrote. StoreError when a newer program wrote it, or it is something else."""
        value = _read_json(stored)
        return cls(
            title=value["title"],
            teaser=value["teaser"],
            day=date.fromisoformat(value["day"]),
            whole=Passage.from_json(value["whole"]) if value["whole"] else None,
            **{name: Passage.from_json(value[name]) for name in ("headline", "day_heading", "story")},
        )


def _write_json(value: Mapping[str, object]) -> bytes:
    return json.dumps({"format": FORMAT, **value}, sort_keys=True, separators=(",", ":")).encode("ascii")


def _read_json(stored: bytes) -> Any:
    value = json.loads(stored)
    if value.get("format") != FORMAT:
        raise StoreError(f"a stored part of a mail has the format {value.get('format')!r}; this program reads {FORMAT}")
    return value
