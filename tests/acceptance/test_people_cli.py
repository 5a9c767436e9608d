"""`subscribers` and `suppressions` from the outside: what goes in, what is told, and who stays away."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from smtp_server import SmtpServer, run_in_thread
from workshop import SUBSCRIBERS, Workshop

SUBSCRIBER = {
    *("email", "name", "state", "topics", "frequency", "timezone", "language"),
    *("paused_until", "consent", "suppression", "deliveries"),
}
HEADER = "email,name,topics,frequency,timezone,language\n"


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported."""
    workshop.run("subscribers", "import", "subscribers/list.csv")
    return workshop


def emails(workshop: Workshop) -> list[str]:
    return [line["email"] for line in workshop.run("subscribers", "list", "--json").lines]


def read_database(workshop: Workshop) -> bytes:
    """Every byte of the database and of its log, and every row of every table."""
    files = b"".join(path.read_bytes() for path in workshop.folder.glob("newsletter.db*"))
    with closing(sqlite3.connect(workshop.folder / "newsletter.db")) as raw:
        return files + "\n".join(raw.iterdump()).encode()


# ── import and export ───────────────────────────────────────────────────────────────────────────────────────────────


def test_import_names_each_bad_row_and_takes_the_good_ones(workshop: Workshop) -> None:
    workshop.write(
        "list.csv",
        f"{HEADER}ada@example.org,Ada,sport\nnobody,N,sport\nben@example.org,Ben,cooking\nada@EXAMPLE.org,Ada\n",
    )
    expected = {
        "added": 1,
        "updated": 0,
        "unchanged": 1,
        "rejected": [
            {
                "line": 3,
                "email": "nobody",
                "reason": "'nobody' is not an email address: an email address must have an @-sign",
            },
            {"line": 4, "email": "ben@example.org", "reason": "there is no topic 'cooking'"},
        ],
    }
    assert workshop.run("subscribers", "import", "list.csv", "--dry-run", "--json").json == expected
    assert emails(workshop) == []
    ran = workshop.run("subscribers", "import", "list.csv", "--dry-run")
    assert ran.out.startswith("1 added, 0 updated, 1 unchanged, 2 rejected (dry run: nothing was kept)\n")
    assert workshop.run("subscribers", "import", "list.csv", "--json").json == expected
    ran = workshop.run("subscribers", "import", "list.csv")
    assert ran.out.splitlines()[0] == "0 added, 0 updated, 2 unchanged, 2 rejected"
    assert "list.csv:4: there is no topic 'cooking'" in ran.out.splitlines()
    assert ran.err == ""


def test_an_import_never_re_activates_anybody(ready: Workshop) -> None:
    ready.run("subscribers", "remove", "ada@example.org")
    ready.run("suppressions", "add", "ben@example.org")
    ready.run("subscribers", "forget", "cleo@example.org")
    told = ready.run("subscribers", "import", "subscribers/list.csv", "--json").json
    assert told == {"added": 0, "updated": 0, "unchanged": 4, "rejected": []}
    states = {line["email"]: line["state"] for line in ready.run("subscribers", "list", "--json").lines}
    assert states == {"ada@example.org": "unsubscribed", "ben@example.org": "active", "dan@example.org": "active"}


@pytest.mark.parametrize(("form", "name"), [("csv", "again.csv"), ("jsonl", "again.jsonl")])
def test_an_export_is_read_back_without_change(ready: Workshop, form: str, name: str) -> None:
    ready.run("subscribers", "add", "Ünal@bücher.example", "--name", 'Ünal "U", <x>', "--topics", "space,sport")
    ready.run("subscribers", "remove", "dan@example.org")
    ready.run("suppressions", "add", "cleo@example.org")
    before = ready.run("subscribers", "list", "--json").out
    exported = ready.run_raw("subscribers", "export", "--format", form)
    (ready.folder / name).write_bytes(exported)
    told = ready.run("subscribers", "import", name, "--json").json
    assert told == {"added": 0, "updated": 0, "unchanged": 3, "rejected": []}
    assert ready.run("subscribers", "list", "--json").out == before
    ready.configure(DATABASE_URL="sqlite:///other.db")
    assert ready.run("subscribers", "import", name, "--json").json["added"] == 3
    assert ready.run_raw("subscribers", "export", "--format", form) == exported
    if form == "jsonl":
        assert json.loads(exported.splitlines()[0])["topics"] == ["science"]
    else:
        assert exported.startswith(HEADER.encode())


