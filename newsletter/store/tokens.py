"""Bearer tokens of the API, kept by their hash, and since when the operator's sessions count."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update

from newsletter.core.errors import StoreError
from newsletter.store.schema import service, tokens

PREFIX = "nl_"
SECRET_OCTETS = 32
USED_EVERY = timedelta(minutes=1)
"""How exact `used_at` is: a token that is used a hundred times a second is not written down as often."""
SESSIONS_SINCE = "sessions_since"


def insert_token(conn: Connection, *, name: str, secret: str, now: datetime, expires_at: datetime | None) -> int:
    """Keep a new token by its hash; returns its number."""
    values = {"name": name, "sha256": _hash(secret), "created_at": now, "expires_at": expires_at}
    return int(conn.execute(tokens.insert().values(values).returning(tokens.c.id)).scalar_one())


def list_tokens(conn: Connection) -> Sequence[Row[Any]]:
    """All tokens, oldest first."""
    return conn.execute(tokens.select().order_by(tokens.c.id)).all()


def find_token(conn: Connection, secret: str, now: datetime) -> Row[Any] | None:
    """The token that this is, while it is valid. Its hash is looked up: timing tells nothing of what is kept."""
    valid = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    return conn.execute(tokens.select().where(tokens.c.sha256 == _hash(secret), valid)).first()


def note_use(conn: Connection, token_id: int, now: datetime) -> None:
    """Write down that a token was used."""
    conn.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=now))


def delete_token(conn: Connection, number: int) -> str:
    """Take a token away; returns its name. StoreError where there is none of this number."""
    name = conn.execute(delete(tokens).where(tokens.c.id == number).returning(tokens.c.name)).scalar()
    if name is None:
        raise StoreError(f"there is no token {number}")
    return str(name)


def end_sessions(conn: Connection, now: datetime) -> None:
    """Let no session count that was begun until now."""
    conn.execute(delete(service).where(service.c.key == SESSIONS_SINCE))
    conn.execute(service.insert().values(key=SESSIONS_SINCE, value=str(now.timestamp())))


def read_sessions_since(conn: Connection) -> float:
    """Since when sessions count, in Unix seconds."""
    value = conn.execute(select(service.c.value).where(service.c.key == SESSIONS_SINCE)).scalar()
    return float(value) if value else 0.0


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
