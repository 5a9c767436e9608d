"""The lines of the log: fields, quotes, masks, and what a traceback looks like."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.logs import JsonFormatter, TextFormatter, configure_logging, mask_addresses


def make_record(message: str, *, failed: bool = False, **fields: object) -> logging.LogRecord:
    error = None
    if failed:
        try:
            raise ValueError("no such ada@example.org")
        except ValueError:
            error = sys.exc_info()
    record = logging.LogRecord("newsletter.attempts", logging.INFO, "x.py", 1, message, (), error)
    record.created, record.fields = 1764054000.25, fields
    return record


def test_a_line_of_text_has_time_level_room_message_and_fields() -> None:
    line = TextFormatter(show_addresses=False).format(
        make_record("attempt", to="ada@example.org", status="accepted", reply="250 2.0.0 Ok", dsn="", next=None, n=3)
    )
    assert line == (
        '2025-11-25T07:00:00.250Z info attempts: attempt to=a***@example.org status=accepted reply="250 2.0.0 Ok" n=3'
    )


def test_a_line_of_json_is_one_object() -> None:
    line = JsonFormatter(show_addresses=True).format(make_record("attempt", to="ada@example.org", seconds=0.5))
    assert json.loads(line) == {
        "at": "2025-11-25T07:00:00.250Z",
        "level": "info",
        "logger": "newsletter.attempts",
        "message": "attempt",
        "to": "ada@example.org",
        "seconds": 0.5,
    }


def test_a_traceback_goes_along() -> None:
    assert "ValueError: no such" in TextFormatter(show_addresses=True).format(make_record("x", failed=True))
    told = json.loads(JsonFormatter(show_addresses=False).format(make_record("x", failed=True)))
    assert "Traceback" in told["traceback"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            "550 5.1.1 <ada.lovelace+news@mail.example.org>: no such user",
            "550 5.1.1 <a***@mail.example.org>: no such user",
        ),
        ("a@b.example, c@d.example", "a***@b.example, c***@d.example"),
        ("ädä@müller.example said", "ä***@müller.example said"),
        ("nobody here", "nobody here"),
        ("@ alone", "@ alone"),
    ],
)
def test_masks_what_stands_before_the_at_sign(text: str, masked: str) -> None:
    assert mask_addresses(text) == masked


@given(st.emails(), st.text(max_size=40))
def test_no_address_shows_more_than_its_first_letter(address: str, around: str) -> None:
    local, _, domain = address.rpartition("@")
    plain = "".join(c for c in local if c.isalnum())
    if len(plain) > 3 and plain == local and plain not in domain + around:
        assert local not in mask_addresses(f"{around} <{address}> {around}")


@given(st.text(), st.text())
def test_a_line_stays_one_line(message: str, value: str) -> None:
    line = TextFormatter(show_addresses=False).format(make_record(message, reply=value))
    assert line.isprintable()
    told = JsonFormatter(show_addresses=False).format(make_record(message, reply=value))
    assert "\n" not in told


def test_it_is_written_to_stderr_from_a_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging(style="json", level="warning", show_addresses=False)
        logging.getLogger("newsletter.x").info("unheard")
        logging.getLogger("newsletter.x").warning("heard")
        configure_logging(style="text", level="info", show_addresses=False)
        logging.getLogger("newsletter.x").info("heard too")
        logging.getLogger("httpx2").info("unheard")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert json.loads(lines[0])["message"] == "heard"
    assert lines[1].endswith("info x: heard too")
    assert len(lines) == 2
