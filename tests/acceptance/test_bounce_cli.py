"""`newsletter bounce`: files, standard input, an mbox, what cannot be read."""

import io
import sys

import pytest
from workshop import Workshop

BOUNCE = """From: MAILER-DAEMON@mx.example.org
Subject: failure notice

<{email}>: 550 5.1.1 user unknown

"""


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def test_files_are_read_and_an_operator_vouches_for_them(ready: Workshop) -> None:
    ready.write("one.eml", BOUNCE.format(email="ada@example.org"))
    ran = ready.run("bounce", "one.eml")
    assert ran.out == "one.eml: hard ada@example.org 5.1.1 unknown user: ignored (it carries no token of ours)\n"
    assert ready.run("bounce", "one.eml", "--trust", "--dry-run", "--json").json["action"] == "suppressed"
    assert ready.run("suppressions", "list", "--json").lines == []
    assert ready.run("bounce", "one.eml", "--trust", "--json").json["action"] == "suppressed"
    assert [line["email"] for line in ready.run("suppressions", "list", "--json").lines] == ["ada@example.org"]
    assert "came back in 30 days: 1 hard" in ready.run("status").out


def test_an_mbox_is_many_messages(ready: Workshop) -> None:
    begin = "From MAILER-DAEMON Wed Nov 25 08:00:00 2026\n"
    ready.write("box", "".join(begin + BOUNCE.format(email=f"{name}@example.org") for name in ("ada", "ben", "cleo")))
    lines = ready.run("bounce", "box", "--trust", "--json").lines
    assert [line["email"] for line in lines] == ["ada@example.org", "ben@example.org", "cleo@example.org"]


def test_standard_input_is_one_message(ready: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = BOUNCE.format(email="ada@example.org").replace("550", "550 Empfänger").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))
    assert ready.run("bounce", "--json").json["email"] == "ada@example.org"


def test_what_cannot_be_read_is_named_and_stops_nothing(ready: Workshop) -> None:
    for name in ("one", "two"):
        ready.write(name, BOUNCE.format(email=f"{name}@example.org"))
    ran = ready.run("bounce", "one", "absent.eml", "two", code=1)
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["one", "two"]
    assert ran.err == "error: absent.eml: cannot read the message: No such file or directory\n"
    assert ready.run("bounce", "briefs", code=1).err == "error: briefs: cannot read the message: Is a directory\n"
