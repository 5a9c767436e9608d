"""What the operator should know: each alarm by cause and subject, since when it stands, and whether it was mailed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from newsletter.core.alarms import Alarm
from newsletter.store.schema import alarms


def list_standing(conn: Connection) -> Sequence[Row[Any]]:
    """The alarms that are not over, oldest first."""
    return conn.execute(alarms.select().where(alarms.c.over_at.is_(None)).order_by(alarms.c.first_at)).all()


def raise_alarms(conn: Connection, raised: Sequence[Alarm], now: datetime) -> list[Alarm]:
    """Note that these stand now; returns those that did not stand before."""
    before = {(row.cause, row.subject): row for row in conn.execute(alarms.select())}
    new = []
    for alarm in raised:
        row = before.get(alarm.key)
        if row is None:
            new.append(alarm)
            values = {"message": alarm.message, "first_at": now, "last_at": now, "times": 1}
            conn.execute(alarms.insert().values(cause=alarm.cause, subject=alarm.subject, **values))
        elif row.over_at is not None:
            new.append(alarm)
            values = {"message": alarm.message, "first_at": now, "last_at": now, "times": row.times + 1}
            conn.execute(update(alarms).where(*_one(alarm.key)).values(**values, over_at=None, mailed_at=None))
        elif row.message != alarm.message:
            conn.execute(update(alarms).where(*_one(alarm.key)).values(message=alarm.message, last_at=now))
    return new


def end_alarms(conn: Connection, keys: Sequence[tuple[str, str]], now: datetime) -> None:
    """Note that these stand no more."""
    for key in keys:
        conn.execute(update(alarms).where(*_one(key)).values(over_at=now))


def list_unmailed(conn: Connection, now: datetime, mailed_before: datetime) -> list[Row[Any]]:
    """The standing alarms that no mail told of, but for causes of which one went out since `mailed_before`."""
    recent = select(alarms.c.cause).group_by(alarms.c.cause).having(func.max(alarms.c.mailed_at) > mailed_before)
    unmailed = (alarms.c.over_at.is_(None), alarms.c.mailed_at.is_(None), alarms.c.cause.not_in(recent))
    return list(conn.execute(alarms.select().where(*unmailed).order_by(alarms.c.cause, alarms.c.subject)))


def note_mailed(conn: Connection, keys: Sequence[tuple[str, str]], now: datetime) -> None:
    """Note that a mail told of these."""
    for key in keys:
        conn.execute(update(alarms).where(*_one(key)).values(mailed_at=now))


def describe_alarms(conn: Connection) -> list[Mapping[str, Any]]:
    """The standing alarms, JSON-ready."""
    return [
        {"cause": row.cause, "subject": row.subject, "message": row.message, "since": row.first_at}
        for row in list_standing(conn)
    ]


def _one(key: tuple[str, str]) -> tuple[Any, Any]:
    return alarms.c.cause == key[0], alarms.c.subject == key[1]
