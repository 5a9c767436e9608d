"""The pages say what is so: commands, settings and JSON against the code, the quickstart by running it, links."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from smtp_server import DROP, SmtpServer, run_in_thread
from smtp_talk import Answers
from workshop import Workshop

from newsletter.settings import describe_settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKER: dict[str, Any] = run_path(str(ROOT / "docs" / "make_reference.py"))
COMMANDS: dict[str, Any] = dict(MAKER["walk_commands"]())
NAMES = [name for name in COMMANDS if name]
SPEAKING = [name for name in NAMES if "--json" in {word for p in COMMANDS[name].params for word in p.opts}]

LABELS = '{"stories": [{"title": "A comet passes close by", "topics": ["science"]}]}'
BOUNCE = """From: MAILER-DAEMON@mx.example.org
Subject: failure notice

<ada@example.org>: 550 5.1.1 user unknown
"""
# What brings each command to say something; in this order, since each leaves its traces for the next.
SCRIPT = {
    "init": "fresh",
    "demo": "--dir shown",
    "brief show": "latest",
    "brief list": "",
    "check": "latest",
    "topics list": "",
    "topics explain": "latest",
    "topics test": "briefs/2026-11-23-monday.json",
    "topics lint": "",
    "subscribers import": "subscribers/list.csv",
    "suppressions import": "suppressed.csv",
    "suppressions add": "gone@example.org",
    "suppressions list": "",
    "suppressions remove": "gone@example.org",
    "pause": "",
    "resume": "",
    "send": "",
    "issues pause": "1",
    "issues resume": "1",
    "issues show": "1",
    "issues settle": "1 --as resend",
    "deliver": "",
    "issues list": "",
    "issues retry": "1",
    "issues cancel": "1",
    "schedule": "--next 1",
    "status": "",
    "doctor": "",
    "audit": "",
    "log": "",
    "explain": "--email ada@example.org",
    "bounce": "bounce.eml",
    "subscribers list": "",
    "subscribers show": "ada@example.org",
    "subscribers add": "new@example.org",
    "subscribers remove": "ada@example.org",
    "subscribers forget": "ada@example.org",
    "tokens create": "ci",
    "tokens list": "",
    "tokens revoke": "1",
    "db upgrade": "",
    "db backup": "copy.db",
    "db copy": "--to {postgresql}",
}


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def reference() -> dict[str, str]:
    """The sections of the reference by command."""
    parts = re.split(r"^### `newsletter (.+)`\n", read(ROOT / "docs" / "reference.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def list_blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: what stands behind the fence, and the content."""
    yield from re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_reference_is_as_its_maker_leaves_it() -> None:
    page = read(ROOT / "docs" / "reference.md")
    assert MAKER["make_page"](page) == page, "run: python docs/make_reference.py"


