"""Counts that are kept as rows change, so that looking costs the same at a million deliveries as at ten.

How many deliveries stand where and how many people there are is counted by triggers (migration 0004); throughput and
the kinds of failure are written down with each attempt.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, cast, func, select, text, true

from newsletter.core.model import IssueState, Outcome
from newsletter.core.replies import take_out_numbers
from newsletter.store.inserting import insert_ignoring
from newsletter.store.prepared import insert_rows
from newsletter.store.schema import attempts, headcount, issues, replies, tallies, throughput, to_microseconds

SHARD = "newsletter.shard"
MINUTE_MICROSECONDS = 60_000_000
Reply = tuple[int | None, str | None, str]
"""What a relay said: reply code, enhanced code, text."""

UNFINISHED = ("queued", "deferred", "sending", "uncertain")


def read_tallies(conn: Connection, issue_ids: Collection[int]) -> dict[int, dict[tuple[str, str], int]]:
    """How many deliveries of each issue stand where: by (state, reason), `deferred` apart, zeros absent."""
    counts: dict[int, dict[tuple[str, str], int]] = {issue: {} for issue in issue_ids}
    total = func.sum(tallies.c.n)
    keys = (tallies.c.issue_id, tallies.c.state, tallies.c.reason)
    query = select(*keys, total).where(tallies.c.issue_id.in_(issue_ids)).group_by(*keys).having(total > 0)
    for issue_id, state, reason, n in conn.execute(query):
        counts[issue_id][state, reason] = int(n)
    return counts


def is_unfinished(conn: Connection, issue_id: int) -> bool:
    """Whether anything of an issue is still owed or in doubt."""
    counted = read_tallies(conn, [issue_id])[issue_id]
    return any(n for (state, _), n in counted.items() if state in UNFINISHED)


def count_unsent(conn: Connection, issue_id: int | None) -> int:
    """How many deliveries wait, now or for later: of one issue or of all that run."""
    query = (
        select(func.coalesce(func.sum(tallies.c.n), 0))
        .join(issues, issues.c.id == tallies.c.issue_id)
        .where(tallies.c.state.in_(("queued", "deferred")), issues.c.state == IssueState.RUNNING)
    )
    return int(conn.execute(query if issue_id is None else query.where(tallies.c.issue_id == issue_id)).scalar_one())


def count_people(conn: Connection) -> dict[str, int]:
    """How many subscribers are in each state."""
    return {row.state: row.n for row in conn.execute(headcount.select().where(headcount.c.n > 0))}


def intern_replies(conn: Connection, given: Sequence[Reply]) -> dict[Reply, int]:
    """The ids of the kinds that replies are of, written where they are new."""
    kinds = {reply: (reply[0] or 0, reply[1] or "", take_out_numbers(reply[2])) for reply in given}
    ids: dict[tuple[int, str, str], int] = {}
    for kind in sorted(set(kinds.values())):  # in one order, lest two wait for each other
        values = dict(zip(("code", "enhanced", "wording"), kind, strict=True))
        conn.execute(insert_ignoring(conn, replies), values)
        ids[kind] = conn.execute(select(replies.c.id).filter_by(**values)).scalar_one()
    return {reply: ids[kind] for reply, kind in kinds.items()}


def add_throughput(conn: Connection, finished: Iterable[tuple[int, datetime, Outcome]]) -> None:
    """Count attempts (issue, time, outcome) by their minute."""
    counted = Counter((issue, to_microseconds(at) // MINUTE_MICROSECONDS, outcome) for issue, at, outcome in finished)
    rows = [
        {"issue_id": issue, "minute": minute * MINUTE_MICROSECONDS, "outcome": outcome, "n": n}
        for (issue, minute, outcome), n in sorted(counted.items())
    ]
    _ADD_THROUGHPUT.run(conn, ({**row, "shard": shard_of(conn)} for row in rows))


_ADD_THROUGHPUT = insert_rows(
    throughput,
    ("issue_id", "minute", "outcome", "shard", "n"),
    on_conflict=lambda new: new.on_conflict_do_update(
        index_elements=["issue_id", "minute", "outcome", "shard"], set_={"n": throughput.c.n + new.excluded.n}
    ),
)


def set_shard(conn: Connection, shard: int) -> None:
    """Let what this connection counts be counted apart, so that it waits for nobody else who counts (PostgreSQL)."""
    conn.execute(text("SELECT set_config('newsletter.shard', :shard, false)"), {"shard": str(shard)})
    conn.info[SHARD] = shard


def shard_of(conn: Connection) -> int:
    """Where this connection counts."""
    return int(conn.info.get(SHARD, 0))


def read_throughput(conn: Connection, issue_id: int) -> Sequence[Row[Any]]:
    """An issue's attempts by minute and outcome, the oldest first."""
    keys = (throughput.c.minute, throughput.c.outcome)
    query = select(*keys, cast(func.sum(throughput.c.n), BigInteger).label("n"))
    return conn.execute(query.where(throughput.c.issue_id == issue_id).group_by(*keys).order_by(*keys)).all()


def count_failures(conn: Connection, issue_id: int, *, most: int, outcome: str | None = None) -> Sequence[Row[Any]]:
    """The kinds of reply that an issue's attempts failed by, the commonest first: how many, first and last when.

    With `outcome`, only of attempts that came to this.
    """
    failed = (
        select(
            attempts.c.reply_id,
            func.count().label("n"),
            func.min(attempts.c.at).label("first_at"),
            func.max(attempts.c.at).label("last_at"),
        )
        .where(attempts.c.issue_id == issue_id, attempts.c.outcome != "accepted")
        .where(true() if outcome is None else attempts.c.outcome == outcome)
        .group_by(attempts.c.reply_id)
        .order_by(func.count().desc())
        .limit(most)
        .subquery()
    )
    query = select(replies, failed).join(failed, failed.c.reply_id == replies.c.id).order_by(failed.c.n.desc())
    return conn.execute(query).all()


def read_example(conn: Connection, issue_id: int, reply_id: int) -> str:
    """The latest reply of a kind that an issue's attempts got, as it was said."""
    of_kind = (attempts.c.issue_id == issue_id, attempts.c.outcome != "accepted", attempts.c.reply_id == reply_id)
    query = select(attempts.c.response).where(*of_kind).order_by(attempts.c.at.desc()).limit(1)
    return str(conn.execute(query).scalar_one())
