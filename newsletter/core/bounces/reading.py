"""Reads what comes back: bytes in, reports out. The most certain form first: fields for machines, then sentences."""

from newsletter.core.bounces.opening import Opened, open_message
from newsletter.core.bounces.other import read_auto_reply, read_complaint, read_notification, read_unsubscribe
from newsletter.core.bounces.plain import is_by_people, is_from_daemon, read_plain
from newsletter.core.bounces.report import Kind, Report
from newsletter.core.bounces.status import read_status

_CERTAIN = (read_complaint, read_status, lambda o: read_notification(o.notice), read_unsubscribe, read_auto_reply)


def read_reports(octets: bytes) -> tuple[Report, ...]:
    """What a message says, a report a recipient; one that is no report says so. Never raises, whatever the bytes."""
    return read_opened(open_message(octets))


def read_opened(opened: Opened) -> tuple[Report, ...]:
    """The same of a message that was taken apart."""
    reports = _read_one(opened)
    return reports or (Report(kind=Kind.NO_REPORT),)


def _read_one(opened: Opened) -> tuple[Report, ...]:
    by_people = is_by_people(opened)
    for read in (read_complaint, read_unsubscribe, read_auto_reply) if by_people else _CERTAIN:
        if reports := tuple(read(opened)):
            return reports
    if by_people:
        return ()
    # A bounce that returns a bounce says inside what it is about.
    inside = open_message(opened.nested) if opened.nested and is_from_daemon(opened) else None
    if inside is not None and (reports := tuple(read_status(inside)) or tuple(read_plain(inside))):
        return reports
    return tuple(read_plain(opened))
