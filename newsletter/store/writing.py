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
from sqlalchemy.exc import IntegrityError

from newsletter.core.errors import StoreBusyError, StoreError
from newsletter.store.database import Database

BUSY_PAUSE_SECONDS = 0.02
LOST_PAUSE_SECONDS = 0.2
MOST_COLLISIONS = 5
T = TypeVar("T")


class Writing:
    """`async with Writing(database) as writing:` keeps one connection; one transaction at a time is begun on it."""

    def __init__(self, database: Database, prepare: Callable[[Connection], None] | None = None) -> None:
        """`prepare` is told of each connection that is made."""
        self._database = database
        self._prepare = prepare
        self._executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._drop()  # others would not expect that it waits for nobody

    async def run(self, apply: Callable[[Connection], T], *, again_while: Callable[[], bool] = lambda: False) -> T:
        """Run `apply` in a transaction and commit it; returns when it is on the disk.

        While another process holds the write lock, it is asked for again and again; StoreError for what is worse. Where
        another holds a row, or the connection is lost and was made anew, `apply` is run again `again_while` it may: it
        must know by itself whether it was committed before.
        """
        async with self._turn:
            collisions = 0
            while True:
                try:
                    return await self._run_once(apply)
                except (StoreBusyError, IntegrityError) as error:
                    # Two that write the same new row at once: the second finds it there when it comes again.
                    collisions += isinstance(error, IntegrityError)
                    if self._database.is_lost(self._conn) or not again_while() or collisions > MOST_COLLISIONS:
                        raise
                    await asyncio.sleep(LOST_PAUSE_SECONDS)
                    continue
                except StoreError:
                    if not self._database.is_lost(self._conn):
                        raise
                    self._drop()
                    if not again_while():
                        raise
                await self._reconnect(again_while)

    async def _run_once(self, apply: Callable[[Connection], T]) -> T:
        if self._conn.closed:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._connect)
        transaction = await self._begin()
        with self._database.errors_named():
            try:
                result = apply(self._conn)
                await _finish(asyncio.get_running_loop().run_in_executor(self._executor, transaction.commit))
            except BaseException:
                if not self._database.is_lost(self._conn) and self._conn.in_transaction():
                    transaction.rollback()  # cancelled, it may have been committed all the same
                raise
        return result

    def _drop(self) -> None:
        if not self._conn.closed:
            self._conn.invalidate()
            self._conn.close()

    async def _reconnect(self, again_while: Callable[[], bool]) -> None:
        """Connect anew as soon as that can be done, `again_while` it may be tried; StoreError where it cannot."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._executor, self._connect)
            except StoreError:
                if not again_while():
                    raise
                await asyncio.sleep(LOST_PAUSE_SECONDS)

    def _connect(self) -> None:
        with self._database.errors_named():
            conn = self._database.connect_impatiently()
            if self._prepare is not None:
                with conn.begin():
                    self._prepare(conn)
            self._conn = conn

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