def test_a_topic_gone_from_the_catalogue_stays_unused_with_a_warning(ready: Workshop) -> None:
    ready.write("subscribers/topics.toml", '[topics.science]\nname = "Science"\n')
    assert ready.run("subscribers", "show", "ben@example.org", "--json").json["topics"] == ["culture", "sport"]
    (ready.folder / "again.csv").write_bytes(ready.run_raw("subscribers", "export"))
    assert ready.run("subscribers", "import", "again.csv", "--json").json["unchanged"] == 4
    warned = ready.run("topics", "list").err
    for topic in ("culture", "sport", "space"):
        assert f"warning: subscribers chose '{topic}', which the catalogue does not have any more" in warned


# ── add, list, show, remove ─────────────────────────────────────────────────────────────────────────────────────────


def test_add_show_and_list_tell_of_a_subscriber_as_the_contract_says(workshop: Workshop) -> None:
    ran = workshop.run(
        *(
            "subscribers",
            "add",
            "Ada@Example.org",
            "--topics",
            "sport,science",
            "--name",
            "Ada, A.",
            "--language",
            "de",
        ),
        *("--timezone", "Europe/Berlin", "--frequency", "weekly:fri", "--json"),
    )
    told = ran.json
    assert told.keys() >= SUBSCRIBER
    (consent,) = told.pop("consent")
    assert {name: told[name] for name in SUBSCRIBER - {"consent"}} == {
        "email": "Ada@example.org",
        "name": "Ada, A.",
        "state": "active",
        "topics": ["science", "sport"],
        "frequency": "weekly:fri",
        "timezone": "Europe/Berlin",
        "language": "de",
        "paused_until": None,
        "suppression": None,
        "deliveries": [],
    }
    assert (consent["source"], consent["topics"]) == ("command line", ["science", "sport"])
    assert datetime.fromisoformat(consent["at"]).tzinfo is not None
    assert consent["confirmed_at"] == consent["at"]
    shown = workshop.run("subscribers", "show", "ada@EXAMPLE.org", "--json").json
    (listed,) = workshop.run("subscribers", "list", "--json").lines
    assert {name: shown[name] for name in SUBSCRIBER} == listed
    assert shown["consent"] == [consent]


def test_add_again_changes_only_what_is_given(workshop: Workshop) -> None:
    workshop.run("subscribers", "add", "ada@example.org", "--topics", "sport", "--name", "Ada")
    assert (
        workshop.run("subscribers", "add", "ada@example.org", "--name", "Countess").out == "ada@example.org: updated\n"
    )
    assert workshop.run("subscribers", "add", "ada@example.org").out == "ada@example.org: unchanged\n"
    shown = workshop.run("subscribers", "show", "ada@example.org", "--json").json
    assert (shown["name"], shown["topics"]) == ("Countess", ["sport"])
    assert shown["earlier"] == [{"email": "ada@example.org", "name": "Ada", "topics": ["sport"]}]
    assert workshop.run("subscribers", "add", "ada@example.org", "--topics", "", "--json").json["topics"] == []


def test_show_prints_everything_held_on_a_person(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(replies={"RCPT": {"ada@example.org": "550 5.1.1 no such user"}})) as server:
        ready.use(server)
        ready.run("send")
    told = ready.run("subscribers", "show", "ada@example.org", "--json").json
    assert told["suppression"].keys() == {"reason", "at", "source"}
    assert told["suppression"]["reason"] == "5.1.1"
    (delivery,) = told["deliveries"]
    assert (delivery["delivery"], delivery["issue"], delivery["state"]) == ("1-1", 1, "rejected")
    listed = {line["email"]: line for line in ready.run("subscribers", "list", "--json").lines}
    assert listed["ada@example.org"] == {name: told[name] for name in listed["ada@example.org"]}
    assert listed["dan@example.org"]["deliveries"][0]["reason"] == "no_matching_stories"
    shown = ready.run("subscribers", "show", "ada@example.org").out
    for part in ("name: Ada", "state: active", "topics: science", "source list.csv", "rejected", "5.1.1"):
        assert part in shown
    table = ready.run("subscribers", "list").out
    assert "ben@example.org" in table
    assert "culture, sport" in table


