"""INSERTs that know what to do where a row is there already, which SQLAlchemy has for each dialect by itself."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(conn: Connection, table: Any) -> Any:
    """An INSERT to which `on_conflict_do_…` may be added."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def upsert(conn: Connection, table: Any, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Write a row, or give the one that has this key these values."""
    new = insert_into(conn, table).values(**key, **values)
    conn.execute(new.on_conflict_do_update(index_elements=list(key), set_=dict(values)))


def insert_ignoring(conn: Connection, table: Any) -> Any:
    """An INSERT that leaves rows alone whose key is there already."""
    return insert_into(conn, table).on_conflict_do_nothing()
