"""What was looked at of the schedule, so that any number of daemons on one database do each run once.

One row of `service`: it is replaced only by who read it as it is.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, select, update

from newsletter.store.inserting import insert_ignoring
from newsletter.store.schema import service

KEY = "schedule"


class Agenda(BaseModel):
    """The schedule, as `identity` tells it from another, and the moment up to which it was looked at.

    `last_at` is when the last run was due that went.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: dict[str, Any]
    up_to: datetime
    last_at: datetime | None = None


def read_agenda(conn: Connection) -> Agenda | None:
    """What was looked at; None where no daemon with a schedule has run yet."""
    value = conn.execute(select(service.c.value).where(service.c.key == KEY)).scalar()
    return None if value is None else Agenda.model_validate_json(value)


def write_agenda(conn: Connection, old: Agenda | None, new: Agenda) -> bool:
    """Put `new` in the place of `old`; False where that is not what stands there any more."""
    if old is None:
        row = {"key": KEY, "value": new.model_dump_json()}
        return conn.execute(insert_ignoring(conn, service).returning(service.c.key), row).first() is not None
    same = (service.c.key == KEY, service.c.value == old.model_dump_json())
    return conn.execute(update(service).where(*same).values(value=new.model_dump_json())).rowcount > 0
