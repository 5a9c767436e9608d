"""How the lines of the log look: text with key=value, or one JSON object a line.

A line's fields come as `extra={"fields": {...}}`. Addresses of people are masked unless the operator asks for them.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_ADDRESS = re.compile(r"([^\s<>\"'@,;:()=])[^\s<>\"'@,;:()=]*@([\w.-]+\w)")
_BARE = re.compile(r"[^\s\"=]+")
CHATTY = ("apscheduler", "httpx2", "httpcore2", "watchfiles", "uvicorn", "asyncio")
"""Loggers of libraries whose lines below a warning tell an operator nothing."""


def configure_logging(*, style: str, level: str, show_addresses: bool) -> None:
    """Let every logger write to stderr, in `text` or `json`, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(show_addresses) if style == "json" else TextFormatter(show_addresses))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR if name == "apscheduler" else logging.WARNING)


def mask_addresses(text: str) -> str:
    """A text with nothing left of each address but its first letter and its domain."""
    return _ADDRESS.sub(r"\1***@\2", text) if "@" in text else text


class TextFormatter(logging.Formatter):
    """`2026-11-25T07:00:00.123Z level logger message key=value …`; a value with blanks stands in quotes."""

    def __init__(self, show_addresses: bool) -> None:
        super().__init__()
        self._clean = str if show_addresses else mask_addresses

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback where there is one."""
        name = record.name.removeprefix("newsletter.")
        parts = [_time_of(record), record.levelname.lower(), f"{name}:", _show(self._clean(record.getMessage()))]
        parts += [f"{key}={_quote(self._clean(str(value)))}" for key, value in _fields_of(record).items()]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """`{"at", "level", "logger", "message", …fields}` on one line; `traceback` where there is one."""

    def __init__(self, show_addresses: bool) -> None:
        super().__init__()
        self._clean = str if show_addresses else mask_addresses

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        told: dict[str, Any] = {
            "at": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
        }
        for key, value in _fields_of(record).items():
            told[key] = value if isinstance(value, int | float) else self._clean(str(value))
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    fields = getattr(record, "fields", {})
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _quote(value: str) -> str:
    return _show(value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False))


def _show(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
