"""The database: its schema and migrations, its transactions, its copies, and how one is refused that is of no use."""

import multiprocessing
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from full_disk import full_disk
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from newsletter.core.errors import ConfigError, StoreError
from newsletter.core.preferences import parse_row
from newsletter.store import issues, ledger, outbox, subscribers, upkeep
from newsletter.store.database import HEAD, Database, open_database
from newsletter.store.schema import attempts, deliveries, metadata, topic_sets
from newsletter.subscribe import forget_subscriber
from newsletter.transfer import ImportResult, save_rows

NOW = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "n.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    with closing(open_database(f"sqlite:///{file}")) as opened:
        yield opened


def sign_up(database: Database, *emails: str) -> None:
    rows = [parse_row({"email": email, "name": "Somebody"}, topics=(), languages=()) for email in emails]
    with database.write() as conn:
        save_rows(conn, database.ledger_key, rows, ImportResult(), now=NOW, source="test")


def ids(database: Database) -> list[int]:
    with database.read() as conn:
        return [row.id for row in subscribers.list_subscribers(conn)]


def run_sql(file: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as raw, raw:
        return [raw.execute(statement).fetchall() for statement in statements][-1]


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as raw:
        return list(raw.iterdump())


def read_schema(file: Path) -> dict[str, list[str]]:
    """Each table and index with the parts of its definition, in no order."""
    rows = run_sql(
        file,
        "SELECT name, sql FROM sqlite_master"
        " WHERE type IN ('table', 'index') AND sql IS NOT NULL AND name NOT LIKE 'alembic%'",
    )
    return {name: sorted(part.strip() for part in re.split(r"[\n,]", sql) if part.strip()) for name, sql in rows}


# ── The schema ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.sqlite
def test_the_migrations_lead_to_the_schema_that_the_code_names(database: Database, file: Path, tmp_path: Path) -> None:
    with database.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(engine)
    engine.dispose()
    # Alembic compares neither AUTOINCREMENT nor WITHOUT ROWID nor the condition of a partial index.
    assert read_schema(file) == read_schema(tmp_path / "direct.db")


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "newsletter.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.sqlite
def test_a_database_is_opened_again_with_the_same_key_and_unchanged(file: Path) -> None:
    with closing(open_database(f"sqlite:///{file}")) as first:
        key = first.ledger_key
    before = dump(file)
    with closing(open_database(f"sqlite:///{file}")) as again:
        assert again.ledger_key == key
        assert len(key) == 32
    assert dump(file) == before


@pytest.mark.sqlite
@pytest.mark.parametrize("version", ["9999", "0000", "abcdef012345", ""])
def test_a_database_of_another_version_is_refused_in_one_sentence(file: Path, version: str) -> None:
    open_database(f"sqlite:///{file}").close()
    run_sql(file, f"UPDATE alembic_version SET version_num = '{version}'")
    before = dump(file)
    with pytest.raises(StoreError, match=rf"{file} is of version '{version}', which this program \({HEAD}\)") as caught:
        open_database(f"sqlite:///{file}")
    assert "\n" not in str(caught.value)
    assert dump(file) == before


@pytest.mark.sqlite
def test_a_database_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    run_sql(file, "CREATE TABLE subscribers (nobody TEXT)", "INSERT INTO subscribers VALUES ('x')")
    before = dump(file)
    with pytest.raises(StoreError, match=rf"{file}: table subscribers already exists"):
        open_database(f"sqlite:///{file}")
    assert dump(file) == before


def open_at_once(url: str, barrier: Any, keys: Any) -> None:
    barrier.wait()
    with closing(open_database(url)) as database:
        keys.put(database.ledger_key)


@pytest.mark.sqlite
def test_several_processes_may_open_a_new_database_at_once(file: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, keys = spawn.Barrier(3), spawn.Queue()
    arguments = (f"sqlite:///{file}", barrier, keys)
    processes = [spawn.Process(target=open_at_once, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    found = {keys.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(found) == 1
    assert run_sql(file, "SELECT count(*) FROM alembic_version") == [(1,)]


# ── Transactions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.sqlite
def test_sqlite_runs_with_wal_full_synchronous_and_foreign_keys(database: Database, file: Path) -> None:
    with database.read() as conn:
        pragmas = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert database.path == file


def test_a_row_that_points_nowhere_is_refused(database: Database) -> None:
    consent = {"at": NOW, "source": "test", "wording": "", "confirmed_at": NOW}
    with pytest.raises((IntegrityError, StoreError), match=r"(?i)foreign key"), database.write() as conn:
        subscribers.insert_consents(conn, {99: ""}, consent)


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail_midway() -> None:
        with database.write() as conn:
            upkeep.set_paused(conn, True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    with database.read() as conn:
        assert not upkeep.is_paused(conn)


def test_a_reader_sees_one_state_and_takes_no_lock(database: Database) -> None:
    with database.read() as conn:
        assert not upkeep.is_paused(conn)
        with database.write() as writer:
            upkeep.set_paused(writer, True)
        assert not upkeep.is_paused(conn)
    with database.read() as conn:
        assert upkeep.is_paused(conn)


def test_ids_are_never_given_out_twice(database: Database) -> None:
    sign_up(database, "a@example.org", "b@example.org")
    forget_subscriber(database, "b@example.org", now=NOW)
    sign_up(database, "c@example.org")
    assert ids(database) == [1, 3]


def test_times_come_back_to_the_microsecond_and_aware(database: Database) -> None:
    sign_up(database, "a@example.org")
    with database.read() as conn:
        assert subscribers.find_subscriber(conn, "a@example.org").created_at == NOW


def test_a_number_beyond_what_a_database_holds_is_an_error_of_one_sentence(database: Database) -> None:
    with pytest.raises(StoreError, match=database.name), database.read() as conn:
        issues.find_issue(conn, 10**20)


@pytest.mark.sqlite
@pytest.mark.parametrize("table", [deliveries, attempts])
def test_the_history_of_a_person_is_looked_up_by_key(database: Database, table: Any) -> None:
    """Also in a database without statistics, where SQLite guesses."""
    plans: list[str] = []
    with database.read() as conn:
        real = conn.execute

        def explain(query: Any) -> Any:
            compiled = query.compile(conn.engine, compile_kwargs={"literal_binds": True})
            plans.extend(row.detail for row in real(text(f"EXPLAIN QUERY PLAN {compiled}")))
            return real(query)

        conn.execute = explain  # type: ignore[method-assign, assignment]
        if table is deliveries:
            ledger.list_deliveries(conn, 5, 5)
        else:
            list(ledger.list_attempts(conn, subscriber_id=5))
    assert any(re.search(rf"SEARCH {table.name} USING PRIMARY KEY \(issue_id=", plan) for plan in plans)
    assert not any(f"SCAN {table.name}" in plan for plan in plans)


def test_many_topic_sets_and_none_are_interned_once(database: Database) -> None:
    with database.write() as conn:
        assert subscribers.intern_topic_sets(conn, set()) == {}
        first = subscribers.intern_topic_sets(conn, {"a", "a;b"})
        assert subscribers.intern_topic_sets(conn, {"a;b", "a", ""}) == {**first, "": 3}
        assert conn.execute(select(func.count()).select_from(topic_sets)).scalar() == 3


# ── What cannot be used ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.sqlite
def test_what_is_no_database_is_refused_and_left_alone(file: Path, tmp_path: Path) -> None:
    file.write_text("Dear reader,\n" * 100)
    with pytest.raises(StoreError, match=rf"database {file}: file is not a database"):
        open_database(f"sqlite:///{file}")
    assert file.read_text() == "Dear reader,\n" * 100
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "absent" / "n.db"):
        with pytest.raises(StoreError, match=rf"database {path}: unable to open database file"):
            open_database(f"sqlite:///{path}")


@pytest.mark.sqlite
def test_a_database_that_may_only_be_read_is_read_and_never_half_written(file: Path) -> None:
    open_database(f"sqlite:///{file}").close()
    before = dump(file)
    with closing(open_database(f"sqlite:///file:{file}?mode=ro&uri=true")) as database:
        with database.read() as conn:
            assert not upkeep.is_paused(conn)
        with pytest.raises(StoreError, match=r"attempt to write a readonly database"):
            sign_up(database, "a@example.org")
    assert dump(file) == before


@pytest.mark.sqlite
def test_a_full_disk_is_an_error_of_one_sentence_and_undoes_the_transaction(database: Database, file: Path) -> None:
    sign_up(database, "first@example.org")
    many = [f"reader{number}@example.org" for number in range(3_000)]
    with full_disk(file.stat().st_size + 20_000), pytest.raises(StoreError, match=rf"database {file}: .*(disk|full)"):
        sign_up(database, *many)
    assert ids(database) == [1]
    sign_up(database, *many)
    assert len(ids(database)) == 3_001


@pytest.mark.sqlite
def test_a_new_database_on_a_full_disk_is_made_when_there_is_room_again(file: Path) -> None:
    with full_disk(8_192), pytest.raises(StoreError, match=rf"database {file}: "):
        open_database(f"sqlite:///{file}")
    with closing(open_database(f"sqlite:///{file}")) as database:
        assert ids(database) == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "address", ["nonsense", "sqlite:///n.db?timeout=soon", "oracle9:///n.db", "postgresql+nodriver://h/d"]
)
def test_an_address_of_no_database_names_the_setting(address: str) -> None:
    with pytest.raises(ConfigError, match=r"NEWSLETTER_DATABASE_URL '") as caught:
        open_database(address)
    assert "\n" not in str(caught.value)


# ── Copies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.sqlite
def test_a_backup_of_a_live_database_opens_and_equals_what_was_committed(database: Database, tmp_path: Path) -> None:
    sign_up(database, "a@example.org", "b@example.org")
    copy = tmp_path / "copy.db"
    with database.write() as conn:
        upkeep.set_paused(conn, True)  # not yet committed: the copy neither waits for it nor has it
        database.back_up(copy)
    with closing(open_database(f"sqlite:///{copy}")) as backup:
        assert backup.ledger_key == database.ledger_key
        assert ids(backup) == [1, 2]
        with backup.read() as conn:
            assert not upkeep.is_paused(conn)
        forget_subscriber(backup, "b@example.org", now=NOW)
        sign_up(backup, "c@example.org")
        assert ids(backup) == [1, 3]


@pytest.mark.sqlite
def test_a_backup_never_overwrites_and_never_stays_half_done(database: Database, tmp_path: Path) -> None:
    sign_up(database, *(f"reader{number}@example.org" for number in range(200)))
    taken = tmp_path / "taken.db"
    taken.write_text("mine")
    with pytest.raises(StoreError, match=rf"{taken} is there already"):
        database.back_up(taken)
    assert taken.read_text() == "mine"
    copy = tmp_path / "copy.db"
    with full_disk(50_000), pytest.raises(StoreError, match=rf"{copy}: no backup was made"):
        database.back_up(copy)
    assert not copy.exists()
    with pytest.raises(StoreError, match="no backup was made"):
        database.back_up(tmp_path / "absent" / "copy.db")


@pytest.mark.sqlite
def test_the_log_of_old_pages_can_be_wiped(database: Database, file: Path) -> None:
    sign_up(database, "a@example.org")
    log = file.with_name("n.db-wal")
    with database.read() as conn:  # it does not wait for a reader, who may still need an old page
        assert len(list(subscribers.list_subscribers(conn))) == 1
        database.wipe_log()
    assert log.stat().st_size > 0
    database.wipe_log()
    assert log.stat().st_size == 0
    with database.read() as conn:
        assert conn.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


# ── What is not there ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_ledger_does_not_know_is_named(database: Database) -> None:
    with database.read() as conn:
        with pytest.raises(StoreError, match="no issue was published yet"):
            issues.find_issue(conn, None)
        with pytest.raises(StoreError, match="there is no issue 7"):
            issues.find_issue(conn, 7)
        with pytest.raises(StoreError, match=r"there is no subscriber a@example\.org"):
            subscribers.find_subscriber(conn, "a@example.org")
        with pytest.raises(StoreError, match="was pruned after its retention"):
            issues.read_blob(conn, bytes(32))
        assert ledger.find_delivery(conn, 1, 1) is None
        assert outbox.read_delivery(conn, (1, 1), NOW + timedelta(days=1)) is None
