"""Themes: what a theme.toml may say, what is taken from its base, and what is wrong in it, by file, line and key."""

import re

import pytest
from mail_samples import DAY, LINKS, READER, SENDER, load_templates, make_story

from newsletter.core.checks.palettes import list_pairs
from newsletter.core.errors import TemplateError
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import render_html
from newsletter.core.mails.render import Renderer, StorySource, TemplateFile, Templates
from newsletter.core.mails.theme import list_themes, load_theme
from newsletter.core.mails.viewing import Scheme

BUILTIN = load_templates()
BRIEF = BUILTIN["brief/theme.toml"].text


def with_theme(text: str, name: str = "own") -> Templates:
    return {**BUILTIN, f"{name}/theme.toml": TemplateFile(path=f"custom/{name}/theme.toml", text=text)}


def find_line(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_the_built_in_themes() -> None:
    assert list_themes(BUILTIN) == ["brief", "cards"]
    brief, cards = load_theme(BUILTIN, "brief"), load_theme(BUILTIN, "cards")
    assert brief.folders == ("brief",)
    assert cards.folders == ("cards", "brief")
    assert cards.fonts.code == brief.fonts.code
    assert cards.light.button != brief.light.button


@pytest.mark.parametrize("name", ["brief", "cards"])
def test_every_text_stands_out_from_every_background_in_light_in_dark_and_darkened_by_force(name: str) -> None:
    pairs = list(list_pairs(load_theme(BUILTIN, name)))
    assert len(pairs) == 30
    assert [pair for pair in pairs if not pair.is_enough] == []
    assert {pair.scheme for pair in pairs} == set(Scheme)
    forced = next(pair for pair in pairs if pair.scheme is Scheme.FORCED and pair.background == "paper")
    assert forced.background_colour == "#000000"


def test_a_theme_of_a_few_values_takes_the_rest_from_its_base() -> None:
    theme = load_theme(with_theme('base = "cards"\n[light]\nlink = "#aa0000"\n[fonts.languages.ar]\nline = 40'), "own")
    cards = load_theme(BUILTIN, "cards")
    assert theme.folders == ("own", "cards", "brief")
    assert theme.light.link == "#aa0000"
    assert theme.light.text == cards.light.text
    assert theme.fonts.languages["ar"].family == cards.fonts.languages["ar"].family
    assert theme.choose_line("ar-EG") == 40


def test_a_theme_of_its_own_is_seen_in_the_mail() -> None:
    text = """width = 600
[logo]
text = "The Ledger <Daily>"
image = "https://cdn.example/logo.png"
[light]
link = "#aa0000"
[footer]
text = "Printed on recycled electrons."
"""
    own = {**with_theme(text), "own/own.mjml.j2": TemplateFile(path="own/own.mjml.j2", text="")}
    renderer = Renderer(own, "own")
    frame = renderer.compile_frame(SENDER, issue=1, title="T", date=DAY, language="en")
    parts = renderer.compile_stories([StorySource(story=make_story("One", "x"), topics=(), day=DAY)], "en")
    html = render_html(assemble_edition(frame, parts), READER, LINKS)
    for wanted in (
        "max-width:600px",
        'src="https://cdn.example/logo.png" alt="The Ledger &lt;Daily&gt;" width="160"',
        "color:#aa0000",
        "Printed on recycled electrons.",
    ):
        assert wanted in html


def test_a_theme_may_have_templates_of_its_own() -> None:
    frame = BUILTIN["brief/frame.mjml.j2"].text.replace("{{ story_list }}", "<!-- mine -->{{ story_list }}")
    own = {**with_theme(""), "own/frame.mjml.j2": TemplateFile(path="own/frame.mjml.j2", text=frame)}
    html = Renderer(own, "own").compile_frame(SENDER, issue=1, title="T", date=DAY, language="en").mail.html
    assert any(b"mine" in piece for piece in html.pieces if isinstance(piece, bytes))
    moved = {**BUILTIN, "frame.mjml.j2": TemplateFile(path="custom/frame.mjml.j2", text=frame)}
    with pytest.raises(TemplateError, match=r"custom/frame\.mjml\.j2, line 1: it belongs into the folder of a theme"):
        Renderer(moved)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('text = "#22262b"', 'text = "black"', "light.text = 'black': a colour is six hexadecimal digits"),
        ('text = "#22262b"', 'text = "#222"', "light.text = '#222': a colour is six hexadecimal digits"),
        ("width = 640", "width = 6400", "width = 6400: Input should be less than or equal to 700"),
        ("size = 17", "size = 9", "fonts.size = 9: Input should be greater than or equal to 16"),
        ("size = 17", "sise = 17", "fonts.sise = 17: there is no such key"),
        ('image = ""', 'image = "http://x/y"', "logo.image = 'http://x/y': an image is loaded from an https address"),
        ('code = "ui-monospace', 'code = "<ui-monospace', "fonts are names with commas between"),
        ("[dark]", "[dark]]", "it is not TOML"),
    ],
)
def test_a_wrong_value_is_told_by_file_and_line(old: str, new: str, told: str) -> None:
    assert old in BRIEF
    text = BRIEF.replace(old, new, 1)
    with pytest.raises(TemplateError) as caught:
        load_theme(with_theme(text), "own")
    assert str(caught.value).startswith(f"custom/own/theme.toml, line {find_line(BRIEF, old)}: ")
    assert told in str(caught.value)


def test_a_value_that_lacks_in_the_first_of_all_themes_is_told() -> None:
    with pytest.raises(TemplateError, match=r"custom/brief/theme\.toml, line \d+: light\.soft: it is missing"):
        load_theme(with_theme(re.sub("^soft = .*$", "", BRIEF, count=1, flags=re.MULTILINE), "brief"), "brief")


def test_a_theme_that_is_not_there_and_one_that_goes_in_a_circle() -> None:
    with pytest.raises(TemplateError, match="there is no theme 'none'; there are brief, cards"):
        Renderer(BUILTIN, "none")
    with pytest.raises(TemplateError, match=r"own/theme\.toml, line 2: base = 'x': there are brief, cards, own"):
        load_theme(with_theme('\nbase = "x"'), "own")
    with pytest.raises(TemplateError, match=r"own/theme\.toml, line 1: base = 'own': a theme cannot be its own base"):
        load_theme(with_theme('base = "own"'), "own")
    with pytest.raises(TemplateError, match=r"own/theme\.toml, line 1: name: there is no such key"):
        load_theme(with_theme('name = "x"'), "own")
