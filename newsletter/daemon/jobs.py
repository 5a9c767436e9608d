"""Takes batches from Procrastinate and offers them to the delivery run, for as long as a worker runs.

A job ends when each delivery of its batch was started or waits by itself: retries are the deliveries' own. Where the
database is away for a while, Procrastinate's worker gives up, and is begun anew.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job

from newsletter.core.model import IssueState
from newsletter.deliver.offers import Ending, Offers
from newsletter.store import issues, jobs
from newsletter.store.database import Database

BATCHES_AT_ONCE = 4
POLL_SECONDS = 2.0
MOST_TIMES = 12
AGAIN_SECONDS = 1.0
TIDY_SECONDS = 3600.0
PREPARING_SECONDS = 30.0
"""So long a job waits for its issue to be written to the end, before it makes room for others."""

log = logging.getLogger("newsletter.delivery")


class ComeBackError(Exception):
    """The job is to come again after so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


class ComeBack(BaseRetryStrategy):
    """When a job comes again."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """After the time that it asked for; a job that failed is found by the tick, as its batch is free."""
        if isinstance(exception, ComeBackError):
            return RetryDecision(retry_in={"seconds": exception.seconds * min(1 + job.attempts, MOST_TIMES)})
        return None


@dataclass
class JobTaker:
    """`run` it until `stop` is set."""

    database: Database
    offers: Offers
    stop: asyncio.Event

    async def run(self) -> None:
        """Take jobs, and begin anew whatever happens."""
        logging.getLogger("procrastinate").setLevel(logging.WARNING)  # a line for each job says nothing more
        while not self.stop.is_set():
            try:
                await self._take_jobs()
            except Exception as error:  # noqa: BLE001  whatever it is, jobs are to be taken again
                log.warning("no jobs can be taken", extra={"fields": {"error": str(error), "again_in": AGAIN_SECONDS}})
                await asyncio.sleep(AGAIN_SECONDS)

    async def _take_jobs(self) -> None:
        # One connection for each job that ends, and one each for listening, fetching and the heartbeat.
        connector = PsycopgConnector(conninfo=self.database.address, min_size=1, max_size=BATCHES_AT_ONCE + 3)
        app = App(connector=connector)
        app.task(name=jobs.TASK, queue=jobs.QUEUE, retry=ComeBack())(self._deliver_batch)
        async with app.open_async():
            tidying = asyncio.create_task(self._tidy(app))
            try:
                await app.run_worker_async(
                    queues=[jobs.QUEUE],
                    concurrency=BATCHES_AT_ONCE,
                    fetch_job_polling_interval=POLL_SECONDS,
                    abort_job_polling_interval=60.0,
                    update_heartbeat_interval=jobs.HEARTBEAT_SECONDS,
                    stalled_worker_timeout=jobs.STALLED_SECONDS,
                    install_signal_handlers=False,
                )
            finally:
                tidying.cancel()

    async def _tidy(self, app: App) -> None:
        while True:
            with suppress(Exception):
                await jobs.delete_old(app)
            await asyncio.sleep(TIDY_SECONDS)

    async def _deliver_batch(self, batch: int) -> None:
        """The job: this batch."""
        given_up_at = asyncio.get_running_loop().time() + PREPARING_SECONDS
        while True:
            ending = Ending.GIVEN_BACK if self.stop.is_set() else await self.offers.offer(batch)
            if ending is Ending.NOT_FREE and await asyncio.to_thread(self._is_preparing, batch):
                if asyncio.get_running_loop().time() > given_up_at:
                    raise ComeBackError(5)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if ending in (Ending.GIVEN_BACK, Ending.LATER):
                raise ComeBackError(1 if ending is Ending.GIVEN_BACK else 5)
            return

    def _is_preparing(self, batch: int) -> bool:
        """Whether the batch's issue is still being written."""
        with self.database.read() as conn:
            row: Any = issues.find_issue_of_batch(conn, batch)
        return row is not None and row.state == IssueState.PREPARING
