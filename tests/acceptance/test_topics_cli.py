"""`brief`, `topics` and `render` from the outside: what is read, why a story has its topics, how a mail looks."""

import json
import re

import pytest
from workshop import MONDAY, TOPICS, Workshop, parse_mail, read_parts

SPACE = """\
---
title: From above
date: 2026-11-24
language: de
---

## Ein Komet im Orbit

Das Teleskop sah ihn zuerst: [Bild](https://example.org/bild), [mehr](#).

Er kommt wieder.

## Ohne Thema

Topics: culture, cooking

Nichts weiter.
"""
LABELS = {"stories": [{"title": "A football match ended level", "topics": ["sport"]}]}


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """A second, later brief."""
    workshop.write("briefs/2026-11-24-space.md", SPACE)
    return workshop


def test_brief_show_tells_what_was_read_and_why(ready: Workshop) -> None:
    told = ready.run("brief", "show", "latest", "--json").json
    assert told.keys() == {"id", "title", "date", "language", "stories", "warnings"}
    assert (told["id"], told["title"], told["date"], told["language"]) == (
        "2026-11-24-space",
        "From above",
        "2026-11-24",
        "de",
    )
    first, second = told["stories"]
    assert first.keys() == second.keys() == {"id", "title", "paragraphs", "links", "topics"}
    assert first["title"] == "Ein Komet im Orbit"
    assert first["paragraphs"] == ["Das Teleskop sah ihn zuerst: Bild, mehr.", "Er kommt wieder."]
    assert first["links"] == ["https://example.org/bild"]
    assert [topic["id"] for topic in first["topics"]] == ["space", "science"]
    assert all(topic.keys() == {"id", "because"} and topic["because"] for topic in first["topics"])
    assert [topic["id"] for topic in second["topics"]] == ["culture"]
    (warning,) = told["warnings"]
    assert warning.keys() == {"line", "message"}
    assert warning["line"] in (13, 15)  # the story's title, or the line itself
    assert "cooking" in warning["message"]


@pytest.mark.parametrize(
    "reference", ["latest", "2026-11-24-space", "2026-11-24-space.md", "briefs/2026-11-24-space.md"]
)
def test_brief_show_finds_a_brief_by_name_path_and_as_the_latest(ready: Workshop, reference: str) -> None:
    shown = ready.run("brief", "show", reference).out
    assert shown.startswith("From above (2026-11-24-space, 2026-11-24, de): 2 stories\n")
    assert "    space: keyword “orbit” in the title" in shown
    assert "    2 paragraphs, 1 links" in shown
    assert re.search(r"^warning: line 1[35]: .*cooking", shown, re.MULTILINE)


def test_brief_show_of_a_story_without_a_topic_says_so(ready: Workshop) -> None:
    ready.write("briefs/2026-11-25-weather.md", "# Weather\n\n## Rain\n\nAll day.\n")
    assert "\nRain\n    no topic\n" in ready.run("brief", "show", "latest").out


def test_brief_list_is_newest_first_and_names_what_is_broken(ready: Workshop) -> None:
    ready.write("briefs/2026-11-25-empty.md", "\n")
    ran = ready.run("brief", "list", "--json")
    assert [line["id"] for line in ran.lines] == ["2026-11-24-space", "2026-11-23-monday"]
    assert ran.lines[0]["stories"] == 2
    assert ran.err.startswith("warning: ")
    assert "2026-11-25-empty.md" in ran.err
    assert "From above" in ready.run("brief", "list").out
    (ready.folder / "none").mkdir()
    ready.configure(BRIEFS="none")
    ran = ready.run("brief", "list")
    assert (ran.out, ran.err) == ("", "there is no brief\n")


