"""What bad input gets: one sentence with the place and the value, exit 1 or 2, never a traceback, nothing half done."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest
from full_disk import full_disk
from smtp_server import SmtpServer, run_in_thread
from workshop import MONDAY, TOPICS, Ran, Workshop

HUGE = "9" * 20


def fails(workshop: Workshop, *arguments: str, code: int = 1) -> str:
    """Run a command that must fail in one sentence; returns the sentence."""
    ran = workshop.run(*arguments, code=code)
    return read_sentence(ran)


def read_sentence(ran: Ran) -> str:
    lines = ran.err.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1, ran.err
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in ran.err
    assert all(line.startswith(("error: ", "warning: ")) for line in lines), ran.err
    return lines[-1].removeprefix("error: ")


def dump(workshop: Workshop) -> list[str]:
    with closing(sqlite3.connect(workshop.folder / "newsletter.db")) as raw:
        return list(raw.iterdump())


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


# ── Wrong usage ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["topics", "nonsense"],
        ["topics", "list", "--nonsense"],
        ["send", "--reissue", "--nonsense=1"],
        ["subscribers", "show"],
        ["subscribers", "import"],
        ["subscribers", "import", "a.csv", "b.csv"],
        ["subscribers", "export", "--format", "xml"],
        ["suppressions", "add"],
        ["render"],
        ["render", "--topics"],
        ["render", "--topics", "*", "--format", "pdf"],
        ["issues", "show", "one"],
        ["issues", "settle", "1"],
        ["issues", "settle", "1", "--as", "lost"],
        ["audit", "one"],
        ["audit", "²"],
        ["log", "--state", "lost"],
        ["log", "--since", "yesterday"],
        ["mail", "1"],
        ["mail", "one-two"],
        ["db", "backup"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(workshop: Workshop, arguments: Sequence[str]) -> None:
    assert fails(workshop, *arguments, code=2)


@pytest.mark.parametrize("command", [[], ["brief"], ["topics"], ["subscribers"], ["suppressions"], ["issues"], ["db"]])
def test_a_command_without_its_verb_shows_its_help_and_ends_with_2(workshop: Workshop, command: Sequence[str]) -> None:
    ran = workshop.run(*command, code=2)
    assert "Usage: " in ran.err + ran.out
    assert "Traceback" not in ran.err


# ── What is not there ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["subscribers", "show", "nobody"], ["'nobody' is not an email address"]),
        (["subscribers", "add", "nobody", "--topics", "sport"], ["'nobody' is not an email address"]),
        (["subscribers", "add", "a@example.org\nBcc: b@example.org"], ["is not an email address"]),
        (["subscribers", "add", "a\x00@example.org"], ["is not an email address"]),
        (["subscribers", "add", "a@example.org", "--name", "A\nB"], ["has control characters", r"'A\nB'"]),
        (["subscribers", "add", "a@example.org", "--name", "é" * 201], ["201 characters"]),
        (["subscribers", "add", "a@example.org", "--topics", "sport,cooking"], ["'cooking'"]),
        (["subscribers", "add", "a@example.org", "--frequency", "hourly"], ["'hourly' is not a frequency"]),
        (["subscribers", "add", "a@example.org", "--timezone", "Mars"], ["'Mars' is not a time zone"]),
        (["subscribers", "add", "a@example.org", "--language", "tlh"], ["'tlh'"]),
        (["subscribers", "show", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["subscribers", "remove", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["subscribers", "forget", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["subscribers", "import", "absent.csv"], ["absent.csv: cannot read the list: No such file"]),
        (["subscribers", "import", "briefs"], ["briefs: cannot read the list: Is a directory"]),
        (["subscribers", "import", "subscribers/topics.toml"], ["subscribers/topics.toml:1: the header"]),
        (["suppressions", "import", "absent.csv"], ["absent.csv: cannot read the list: No such file"]),
        (["suppressions", "import", "subscribers/topics.toml"], ["subscribers/topics.toml:1: the header"]),
        (["suppressions", "add", "nobody"], ["'nobody' is not an email address"]),
        (["suppressions", "remove", "z@example.org"], ["z@example.org is not suppressed"]),
        (["brief", "show", "absent"], ["absent"]),
        (["topics", "explain", "absent"], ["absent"]),
        (["topics", "test", "absent.json"], ["absent.json"]),
        (["topics", "test", "subscribers/list.csv"], ["subscribers/list.csv"]),
        (["render", "--topics", "cooking"], ["'cooking'", "subscribers/topics.toml"]),
        (["render", "--subscriber", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["send", "--brief", "absent"], ["absent"]),
        (["send", "--only", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["explain", "--email", "ada@example.org"], ["no issue was published yet"]),
        (["explain", "--email", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["audit"], ["no issue was published yet"]),
        (["audit", "7"], ["there is no issue 7"]),
        (["audit", HUGE], []),
        (["deliver", "--issue", "7"], ["there is no issue 7"]),
        (["deliver", "--issue", HUGE], []),
        (["issues", "show", "7"], ["there is no issue 7"]),
        (["issues", "show", HUGE], []),
        (["issues", "pause", "7"], ["there is no issue 7"]),
        (["issues", "cancel", "7"], ["there is no issue 7"]),
        (["issues", "settle", "7", "--as", "sent"], ["there is no issue 7"]),
        (["log", "--email", "z@example.org"], ["there is no subscriber z@example.org"]),
        (["log", "--issue", HUGE], []),
        (["mail", "7-1"], ["there is no mail of delivery 7-1"]),
        (["mail", f"{HUGE}-1"], []),
        (["--env-file", "absent", "topics", "list"], ["absent"]),
        (["--env-file", "briefs", "topics", "list"], ["briefs"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_what_is_not_there_or_does_not_fit_is_named(
    ready: Workshop, arguments: Sequence[str], words: Sequence[str]
) -> None:
    before = dump(ready)
    sentence = fails(ready, *arguments)
    for word in words:
        assert word in sentence
    assert dump(ready) == before


def test_labels_that_are_none_are_named(workshop: Workshop) -> None:
    workshop.write("briefs/2026-11-23-monday.json", '{"stories": [{"title": 7}]}')
    assert "2026-11-23-monday.json" in fails(workshop, "topics", "test", "briefs/2026-11-23-monday.json")


# ── Settings and topics ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NONSENSE", "1"),
        ("SMTP__PORT", "many"),
        ("SECRET_KEY", "short"),
        ("FROM", "nobody"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("TIMEZONE", "Mars/Olympus"),
    ],
)
def test_a_setting_that_is_unknown_or_does_not_fit_stops_every_command(
    workshop: Workshop, name: str, value: str
) -> None:
    workshop.configure(**{name: value})
    for command in (["topics", "list"], ["subscribers", "list"], ["brief", "list"], ["send"], ["db", "upgrade"]):
        sentence = fails(workshop, *command)
        assert f"NEWSLETTER_{name}" in sentence
    assert not (workshop.folder / "newsletter.db").exists()


def test_an_unknown_setting_of_the_environment_stops_too(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_SMPT__HOST", "localhost")
    sentence = fails(workshop, "topics", "list")
    assert "NEWSLETTER_SMPT__HOST" in sentence
    assert "did you mean NEWSLETTER_SMTP__HOST?" in sentence


def test_from_and_the_secret_are_demanded_only_where_they_are_needed(ready: Workshop) -> None:
    for name in ("FROM", "SECRET_KEY"):
        kept = ready.settings.pop(name)
        ready.configure()
        for command in (
            ["brief", "show", "latest"],
            ["topics", "list"],
            ["subscribers", "list"],
            ["subscribers", "add", "eve@example.org", "--topics", "sport"],
            ["suppressions", "list"],
            ["render", "--topics", "*"],
            ["issues", "list"],
            ["log"],
            ["db", "upgrade"],
        ):
            ready.run(*command)
        assert f"NEWSLETTER_{name}" in fails(ready, "send")
        assert ready.run("issues", "list", "--json").out == ""
        ready.configure(**{name: kept})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TOPICS + '\n[topics.sport]\nname = "Again"\n', r", line \d+"),
        ("[topics.sport\n", ", line 1"),
        ('[topics.sport]\nkeywords = ["football"]\n', ", line 1"),
        ('[topics.Sport]\nname = "Sport"\n', ", line 1"),
        ('[topics.sport]\nname = "Sport"\nparent = "games"\n', ", line 3"),
        ("[topics.sport]\nname = \udcff\n", ":2"),
    ],
)
def test_a_broken_topics_file_is_named_with_its_line(ready: Workshop, text: str, place: str) -> None:
    (ready.folder / "subscribers/topics.toml").write_bytes(text.encode(errors="surrogateescape"))
    before = dump(ready)
    for command in (["topics", "list"], ["send"], ["subscribers", "import", "subscribers/list.csv"]):
        assert re.match(rf"subscribers/topics\.toml{place}: ", fails(ready, *command))
    assert dump(ready) == before


def test_no_topics_file_is_named_where_one_is_needed(ready: Workshop) -> None:
    (ready.folder / "subscribers/topics.toml").unlink()
    for command in (["topics", "list"], ["send"], ["subscribers", "import", "subscribers/list.csv"]):
        assert fails(ready, *command).startswith("subscribers/topics.toml: cannot read the topics (NEWSLETTER_TOPICS)")
    ready.run("subscribers", "list")
    ready.run("subscribers", "export")


# ── Briefs and templates ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["2026-11-24-bad.md"]),
        (b"\n\n", ["2026-11-24-bad.md"]),
        (b"Just a few words.\n", ["2026-11-24-bad.md"]),
        (b"# Title\n\n## Story\n\nText \xff here.\n", ["2026-11-24-bad.md", "line 5", "0xff"]),
        (b"---\ntitle: [\n---\n\n## Story\n\nText.\n", ["2026-11-24-bad.md"]),
        (b"---\ndate: someday\n---\n\n## Story\n\nText.\n", ["2026-11-24-bad.md"]),
    ],
)
def test_a_brief_that_cannot_be_read_publishes_nothing(ready: Workshop, data: bytes, words: Sequence[str]) -> None:
    (ready.folder / "briefs/2026-11-24-bad.md").write_bytes(data)
    before = dump(ready)
    for command in (["send", "--brief"], ["send", "--dry-run", "--brief"], ["brief", "show"], ["topics", "explain"]):
        sentence = fails(ready, *command, "briefs/2026-11-24-bad.md")
        for word in words:
            assert word in sentence
    assert dump(ready) == before


def test_a_template_that_does_not_compile_is_named_with_its_line_before_anything_is_written(ready: Workshop) -> None:
    ready.write("mine/story.txt.j2", "one\ntwo {{ story.title \n")
    ready.write("mine/.hidden", "{{")
    ready.configure(TEMPLATES="mine")
    before = dump(ready)
    for command in (["send"], ["send", "--dry-run"], ["render", "--topics", "*"]):
        assert re.search(r"mine/story\.txt\.j2.*\b[23]\b", fails(ready, *command))
    assert dump(ready) == before
    ready.configure(TEMPLATES="absent")
    assert "NEWSLETTER_TEMPLATES 'absent' is not a folder" in fails(ready, "render", "--topics", "*")
    (ready.folder / "mine/story.txt.j2").write_bytes(b"\xff")
    ready.configure(TEMPLATES="mine")
    assert "mine/story.txt.j2:1: byte 0xff is not UTF-8" in fails(ready, "render", "--topics", "*")


# ── Databases ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_that_is_none_or_of_another_version_stops_every_command(ready: Workshop) -> None:
    with closing(sqlite3.connect("newsletter.db")) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = dump(ready)
    for command in (["subscribers", "list"], ["send"], ["db", "upgrade"], ["subscribers", "import", "list.csv"]):
        assert "newsletter.db is of version '9999', which this program (" in fails(ready, *command)
    assert dump(ready) == before
    ready.configure(DATABASE_URL="sqlite:///briefs")
    assert fails(ready, "subscribers", "list") == "database briefs: unable to open database file"
    ready.configure(DATABASE_URL="sqlite:///.env")
    assert fails(ready, "send") == "database .env: file is not a database"


def test_a_database_that_may_only_be_read_is_read_and_never_half_written(ready: Workshop) -> None:
    before = dump(ready)
    ready.configure(DATABASE_URL="sqlite:///file:newsletter.db?mode=ro&uri=true")
    assert len(ready.run("subscribers", "list", "--json").lines) == 4
    for command in (
        ["subscribers", "import", "subscribers/list.csv"],
        ["subscribers", "add", "eve@example.org"],
        ["subscribers", "remove", "ada@example.org"],
        ["subscribers", "forget", "ada@example.org"],
        ["suppressions", "add", "ada@example.org"],
        ["send"],
        ["pause"],
    ):
        assert "attempt to write a readonly database" in fails(ready, *command)
    assert dump(ready) == before


def test_a_full_disk_leaves_whole_transactions_and_what_it_stopped_can_be_done_again(ready: Workshop) -> None:
    before = dump(ready)
    for command in (["send"], ["subscribers", "forget", "ada@example.org"], ["suppressions", "add", "ada@example.org"]):
        with full_disk(4_096):
            sentence = fails(ready, *command)
        assert re.match(r"database newsletter\.db: .*(disk|full)", sentence), sentence
        assert dump(ready) == before
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        assert ready.run("send", "--json").json["audit"]["accepted"] == 3


def test_a_list_is_taken_in_as_far_as_the_disk_goes_and_then_again(workshop: Workshop) -> None:
    rows = "".join(f"reader{number}@example.org,Reader {number}\n" for number in range(4_000))
    workshop.write("many.csv", f"email,name\n{rows}")
    workshop.run("db", "upgrade")
    with full_disk(1_000_000):
        sentence = fails(workshop, "subscribers", "import", "many.csv")
    found = re.search(r"newsletter\.db: .*, after (\d+) rows of many\.csv: importing it again goes on$", sentence)
    assert found
    assert len(workshop.run("subscribers", "list", "--json").lines) == int(found[1]) < 4_000
    told = workshop.run("subscribers", "import", "many.csv", "--json").json
    assert (told["added"], told["unchanged"]) == (4_000 - int(found[1]), int(found[1]))


# ── What is large or strange, and works ─────────────────────────────────────────────────────────────────────────────


def test_a_long_brief_in_many_scripts_works(workshop: Workshop) -> None:
    titles = ["彗星经过 ☄️", "مباراة كرة القدم", "Ein sehr langer Titel " + "und so weiter " * 12, "👩‍🚀 im Orbit"]
    stories = "".join(f"## {title.strip()}\n\n{('Wort ' * 60 + title + '. ') * 80}\n\n" for title in titles)
    workshop.write("briefs/2026-11-24-long.md", f"# Long\n\n{stories}")
    assert len(stories.encode()) > 100_000
    workshop.run("subscribers", "add", "cleo@example.org", "--topics", "*", "--name", "克莱奥")
    with run_in_thread(SmtpServer()) as server:
        workshop.use(server)
        assert workshop.run("send", "--json").json["audit"]["accepted"] == 1
    assert len(server.mails) == 1


def test_the_first_brief_stays_as_it_was_published(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
        before = dump(ready)
        ready.write("briefs/2026-11-23-monday.md", MONDAY.replace("Look north", "Look south"))
        sentence = fails(ready, "send")
        assert sentence.startswith("briefs/2026-11-23-monday.md: this brief was published as issue 1 and has changed")
        assert "--reissue" in sentence
        assert dump(ready) == before
        assert len(server.mails) == 3
