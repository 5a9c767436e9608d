"""What the sources offer: the briefs of folders and feeds, all of them or the one that is meant.

Feeds are fetched once by themselves, so that a command sees what is there now, and again only by `refresh_feeds`: what
stays running says when. Opens the database, and loads what fetches, only where there are feeds.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from threading import Event
from typing import TYPE_CHECKING

from newsletter.core.errors import NewsletterError
from newsletter.core.model import Brief
from newsletter.sources.folder import LATEST, choose_latest, find_brief, list_briefs, tell_age
from newsletter.sources.remote import find_address, is_address

if TYPE_CHECKING:
    from newsletter.offer.feeds import FeedRules
    from newsletter.store.database import Database

Found = tuple[list[Brief], list[NewsletterError]]
"""Briefs, and what is wrong with those that cannot be read, or not as they are now."""


@dataclass(kw_only=True)
class Offer:
    """The sources of a service, folders and addresses, in the operator's order.

    `language` stands where a brief names none; the date of a feed is the day in `zone` of its last change.
    """

    sources: Sequence[str]
    language: str
    zone: tzinfo
    allow_private: bool
    open_database: Callable[[], "Database"]
    now: Callable[[], datetime]
    _fetched: set[str] = field(default_factory=set)

    def find(self, reference: str) -> Brief:
        """The brief that a reference means: `latest`, a path, the id of a brief, or a feed's address.

        Raises BriefError or SourceError where there is none that can be read.
        """
        if reference == LATEST:
            return choose_latest(*self.collect(), sources=self.sources)
        address = find_address(self.sources, reference)
        if address is None:
            return find_brief(self.sources, reference, language=self.language)
        self._fetch_new([address])
        return choose_latest(*self._read(address), sources=[address])

    def list(self) -> Found:
        """All briefs, newest first; otherwise as `collect`."""
        briefs, errors = self.collect()
        return sorted(briefs, key=tell_age, reverse=True), errors

    def collect(self) -> Found:
        """All briefs in the order of the sources, each folder's newest first.

        Where a feed cannot be fetched its last good state stands in, and the failure is among the errors. Raises
        SourceError for a folder that cannot be read.
        """
        self._fetch_new(filter(is_address, self.sources))
        read = [self._read(source) for source in self.sources]
        return [brief for briefs, _ in read for brief in briefs], [error for _, errors in read for error in errors]

    def refresh_feeds(self, *, stop: Event | None = None) -> dict[str, str]:
        """Fetch all feeds now; returns by address what is wrong with those that are not well.

        Blocks for as long as the slowest takes, or until `stop` is set: an event loop calls it in a thread.
        """
        addresses = [source for source in self.sources if is_address(source)]
        return self._refresh(addresses, stop) if addresses else {}

    def _refresh(self, addresses: Collection[str], stop: Event | None = None) -> dict[str, str]:
        from newsletter.offer.feeds import refresh_feeds

        problems = refresh_feeds(self.open_database(), addresses, rules=self._rules, now=self.now(), stop=stop)
        self._fetched.update(addresses)
        return problems

    def _fetch_new(self, addresses: Iterable[str]) -> None:
        if new := [address for address in addresses if address not in self._fetched]:
            self._refresh(new)

    def read_feed(self, address: str) -> Found:
        """The brief of a feed as it was last fetched, none where there is no good state, and what is wrong with it."""
        from newsletter.offer.feeds import read_feed

        return read_feed(self.open_database(), address, rules=self._rules)

    def _read(self, source: str) -> Found:
        return self.read_feed(source) if is_address(source) else list_briefs(source, language=self.language)

    @property
    def _rules(self) -> "FeedRules":
        from newsletter.offer.feeds import FeedRules

        return FeedRules(language=self.language, zone=self.zone, allow_private=self.allow_private)
