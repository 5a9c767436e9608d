"""The doctor: tries everything that a send needs, one check after another, and says of each how to mend it.

It sends no mail and changes nothing. Asks the relays, the DNS and our own public address.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Row

from newsletter.bootstrap import Service
from newsletter.core.briefs.sample import make_sample
from newsletter.core.errors import ConfigError, NewsletterError
from newsletter.core.mails.render import StorySource
from newsletter.doctor.dns import check_dns
from newsletter.doctor.findings import Finding
from newsletter.doctor.keys import check_dkim
from newsletter.doctor.relays import check_relays
from newsletter.doctor.surroundings import check_base_url, check_bounces, check_disk, check_schedule
from newsletter.sources.remote import show_address
from newsletter.store import issues
from newsletter.store.database import HEAD
from newsletter.store.upkeep import probe_write

__all__ = ["CHECKS", "Finding", "examine"]

Check: TypeAlias = Callable[[Service], Iterator[Finding]]


def examine(service: Service) -> Iterator[Finding]:
    """Every check, as it is done; what goes wrong in one is a finding, and the next is done all the same."""
    for name, remedy, check in CHECKS:
        try:
            yield from check(service)
        except (NewsletterError, OSError) as error:
            yield Finding(check=name, state="fail", found=" ".join(str(error).split()), remedy=remedy)


def _check_from(service: Service) -> Iterator[Finding]:
    sender = service.settings.from_
    if sender is None:
        raise ConfigError("NEWSLETTER_FROM is not set")
    yield Finding(check="settings.from", state="ok", found=f"mails are from {sender.email}")


def _check_secret_key(service: Service) -> Iterator[Finding]:
    count = len(service.settings.secret_key)
    if not count:
        raise ConfigError("NEWSLETTER_SECRET_KEY is not set")
    told = "set" if count == 1 else f"set, with {count - 1} older kept for links already mailed"
    yield Finding(check="settings.secret_key", state="ok", found=told)


def _check_database(service: Service) -> Iterator[Finding]:
    database = service.database
    with database.write() as conn:
        probe_write(conn)
    yield Finding(check="database", state="ok", found=f"{database.name}, version {HEAD}, can be written")


def _check_topics(service: Service) -> Iterator[Finding]:
    told, gone = f"{len(service.catalogue)} topics in {service.settings.topics}", list[str]()
    with suppress(NewsletterError):  # the check of the database tells it
        gone = sorted(service.known_topics() - set(service.catalogue))
    if not gone:
        yield Finding(check="topics", state="ok", found=told)
        return
    yield Finding(
        check="topics",
        state="warn",
        found=f"{told}; subscribers chose {', '.join(gone)}, which it does not have",
        remedy="Put them back into the catalogue, or leave them: nobody gets a story by them.",
    )


def _check_templates(service: Service) -> Iterator[Finding]:
    """Compiles a sample in every language: a template may fail at one story only, or in one language."""
    renderer, sender = service.renderer, service.make_sender(sample=True)
    brief = make_sample(service.now(), "en")
    for language in service.languages:
        renderer.compile_frame(sender, issue=None, title=brief.title, date=brief.date, language=language)
        sources = [StorySource(story=story, topics=("Sample",), day=brief.date) for story in brief.stories]
        renderer.compile_stories(sources, language)
    own = service.settings.templates
    count = sum(own in Path(file.path).parents for file in service.templates.values()) if own else 0
    told = f"{len(service.templates)} files, {count} of them of {own}" if own else "the built-in ones"
    found = f"{told}, compile in {len(service.languages)} languages in the theme {renderer.theme.name}"
    yield Finding(check="templates", state="ok", found=found)


def _check_briefs(service: Service) -> Iterator[Finding]:
    briefs, broken = service.list_briefs()
    for error in broken:
        yield Finding(
            check="briefs",
            state="warn",
            found=str(error),
            remedy="Mend the file or the feed: until then it is left out, or as it last was.",
        )
    if briefs:
        told = f"{len(briefs)} can be read, the latest is {briefs[0].id} of {briefs[0].date}"
        yield Finding(check="briefs", state="ok", found=told)
    elif not broken:
        where = ", ".join(map(show_address, service.settings.briefs))
        yield Finding(
            check="briefs", state="warn", found=f"there is none in {where}", remedy="Put one there before you send."
        )


def _check_postal_address(service: Service) -> Iterator[Finding]:
    if service.settings.postal_address:
        yield Finding(check="postal_address", state="ok", found="set")
        return
    yield Finding(
        check="postal_address",
        state="warn",
        found="not set, and the law of many countries demands one in every mail",
        remedy="Set NEWSLETTER_POSTAL_ADDRESS.",
    )


def _check_clock(service: Service) -> Iterator[Finding]:
    now, zone = service.now(), service.settings.timezone
    published: Sequence[Row[Any]] = ()
    with suppress(NewsletterError), service.database.read() as conn:  # as in _check_topics
        published = issues.list_issues(conn)[:1]
    told = f"{now:%Y-%m-%d %H:%M:%S} UTC, {now.astimezone(zone):%H:%M} in {zone}; zone data {version('tzdata')}"
    if skew := round(service.database.skew.total_seconds()) if "database" in vars(service) else 0:
        yield Finding(
            check="clock",
            state="warn",
            found=f"{told}; the clock of this machine is {abs(skew)} s {'slow' if skew > 0 else 'fast'}",
            remedy="Set it, best by NTP. The database's clock, shown here, decides what is due.",
        )
        return
    if published and published[0].created_at > now:
        yield Finding(
            check="clock",
            state="fail",
            found=f"{told}; issue {published[0].id} was published later than that",
            remedy="Set the clock of this machine, best by NTP: what is due is decided by it.",
        )
    else:
        yield Finding(check="clock", state="ok", found=told)


# The name of each check where it cannot even be made, what to do then, and the check.
CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("settings.from", "Write NEWSLETTER_FROM=Name <news@your-domain> into .env.", _check_from),
    ("settings.secret_key", "Write NEWSLETTER_SECRET_KEY= and 32 random characters into .env.", _check_secret_key),
    ("database", "Look at NEWSLETTER_DATABASE_URL, and at the folder's owner, mode and free space.", _check_database),
    ("topics", "Mend the file that NEWSLETTER_TOPICS names.", _check_topics),
    ("templates", "Mend what it names; without NEWSLETTER_TEMPLATES the built-in ones are used.", _check_templates),
    ("briefs", "Mend NEWSLETTER_BRIEFS: it names folders of briefs.", _check_briefs),
    ("relay", "Mend NEWSLETTER_SMTP__… or NEWSLETTER_RELAYS.", check_relays),
    ("dkim", "Mend the file, or NEWSLETTER_DKIM__…: until then nothing is sent.", check_dkim),
    ("dns", "Mend what it names.", check_dns),
    ("bounces", "Mend NEWSLETTER_BOUNCE_MAILBOX.", check_bounces),
    ("base_url", "Mend NEWSLETTER_BASE_URL.", check_base_url),
    ("postal_address", "Mend NEWSLETTER_POSTAL_ADDRESS.", _check_postal_address),
    ("disk", "Look at the folder of the database.", check_disk),
    ("schedule", "Mend NEWSLETTER_SCHEDULE.", check_schedule),
    ("clock", "Mend the clock of this machine.", _check_clock),
)
