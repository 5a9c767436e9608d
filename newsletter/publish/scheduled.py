"""Publishing by the schedule: one issue of all briefs that have come since the last, by one of all daemons.

A brief stands in one issue at most. What makes the run the caller's own is written in one transaction with the issue.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime

from sqlalchemy import Connection

from newsletter.core.model import Brief
from newsletter.core.runs import Run
from newsletter.publish import Publisher, has_news
from newsletter.store import issues
from newsletter.store.issues import NewIssue

Claim = Callable[[Connection], bool]
"""Makes a run the caller's own; False where another has done it already."""


def publish_run(
    publisher: Publisher, sources: Sequence[Sequence[Brief]], run: Run, *, now: datetime, claim: Claim
) -> int | None:
    """Write the issue of a run, its deliveries still to be written; returns its number.

    `sources` holds the briefs of each source, newest first. None where there is no news, or where another daemon was
    first. TemplateError before anything is written.
    """
    with publisher.database.read() as conn:
        chosen = choose_briefs(conn, sources)
    contents = [(brief, publisher.match_embedded(brief)) for brief in chosen]
    if chosen:
        publisher.compile_all(find_lead(chosen), [story for _, stories in contents for story in stories])
    with publisher.database.write() as conn:
        if not claim(conn) or issues.has_period(conn, run.period):
            return None
        # Asked again under the write lock: somebody may have sent one of them by hand meanwhile.
        still = [(brief, stories) for brief, stories in contents if is_news(conn, brief)]
        fresh = publisher.find_fresh(conn, still, now)
        if not fresh:
            return None
        briefs = [brief for brief, _ in still]
        lead = find_lead(briefs)
        new = NewIssue(period=run.period, due_at=run.at, waves=run.waves)
        return publisher.insert_issue(conn, [lead, *(b for b in briefs if b is not lead)], fresh, new, now)


def choose_briefs(conn: Connection, sources: Sequence[Sequence[Brief]]) -> list[Brief]:
    """The briefs that are in no issue yet and no older than the newest that is, in the order of the sources.

    Where none is in any issue yet, only the latest of each source.
    """
    newest = issues.newest_brief_date(conn)
    if newest is None:
        return [briefs[0] for briefs in sources if briefs]
    offered = [brief for briefs in sources for brief in briefs if brief.is_continuous or brief.date >= newest]
    return [brief for brief in offered if is_news(conn, brief)]


def is_news(conn: Connection, brief: Brief) -> bool:
    """Whether a brief is in no issue, neither as it is now nor as it was; a continuous one, whether it has news."""
    return has_news(conn, brief) if brief.is_continuous else not issues.find_brief(conn, brief)


def find_lead(briefs: Sequence[Brief]) -> Brief:
    """The newest of some briefs, of those the first: it gives the issue its title, date and language."""
    newest: date = max(brief.date for brief in briefs)
    return next(brief for brief in briefs if brief.date == newest)