def test_remove_unsubscribes_and_only_they_can_come_back(ready: Workshop) -> None:
    told = ready.run("subscribers", "remove", "ADA@example.org", "--json").json
    assert told.keys() >= SUBSCRIBER
    assert told["state"] == "unsubscribed"
    assert told["consent"][0]["withdrawn_by"] == "operator"
    assert ready.run("subscribers", "remove", "ada@example.org").out == "ada@example.org: unsubscribed\n"
    assert "ada@example.org" not in ready.run("subscribers", "export").out
    ran = ready.run("subscribers", "add", "ada@example.org", "--topics", "sport", code=1)
    assert ran.err == "error: ada@example.org has unsubscribed: only they can sign up again\n"
    again = ready.run("subscribers", "show", "ada@example.org", "--json").json
    assert {**again, "earlier": []} == {**told, "earlier": []}


# ── forget ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_forget_leaves_a_hash_and_nameless_rows_and_no_other_byte(ready: Workshop) -> None:
    ready.write("more.csv", "email,name,topics\nmadeleine.smith@example.org,Madeleine Smith,science\n")
    ready.run("subscribers", "import", "more.csv")
    replies = {"RCPT": {"madeleine.smith@example.org": "550 5.1.1 <madeleine.smith@example.org> is not here"}}
    with run_in_thread(SmtpServer(replies=replies)) as server:
        ready.use(server)
        ready.run("send")
    ready.run("subscribers", "add", "ada@example.org", "--name", "Countess")
    before = ready.run("audit", "--json").json
    assert b"madeleine.smith" in read_database(ready)
    told = ready.run("subscribers", "forget", "Madeleine.Smith@example.org", "--json").json
    assert told == {"email": "madeleine.smith@example.org", "forgotten": True}

    held = read_database(ready).lower()
    assert b"madeleine" not in held
    assert b"cleo@example.org" in held
    assert ready.run("audit", "--json").json == before
    assert before["balanced"] is True
    names = ready.run("audit", "--json", "--names").json["names"]
    assert [name["email"] for name in names if name["delivery"] == "1-5"] == [None]
    assert [line["email"] for line in ready.run("log", "--json").lines].count(None) == 1
    (suppression,) = ready.run("suppressions", "list", "--json").lines
    assert (suppression["email"], suppression["reason"]) == (None, "forgotten")
    assert ready.run("subscribers", "import", "more.csv", "--json").json["unchanged"] == 1
    ran = ready.run("subscribers", "add", "madeleine.smith@example.org", "--topics", "sport", code=1)
    assert "is suppressed" in ran.err
    for command in ("show", "remove", "forget"):
        ran = ready.run("subscribers", command, "madeleine.smith@example.org", code=1)
        assert ran.err == "error: there is no subscriber madeleine.smith@example.org\n"
    assert ready.run("suppressions", "export").out == "email,reason,at,source\n"
    assert "–" in ready.run("suppressions", "list").out


