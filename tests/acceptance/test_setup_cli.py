"""`init`, `demo` and `db` from the outside: a folder to work in, a demonstration, and the care of a database."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from full_disk import full_disk
from smtp_server import SmtpServer, run_in_thread
from workshop import Workshop

from newsletter.store.database import HEAD

CHECKOUT = Path(__file__).parents[2]


def read_tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ── init ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_init_lays_out_a_folder_in_which_the_main_job_runs(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workshop.folder / "new" / "folder"
    told = workshop.run("init", str(folder), "--json").json
    assert told["kept"] == []
    assert sorted(told["created"]) == sorted(str(folder / name) for name in read_tree(folder))
    assert {"briefs", "subscribers", "templates", ".env"} <= {path.name for path in folder.iterdir()}
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600

    monkeypatch.chdir(folder)
    with run_in_thread(SmtpServer()) as server:
        with (folder / ".env").open("a") as file:
            file.write(f"NEWSLETTER_FROM=N <n@example.org>\nNEWSLETTER_SMTP__PORT={server.port}\n")
        imported = workshop.run("subscribers", "import", "subscribers/sample.csv", "--json").json
        sent = workshop.run("send", "--json").json
    assert imported["added"] >= 12
    assert sent["audit"]["accepted"] == len(server.mails) > 0
    assert sent["audit"]["balanced"] is True


def test_init_makes_a_fresh_secret_each_time(workshop: Workshop) -> None:
    secrets = set()
    for name in ("one", "two"):
        workshop.run("init", name)
        found = re.findall(r"^NEWSLETTER_SECRET_KEY=(.+)$", (workshop.folder / name / ".env").read_text(), re.MULTILINE)
        assert len(found) == 1
        assert len(found[0]) >= 32
        secrets.update(found)
    assert len(secrets) == 2


def test_init_never_overwrites(workshop: Workshop) -> None:
    workshop.write("there/.env", "NEWSLETTER_NAME=Mine\n")
    workshop.write("there/subscribers/topics.toml", "# mine\n")
    workshop.run("init", "there")
    before = read_tree(workshop.folder / "there")
    assert before[".env"] == b"NEWSLETTER_NAME=Mine\n"
    assert before["subscribers/topics.toml"] == b"# mine\n"
    ran = workshop.run("init", "there")
    assert read_tree(workshop.folder / "there") == before
    assert "kept there/.env\n" in ran.out
    assert "created" not in ran.out
    told = workshop.run("init", "there", "--json").json
    assert told["created"] == []
    assert len(told["kept"]) == len(before)


def test_init_here_keeps_what_is_here(workshop: Workshop) -> None:
    before = read_tree(workshop.folder)
    ran = workshop.run("init")
    assert "kept .env\n" in ran.out
    assert "created templates/README\n" in ran.out
    after = read_tree(workshop.folder)
    assert {name: after[name] for name in before} == before


def test_init_takes_nobody_along_from_where_it_is_installed(workshop: Workshop) -> None:
    """In a checkout, an operator's own lists lie beside the samples."""
    workshop.run("init", "new")
    assert sorted(path.name for path in (workshop.folder / "new" / "subscribers").iterdir()) == [
        "sample.csv",
        "topics.toml",
    ]


def test_init_where_nothing_can_be_written_is_an_error_of_one_sentence(workshop: Workshop) -> None:
    workshop.write("file", "")
    for folder, place in (("file", "file/.env"), ("file/below", "file/below/.env"), ("/proc/none", "/proc/none/.env")):
        ran = workshop.run("init", folder, code=1)
        assert ran.err.startswith(f"error: {place}: cannot write the working folder: ")
        assert ran.err.count("\n") == 1


def test_init_on_a_full_disk_leaves_no_half_a_file(workshop: Workshop) -> None:
    with full_disk(100):
        ran = workshop.run("init", "new", code=1)
    assert re.search(r"^error: new/\.env: cannot write the working folder: ", ran.err)
    assert not (workshop.folder / "new" / ".env").exists()
    assert workshop.run("init", "new", "--json").json["kept"] == []


# ── demo ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_demo_does_the_main_job_and_says_who_got_what_and_why(workshop: Workshop) -> None:
    told = workshop.run("demo", "--dir", "shown", "--json").json
    assert told.keys() == {"issue", "audit", "dir"}
    assert told["dir"] == str(workshop.folder / "shown")
    assert told["audit"]["balanced"] is True
    mails = list((workshop.folder / "shown" / "mails").glob("*.eml"))
    assert len(mails) == told["audit"]["accepted"] > 0
    ran = workshop.run("demo", "--dir", "shown")
    assert "not imported: line 14: 'mona@example' is not an email address" in ran.out
    assert "ada@example.org" in ran.out
    assert "no_matching_stories" in ran.out
    assert "; the books close\n" in ran.out
    assert f"{workshop.folder}/shown/mails/*.eml" in ran.out
    assert "shown/pages/index.html" in ran.out


def test_demo_leaves_a_folder_alone_that_is_not_its_own(workshop: Workshop) -> None:
    before = read_tree(workshop.folder)
    ran = workshop.run("demo", "--dir", ".", code=1)
    assert ran.err == f"error: {workshop.folder} holds other files: name an empty or a new folder with --dir\n"
    assert read_tree(workshop.folder) == before


def test_demo_serves_the_pages_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "newsletter", "demo", "--dir", str(tmp_path / "shown"), "--serve", "--json"]
    serving = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert serving.stderr is not None
    with serving:
        address = ""
        while not address:
            line = serving.stderr.readline()
            assert line, "it ended before it served"
            address = (re.findall(r"serving (http://127\.0\.0\.1:\d+/)", line) or [""])[0]
        with urllib.request.urlopen(address) as page:
            assert "ada@example.org" in page.read().decode() or page.status == 200
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate()
    assert serving.returncode == 0, err
    assert json.loads(out)["audit"]["balanced"] is True
    assert "Traceback" not in err


# ── db ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_db_upgrade_makes_or_keeps_the_database(workshop: Workshop) -> None:
    told = workshop.run("db", "upgrade", "--json").json
    assert told == {"database": "newsletter.db", "version": HEAD}
    workshop.run("subscribers", "import", "subscribers/list.csv")
    assert workshop.run("db", "upgrade").out == f"newsletter.db: version {HEAD}\n"
    assert len(workshop.run("subscribers", "list", "--json").lines) == 4


def test_db_backup_of_a_database_in_use_opens_and_equals(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    workshop.run("send", code=3)
    shown = [workshop.run(*command, "--json").out for command in (["subscribers", "list"], ["audit", "--names"])]
    with closing(sqlite3.connect("newsletter.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM consents")
        told = workshop.run("db", "backup", "copy.db", "--json").json
        other.execute("ROLLBACK")
    assert told == {"backup": "copy.db", "bytes": (workshop.folder / "copy.db").stat().st_size}
    workshop.configure(DATABASE_URL="sqlite:///copy.db")
    assert [
        workshop.run(*command, "--json").out for command in (["subscribers", "list"], ["audit", "--names"])
    ] == shown
    assert workshop.run("db", "backup", "second.db").out.startswith("second.db: ")
    ran = workshop.run("db", "backup", "second.db", code=1)
    assert ran.err == "error: second.db is there already: name a new file\n"
    assert workshop.run("db", "backup", "none/copy.db", code=1).err.startswith(
        "error: none/copy.db: no backup was made"
    )
