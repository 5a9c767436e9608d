"""Whole mails, compared with tests/golden/THEME/NAME.{eml,html,txt} by what they are made of: headers and parts, the
elements of the HTML with their attributes, styles and text, and the lines of the text. After a change that is meant,
write them anew with `UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_golden_mails.py`, and review the
difference; `docs/make_gallery.py` then shows how they look.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from checked_mails import with_html
from golden_mails import MAILS, THEMES, write_mail
from mail_samples import ReadHtml, read_mail, read_part

from newsletter.core.checks.contrast import check_contrast
from newsletter.core.checks.css import parse_declarations
from newsletter.core.checks.page import Element, fold_white, parse_page

FOLDER = Path(__file__).parents[1] / "golden"


def outline(node: Element | str, depth: int = 0) -> Iterator[str]:
    """A line for each element and each text."""
    indent = "  " * depth
    if isinstance(node, str):
        yield from [f"{indent}{fold_white(node)}"] if fold_white(node) else ()
        return
    style = "".join(f" {name}: {value};" for name, value, *_ in parse_declarations(node.attributes.get("style", "")))
    rest = "".join(f" {name}={value!r}" for name, value in sorted(node.attributes.items()) if name != "style")
    yield f"{indent}<{node.tag}{rest}>{style}"
    for child in node.content:
        yield from outline(child, depth + 1)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", MAILS)
def test_the_mail_is_as_it_was(theme: str, name: str) -> None:
    raw, path = write_mail(theme, MAILS[name]), FOLDER / theme / name
    mail = read_mail(raw)
    html, text = (read_part(mail, kind).replace("\r\n", "\n") for kind in ("html", "plain"))
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".eml").write_bytes(raw)
        path.with_suffix(".html").write_text(html, encoding="utf-8")
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    kept = read_mail(path.with_suffix(".eml").read_bytes())
    assert mail.items() == kept.items()
    assert [part.get_content_type() for part in mail.walk()] == [part.get_content_type() for part in kept.walk()]
    for before in (read_part(kept, "plain"), path.with_suffix(".txt").read_text(encoding="utf-8")):
        assert text.splitlines() == before.splitlines()
    for before in (read_part(kept, "html"), path.with_suffix(".html").read_text(encoding="utf-8")):
        assert list(outline(parse_page(html))) == list(outline(parse_page(before)))


def test_no_other_mail_is_kept() -> None:
    kept = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*")}
    assert kept == {f"{theme}/{name}.{kind}" for theme in THEMES for name in MAILS for kind in ("eml", "html", "txt")}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", MAILS)
def test_every_golden_mail_keeps_what_a_mail_must(theme: str, name: str) -> None:
    raw = write_mail(theme, MAILS[name])
    mail = read_mail(raw)
    html, text = read_part(mail, "html"), read_part(mail, "plain")
    assert len(html.replace("\n", "\r\n").encode()) < 90_000
    read = ReadHtml(html)
    assert len(read.text["h1"]) == 1
    assert len(read.text["main"]) == 1
    sizes = [int(size) for _, a in read.attributes for size in re.findall(r"font-size:(\d+)px", a.get("style") or "")]
    assert {size for size in sizes if size < 16} <= {0, 1}  # what MJML puts between cells, and the preheader
    for part in (html, text):
        assert "https://news.ledger.example/unsubscribe/aaaa" in part
        assert "Ledger House" in part


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", [name for name in MAILS if name not in ("cut", "forty-stories")])
def test_every_text_of_a_golden_mail_can_be_read_in_light_in_dark_and_forced(theme: str, name: str) -> None:
    html = read_part(read_mail(write_mail(theme, MAILS[name])), "html")
    assert [finding.message for finding in check_contrast(with_html(html))] == []
