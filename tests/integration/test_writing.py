"""The transactions of a delivery's event loop, and statements on the driver's own cursor, in a real database."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from newsletter.core.errors import StoreError
from newsletter.store.database import Database, open_database
from newsletter.store.prepared import Prepared, insert_rows
from newsletter.store.schema import relays, service
from newsletter.store.writing import Writing

ADD = insert_rows(relays, ["id", "name"])
RENAME = Prepared(
    {"which": relays.c.id, "to": relays.c.name},
    lambda given: (
        update(relays).where(relays.c.id == given.which).values(name=given.to).returning(relays.c.id, relays.c.name)
    ),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'n.db'}")
    yield opened
    opened.close()


def note(name: str) -> Callable[[Connection], str]:
    """Write a row; returns its name."""

    def apply(conn: Connection) -> str:
        conn.execute(relays.insert().values(name=name))
        return name

    return apply


def read_names(database: Database) -> list[str]:
    with database.read() as conn:
        return list(conn.execute(select(relays.c.name).order_by(relays.c.id)).scalars())


def write(database: Database, task: Callable[[Writing], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with Writing(database) as writing:
            await task(writing)

    asyncio.run(run())


@pytest.mark.usefixtures("each_loop")
def test_tasks_at_once_have_one_transaction_after_another(database: Database) -> None:
    open_now: list[str] = []

    async def task(writing: Writing) -> None:
        def apply_alone(name: str) -> Callable[[Connection], None]:
            def apply(conn: Connection) -> None:
                open_now.append(name)
                before = len(read_names(database))
                note(name)(conn)
                assert len(read_names(database)) == before == len(open_now) - 1

            return apply

        await asyncio.gather(*(writing.run(apply_alone(f"r{number}")) for number in range(10)))

    write(database, task)
    assert read_names(database) == [f"r{number}" for number in range(10)]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "error", [ValueError("ours"), asyncio.CancelledError("ours"), sqlite3.OperationalError("ours")]
)
def test_what_raises_is_rolled_back_and_later_ones_work(database: Database, error: BaseException) -> None:
    def fail(conn: Connection) -> None:
        note("never")(conn)
        raise error

    async def task(writing: Writing) -> None:
        results = await asyncio.gather(
            writing.run(note("a")), writing.run(fail), writing.run(note("b")), return_exceptions=True
        )
        assert (results[0], results[2]) == ("a", "b")
        expected = StoreError if isinstance(error, sqlite3.Error) else type(error)
        assert isinstance(results[1], expected)

    write(database, task)
    assert read_names(database) == ["a", "b"]


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("times", [1, 2, 5])
def test_who_is_cancelled_while_it_commits_has_committed_and_later_ones_work(database: Database, times: int) -> None:
    """However often: a commit that is under way in another thread cannot be called back."""

    async def task(writing: Writing) -> None:
        committing = asyncio.Event()

        def apply(conn: Connection) -> None:
            note("a")(conn)
            committing.set()

        first = asyncio.create_task(writing.run(apply))
        second = asyncio.create_task(writing.run(note("b")))
        await committing.wait()
        for _ in range(times):
            first.cancel()
            await asyncio.sleep(0)
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)
        assert await second == "b"

    write(database, task)
    assert read_names(database) == ["a", "b"]


def test_who_is_cancelled_while_it_waits_for_its_turn_writes_nothing(database: Database) -> None:
    async def task(writing: Writing) -> None:
        first, second, third = (asyncio.create_task(writing.run(note(name))) for name in "abc")
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert second.cancelled()

    write(database, task)
    assert read_names(database) == ["a", "c"]


@pytest.mark.sqlite
def test_it_waits_while_another_process_holds_the_lock_and_can_be_cancelled_then(database: Database) -> None:
    other = sqlite3.connect(database.name, isolation_level=None)

    async def task(writing: Writing) -> None:
        other.execute("BEGIN IMMEDIATE")
        first, second = (asyncio.create_task(writing.run(note(name))) for name in "ab")
        for _ in range(20):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not second.done()
        other.execute("ROLLBACK")
        assert await second == "b"

    write(database, task)
    other.close()
    assert read_names(database) == ["b"]


def test_prepared_statements_write_and_return_what_they_found(database: Database) -> None:
    with database.write() as conn:
        ADD.run(conn, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        rows = RENAME.run(conn, [{"which": 2, "to": "x"}, {"which": 9, "to": "y"}, {"which": 1, "to": "z"}])
        assert RENAME.run(conn, []) == []
    assert sorted(rows) == [(1, "z"), (2, "x")]
    assert read_names(database) == ["z", "x"]


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "name": None},
        pytest.param({"id": 1, "name": object()}, marks=pytest.mark.sqlite),
        {"id": 2**63, "name": "a"},
        {"id": "no number", "name": "a"},
        {"id": 1, "name": "there already"},
    ],
)
def test_a_prepared_statement_on_wrong_data_is_a_store_error_that_names_the_database(
    database: Database, row: dict[str, Any]
) -> None:
    with database.write() as conn:
        ADD.run(conn, [{"id": 7, "name": "there already"}])

    async def task(writing: Writing) -> None:
        with pytest.raises(StoreError, match=database.name):
            await writing.run(lambda conn: ADD.run(conn, [{"id": 5, "name": "good"}, row]))
        assert await writing.run(note("later")) == "later"

    write(database, task)
    assert sorted(read_names(database)) == ["later", "there already"]


@pytest.mark.sqlite
def test_a_prepared_statement_without_a_table_is_a_store_error(database: Database) -> None:
    with database.write() as conn:
        conn.exec_driver_sql("DROP TABLE attempts")
        conn.exec_driver_sql("DROP TABLE relays")
    with pytest.raises(StoreError, match="no such table"), database.write() as conn:
        ADD.run(conn, [{"id": 1, "name": "a"}])
    with database.write() as conn:
        conn.execute(service.insert().values(key="still", value="works"))
