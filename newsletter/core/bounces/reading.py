"""Reads what comes back: bytes in, reports out. The most certain form first: fields for machines, then sentences."""

from newsletter.core.bounces.opening import Opened, open_message
from newsletter.core.bounces.other import read_auto_reply, read_complaint, read_notification, read_unsubscribe
from newsletter.core.bounces.plain import read_plain
from newsletter.core.bounces.report import Kind, Report
from newsletter.core.bounces.status import read_status

_READERS = (
    read_complaint,
    read_status,
    lambda o: read_notification(o.notice),
    read_unsubscribe,
    read_auto_reply,
    read_plain,
)


def read_reports(octets: bytes) -> tuple[Report, ...]:
    """What a message says, a report a recipient; one that is no report says so. Never raises, whatever the bytes."""
    return read_opened(open_message(octets))


def read_opened(opened: Opened) -> tuple[Report, ...]:
    """The same of a message that was taken apart."""
    for read in _READERS:
        if reports := tuple(read(opened)):
            return reports
    if opened.nested:
        return read_reports(opened.nested)
    return (Report(kind=Kind.NO_REPORT),)
