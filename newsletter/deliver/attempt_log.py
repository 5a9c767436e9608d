"""One line of the log an attempt, in the manner of Postfix; the addresses in it are masked where the line is written.

`delay` is the seconds since the mail was due; `delays` says how they passed: waiting/connecting/sending.
"""

import logging

from newsletter.core.model import name_delivery
from newsletter.store.moves import Finished
from newsletter.store.outbox import Claimed

log = logging.getLogger("newsletter.attempts")


def log_attempt(claimed: Claimed, finished: Finished, *, relay: str, connect_seconds: float) -> None:
    """Write the line; `connect_seconds` is 0 where the connection was open already."""
    if not log.isEnabledFor(logging.INFO):
        return
    sending = finished.seconds
    delay = max(0.0, (finished.at - claimed.due_at).total_seconds()) + sending
    waiting = max(0.0, delay - connect_seconds - sending)
    said = " ".join(str(part) for part in (finished.code, finished.response) if part)
    fields = {
        "delivery": name_delivery(claimed.key),
        "to": claimed.email,
        "edition": claimed.edition_id,
        "relay": relay,
        "attempt": finished.attempt,
        "delay": f"{delay:.2f}",
        "delays": f"{waiting:.2f}/{connect_seconds:.2f}/{sending:.2f}",
        "dsn": finished.enhanced or "",
        "status": str(finished.outcome),
        "reply": said,
    }
    if finished.due_at is not None:
        fields["next"] = f"{finished.due_at:%Y-%m-%dT%H:%M:%SZ}"
    log.info("attempt", extra={"fields": fields})
