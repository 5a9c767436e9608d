"""Batches as jobs of Procrastinate, which hands them to the workers of a PostgreSQL database.

A job only says "this batch": the rows stay the truth. It is deferred in the transaction that writes the rows, and one
that was lost is deferred anew.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    table,
    text,
    update,
)

from newsletter.core.model import IssueState
from newsletter.store.schema import batches, issues
from newsletter.store.throttles import shut_lanes

if TYPE_CHECKING:
    from procrastinate import App
    from procrastinate.types import JSONDict

TASK = "newsletter.deliver_batch"
QUEUE = "deliveries"
KEPT_HOURS = 24
HEARTBEAT_SECONDS, STALLED_SECONDS = 2, 10
MOST_AT_ONCE = 1_000

_jobs = table("procrastinate_jobs", column("id"), column("status"))


@lru_cache
def _deferring() -> "App":
    """What defers jobs within our own transactions: it needs no connection of its own."""
    from procrastinate import App, SyncPsycopgConnector

    return App(connector=SyncPsycopgConnector())


def defer_batches(conn: Connection, given: Sequence[Mapping[Any, Any]]) -> None:
    """Defer a job for each of these batches (`id`, `due_at`), in the caller's transaction."""
    by_moment = groupby(sorted(given, key=lambda batch: batch["due_at"]), key=lambda batch: batch["due_at"])
    for due_at, group in by_moment:
        ids = [int(batch["id"]) for batch in group]
        task = _deferring().configure_task(
            TASK,
            allow_unknown=True,
            queue=QUEUE,
            schedule_at=due_at,
            connection=conn.connection.driver_connection,
        )
        jobs = task.batch_defer(*(_arguments(number) for number in ids))
        rows = [{"batch": number, "job": job} for number, job in zip(ids, jobs, strict=True)]
        conn.execute(update(batches).where(batches.c.id == bindparam("batch")).values(job_id=bindparam("job")), rows)


def _arguments(batch_id: int) -> "JSONDict":
    return {"batch": batch_id}


def end_stalled(conn: Connection) -> None:
    """End the jobs whose worker is not heard of any more; Procrastinate leaves them as they are."""
    conn.execute(
        text(
            """SELECT procrastinate_finish_job_v1(
                job.id, (CASE WHEN batch.done THEN 'succeeded' ELSE 'failed' END)::procrastinate_job_status, false)
            FROM procrastinate_jobs AS job
            LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
            LEFT JOIN batches AS batch ON batch.id = (job.args->>'batch')::bigint
            WHERE job.task_name = :task AND job.status = 'doing'
            AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => :stalled))"""
        ),
        {"task": TASK, "stalled": STALLED_SECONDS},
    )


def defer_lost(conn: Connection, now: datetime) -> int:
    """Defer jobs for batches that could be claimed and have none that will come to it; returns how many."""
    lost = conn.execute(
        select(batches.c.id, batches.c.due_at)
        .join(issues, issues.c.id == batches.c.issue_id)
        .outerjoin(_jobs, _jobs.c.id == batches.c.job_id)
        .where(~batches.c.done, batches.c.owner.is_(None), batches.c.due_at <= now)
        .where(issues.c.state == IssueState.RUNNING, batches.c.lane.not_in(shut_lanes(now)))
        .where(func.coalesce(cast(_jobs.c.status, Text), "lost").not_in(("todo", "doing")))
        .order_by(batches.c.due_at, batches.c.id)
        .limit(MOST_AT_ONCE)
        .with_for_update(skip_locked=True, of=batches)
    ).mappings()
    found = list(lost)
    defer_batches(conn, found)
    return len(found)


def replace_jobs(conn: Connection, worker_id: int) -> None:
    """Defer jobs anew for the batches of a worker that died."""
    held = select(batches.c.id, batches.c.due_at, batches.c.job_id).where(batches.c.owner == worker_id)
    found = list(conn.execute(held).mappings())
    end_jobs(conn, [row["job_id"] for row in found if row["job_id"] is not None])
    defer_batches(conn, found)


def end_jobs(conn: Connection, ids: Sequence[int]) -> None:
    """End jobs whose worker is dead: they failed, and others were or will be deferred in their place."""
    if ids:
        fail = "SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM procrastinate_jobs"
        conn.execute(text(f"{fail} WHERE id = ANY(:ids) AND status = 'doing'"), {"ids": list(ids)})


def cancel_job(conn: Connection, job_id: int | None) -> None:
    """Take a job back that nobody has begun: its batch was claimed by who needs no job."""
    if job_id is not None:
        conn.execute(select(func.procrastinate_cancel_job_v1(job_id, False, False, type_=BigInteger)))


async def delete_old(app: "App") -> None:
    """Delete jobs that ended more than a day ago."""
    await app.job_manager.delete_old_jobs(KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True)
