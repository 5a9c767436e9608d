"""The editor's desk: mails of briefs, made anew for every look, from files as they are at that moment.

Works without a database; where there is one it knows the subscribers. Changes nothing.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.checks import Finding, check_proof
from newsletter.core.briefs.sample import make_sample
from newsletter.core.errors import BriefError, NewsletterError
from newsletter.core.mails.theme import Theme
from newsletter.core.model import Brief
from newsletter.proof import Placed, Proof, explain_stories, make_proof
from newsletter.publish.typesetter import Typesetter
from newsletter.report import split_topics
from newsletter.store import ledger, subscribers
from newsletter.web.look import Look

WINDOWS = {"daily": timedelta(days=1), "weekly": timedelta(days=7), "monthly": timedelta(days=31)}
_PLACE = re.compile(r"^(.+?)(?:, (?:about )?line |:)(\d+)\b")
_LINES_AROUND = 2
NEWEST_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class View:
    """What an editor sees of a mail. `proof` is None where no story matches, and `empty` says so."""

    brief: Brief
    proof: Proof | None
    stories: tuple[Placed, ...]
    inbox: dict[str, str]
    empty: str = ""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error as a page shows it: the sentence, and the lines around the place that it names, if it names one."""

    sentence: str
    lines: tuple[tuple[int, str, bool], ...] = ()


@dataclass
class Desk:
    """`service` with its files read anew whenever one of them has changed."""

    service: Service
    _stamp: tuple[Any, ...] = ()
    typesetters: dict[str, Typesetter] = field(default_factory=dict)
    _newest: Brief | None = None
    _newest_until: float = 0.0

    @property
    def watched(self) -> list[Path]:
        """The folders and files whose change makes a mail look different."""
        settings = self.service.settings
        folders = [Path(source) for source in settings.briefs if "://" not in source]
        return [path for path in (*folders, settings.topics, settings.templates) if path is not None and path.exists()]

    def open(self) -> Service:
        """The service, renewed where topics or templates have changed."""
        settings = self.service.settings
        paths = [settings.topics, *(sorted(settings.templates.rglob("*")) if settings.templates else ())]
        stamp = tuple((path, path.stat().st_mtime_ns) for path in paths if path.exists())
        if stamp != self._stamp:
            keep = self.service.__dict__.get("database")
            self.service = Service(self.service.settings, self.service.clock)
            if keep is not None:
                self.service.__dict__["database"] = keep
            self._stamp, self.typesetters = stamp, {}
        return self.service

    @property
    def has_database(self) -> bool:
        """Whether there is a database to ask: none is made for looking at mails."""
        address = self.service.settings.database_url
        name = address.removeprefix("sqlite:///")
        return not address.startswith("sqlite:") or Path(name).exists()

    def list_briefs(self) -> tuple[list[Brief], list[NewsletterError]]:
        """The briefs that the sources offer, newest first, and what cannot be read."""
        return self.open().list_briefs()

    def find_newest(self) -> Brief | None:
        """The newest brief of the folders, as it was some seconds ago at most; None where feeds are sources too."""
        if any("://" in source for source in self.service.settings.briefs):
            return None  # a page must not wait for the network
        if time.monotonic() >= self._newest_until:
            self._newest = next(iter(self.list_briefs()[0]), None)
            self._newest_until = time.monotonic() + NEWEST_SECONDS
        return self._newest

    def view(self, look: Look) -> View:
        """The mail of a look; NewsletterError where brief, topics, templates or the person are wrong."""
        service = self.open()
        brief = service.find_brief(look.brief) if look.brief else self.make_sample()
        typesetter = self.find_typesetter(look.theme)
        person = service.find_person(look.email) if look.email and self.has_database else None
        if look.topics:
            wanted: Sequence[str] = service.parse_topics(look.topics)
        else:
            wanted = split_topics(person.topics) if person is not None else ("*",)
        briefs = [brief, *(self._gather(brief, person) if look.gathered else ())]
        held = self._list_held(person) if look.without_held and person is not None else ()
        try:
            proof = make_proof(
                briefs,
                wanted,
                publisher=typesetter,
                signer=service.sample_signer,
                person=person,
                now=service.now(),
                held=held,
            )
        except BriefError as error:
            return View(
                brief=brief, proof=None, stories=explain_stories(briefs, wanted, typesetter), inbox={}, empty=str(error)
            )
        return View(brief=brief, proof=proof, stories=proof.stories, inbox=_read_inbox(proof))

    def make_sample(self) -> Brief:
        """The brief that themes are looked at with."""
        return make_sample(self.service.now(), self.service.settings.language)

    def find_typesetter(self, theme: str) -> Typesetter:
        """What makes mails in a theme, the one that is set where none is named; TemplateError where there is none."""
        if theme not in self.typesetters:
            self.typesetters[theme] = self.open().make_typesetter(theme)
        return self.typesetters[theme]

    def list_theme_files(self, theme: Theme) -> list[str]:
        """Where the files lie that a theme is made of, its own first."""
        files = self.service.templates
        return [files[name].path for folder in theme.folders for name in files if name.startswith(f"{folder}/")]

    def check(self, view: View) -> list[Finding]:
        """What is wrong with a mail, errors first."""
        if view.proof is None:
            return []
        return check_proof(view.brief, view.proof, catalogue=self.service.catalogue)

    def find_people(self, words: str) -> list[str]:
        """Some addresses of subscribers that have these letters in them."""
        if not self.has_database:
            return []
        with self.open().database.read() as conn:
            return subscribers.find_addresses(conn, words)

    def find_neighbours(self, email: str) -> tuple[str | None, str | None]:
        """The subscribers before and after one, by address, in the order of sign-up."""
        if not email or not self.has_database:
            return None, None
        person = self.open().find_person(email)
        with self.service.database.read() as conn:
            return subscribers.find_neighbours(conn, person.id)

    def _gather(self, brief: Brief, person: Row[Any] | None) -> list[Brief]:
        """The briefs that a reader who gathers would get with this one."""
        frequency = (person.frequency if person is not None else "weekly").partition(":")[0]
        window = WINDOWS.get(frequency, WINDOWS["weekly"])
        briefs, _ = self.list_briefs()
        return [b for b in briefs if b.id != brief.id and brief.date - window < b.date <= brief.date]

    def _list_held(self, person: Row[Any]) -> set[str]:
        with self.service.database.read() as conn:
            return ledger.list_held_content(conn, person.id)


def describe_problem(error: NewsletterError) -> Problem:
    """What an error page shows; the lines of the file that the sentence begins with, where it can be read."""
    sentence = str(error)
    place = _PLACE.match(sentence)
    if place is None or not Path(place[1]).is_file():
        return Problem(sentence=sentence)
    wrong = int(place[2])
    lines = Path(place[1]).read_text("utf-8", "replace").splitlines()
    first = max(1, wrong - _LINES_AROUND)
    shown = lines[first - 1 : wrong + _LINES_AROUND]
    return Problem(
        sentence=sentence,
        lines=tuple((number, line, number == wrong) for number, line in enumerate(shown, start=first)),
    )


def _read_inbox(proof: Proof) -> dict[str, str]:
    """The mail as a row of an inbox: who, subject, and what follows it."""
    mail = message_from_bytes(proof.eml, policy=policy.default)
    return {"from": str(mail["From"]), "subject": str(mail["Subject"]), "preheader": proof.edition.preheader}
