"""Tokens and the operator's password, as the command line makes them."""

import re
import subprocess
import sys

from workshop import Workshop

from newsletter.core.passwords import verify_password


def test_a_token_is_shown_once_and_can_be_taken_away(workshop: Workshop) -> None:
    made = workshop.run("tokens", "create", "for ci", "--days", "7", "--json").json
    assert made["secret"].startswith("nl_")
    assert made["token"] == 1
    (listed,) = workshop.run("tokens", "list", "--json").lines
    assert (listed["name"], listed["used_at"]) == ("for ci", None)
    assert "secret" not in listed
    assert made["secret"] not in (workshop.folder / "newsletter.db").read_bytes().decode("latin-1")
    assert workshop.run("tokens", "revoke", "1", "--json").json == {"token": 1, "name": "for ci", "revoked": True}
    assert workshop.run("tokens", "list").err == "there is no token\n"
    assert workshop.run("tokens", "revoke", "1", code=1).err == "error: there is no token 1\n"
    assert re.fullmatch(r"nl_\S+\n", workshop.run("tokens", "create", "plain").out)


def test_a_token_wants_a_name(workshop: Workshop) -> None:
    for name in ("", "x" * 101, "a\nb"):
        assert "error: the name " in workshop.run("tokens", "create", name, code=1).err


def run_password(given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "newsletter", "password"]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_a_password_becomes_a_line_for_the_settings_that_they_read_back(workshop: Workshop) -> None:
    ran = run_password("correct horse battery staple\n")
    name, _, kept = ran.stdout.strip().partition("=")
    assert name == "NEWSLETTER_WEB__OPERATOR_PASSWORD"
    assert verify_password("correct horse battery staple", kept)
    assert "correct horse" not in ran.stdout
    workshop.configure(WEB__OPERATOR_PASSWORD=kept)
    from pathlib import Path

    from newsletter.settings import load_settings

    secret = load_settings(Path(".env")).web.operator_password
    assert secret is not None
    assert secret.get_secret_value() == kept


def test_a_short_password_is_refused() -> None:
    ran = run_password("short\n")
    assert (ran.returncode, ran.stderr) == (1, "error: the password has fewer than 12 characters\n")
