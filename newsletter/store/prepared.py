"""Statements that every mail needs, compiled once and run on the driver's own cursor.

SQLAlchemy builds a statement, and turns its parameters, anew at each call: 66 µs a started delivery instead of 6, and
15 instead of 6 a finished one (measured). Parameters are what the driver takes: times as microseconds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Dialect, LargeBinary, Table, Text, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeDecorator, TypeEngine

Row = Mapping[str, Any]


class Prepared:
    """One statement over rows of parameters.

    `columns` names the parameters, each with a column of its type; `build` makes the statement of them. SQLite runs it
    for each row. PostgreSQL runs it once: there the parameters are the columns of a table made of arrays, so that all
    rows take one round trip, and a trigger fires once.
    """

    def __init__(self, columns: Mapping[str, Any], build: Callable[[Any], UpdateBase]) -> None:
        self._types = {name: _driver_type(of.type) for name, of in columns.items()}
        self._arrays = [(name, _choose_writer(kind)) for name, kind in self._types.items()]
        self._build = build

    def run(self, conn: Connection, rows: Iterable[Row]) -> list[Any]:
        """Run it over these rows; what it returns, in no order."""
        sql, order = _compile(conn.dialect, self)
        cursor = conn.connection.cursor()
        if conn.dialect.name == "postgresql":
            listed = list(rows)
            if listed:
                cursor.execute(sql, order({name: write([row[name] for row in listed]) for name, write in self._arrays}))
            return list(cursor.fetchall()) if listed and "RETURNING" in sql else []
        if "RETURNING" not in sql:
            cursor.executemany(sql, [order(row) for row in rows])
            return []
        return [found for row in rows for found in cursor.execute(sql, order(row)).fetchall()]

    def build_for(self, dialect: Dialect) -> UpdateBase:
        """The statement as a dialect needs it."""
        if dialect.name == "postgresql":
            arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in self._types.items()]
            columns = [column(name, kind) for name, kind in self._types.items()]
            given: Any = func.unnest(*arrays).table_valued(*columns, name="given").render_derived().c
        else:
            given = SimpleNamespace(**{name: bindparam(name, type_=kind) for name, kind in self._types.items()})
        return self._build(given)


def insert_rows(
    table: Table,
    names: Iterable[str],
    *,
    constants: Mapping[str, Any] | None = None,
    on_conflict: Callable[[Any], UpdateBase] = lambda new: new,
) -> Prepared:
    """An INSERT of these columns and of what `constants` gives; `on_conflict` says what is done with a row's double."""
    columns = {name: table.c[name] for name in names}

    def build(given: Any) -> UpdateBase:
        values = {name: getattr(given, name) for name in columns} | dict(constants or {})
        if isinstance(given, SimpleNamespace):
            return on_conflict(sqlite.insert(table).values(values))
        return on_conflict(postgresql.insert(table).from_select(list(values), select(*values.values())))

    return Prepared(columns, build)


def _choose_writer(kind: TypeEngine[Any]) -> Callable[[Sequence[Any]], str]:
    """What writes an array of this type as PostgreSQL reads it; the driver's own takes three times as long."""
    match kind:
        case LargeBinary():
            return lambda values: _join(
                '"\\\\x' + value.hex() + '"' if value is not None else "NULL" for value in values
            )
        case Text():
            return lambda values: _join(_quote(value) if value is not None else "NULL" for value in values)
    return lambda values: _join(str(value) if value is not None else "NULL" for value in values)


def _join(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"


def _quote(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _driver_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type of what is given to the driver: no value is turned any more."""
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


@lru_cache(maxsize=64)
def _compile(dialect: Dialect, prepared: Prepared) -> tuple[str, Callable[[Row], Any]]:
    """The SQL, and what puts parameters, and the statement's own constants, into the driver's form."""
    compiled = prepared.build_for(dialect).compile(dialect=dialect)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    if compiled.positiontup is None:
        return str(compiled), lambda row: {**constants, **row}
    pick = itemgetter(*compiled.positiontup)
    return str(compiled), (lambda row: pick({**constants, **row})) if constants else pick
