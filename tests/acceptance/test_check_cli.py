"""`check`: what it says of a mail that is well, of one that is not, and how it ends."""

from pathlib import Path

import pytest
from workshop import Workshop

ROOT = Path(__file__).parents[2]
BRIEF = "briefs/2026-11-23-monday.md"
POSTAL = "1 Market Square, Sampleton"


def find(workshop: Workshop, *arguments: str, code: int = 0) -> dict[str, dict[str, str]]:
    """The findings by their code, the first of each."""
    found: dict[str, dict[str, str]] = {}
    for line in workshop.run("check", *arguments, "--json", code=code).lines:
        assert set(line) == {"code", "severity", "place", "message"}
        found.setdefault(line["code"], line)
    return found


def test_a_mail_that_is_well(workshop: Workshop) -> None:
    found = find(workshop, "latest")
    assert {finding["severity"] for finding in found.values()} == {"info"}
    assert found["size.room"]["place"] == "html:1"


def test_findings_name_the_briefs_file_and_line(workshop: Workshop) -> None:
    text = (workshop.folder / BRIEF).read_text(encoding="utf-8")
    text = text.replace("([Report](https://example.org/match))", "[Click here](http://example.org/match)")
    text = text.replace("The museum opens late\n\nOn", "The museum opens late\nTopics: astrology\n\nOn")
    workshop.write(BRIEF, text + "\n**A story without a headline**\n\nText.\n")
    found = find(workshop, BRIEF)
    assert found["link.vague"]["place"].startswith(f"{BRIEF}:")
    assert found["link.insecure"]["place"] == found["link.vague"]["place"]
    assert found["topic.unknown"]["severity"] == "warning"
    assert "astrology" in found["topic.unknown"]["message"]
    assert found["brief.read"]["place"].startswith(f"{BRIEF}:")
    assert found["topic.none"]["severity"] == "info"


def test_topics_choose_the_mail(workshop: Workshop) -> None:
    assert "2 more" not in find(workshop, "latest", "--topics", "science")["size.room"]["message"]
    assert "no topic 'sience'" in workshop.run("check", "latest", "--topics", "sience", code=1).err
    assert "no story has any of the topics" in workshop.run("check", "latest", "--topics", "space", code=1).err


def test_the_terminal_says_the_same_in_lines(workshop: Workshop) -> None:
    workshop.settings.pop("POSTAL_ADDRESS")
    workshop.configure(BASE_URL="http://news.example.org")
    ran = workshop.run("check", "latest")
    first, *_ = ran.out.splitlines()
    assert first.startswith("warning  html:1: the mail names no postal address.")
    assert first.endswith("[footer.no-address]")
    assert "[unsubscribe.insecure]" in ran.out
    assert ran.err == ""


def change_frame(workshop: Workshop, old: str, new: str) -> None:
    text = (ROOT / "templates" / "brief" / "frame.mjml.j2").read_text(encoding="utf-8")
    assert old in text
    workshop.write("templates/brief/frame.mjml.j2", text.replace(old, new))
    workshop.configure(TEMPLATES="templates")


def test_an_error_ends_it_with_1_and_is_named(workshop: Workshop) -> None:
    change_frame(workshop, 'lang="{{ language }}" ', "")
    ran = workshop.run("check", "latest", "--json", code=1)
    assert ran.lines[0]["code"] == "html.lang"
    assert ran.err == "error: 1 error was found: html.lang\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{{ story_list }}", "{{ storylist }}"),
        ("{{ story_list }}", "{{ story_list"),
        ("<mj-column direction", "<mj-pillar direction"),
    ],
)
def test_a_broken_template_is_a_finding_with_its_place(workshop: Workshop, old: str, new: str) -> None:
    change_frame(workshop, old, new)
    found = find(workshop, "latest", code=1)["template.broken"]
    assert found["place"].startswith("templates/brief/frame.mjml.j2:")
    assert "Traceback" not in found["message"]


def test_a_template_that_lacks_a_language_is_a_finding(workshop: Workshop) -> None:
    workshop.write("templates/languages.toml", "[de]\n")
    workshop.configure(TEMPLATES="templates")
    assert find(workshop, "latest", code=1)["template.broken"]["place"] == "templates"


def test_a_brief_that_cannot_be_read_is_a_sentence(workshop: Workshop) -> None:
    workshop.write("briefs/2026-11-24-empty.md", "nothing\n")
    for brief in ("briefs/2026-11-24-empty.md", "briefs/none.md"):
        ran = workshop.run("check", brief, "--json", code=1)
        assert ran.out == ""
        assert ran.err.startswith("error: ")


def test_online_asks_for_the_pages_but_for_no_private_one(workshop: Workshop) -> None:
    text = (workshop.folder / BRIEF).read_text(encoding="utf-8")
    workshop.write(BRIEF, text.replace("https://example.org/match", "http://127.0.0.1:1/match"))
    assert "link.private" not in find(workshop, BRIEF)
    assert find(workshop, BRIEF, "--online")["link.private"]["place"].startswith(f"{BRIEF}:")


@pytest.mark.parametrize("brief", sorted((ROOT / "briefs").glob("*.md")), ids=lambda path: path.stem)
def test_the_sample_briefs_are_well(workshop: Workshop, brief: Path) -> None:
    workshop.configure(TOPICS=str(ROOT / "subscribers" / "topics.toml"))
    found = find(workshop, str(brief))
    assert {code for code, finding in found.items() if finding["severity"] != "info"} <= {"subject.long"}