def test_forget_also_wipes_the_note_that_an_issue_went_to_one_person_alone(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send", "--only", "ada@example.org")
    ready.run("subscribers", "forget", "ada@example.org")
    assert b"ada@example.org" not in read_database(ready)
    assert ready.run("issues", "show", "1", "--json").json["state"] == "paused"


def test_forget_frees_the_books_of_what_is_still_owed(ready: Workshop) -> None:
    ready.run("send", code=3)
    assert ready.run("subscribers", "forget", "ada@example.org").out == "ada@example.org: forgotten\n"
    books = ready.run("audit", "--json").json
    assert books["excluded"] == {"no_matching_stories": 1, "unsubscribed": 1}
    assert books["balanced"] is True


# ── suppressions ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_suppressions_are_added_listed_and_removed(ready: Workshop) -> None:
    told = ready.run("suppressions", "add", "BEN@example.org", "--reason", "asked by phone", "--json").json
    assert told == {"email": "BEN@example.org", "suppressed": True}
    ready.run("suppressions", "add", "stranger@example.org")
    first, second = ready.run("suppressions", "list", "--json").lines
    assert first.keys() == {"email", "reason", "at", "source"}
    assert (first["email"], first["reason"], second["email"]) == (
        "ben@example.org",
        "asked by phone",
        "stranger@example.org",
    )
    assert "ben@example.org" not in ready.run("subscribers", "export").out
    assert ready.run("subscribers", "show", "ben@example.org", "--json").json["suppression"] == {
        name: first[name] for name in ("reason", "at", "source")
    }
    assert "is suppressed" in ready.run("subscribers", "add", "stranger@example.org", code=1).err
    assert "is suppressed" in ready.run("subscribers", "add", "ben@example.org", "--name", "B", code=1).err
    assert ready.run("suppressions", "remove", "ben@EXAMPLE.org").out == "email ben@example.org, suppressed False\n"
    assert ready.run("subscribers", "show", "ben@example.org", "--json").json["suppression"] is None
    assert (
        ready.run("suppressions", "remove", "ben@example.org", code=1).err
        == "error: ben@example.org is not suppressed\n"
    )


def test_an_empty_list_says_so_and_is_no_line_of_json(workshop: Workshop) -> None:
    for command in ("subscribers", "suppressions"):
        assert workshop.run(command, "list", "--json").out == ""
        ran = workshop.run(command, "list")
        assert ran.out == ""
        assert ran.err.startswith("there is no subscriber" if command == "subscribers" else "no address is suppressed")


def test_exported_suppressions_are_read_back_elsewhere(ready: Workshop) -> None:
    ready.run("suppressions", "add", "ben@example.org", "--reason", 'asked, "twice"')
    ready.run("suppressions", "add", "stranger@example.org")
    ready.run("subscribers", "forget", "ada@example.org")
    exported = ready.run("suppressions", "export").out
    assert [line.split(",")[0] for line in exported.splitlines()] == [
        "email",
        "ben@example.org",
        "stranger@example.org",
    ]
    ready.write("suppressed.csv", exported + "nobody,,,\n")
    ready.configure(DATABASE_URL="sqlite:///other.db")
    told = ready.run("suppressions", "import", "suppressed.csv", "--json").json
    assert (told["added"], told["unchanged"]) == (2, 0)
    assert [(row["line"], row["email"]) for row in told["rejected"]] == [(4, "nobody")]
    assert ready.run("suppressions", "export").out == exported
    ran = ready.run("suppressions", "import", "suppressed.csv")
    assert ran.out.splitlines()[0] == "0 added, 2 unchanged, 1 rejected"
    assert ran.out.splitlines()[1].startswith("suppressed.csv:4: 'nobody' is not an email address")


# ── what a list may look like ───────────────────────────────────────────────────────────────────────────────────────


def test_a_list_goes_in_whatever_its_form(workshop: Workshop) -> None:
    """The same four people each time: none is changed by any of the forms after the first."""
    rows: list[dict[str, Any]] = [
        dict(zip(HEADER.strip().split(","), cells, strict=True))
        for cells in (
            ("ada@example.org", "Ada", "science", "", "", ""),
            ("ben@example.org", "Ben, B.", "sport;culture", "", "", "de"),
            ("cleo@example.org", "", "*", "", "", ""),
            ("dan@example.org", "Dan", "space", "", "", ""),
        )
    ]
    as_lines = "".join(json.dumps({**row, "topics": row["topics"].split(";")}) + "\n" for row in rows)
    forms = {"list.csv": SUBSCRIBERS, "dos.csv": "\ufeff" + SUBSCRIBERS.replace("\n", "\r\n"), "list.jsonl": as_lines}
    counts = []
    for name, text in forms.items():
        (workshop.folder / name).write_bytes(text.encode())
        told = workshop.run("subscribers", "import", name, "--json").json
        counts.append((told["added"], told["updated"], told["unchanged"], told["rejected"]))
    assert counts == [(4, 0, 0, []), (0, 0, 4, []), (0, 0, 4, [])]
