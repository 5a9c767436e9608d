"""Lists of people into a real database and out of it again: no row is lost, none brings anybody back."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from full_disk import full_disk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from newsletter.core.errors import ConfigError, StoreError
from newsletter.core.schedule import Frequency
from newsletter.store import schema, subscribers
from newsletter.store.database import Database, open_database
from newsletter.subscribe import forget_subscriber, lift_suppression, remove_subscriber, suppress_address
from newsletter.transfer import CHUNK, COLUMNS, ImportResult, export_rows, import_file, import_suppressions

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TOPICS = ("culture", "science", "sport")
LANGUAGES = ("en", "de")
NOBODY: Mapping[str, Any] = {}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(f"sqlite:///{tmp_path / 'n.db'}")) as opened:
        yield opened


def take_in(
    database: Database, path: Path, text: str | bytes, *, dry_run: bool = False, now: datetime = NOW
) -> ImportResult:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_file(database, path, topics=TOPICS, languages=LANGUAGES, now=now, dry_run=dry_run)


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.added, result.updated, result.unchanged, len(result.rejected)


def people(database: Database) -> dict[str, dict[str, Any]]:
    """What is held on each person that an import could change."""
    with database.read() as conn:
        rows = list(subscribers.list_subscribers(conn))
    names = ("email", "name", "state", "topics", "frequency", "timezone", "language", "covered_issue_id")
    return {row.email_key: {name: getattr(row, name) for name in names} for row in rows}


def consents(database: Database, email: str) -> Sequence[Any]:
    with database.read() as conn:
        number = subscribers.find_subscriber(conn, email).id
        return subscribers.list_consents(conn, number, number)


def write_rows(rows: Sequence[Mapping[str, Any]], *, as_csv: bool) -> str:
    if not as_csv:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_with_and_without_bom_in_any_line_ending(
    database: Database, tmp_path: Path, bom: bytes, ending: str
) -> None:
    text = (
        "email,name,topics,frequency,timezone,language\n"
        'ada@example.org,"Ada ""the first"", <b>Lovelace</b>",science; sport,weekly:fri,Europe/Berlin,de\n'
        "\n"
        "Zoë@Bücher.example,Zoë 🦊,*;sport,,,\n"
    )
    result = take_in(database, tmp_path / "list.csv", bom + text.replace("\n", ending).encode())
    assert counts(result) == (2, 0, 0, 0)
    assert people(database) == {
        "ada@example.org": {
            "email": "ada@example.org",
            "name": 'Ada "the first", <b>Lovelace</b>',
            "state": "active",
            "topics": "science;sport",
            "frequency": "weekly:fri",
            "timezone": "Europe/Berlin",
            "language": "de",
            "covered_issue_id": 0,
        },
        "zoë@xn--bcher-kva.example": {
            "email": "Zoë@bücher.example",
            "name": "Zoë 🦊",
            "state": "active",
            "topics": "*",
            "frequency": "each",
            "timezone": None,
            "language": None,
            "covered_issue_id": 0,
        },
    }
    (consent,) = consents(database, "ada@example.org")
    assert (consent.source, consent.at, consent.confirmed_at, consent.topics) == ("list.csv", NOW, NOW, "science;sport")


def test_columns_may_stand_in_any_order_with_others_beside_them(database: Database, tmp_path: Path) -> None:
    text = 'Notes, TOPICS ,id,Email,,\n"two\nlines",sport,7,ada@example.org,,\n,,8,ben@example.org,,\n'
    assert counts(take_in(database, tmp_path / "list.csv", text)) == (2, 0, 0, 0)
    assert [person["topics"] for person in people(database).values()] == ["sport", ""]


def test_an_absent_column_keeps_what_is_there_and_an_empty_cell_resets_it(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    full = "email,name,topics,frequency,timezone,language\nada@example.org,Ada,sport,daily,Asia/Tokyo,de\n"
    take_in(database, path, full)
    before = people(database)
    for text in (
        "email\nADA@example.org\n",
        "email,name,topics\nada@example.org\n",
        'email,name\n"ada@example.org",Ada',
    ):
        assert counts(take_in(database, path, text)) == (0, 0, 1, 0)
        assert people(database) == before
    assert counts(take_in(database, path, "topics,email,timezone\n,ada@example.org,\n")) == (0, 1, 0, 0)
    changed = {**before["ada@example.org"], "topics": "", "timezone": None}
    assert people(database)["ada@example.org"] == changed
    emptied = "email,name,topics,frequency,timezone,language\nada@example.org,,,,,\n"
    assert counts(take_in(database, path, emptied)) == (0, 1, 0, 0)
    assert people(database)["ada@example.org"] == {**changed, "name": "", "frequency": "each", "language": None}


def test_addresses_compare_without_case_and_repeated_rows_are_taken_in_their_order(
    database: Database, tmp_path: Path
) -> None:
    text = (
        "email,name\nada@example.org,Ada\nben@example.org,Ben\nADA@EXAMPLE.ORG,Ada\n"
        "Ada@Example.org,Countess\nada@example.org,Countess\nada@example.org,Ada\n"
    )
    for dry_run in (True, False):
        assert counts(take_in(database, tmp_path / "list.csv", text, dry_run=dry_run)) == (2, 2, 2, 0)
        assert people(database).keys() == (set() if dry_run else {"ada@example.org", "ben@example.org"})
    assert people(database)["ada@example.org"]["name"] == "Ada"
    assert people(database)["ada@example.org"]["email"] == "ada@example.org"


BAD_ROWS = {
    "nobody": "'nobody' is not an email address: an email address must have an @-sign",
    "": "there is no email address",
    "a@example.org,Ada,cooking": "there is no topic 'cooking'",
    "a@example.org,Ada,Sport": "there is no topic 'Sport'",
    "a@example.org,Ada,,fortnightly": "'fortnightly' is not a frequency",
    "a@example.org,Ada,,,Mars/Olympus": "'Mars/Olympus' is not a time zone",
    "a@example.org,Ada,,,,tlh": "there is no language 'tlh' in this service",
    f"a@example.org,{'é' * 201}": "has 201 characters, 200 at most",
    "a@example.org,A\x00da": "has control characters",
    "a@example.org,A\x1b[31mda": "has control characters",
    '"a@example.org","Ada\nBcc: x@example.org"': "has control characters (the row ends in line 4)",
    '"a@example.org\nBcc: b@example.org",Ada': "is not an email address",
    "a@example.org,A\udcffda": "the name holds the byte 0xff, which is not UTF-8",
    "a\udcff@example.org,Ada": "the email holds the byte 0xff, which is not UTF-8",
    "a@exa\udcffmple.org,Ada": "the email holds the byte 0xff, which is not UTF-8",
    "a\x00@example.org,Ada": "is not an email address",
    "a@example.org,Ada,,,,,,more": "the row has 8 cells, the header 6",
    f"a@example.org,{'x' * 140_000}": "the row cannot be read: field larger than field limit",
    f"{'a' * 70}@example.org": "is not an email address",
    'a@example.org,"Ada" Lovelace': "the row cannot be read",
    'a@example.org,"Ada': "the row cannot be read",
    " , , , , , ": "there is no email address",
}


@pytest.mark.parametrize("row", [row for row in BAD_ROWS if row])
def test_a_bad_row_is_named_with_line_and_reason_and_stops_nothing(
    database: Database, tmp_path: Path, row: str
) -> None:
    text = (
        f"email,name,topics,frequency,timezone,language\nfirst@example.org,First\n{row}\n"
        'next@example.org,"Next, the"\n\nlast@example.org,Last\n'
    )
    result = take_in(database, tmp_path / "list.csv", text.encode(errors="surrogateescape"))
    assert counts(result) == (3, 0, 0, 1)
    assert people(database).keys() == {"first@example.org", "next@example.org", "last@example.org"}
    (rejected,) = result.rejected
    assert rejected.line == 3
    assert BAD_ROWS[row] in rejected.reason
    assert "\n" not in rejected.reason
    json.dumps(rejected.email).encode()
    assert len(rejected.email) <= 254


def test_a_quote_left_open_costs_its_own_row_and_no_other(database: Database, tmp_path: Path) -> None:
    rows = [f'reader{number}@example.org,"Reader, {number}",sport' for number in range(10)]
    rows[3] = 'reader3@example.org,"Reader, 3,sport'
    rows[6] = 'reader6@example.org,"Reader"", 6,sport'
    result = take_in(database, tmp_path / "list.csv", "\n".join(["email,name,topics", *rows]))
    assert [rejected.line for rejected in result.rejected] == [5, 8]
    assert people(database).keys() == {f"reader{number}@example.org" for number in range(10) if number not in (3, 6)}


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("", "''"),
        ("name,topics", "'name,topics'"),
        ("email;name;topics", "'email;name;topics'"),
        ("email,name,Email", "'email,name,email'"),
        ('email,"name', "unexpected end of data"),
        ("\udcff\udcfee\x00m\x00a\x00i\x00l\x00", r"\\udcff\\udcfee\\x00m"),  # UTF-16
    ],
)
def test_a_header_that_does_not_name_email_once_takes_nothing_in(
    database: Database, tmp_path: Path, header: str, shown: str
) -> None:
    path = tmp_path / "list.csv"
    text = f"{header}\nada@example.org,Ada\n".encode(errors="surrogateescape")
    with pytest.raises(ConfigError, match=rf"{path}:1: the header .*{shown}"):
        take_in(database, path, text)
    assert people(database) == NOBODY


def test_a_file_that_cannot_be_read_is_an_error_of_one_sentence(database: Database, tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "absent.csv", "No such file or directory")):
        with pytest.raises(ConfigError, match=rf"{path}: cannot read the list: {reason}"):
            import_file(database, path, topics=TOPICS, languages=LANGUAGES, now=NOW)
        with pytest.raises(ConfigError, match="cannot read the list"):
            import_suppressions(database, path, now=NOW)


# ── JSON Lines ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".jsonl", ".NDJSON", ".json"])
def test_json_lines_with_topics_as_a_list_or_as_text(database: Database, tmp_path: Path, suffix: str) -> None:
    rows = (
        {"email": "ada@example.org", "name": "Ada", "topics": ["sport", "science", "sport"], "frequency": "daily"},
        {"email": "ben@example.org", "topics": "sport;culture", "language": "de", "age": 7},
        {"email": "cleo@example.org", "topics": ["*"], "name": None, "timezone": None},
        {"email": "dan@example.org", "topics": None},
    )
    text = "\ufeff" + "\r\n\r\n".join(json.dumps(row) for row in rows)
    assert counts(take_in(database, tmp_path / f"list{suffix}", text)) == (4, 0, 0, 0)
    assert [person["topics"] for person in people(database).values()] == ["science;sport", "culture;sport", "*", ""]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not JSON"),
        ("[" * 100_000, "the line is not JSON"),
        ('{"email": "a@example.org", "id": ' + "9" * 5000 + "}", "the line is not JSON"),
        ("email,name", "the line is not JSON"),
        ('["a@example.org"]', "the line is not a JSON object"),
        ('"a@example.org"', "the line is not a JSON object"),
        ("{}", "there is no email address"),
        ('{"email": 7}', "the email 7 is not text"),
        ('{"email": ["a@example.org"]}', "is not text"),
        ('{"email": "a@example.org", "topics": {"sport": true}}', "are not a list of topic ids"),
        ('{"email": "a@example.org", "topics": ["sport", 7]}', "are not a list of topic ids"),
        ('{"email": "a@example.org", "topics": ["cooking"]}', "there is no topic 'cooking'"),
        ('{"email": "a@example.org", "name": "A\\u0000da"}', "has control characters"),
        ('{"email": "a@example.org", "name": "A\\ud800da"}', "has control characters"),
        ('{"email": "a\\ud800@example.org"}', "is not an email address"),
        ('{"email": "a@example.org", "name": "A\udcffda"}', "the byte 0xff, which is not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_stops_nothing(database: Database, tmp_path: Path, line: str, reason: str) -> None:
    text = f'{{"email": "first@example.org"}}\n{line}\n{{"email": "last@example.org"}}'
    result = take_in(database, tmp_path / "list.jsonl", text.encode(errors="surrogateescape"))
    assert counts(result) == (2, 0, 0, 1)
    assert result.rejected[0].line == 2
    assert reason in result.rejected[0].reason
    json.dumps(result.rejected[0].email).encode()


# ── Who stays as they are ───────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_who_left_is_suppressed_or_was_forgotten_is_brought_back(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    text = "email,name\nleft@example.org,L\nheld@example.org,H\ngone@example.org,G\nstays@example.org,S\n"
    take_in(database, path, text)
    remove_subscriber(database, "left@example.org", now=NOW, channel="operator")
    suppress_address(database, "held@example.org", reason="5.1.1", now=NOW, source="bounce")
    suppress_address(database, "never@example.org", reason="asked", now=NOW, source="operator")
    forget_subscriber(database, "gone@example.org", now=NOW)
    before = people(database)
    again = (
        "email,name,topics\nLEFT@example.org,New,sport\nHELD@example.org,New,sport\nGONE@example.org,New,sport\n"
        "NEVER@example.org,New,sport\nSTAYS@example.org,S,\n"
    )
    for dry_run in (True, False):
        assert counts(take_in(database, path, again, dry_run=dry_run)) == (0, 0, 5, 0)
        assert people(database) == before
    assert before["left@example.org"]["state"] == "unsubscribed"
    assert len(consents(database, "left@example.org")) == 1
    lift_suppression(database, "never@example.org")
    assert counts(take_in(database, path, again)) == (1, 0, 4, 0)


def test_the_same_file_again_changes_nothing(database: Database, tmp_path: Path) -> None:
    rows = "".join(f"reader{number}@example.org,Reader {number},sport,daily\n" for number in range(CHUNK + 5))
    text = f"email,name,topics,frequency\n{rows}"
    assert counts(take_in(database, tmp_path / "list.csv", text)) == (CHUNK + 5, 0, 0, 0)
    before = people(database)
    again = take_in(database, tmp_path / "list.csv", text, now=NOW + DAY)
    assert counts(again) == (0, 0, CHUNK + 5, 0)
    assert people(database) == before
    assert len(consents(database, "reader7@example.org")) == 1
    assert list(people(database)) == [f"reader{number}@example.org" for number in range(CHUNK + 5)]


def test_a_pending_person_is_made_active_with_the_file_as_consent(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "later.csv"
    take_in(database, tmp_path / "list.csv", "email,topics\nada@example.org,sport\n")
    with database.write() as conn:
        conn.execute(update(schema.subscribers).values(state="pending"))
    assert counts(take_in(database, path, "email\nada@example.org\n", now=NOW + DAY)) == (0, 1, 0, 0)
    assert people(database)["ada@example.org"]["state"] == "active"
    assert [(consent.source, consent.confirmed_at) for consent in consents(database, "ada@example.org")] == [
        ("list.csv", NOW),
        ("later.csv", NOW + DAY),
    ]


def test_what_earlier_mails_were_filled_with_is_kept(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for day, name in enumerate(("Ada", "Countess", "Augusta")):
        take_in(database, path, f"email,name\nada@example.org,{name}\n", now=NOW + day * DAY)
    with database.read() as conn:
        number = subscribers.find_subscriber(conn, "ada@example.org").id
        assert [version.name for version in subscribers.list_versions(conn, number)] == ["Augusta", "Countess", "Ada"]


# ── A trial, and a disk that is full ────────────────────────────────────────────────────────────────────────────────


def test_a_trial_says_what_the_import_then_does_and_keeps_nothing(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path / "old.csv", "email,name\nold@example.org,Old\nsame@example.org,Same\n")
    before = people(database)
    rows = "".join(f"reader{number % 900}@example.org,Reader {number % 7}\n" for number in range(3 * CHUNK))
    text = f"email,name\nold@example.org,New\nsame@example.org,Same\nbad,Bad\n{rows}bad,Bad\n"
    trial = take_in(database, tmp_path / "list.csv", text, dry_run=True)
    assert people(database) == before
    assert take_in(database, tmp_path / "list.csv", text) == trial
    assert trial.added == 900
    assert sum(counts(trial)) == 3 * CHUNK + 4


@pytest.mark.sqlite
def test_a_full_disk_says_how_far_it_came_and_the_file_again_goes_on(database: Database, tmp_path: Path) -> None:
    path, size = tmp_path / "list.csv", 6 * CHUNK
    seen: list[int] = []
    path.write_text("email\n" + "".join(f"reader{number}@example.org\n" for number in range(size)))

    def run() -> ImportResult:
        return import_file(
            database,
            path,
            topics=TOPICS,
            languages=LANGUAGES,
            now=NOW,
            observe=lambda result: seen.append(result.taken),
        )

    with full_disk(1_500_000), pytest.raises(StoreError, match=rf"n\.db: .*, after (\d+) rows of {path}") as caught:
        run()
    kept = len(people(database))
    assert kept == seen[-1]
    assert 0 < kept < size
    assert f"after {kept} rows" in str(caught.value)
    assert counts(run()) == (size - kept, 0, kept, 0)


# ── Every row is in exactly one of the four; what is exported comes back as it was ──────────────────────────────────

EMAILS = st.sampled_from(
    ["a@example.org", "A@Example.org", "b@example.org", "ü@example.org", "c@bücher.example", "x", ""]
)
NAMES = st.one_of(st.sampled_from(["", "Ada", 'O"Brien, <x>', "é" * 201]), st.text(max_size=8))
CELLS = {
    "name": NAMES,
    "topics": st.sampled_from(["", "*", "sport", "sport;science", "none-such"]),
    "frequency": st.sampled_from(["", *Frequency, "hourly"]),
    "timezone": st.sampled_from(["", "Europe/Berlin", "Nowhere"]),
    "language": st.sampled_from(["", "de", "xx"]),
}
ROWS = st.lists(st.fixed_dictionaries({"email": EMAILS}, optional=CELLS), max_size=12)
UNHURRIED = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def empty(database: Database) -> None:
    with database.write() as conn:
        for table in (schema.consents, schema.subscriber_versions, schema.subscribers, schema.suppressions):
            conn.execute(table.delete())


@UNHURRIED
@given(rows=ROWS, as_csv=st.booleans())
@example(rows=[{"email": "a@example.org", "name": "line\nbreak"}, {"email": "a@example.org"}], as_csv=True)
def test_every_row_is_in_exactly_one_of_the_four(
    database: Database, tmp_path: Path, rows: list[dict[str, Any]], as_csv: bool
) -> None:
    empty(database)
    path = tmp_path / ("list.csv" if as_csv else "list.jsonl")
    text = write_rows(rows, as_csv=as_csv)
    trial = take_in(database, path, text, dry_run=True)
    result = take_in(database, path, text)
    assert trial == result
    assert sum(counts(result)) == len(rows)
    assert result.added == len(people(database))
    again = take_in(database, path, text)
    assert again.added == 0
    assert again.rejected == result.rejected
    assert sum(counts(again)) == len(rows)


LETTERS = st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"))
GOOD_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "email": st.sampled_from(["a@example.org", "B.b+c@Example.org", "ü@example.org", "'='@bücher.example"]),
            "name": st.text(LETTERS, max_size=12) | st.sampled_from(['"', "=1+1", "a,b;c", "\ufeffx", "'"]),
            "topics": st.lists(st.sampled_from(TOPICS), max_size=3).map(";".join) | st.just("*"),
            "frequency": st.sampled_from(list(Frequency)),
            "timezone": st.sampled_from(["", "Europe/Berlin", "UTC"]),
            "language": st.sampled_from(["", "en", "de"]),
        }
    ),
    unique_by=lambda row: str(row["email"]),
    max_size=4,
)


@UNHURRIED
@given(rows=GOOD_ROWS, as_csv=st.booleans())
def test_what_is_exported_is_read_back_without_change(
    database: Database, tmp_path: Path, rows: list[dict[str, Any]], as_csv: bool
) -> None:
    empty(database)
    assert take_in(database, tmp_path / "list.csv", write_rows(rows, as_csv=True)).added == len(rows)
    before = people(database)
    with database.read() as conn:
        exported = "".join(export_rows(subscribers.list_subscribers(conn), as_csv=as_csv))
    path = tmp_path / ("again.csv" if as_csv else "again.jsonl")
    assert counts(take_in(database, path, exported)) == (0, 0, len(rows), 0)
    empty(database)
    assert counts(take_in(database, path, exported)) == (len(rows), 0, 0, 0)
    assert people(database) == before


# ── Suppressions ────────────────────────────────────────────────────────────────────────────────────────────────────


def suppressed(database: Database) -> list[tuple[Any, ...]]:
    with database.read() as conn:
        return [(row.email, row.reason, row.at, row.source) for row in subscribers.list_suppressions(conn)]


def test_suppressions_are_taken_in_with_reason_date_and_source(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "old-system.csv"
    suppress_address(database, "known@example.org", reason="asked", now=NOW, source="operator")
    path.write_text(
        "email,reason,at,source\n"
        "ADA@example.org,5.1.1,2020-02-29T12:00:00+01:00,bounce\n"
        "ben@example.org,,,\n"
        "known@example.org,other,,\n"
        "nobody,,,\n"
        "cleo@example.org,,yesterday,\n"
        'dan@example.org,"two\nlines",,\n'
        "Ben@example.org,later,,\n"
        "eve@example.org,,2020-02-29 12:00,\n"
    )
    result = import_suppressions(database, path, now=NOW + DAY)
    assert counts(result) == (3, 0, 2, 3)
    assert [(row.line, row.email) for row in result.rejected] == [
        (5, "nobody"),
        (6, "cleo@example.org"),
        (7, "dan@example.org"),
    ]
    assert "'yesterday'" in result.rejected[1].reason
    assert "control characters" in result.rejected[2].reason
    assert suppressed(database) == [
        ("ada@example.org", "5.1.1", datetime(2020, 2, 29, 11, tzinfo=UTC), "bounce"),
        ("eve@example.org", "imported", datetime(2020, 2, 29, 12, tzinfo=UTC), "old-system.csv"),
        ("known@example.org", "asked", NOW, "operator"),
        ("ben@example.org", "imported", NOW + DAY, "old-system.csv"),
    ]
    assert counts(import_suppressions(database, path, now=NOW + 2 * DAY)) == (0, 0, 5, 3)


def test_suppressions_may_be_json_lines_and_many(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    rows = [{"email": f"reader{number}@example.org"} for number in range(CHUNK + 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "[]\n")
    assert counts(import_suppressions(database, path, now=NOW)) == (CHUNK + 3, 0, 0, 1)
    assert len(suppressed(database)) == CHUNK + 3
