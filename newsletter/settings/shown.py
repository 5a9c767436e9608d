"""The settings in force as an operator may see them: every value as one would write it, and no secret."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from newsletter.core.cron import Cron
from newsletter.settings.table import Settings, describe_settings
from newsletter.settings.values import From, mask_credentials

MASK = "••••••"


def show_settings(settings: Settings) -> list[dict[str, Any]]:
    """Each setting with its value (empty: unset), whether that is the default, and its meaning."""
    values = list(_walk(settings))
    return [
        {"name": row.name, "value": value, "is_default": value == row.default, "meaning": row.meaning}
        for row, value in zip(describe_settings(), values, strict=True)
    ]


def _walk(part: BaseModel) -> Iterator[str]:
    """In the order of `describe_settings`."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _walk(value)
        elif name == "retain":  # the one setting that is given in days
            yield f"{value.days}"
        else:
            yield _write(value)


def _write(value: Any) -> str:
    match value:
        case None | ():
            return ""
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
        case timedelta():
            return f"{value.total_seconds():g}"
        case float():
            return f"{value:g}"
        case Cron():
            return value.text
        case From():
            return f"{value.name} <{value.email}>"
        case str():
            return mask_credentials(value)
        case tuple() | dict():
            return _write_many(value)
        case _:
            return str(value)


def _write_many(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], str):
        return _write(value[0])
    return json.dumps(_reduce(value), separators=(",", ":"), ensure_ascii=False)


def _reduce(value: Any) -> Any:
    """A value as JSON, less what is as usual."""
    match value:
        case BaseModel():
            given = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
            return {name: _reduce(part) for name, part in given.items()}
        case dict():
            return {name: _reduce(part) for name, part in value.items()}
        case tuple():
            return [_reduce(part) for part in value]
        case timedelta():
            seconds = value.total_seconds()
            return int(seconds) if seconds.is_integer() else seconds
        case bool() | int() | float():
            return value
        case _:
            return _write(value)
