"""Write transactions one after another for who must not wait: the event loop of a delivery.

The statements run in the loop's own thread, and only the commit, which waits for the disk, in another: each step of
SQLite gives up the interpreter, and a busy loop gives it back after 5 ms at worst (measured: half of a send's time).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, RootTransaction

from newsletter.core.errors import StoreBusyError
from newsletter.store.database import Database

BUSY_PAUSE_SECONDS = 0.02
T = TypeVar("T")


class Writing:
    """`async with Writing(database) as writing:` keeps one connection; one transaction at a time is begun on it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._conn = self._database.connect_impatiently()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._conn.invalidate()  # others would not expect that it waits for nobody
        self._conn.close()

    async def run(self, apply: Callable[[Connection], T]) -> T:
        """Run `apply` in a transaction and commit it; returns when it is on the disk.

        While another process holds the write lock, it is asked for again and again; StoreError for what is worse.
        """
        async with self._turn:
            transaction = await self._begin()
            with self._database.errors_named():
                try:
                    result = apply(self._conn)
                    await _finish(asyncio.get_running_loop().run_in_executor(self._executor, transaction.commit))
                except BaseException:
                    if self._conn.in_transaction():  # cancelled, it may have been committed all the same
                        transaction.rollback()
                    raise
            return result

    async def _begin(self) -> RootTransaction:
        while True:
            with suppress(StoreBusyError), self._database.errors_named():
                return self._conn.begin()
            await asyncio.sleep(BUSY_PAUSE_SECONDS)


async def _finish(commit: "asyncio.Future[None]") -> None:
    """Wait for a commit; who is cancelled meanwhile waits for it all the same, since it cannot be called back."""
    cancelled: asyncio.CancelledError | None = None
    while not commit.done():
        try:
            await asyncio.wait([commit])
        except asyncio.CancelledError as error:
            cancelled = error
    commit.result()
    if cancelled is not None:
        raise cancelled
