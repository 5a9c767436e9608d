"""Builds the parts of the service from its settings, and opens and closes them. Imports each part where it is built."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from newsletter.core.errors import ConfigError, NewsletterError
from newsletter.core.model import Brief, Catalogue, Key, Story
from newsletter.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dns.resolver import Resolver
    from sqlalchemy import Row

    from newsletter.core.address import Address
    from newsletter.core.dkim import DkimSigner, SigningKey
    from newsletter.core.mails.parts import Sender
    from newsletter.core.mails.render import Renderer
    from newsletter.core.mails.templates import Templates
    from newsletter.core.runs import Timetable
    from newsletter.core.throttle import Limit
    from newsletter.core.tokens import Signer
    from newsletter.core.topics.matcher import TopicMatcher
    from newsletter.deliver import DeliveryRun, Progress, Rules
    from newsletter.deliver.membership import Membership
    from newsletter.offer import Offer
    from newsletter.publish import Publisher
    from newsletter.publish.typesetter import Typesetter
    from newsletter.store.database import Database
    from newsletter.store.moves import Finished
    from newsletter.transport.smtp import Relay

SAMPLE_FROM = ("Newsletter", "newsletter@example.org")
SAMPLE_KEY = "a key for looking at mails only, never for sending"


@dataclass
class Service:
    """The parts, each built when it is first asked for."""

    settings: Settings
    clock: "Callable[[], datetime]" = lambda: datetime.now(UTC)

    def now(self) -> datetime:
        """The time, aware, in UTC; by the clock of a database that many machines share."""
        return self.clock() + (self.database.skew if "database" in self.__dict__ else timedelta())

    def renew(self) -> "Service":
        """The same service with its files read anew (topics, templates, keys), on the same database."""
        renewed = Service(self.settings, self.clock)
        renewed.__dict__["database"] = self.database
        return renewed

    @cached_property
    def timetable(self) -> "Timetable | None":
        """When issues go out; None where no schedule is set."""
        from newsletter.core.runs import Timetable

        settings = self.settings
        if settings.schedule is None:
            return None
        return Timetable(
            cron=settings.schedule, zone=settings.timezone, local=settings.local_time, grace=settings.misfire_grace
        )

    @cached_property
    def database(self) -> "Database":
        """The database, its schema up to date."""
        from newsletter.store.database import open_database

        return open_database(self.settings.database_url)

    @cached_property
    def resolver(self) -> "Resolver":
        """Asks the DNS, as the system is set up to; raises dns.exception.DNSException where it is not."""
        from dns.resolver import Resolver

        return Resolver()

    @cached_property
    def catalogue(self) -> Catalogue:
        """The topics; ConfigError naming file and line where the file is wrong."""
        from newsletter.core.topics.catalogue import parse_catalogue
        from newsletter.sources.resources import read_text

        path = self.settings.topics
        return parse_catalogue(read_text(path, "the topics (NEWSLETTER_TOPICS)"), source=str(path))

    @cached_property
    def matcher(self) -> "TopicMatcher":
        """Finds the topics of stories."""
        from newsletter.core.topics.matcher import TopicMatcher

        return TopicMatcher(self.catalogue)

    @cached_property
    def renderer(self) -> "Renderer":
        """Compiles frames and stories from the templates of the theme."""
        return self.make_renderer(self.settings.theme)

    def make_renderer(self, theme: str) -> "Renderer":
        """Compiles with another theme than the one that is set; TemplateError where there is none of that name."""
        from newsletter.core.mails.render import Renderer

        return Renderer(self.templates, theme, subject=self.settings.subject)

    @cached_property
    def templates(self) -> "Templates":
        """The mail templates by name, the operator's before the built-in ones."""
        from newsletter.sources.resources import load_templates

        return load_templates(self.settings.templates)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages that the chrome of a mail speaks; ConfigError where the service's own is none of them."""
        from newsletter.core.mails.chrome import chrome_languages

        spoken = chrome_languages(self.templates)
        if self.settings.language not in spoken:
            ours = self.settings.language
            raise ConfigError(f"NEWSLETTER_LANGUAGE {ours!r} is none of the templates' languages: {', '.join(spoken)}")
        return spoken

    @cached_property
    def signer(self) -> "Signer":
        """Signs links; ConfigError where no SECRET_KEY is set."""
        from newsletter.core.tokens import Signer

        return Signer(self.settings.require_secret_key())

    @property
    def sample_signer(self) -> "Signer":
        """The signer, or one with a public key where none is set: for looking at mails without sending them."""
        from newsletter.core.tokens import Signer

        return self.signer if self.settings.secret_key else Signer([SAMPLE_KEY])

    def make_sender(self, *, sample: bool = False) -> "Sender":
        """What mails carry of the settings; `sample` fills in what is not set, for looking only."""
        from newsletter.core.mails.parts import Sender

        settings = self.settings
        if sample and settings.from_ is None:
            name, address = SAMPLE_FROM
        else:
            found = settings.require_from()
            name, address = found.name, found.email
        return Sender(
            name=settings.name or name or address,
            from_name=name,
            from_address=address,
            reply_to=settings.reply_to,
            postal_address=settings.postal_address,
            base_url=settings.base_url,
            bounce_domain=settings.bounce_domain,
            archive=settings.archive,
            topic_names={topic.id: topic.name for topic in self.catalogue.values()},
            key_id=(self.sample_signer if sample else self.signer).key_id,
        )

    def make_typesetter(self, theme: str | None = None) -> "Typesetter":
        """Makes mails to look at, in another theme if one is named; needs no database, no FROM and no SECRET_KEY."""
        from newsletter.publish.typesetter import Typesetter

        _ = self.languages
        return Typesetter(
            catalogue=self.catalogue,
            matcher=self.matcher,
            renderer=self.make_renderer(theme) if theme else self.renderer,
            sender=self.make_sender(sample=True),
            language=self.settings.language,
        )

    def make_publisher(self, *, sample: bool = False) -> "Publisher":
        """Publishes briefs; demands FROM and SECRET_KEY, unless it is only a `sample` to look at mails."""
        from newsletter.publish import Publisher

        _ = self.languages
        return Publisher(
            database=self.database,
            catalogue=self.catalogue,
            matcher=self.matcher,
            renderer=self.renderer,
            sender=self.make_sender(sample=sample),
            language=self.settings.language,
            timezone=str(self.settings.timezone),
            embed=self._make_embedder(),
        )

    def _make_embedder(self) -> "Callable[[Sequence[Story]], Sequence[Story]]":
        if not self.settings.embed_images:
            return tuple
        from newsletter.sources.pictures import PictureFetcher

        tell = logging.getLogger("newsletter.pictures").warning
        return PictureFetcher(allow_private=self.settings.allow_private_feeds, tell=tell).embed

    def make_relays(self) -> "list[Relay]":
        """The SMTP servers that take our mail; ConfigError where the certificates of one cannot be read."""
        from newsletter.settings.table import Relay as RelaySettings
        from newsletter.transport.smtp import Relay

        relays = []
        for smtp in self.settings.relays or [self.settings.smtp]:
            if smtp.ca_file is not None and not smtp.ca_file.is_file():
                raise ConfigError(f"NEWSLETTER_SMTP__CA_FILE {str(smtp.ca_file)!r} is not a file")
            relay = Relay(
                host=smtp.host,
                port=smtp.port,
                username=smtp.username,
                password=smtp.password.get_secret_value() if smtp.password else None,
                tls=smtp.tls,
                ca_file=str(smtp.ca_file) if smtp.ca_file else None,
                timeout=smtp.timeout,
                connections=smtp.connections,
                rate=smtp.rate,
                weight=smtp.weight if isinstance(smtp, RelaySettings) else 1,
            )
            relays.append(relay)
        return relays

    def make_limits(self) -> "dict[str, Limit]":
        """The limits of recipients' domains."""
        from newsletter.core.throttle import Limit

        return {name: Limit(**limit.model_dump()) for name, limit in self.settings.domain_limits.items()}

    def make_dkim_signer(self) -> "DkimSigner | None":
        """What signs the mails, None where no key is set; ConfigError naming setting and file of a key that is none."""
        from newsletter.core.dkim import DkimSigner

        keys = self.make_dkim_keys()
        return DkimSigner(keys) if keys else None

    def make_dkim_keys(self) -> "list[SigningKey]":
        """The keys that sign, as in `make_dkim_signer`: none, the RSA one, or that and the Ed25519 one."""
        from newsletter.core.dkim import Identity, SigningKey, parse_ed25519_key, parse_rsa_key
        from newsletter.sources.resources import read_octets

        def read(path: "Path", setting: str) -> tuple[bytes, str]:
            what = f"the DKIM key (NEWSLETTER_DKIM__{setting})"
            return read_octets(path, what), f"{path}: {what}"

        dkim, keys = self.settings.dkim, []
        if dkim.domain and dkim.selector and dkim.key_file:
            pem, source = read(dkim.key_file, "KEY_FILE")
            rsa = Identity(domain=dkim.domain, selector=dkim.selector, algorithm="rsa-sha256")
            keys.append(SigningKey(identity=rsa, private=parse_rsa_key(pem, source=source)))
        if dkim.domain and dkim.ed25519_selector and dkim.ed25519_key_file:
            pem, source = read(dkim.ed25519_key_file, "ED25519_KEY_FILE")
            ed25519 = Identity(domain=dkim.domain, selector=dkim.ed25519_selector, algorithm="ed25519-sha256")
            keys.append(SigningKey(identity=ed25519, private=parse_ed25519_key(pem, source=source)))
        return keys

    def make_rules(self) -> "Rules":
        """The operator's rules of delivery."""
        from newsletter.deliver import Rules

        settings = self.settings
        return Rules(
            retry_delays=settings.retry_delays,
            expire_after=settings.expire_after,
            retain=settings.retain,
            hold=settings.on_uncertain == "hold",
        )

    @cached_property
    def offer(self) -> "Offer":
        """What the sources offer, in their order; fetches feeds."""
        from newsletter.offer import Offer

        return Offer(
            sources=self.settings.briefs,
            language=self.settings.language,
            zone=self.settings.timezone,
            allow_private=self.settings.allow_private_feeds,
            open_database=lambda: self.database,
            now=self.now,
        )

    def find_brief(self, reference: str) -> Brief:
        """The brief of this path, id or address, or the latest, with warnings about unknown topics added."""
        from dataclasses import replace

        from newsletter.core.topics.matcher import warn_unknown_topics

        brief = self.offer.find(reference)
        return replace(brief, warnings=(*brief.warnings, *warn_unknown_topics(brief, self.catalogue)))

    def known_topics(self) -> set[str]:
        """The catalogue's topics, and those gone from it that subscribers still hold: a list may name both."""
        from newsletter.store import subscribers

        with self.database.read() as conn:
            held = {topic for chosen, _ in subscribers.count_topic_sets(conn) for topic in chosen.split(";")}
        return {*self.catalogue, *held} - {"", "*"}

    def list_briefs(self) -> tuple[list[Brief], list[NewsletterError]]:
        """All briefs of the sources, newest first, and what could not be read."""
        return self.offer.list()

    def find_person(self, email: str) -> "Row[Any]":
        """The subscriber with this address; StoreError where there is none."""
        from newsletter.store import subscribers

        with self.database.read() as conn:
            return subscribers.find_subscriber(conn, self.parse_address(email).key)

    def parse_address(self, email: str) -> "Address":
        """An address from the command line; ConfigError where it is none."""
        from newsletter.core.address import parse_address

        try:
            return parse_address(email)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def parse_topics(self, text: str) -> tuple[str, ...]:
        """Topic ids joined by commas or semicolons, or `*`; ConfigError naming one that the catalogue lacks."""
        wanted = tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())
        for topic in wanted:
            if topic != "*" and topic not in self.catalogue:
                known = ", ".join(self.catalogue)
                raise ConfigError(f"there is no topic {topic!r} in {self.settings.topics}; there are {known}")
        return wanted

    def make_delivery(
        self,
        *,
        issue: int | None,
        only: "Key | None" = None,
        by_hand: bool = True,
        observe: "Callable[[Progress], None]" = lambda progress: None,
        note: "Callable[[Finished], None]" = lambda finished: None,
    ) -> "DeliveryRun":
        """A delivery run over one issue, one delivery, or all; demands SECRET_KEY."""
        from newsletter.deliver import DeliveryRun

        return DeliveryRun(
            database=self.database,
            signer=self.signer,
            relays=self.make_relays(),
            rules=self.make_rules(),
            dkim=self.make_dkim_signer(),
            limits=self.make_limits(),
            issue=issue,
            only=only,
            by_hand=by_hand,
            lease=self.settings.worker_lease,
            clock=self.now,
            observe=observe,
            note=note,
        )

    def make_membership(self, *, is_daemon: bool) -> "Membership":
        """A worker's or daemon's place among those who deliver on a PostgreSQL database."""
        from newsletter.deliver.membership import Membership

        lease = self.settings.worker_lease
        return Membership(database=self.database, rules=self.make_rules(), lease=lease, is_daemon=is_daemon)


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """The service for the length of a command; what was opened is closed."""
    service = Service(settings)
    try:
        yield service
    finally:
        if "database" in service.__dict__:
            service.database.close()