def test_the_reference_has_every_command_and_no_other() -> None:
    assert sorted(reference()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_names_every_option_of_a_command_and_no_other(name: str) -> None:
    made = re.search(r"<!-- made: (.+?) -->\n(.*?)<!-- end -->", reference()[name], re.DOTALL)
    assert made is not None
    assert made[1] == f"newsletter {name}"
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", made[2]))
    assert written == {word for p in COMMANDS[name].params for word in p.opts if word.startswith("--")}


def test_the_reference_has_every_setting_with_its_default() -> None:
    table = read(ROOT / "docs" / "reference.md").partition("<!-- made: settings -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`(.*?)`|–) \|", table, re.MULTILINE)
    assert rows == [(row.name.removeprefix("NEWSLETTER_"), row.default) for row in describe_settings()]


def test_the_settings_without_effect_exist() -> None:
    listed = read(ROOT / "docs" / "reference.md").partition("without effect so far: ")[2].partition(";")[0]
    names = [row.name.removeprefix("NEWSLETTER_") for row in describe_settings()]
    for name in re.findall(r"`([^`]+)`", listed):
        assert any(known == name or (name.endswith("…") and known.startswith(name[:-1])) for known in names), name


def test_every_command_that_speaks_json_is_in_the_script() -> None:
    assert sorted(SCRIPT) == sorted(SPEAKING)


def test_every_json_object_has_the_keys_that_the_reference_shows(workshop: Workshop, empty_postgresql: str) -> None:
    workshop.write("briefs/2026-11-23-monday.json", LABELS)
    workshop.write("suppressed.csv", "email\nx@example.org\nno address\n")
    workshop.write("subscribers/list.csv", read(workshop.folder / "subscribers/list.csv") + "bad\n")
    workshop.configure(ON_UNCERTAIN="hold", SCHEDULE="0 7 * * *")
    workshop.write("bounce.eml", BOUNCE)
    replies: Answers = {"BODY": {"ben@example.org": [DROP]}, "RCPT": {"cleo@example.org": "550 5.7.1 policy"}}
    with run_in_thread(SmtpServer(replies=replies)) as server:
        workshop.use(server)
        for name, arguments in SCRIPT.items():
            ran = workshop.run(*name.split(), *arguments.format(postgresql=empty_postgresql).split(), "--json")
            assert_alike(find_example(name), ran.lines[0], name)


def find_example(name: str) -> Any:
    """The JSON object that the reference shows for a command, or for the one whose object it says is the same."""
    section = reference()[name]
    same = re.search(r"object is that of `([a-z ]+)`", section)
    if same:
        return find_example(same[1])
    return json.loads(next(text for info, text in list_blocks(section) if info == "json"))


def assert_alike(shown: Any, told: Any, place: str) -> None:
    """Both have the same keys, down to the first item of each list; what maps reasons to counts has keys of its own."""
    if (
        isinstance(shown, dict)
        and isinstance(told, dict)
        and not place.endswith(("excluded", "reasons", "domains", "tables"))
    ):
        assert shown.keys() == told.keys(), place
        for key in shown:
            assert_alike(shown[key], told[key], f"{place} {key}")
    elif isinstance(shown, list) and isinstance(told, list):
        for one, other in zip(shown[:1], told[:1], strict=False):
            assert_alike(one, other, f"{place} []")
    elif shown is not None and told is not None:
        assert isinstance(told, type(shown)) or {type(shown), type(told)} == {int, float}, place


def test_the_quickstart_runs_and_prints_what_it_shows(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    (workshop.folder / ".env").unlink()
    with run_in_thread(SmtpServer()) as server:
        for info, text in list_blocks(read(ROOT / "docs" / "quickstart.md")):
            kind, _, name = info.partition(" ")
            if name:
                with Path(name).open("a", encoding="utf-8") as file:
                    file.write(text.replace("8025", str(server.port)))
            for command, shown in list_commands(text) if kind == "console" else ():
                ran = workshop.run(*command.split())
                assert agree(shown, ran.out + ran.err), f"{command}\n{ran.out}{ran.err}"
                if command.startswith("init "):
                    monkeypatch.chdir(command.removeprefix("init "))


def list_commands(text: str) -> list[tuple[str, str]]:
    """The commands of a block, each with the output shown below it."""
    return re.findall(r"^\$ newsletter ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", text, re.MULTILINE)


def mask(text: str) -> str:
    """What differs from run to run made equal: dates, numbers, tokens; white space folded."""
    text = re.sub(r"(/(?:view|preferences|unsubscribe)/|<\d+-\d+\.)[a-z2-7]+", r"\1", text)
    text = re.sub(r"(Date:) \w+, \d+ \w+", r"\1", text)
    return " ".join(re.sub(r"\d+", "0", text).split())


def agree(shown: str, told: str) -> bool:
    """Whether a command told what the page shows; a line `…` stands for anything."""
    return bool(re.fullmatch(".*".join(re.escape(mask(part)) for part in shown.split("…")), mask(told)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", prose):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in {anchor_of(title) for title in re.findall(r"^#+ (.+)$", read(target), re.MULTILINE)}, link


def anchor_of(title: str) -> str:
    """The anchor that a Markdown page gets for a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_commands_that_a_page_names_exist(page: Path) -> None:
    text = read(page)
    for name in re.findall(r"`((?:[\w.-]+/)*[\w*-]+\.py)`", text):
        core = ROOT / "newsletter" / "core"
        folders = (ROOT, ROOT / "newsletter", core, *(folder for folder in core.iterdir() if folder.is_dir()))
        assert any(list(folder.glob(name)) for folder in folders), name
    words = re.findall(r"(?:`|^\$ |&& |\*\* )newsletter((?: [a-z]+)+)", text, re.MULTILINE)
    for path in words:
        command = path.strip()
        assert any(f"{command} ".startswith(f"{name} ") or name.startswith(f"{command} ") for name in NAMES), command


def test_the_drawing_of_the_readme_is_the_one_of_the_design() -> None:
    drawing = next(text for _, text in list_blocks(read(ROOT / "docs" / "design.md")))
    assert "outbox" in drawing
    assert drawing in read(ROOT / "README.md")


def test_every_file_of_the_package_stands_on_the_page_of_the_design() -> None:
    named = set(re.findall(r"[\w*]+(?:\.py|/)", read(ROOT / "docs" / "design.md")))
    for path in (ROOT / "newsletter").rglob("*.py"):
        told_as_one = {"cli", "migrations"} & set(path.parts)
        if not (path.name.startswith("__") or told_as_one):
            assert any(fnmatch(path.name, name) for name in named), path
            assert f"{path.parent.name}/" in named, path
