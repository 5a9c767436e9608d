"""What is asked of the process that delivers, by those that come while it does: a row of `service` each.

Who is asked answers in the same row, and who asked takes it away.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, delete, select, update

from newsletter.core.model import Key
from newsletter.store.schema import service

PREFIX = "request:"


class Request(BaseModel):
    """Deliver everything that is due, or `only` one delivery. `done`: it was; `stopped` says why before its end."""

    model_config = ConfigDict(frozen=True)

    only: Key | None = None
    done: bool = False
    stopped: str | None = None


def make_request(conn: Connection, request: Request) -> str:
    """Ask; returns the name of the request."""
    name = PREFIX + secrets.token_hex(8)
    conn.execute(service.insert().values(key=name, value=request.model_dump_json()))
    return name


def list_requests(conn: Connection) -> list[tuple[str, Request]]:
    """All requests by name, the answered ones too."""
    rows = conn.execute(select(service.c.key, service.c.value).where(service.c.key.startswith(PREFIX)))
    return [(name, Request.model_validate_json(value)) for name, value in rows]


def read_request(conn: Connection, name: str) -> Request | None:
    """A request as it stands."""
    value: Any = conn.execute(select(service.c.value).where(service.c.key == name)).scalar()
    return None if value is None else Request.model_validate_json(value)


def answer_requests(conn: Connection, names: Sequence[str], stopped: str | None) -> None:
    """Say that these were done, or why they were not done to the end."""
    values = {"value": Request(done=True, stopped=stopped).model_dump_json()}
    conn.execute(update(service).where(service.c.key.in_(names)).values(values))


def withdraw_requests(conn: Connection, names: Sequence[str]) -> None:
    """Take requests away."""
    conn.execute(delete(service).where(service.c.key.in_(names)))
