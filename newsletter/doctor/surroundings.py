"""The doctor's look around the service: the way to its pages, the disk, whether a daemon keeps the schedule."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from newsletter.bootstrap import Service
from newsletter.core.cron import last_occurrence
from newsletter.core.dns_records import is_reserved
from newsletter.core.errors import NewsletterError
from newsletter.doctor.findings import Finding, is_loopback
from newsletter.mailbox import open_mailbox
from newsletter.store.agenda import read_agenda

ANSWER_SECONDS = 5.0
FULL_OCTETS, LOW_OCTETS, LOW_SHARE = 100_000_000, 1_000_000_000, 0.05


def check_base_url(service: Service) -> Iterator[Finding]:
    """Whether a reader could follow our links: public, over https, to pages that answer."""
    address = service.settings.base_url
    parts = urlsplit(address)
    if is_loopback(parts.hostname or ""):
        found = f"{address} is this machine: no reader can follow a link to it"
        remedy = "Set NEWSLETTER_BASE_URL to the public https address of the pages."
    elif is_reserved(parts.hostname or ""):
        found = f"{address} is reserved for examples: no reader can follow a link to it"
        remedy = "Set NEWSLETTER_BASE_URL to the public https address of the pages."
    elif parts.scheme != "https":
        found = f"{address} is not https, which one-click unsubscribing demands (RFC 8058)"
        remedy = "Serve the pages over https, and say so in NEWSLETTER_BASE_URL."
    else:
        yield visit(address)
        return
    yield Finding(check="base_url", state="warn", found=found, remedy=remedy)


def visit(address: str) -> Finding:
    """Ask our own pages how they are, by the way that readers take."""
    import httpx2

    try:
        with httpx2.Client(timeout=ANSWER_SECONDS, trust_env=False) as client:
            status = client.get(f"{address}/healthz").json()["status"]
    except httpx2.HTTPError as error:
        reason = " ".join(str(error).split())
        if "certificate" in reason.lower():
            remedy = "Give the web server in front a certificate that is in force, for this name."
            return Finding(check="base_url", state="fail", found=f"{address}: {reason}", remedy=remedy)
        remedy = "Start `newsletter run`, and let the web server in front pass requests on to it."
        return Finding(check="base_url", state="warn", found=f"{address} does not answer: {reason}", remedy=remedy)
    except (ValueError, KeyError, TypeError):
        remedy = "Let the web server in front pass requests on to `newsletter run`."
        return Finding(check="base_url", state="warn", found=f"{address} answers, but is not ours", remedy=remedy)
    return Finding(check="base_url", state="ok", found=f"{address} reaches our pages, which say: {status}")


def check_bounces(service: Service) -> Iterator[Finding]:
    """Whether what comes back has a way to us, and can be read: nothing is moved."""
    settings = service.settings
    is_called = any(value for _, value in settings.hooks)
    if settings.bounce_mailbox is not None:
        mailbox = open_mailbox(settings.bounce_mailbox)
        mailbox.close()
        yield Finding(check="bounces", state="ok", found="the mailbox can be read")
    elif is_called:
        yield Finding(check="bounces", state="ok", found="relays report by HTTP")
    else:
        remedy = "Set NEWSLETTER_BOUNCE_DOMAIN and NEWSLETTER_BOUNCE_MAILBOX, or a hook: dead addresses cost you."
        yield Finding(check="bounces", state="warn", found="what comes back is not read by itself", remedy=remedy)


def check_disk(service: Service) -> Iterator[Finding]:
    """Whether there is room beside the database."""
    path = service.database.path
    if path is None:
        return
    usage = shutil.disk_usage(path.resolve().parent)
    told = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.0f} GB are free beside the database"
    remedy = "Make room: while the disk is full nothing is sent."
    if usage.free < FULL_OCTETS:
        yield Finding(check="disk", state="fail", found=told, remedy=remedy)
    elif usage.free < LOW_OCTETS or usage.free < LOW_SHARE * usage.total:
        yield Finding(check="disk", state="warn", found=told, remedy=remedy)
    else:
        yield Finding(check="disk", state="ok", found=told)


def check_schedule(service: Service) -> Iterator[Finding]:
    """Whether a daemon has kept the schedule lately."""
    table, now, agenda = service.timetable, service.now(), None
    if table is None:
        yield Finding(check="schedule", state="ok", found="none is set: issues go out by hand")
        return
    with suppress(NewsletterError), service.database.read() as conn:  # told by the check of the database
        agenda = read_agenda(conn)
    last = last_occurrence(table.cron, table.zone, now).at
    remedy = "Start `newsletter run`, and let the system keep it running (docs/operating.md, The daemon)."
    if agenda is None:
        yield Finding(check="schedule", state="warn", found="no daemon has kept it yet", remedy=remedy)
    elif agenda.up_to < last and now - last > table.grace:
        found = f"no daemon has kept it since {agenda.up_to:%Y-%m-%d %H:%M} UTC"
        yield Finding(check="schedule", state="warn", found=found, remedy=remedy)
    else:
        told = f"kept up to {agenda.up_to:%Y-%m-%d %H:%M} UTC; it came last at {last:%Y-%m-%d %H:%M} UTC"
        yield Finding(check="schedule", state="ok", found=told)