def test_topics_list_counts_the_subscribers_of_each_topic(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    workshop.run("subscribers", "add", "eve@example.org", "--topics", "sport")
    workshop.run("subscribers", "remove", "eve@example.org")
    lines = workshop.run("topics", "list", "--json").lines
    assert [(line["id"], line["name"], line["parent"], line["subscribers"]) for line in lines] == [
        ("sport", "Sport", None, 1),
        ("science", "Science", None, 1),
        ("space", "Space", "science", 1),
        ("culture", "Culture", None, 1),
    ]
    assert re.search(r"space +Space +science +1 +1", workshop.run("topics", "list").out)


def test_topics_explain_gives_the_evidence_a_line_each(ready: Workshop) -> None:
    lines = ready.run("topics", "explain", "2026-11-23-monday", "--json").lines
    found = {(line["story"], line["topic"], line["source"], line["matched"], line["place"]) for line in lines}
    assert ("A comet passes close by", "science", "keyword", "comet", "title") in found
    assert ("A comet passes close by", "science", "keyword", "telescope", "text") in found
    assert ("A football match ended level", "sport", "keyword", "football", "title") in found
    assert all(line["weight"] > 0 for line in lines)
    assert "telescope" in ready.run("topics", "explain", "2026-11-23-monday").out
    ready.write("briefs/2026-11-25-weather.md", "# Weather\n\n## Rain\n\nAll day.\n")
    ran = ready.run("topics", "explain", "latest")
    assert (ran.out, ran.err) == ("", "no story has a topic\n")


@pytest.mark.parametrize("name", ["2026-11-23-monday.json", "2026-11-23-monday.gold.json"])
def test_topics_test_measures_against_labels_beside_a_brief(workshop: Workshop, name: str) -> None:
    labels = [
        *LABELS["stories"],
        {"title": "A comet passes close by", "topics": ["science", "culture"]},
        {"title": "Never written", "topics": ["sport"]},
    ]
    workshop.write(f"briefs/{name}", json.dumps({"stories": labels}))
    ran = workshop.run("topics", "test", f"briefs/{name}", "--json")
    scores = {line["topic"]: line for line in ran.lines}
    for topic in ("sport", "science"):
        assert (scores[topic]["precision"], scores[topic]["recall"], scores[topic]["f1"]) == (1.0, 1.0, 1.0)
    assert (scores["culture"]["stories"], scores["culture"]["recall"], scores["culture"]["f1"]) == (1, 0.0, 0.0)
    assert "never written" in ran.err.casefold()
    assert "first topic right in 100.0%" in ran.err
    assert re.search(r"culture +1 +0", workshop.run("topics", "test", f"briefs/{name}").out)


def test_topics_lint_names_shared_and_silent_keywords(workshop: Workshop) -> None:
    workshop.write("subscribers/topics.toml", TOPICS.replace('"museum"', '"museum", "goals"'))
    lines = workshop.run("topics", "lint", "--json").lines
    shared = [line for line in lines if line["problem"] == "shared"]
    assert [(line["keyword"], sorted(line["topics"])) for line in shared] == [("goal", ["culture", "sport"])]
    silent = {(line["keyword"], line["topics"][0]) for line in lines if line["problem"] == "silent"}
    assert silent == {("physics", "science"), ("orbit", "space"), ("theatre", "culture")}
    assert "physics" in workshop.run("topics", "lint").out
    workshop.write("subscribers/topics.toml", '[topics.sport]\nname = "Sport"\nkeywords = ["football"]\n')
    ran = workshop.run("topics", "lint")
    assert (ran.out, ran.err) == ("", "nothing to mend\n")


# ── render ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_render_prints_the_mail_in_four_formats_without_sending_or_settings(workshop: Workshop) -> None:
    workshop.settings.clear()
    workshop.configure()
    text, html = (workshop.run("render", "--topics", "science", "--format", form).out for form in ("text", "html"))
    for part in (text, html):
        assert "A comet passes close by" in part
        assert "A football match" not in part
        assert "The museum opens late" not in part
    assert html.lstrip().startswith("<!doctype html>")
    assert "<mj-" not in html
    mjml = workshop.run("render", "--topics", "science", "--format", "mjml").out
    assert mjml.lstrip().startswith("<mjml")
    assert "A comet passes close by" in mjml
    eml = workshop.run_raw("render", "--topics", "science", "--format", "eml")
    assert parse_mail(eml)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read_parts(eml)[0].split() == text.split()
    assert workshop.run("render", "--topics", "science").out.splitlines()[0] == html.splitlines()[0]
    assert workshop.run("issues", "list", "--json").out == ""


def test_render_every_story_several_topics_or_as_a_subscriber_gets_it(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    titles = [line.removeprefix("- **").removesuffix("**") for line in MONDAY.splitlines() if line.startswith("- ")]

    def stories(*arguments: str) -> list[int]:
        text = workshop.run("render", "--format", "text", *arguments).out
        return [number for number, title in enumerate(titles) if title in text]

    assert stories("--topics", "*") == [0, 1, 2]
    assert stories("--topics", "sport,culture", "--brief", "2026-11-23-monday") == [0, 2]
    assert stories("--topics", "sport; culture") == [0, 2]
    assert stories("--subscriber", "ben@example.org") == [0, 2]
    assert stories("--subscriber", "ben@example.org", "--topics", "science") == [1]
    assert 'lang="de"' in workshop.run("render", "--subscriber", "BEN@example.org").out
    assert parse_mail(workshop.run_raw("render", "--subscriber", "ben@example.org", "--format", "eml"))["To"].addresses[
        0
    ].addr_spec == ("ben@example.org")


def test_render_of_nothing_says_why(workshop: Workshop) -> None:
    workshop.run("subscribers", "import", "subscribers/list.csv")
    for arguments in (["--topics", "space"], ["--topics", ""], ["--subscriber", "dan@example.org"]):
        ran = workshop.run("render", *arguments, code=1)
        assert ran.out == ""
        assert "2026-11-23-monday.md: no story has any of the topics" in ran.err
