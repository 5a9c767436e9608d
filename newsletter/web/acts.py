"""What the operator may do to an issue from a page or the API: each action with its question, and the doing of it."""

from dataclasses import dataclass
from typing import Any

from newsletter import control
from newsletter.bootstrap import Service
from newsletter.core.errors import QueryError
from newsletter.store import upkeep


@dataclass(frozen=True, kw_only=True)
class Act:
    """An action: the button, what it asks first, what it means, and which of `actions` of an issue makes it legal."""

    button: str
    question: str
    meaning: str
    needs: str


ACTS = {
    "pause": Act(
        button="Pause",
        question="Pause issue {issue}?",
        meaning="No more of its mails are begun until it is resumed. What is on the wire is finished.",
        needs="pause",
    ),
    "resume": Act(
        button="Resume",
        question="Let issue {issue} go on?",
        meaning="Its mails go out again as they are due: {owed} are still owed.",
        needs="resume",
    ),
    "cancel": Act(
        button="Cancel for good",
        question="Cancel issue {issue}?",
        meaning="The {owed} deliveries that are still owed are excluded for good. This cannot be undone.",
        needs="cancel",
    ),
    "retry": Act(
        button="Try again",
        question="Send rejected mails of issue {issue} again?",
        meaning="They go back into the queue, due now. Who has had one of its stories since is left out.",
        needs="retry",
    ),
    "settle-sent": Act(
        button="They were sent",
        question="Take the uncertain mails of issue {issue} for sent?",
        meaning="{uncertain} mails went out and no reply came. Nobody gets one twice; who did not get one gets none.",
        needs="settle",
    ),
    "settle-resend": Act(
        button="Send them again",
        question="Send the uncertain mails of issue {issue} again?",
        meaning="{uncertain} mails went out and no reply came. Nobody is left out; some may get one twice.",
        needs="settle",
    ),
}


def find_act(action: str) -> Act:
    """An action by its name; QueryError where there is none."""
    if action not in ACTS:
        raise QueryError(f"there is no action {action[:40]!r}; there are {', '.join(ACTS)}")
    return ACTS[action]


def act_on_issue(service: Service, number: int, action: str, *, reply: int | None = None) -> dict[str, Any]:
    """Do it; StoreError where it is not legal now. `reply`: retry only what failed by this kind of reply."""
    find_act(action)
    database, now, after = service.database, service.now(), service.settings.expire_after
    match action:
        case "pause":
            return control.pause_issue(database, number, now=now)
        case "resume":
            return control.resume_issue(database, number, now=now)
        case "cancel":
            return control.cancel_issue(database, number, now=now)
        case "retry":
            return control.retry_issue(database, number, now=now, expire_after=after, reply_id=reply)
        case _:
            resend = action == "settle-resend"
            return control.settle_issue(database, number, now=now, resend=resend, expire_after=after)


def set_service_paused(service: Service, paused: bool) -> dict[str, Any]:
    """Pause the whole service, or let it go on."""
    with service.database.write() as conn:
        upkeep.set_paused(conn, paused)
    return {"paused": paused}
