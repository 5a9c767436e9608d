"""An operator's wrong template or language file: the error names the file, the line and what is wrong."""

import re
from collections.abc import Mapping

import pytest
from babel import Locale
from mail_samples import DAY, SENDER, load_templates, paragraph

from newsletter.core.errors import TemplateError
from newsletter.core.mails.chrome import choose_chrome, choose_form, chrome_languages, load_chrome
from newsletter.core.mails.quoted import decode_quoted
from newsletter.core.mails.render import Renderer, TemplateFile
from newsletter.core.model import Span, Story

BUILTIN = load_templates()
LANGUAGES = BUILTIN["languages.toml"].text


def change(name: str, old: str, new: str) -> dict[str, TemplateFile]:
    assert old in BUILTIN[name].text
    return {**BUILTIN, name: TemplateFile(path=f"custom/{name}", text=BUILTIN[name].text.replace(old, new))}


def compile_all(templates: Mapping[str, TemplateFile]) -> None:
    renderer = Renderer(templates)
    renderer.compile_frame(SENDER, issue=1, title="T", date=DAY, language="en")
    story = Story(title="T", blocks=(paragraph(Span(text="x", emphasis=True)),), url="https://x.example/")
    renderer.compile_story(story, ["Topic"], day=DAY, language="en")


def find_line(name: str, text: str) -> int:
    return next(number for number, line in enumerate(BUILTIN[name].text.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("parts.mjml.j2", "0) }}</mj-title>", "0) }</mj-title>", "unexpected '}'"),
        ("body.mjml.j2", "span.text | break", "span.txt | break", "has no attribute 'txt'"),
        ("story.txt.j2", "{{ group }}", "{{ group + 1 }}", "TypeError"),
        ("mail.txt.j2", "address=slot.address, ", "", "KeyError: 'address'"),
    ],
)
def test_jinja_errors_name_file_and_line(name: str, old: str, new: str, what: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_all(change(name, old, new))
    assert str(caught.value).startswith(f"custom/{name}, line {find_line(name, old)}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "what"),
    [
        ("parts.mjml.j2", "{{ t.view }}</a></p>", "{{ t.view }}</p>", "{{ t.view }}</a></p>", "mismatched tag"),
        ("body.mjml.j2", "{{ story.title }}</h2>", "1 < 2</h2>", "{{ story.title }}</h2>", "not well-formed"),
        ("body.mjml.j2", "<em>", "<em", "span.emphasis %}<em>", "not well-formed"),
        ("brief/frame.mjml.j2", "<mj-column ", "<mj-colum ", "<mj-column ", "<mj-colum> is not known to MJML"),
    ],
)
def test_mjml_errors_name_file_and_about_the_line(name: str, old: str, new: str, line: str, what: str) -> None:
    with pytest.raises(TemplateError, match="about line") as caught:
        compile_all(change(name, old, new))
    assert what in str(caught.value)
    if "/" in name:  # what a macro printed looks like many lines
        assert str(caught.value).startswith(f"custom/{name}, about line {find_line(name, line)}: ")


def test_mjml_that_is_xml_but_no_mjml_names_the_frame() -> None:
    plain = {
        **BUILTIN,
        "brief/frame.mjml.j2": TemplateFile(path="custom/brief/frame.mjml.j2", text="<p>{{ story_list }}</p>"),
    }
    with pytest.raises(TemplateError, match=r"custom/brief/frame\.mjml\.j2: MJML cannot read it"):
        compile_all(plain)


@pytest.mark.parametrize(
    ("name", "slot", "end"),
    [
        ("brief/frame.mjml.j2", "story_list", "</mj-body>"),
        ("mail.txt.j2", "story_list", "{% endfor %}"),
        ("mail.txt.j2", "slot.unsubscribe", "{% endfor %}"),
    ],
)
def test_a_frame_without_stories_or_way_out_is_refused(name: str, slot: str, end: str) -> None:
    templates = change(name, slot, "title")
    place = f"custom/{name}, line {find_line(name, end)}: up to here it prints no {{{{ {slot} }}}}"
    with pytest.raises(TemplateError, match=re.escape(place)):
        compile_all(templates)


def test_a_footer_without_a_way_out_is_refused() -> None:
    with pytest.raises(TemplateError, match=r"brief/frame\.mjml\.j2, line \d+: up to here .* slot\.unsubscribe"):
        compile_all(change("parts.mjml.j2", "(t.unsubscribe, slot.unsubscribe),", ""))


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("brief/frame.mjml.j2", "{{ language }}", "{{ langage }}", "'langage' is no variable of this template"),
        ("mail.txt.j2", "slot.date", "slot.day", "'slot' has no 'day'"),
        ("parts.mjml.j2", "{{ t.view }}", "{{ t.vew }}", "'t' has no 'vew'"),
        ("body.mjml.j2", "host=story.host", "host=story.hst", "'story' has no 'hst'"),
        ("body.mjml.j2", "theme.light.soft", "theme.light.sofd", "'theme.light' has no 'sofd'"),
        ("brief/story.mjml.j2", "body.write_topics", "body.write_topic", "'body' has no 'write_topic'"),
        ("brief/story.mjml.j2", "{{ group }}", "{% if false %}{{ gruop }}{% endif %}", "'gruop' is no variable"),
        ("brief/story.mjml.j2", "{{ group }}", "{{ group | safe }}", "'safe' is not escaped"),
        ("brief/story.mjml.j2", "{{ group }}", "{{ group }}{{ headline_list }}", "'headline_list' is no variable"),
        ("brief/story.mjml.j2", "{{ group }}", "{% if group is nottest %}x{% endif %}", "there is no test 'nottest'"),
        ("brief/story.mjml.j2", "{{ group }}", "{% if story.url %}{{ group | up }}{% endif %}", "no filter 'up'"),
        ("body.mjml.j2", "{{ story.title }}</h2>", '{{ story["titel"] }}</h2>', "'story' has no 'titel'"),
        ("brief/frame.mjml.j2", 'region("more")', 'region("mor")', "a region is one of 'headlines', 'more'"),
        ("mail.txt.j2", 'region("more")', "region(title)", "a region is one of"),
        (
            "parts.mjml.j2",
            "{{ slot.more_stories }}",
            "{{ slot.more_stories | upper }}",
            "not filtered, compared or cut",
        ),
        ("mail.txt.j2", "{{ slot.view }}", "{{ slot.view[:5] }}", "'slot.view' is put in later"),
        ("mail.txt.j2", "{{ story_list -}}", "{% if story_list == '' %}{% endif %}{{ story_list -}}", "put in later"),
        ("brief/story.mjml.j2", "{{ group }}", "{% autoescape false %}{{ group }}{% endautoescape %}", "autoescape"),
    ],
)
def test_the_lint_names_file_and_line(name: str, old: str, new: str, what: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Renderer(change(name, old, new))
    assert str(caught.value).startswith(f"custom/{name}, line {find_line(name, old)}: ")
    assert what in str(caught.value)


def test_a_missing_file_or_block_is_named() -> None:
    with pytest.raises(TemplateError, match=r"hold no story\.txt\.j2"):
        Renderer({name: file for name, file in BUILTIN.items() if name != "story.txt.j2"})
    with pytest.raises(TemplateError, match=r"custom/brief/story\.mjml\.j2, line 1: it has no block 'group'"):
        Renderer(change("brief/story.mjml.j2", "{% block group %}", "{% block day %}"))
    with pytest.raises(TemplateError, match=r"there is no template 'own\.mjml\.j2'"):
        compile_all(change("brief/frame.mjml.j2", "{{ parts.preheader() }}", "{% include 'own.mjml.j2' %}"))


def test_a_slot_that_a_macro_changes_is_refused_before_anything_is_sent() -> None:
    shout = "{% macro shout(text) %}{{ text | upper }}{% endmacro %}{{ shout(slot.view) }}"
    with pytest.raises(TemplateError, match="changes a slot"):
        compile_all(change("brief/story.mjml.j2", "{{ body.write_source() }}", shout))
    with pytest.raises(
        TemplateError, match=r"story\.mjml\.j2, line 1: it prints 'reading_time', which cannot stand there"
    ):
        compile_all(change("brief/story.mjml.j2", "{{ body.write_source() }}", "{{ slot.reading_time }}"))


def test_a_template_may_import_single_macros() -> None:
    some = "{% from 'parts.mjml.j2' import preheader as hidden, footer with context %}"
    templates = change("brief/frame.mjml.j2", "{{ parts.preheader() }}", some + "{{ hidden() }}{{ footer() }}")
    frame = Renderer(templates).compile_frame(SENDER, issue=1, title="T", date=DAY, language="en")
    assert frame.mail.html.pieces.count("unsubscribe") == 2
    other = change(
        "brief/frame.mjml.j2",
        "{{ parts.preheader() }}",
        "{% autoescape true %}{{ parts.preheader() }}{% endautoescape %}",
    )
    assert Renderer({**BUILTIN, **other}).theme.name == "brief"


def test_an_operator_may_leave_out_the_headlines() -> None:
    templates = change("parts.mjml.j2", "{{ headline_list }}", "")
    frame = Renderer(templates).compile_frame(SENDER, issue=1, title="T", date=DAY, language="en")
    assert "headline_list" not in frame.headlines.html.pieces
    assert "headline_list" in frame.headlines.text.pieces


def test_a_template_may_use_a_file_of_its_own() -> None:
    own = {"own.mjml.j2": TemplateFile(path="own.mjml.j2", text="<p>{{ '<&>' }}</p>")}
    templates = change("parts.mjml.j2", "{{ slot.more_stories }}", "</p>{% include 'own.mjml.j2' %}<p>") | own
    frame = Renderer(templates).compile_frame(SENDER, issue=1, title="T", date=DAY, language="en")
    html = decode_quoted(b"".join(p for p in frame.more.html.pieces if isinstance(p, bytes)))
    assert "<p>&lt;&amp;&gt;</p>" in html


def test_the_built_in_languages() -> None:
    assert chrome_languages(BUILTIN) == ("en", "de", "fr", "es", "ar", "ur", "he")
    assert {name: chrome.direction for name, chrome in load_chrome(BUILTIN).items() if chrome.direction == "rtl"} == {
        "ar": "rtl",
        "ur": "rtl",
        "he": "rtl",
    }
    for chrome in load_chrome(BUILTIN).values():
        assert len(chrome.strings["preheader"]) >= 40
        assert chrome.format_day(DAY)


def test_every_plural_category_of_a_language_has_its_form() -> None:
    for language, chrome in load_chrome(BUILTIN).items():
        for forms in chrome.plurals.values():
            wanted = {choose_form(forms, language, count) for count in range(1, 200)}
            assert wanted <= set(forms.values())
            assert set(Locale.parse(language).plural_form.tags) | {"other"} >= set(forms)


def test_plurals_go_by_the_language() -> None:
    forms = load_chrome(BUILTIN)["ar"].plurals["more"]
    assert len({choose_form(forms, "ar", count) for count in (1, 2, 3, 11, 100)}) == 5
    assert choose_form({"other": "x"}, "en", 1) == "x"


def test_a_language_that_lacks_is_answered_by_its_kin_or_english() -> None:
    chromes = load_chrome(BUILTIN)
    assert choose_chrome(chromes, "de-AT").language == "de"
    assert choose_chrome(chromes, "fi").language == "en"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[en", "is not TOML"),
        ("", "no language 'en'"),
        ("en = 1", "language 'en': 1 stands where a table"),
        ("[nolanguage]", "language 'nolanguage': no such language"),
        ("[en]\nheadlines = 'x'", "the string 'view' is missing"),
        (LANGUAGES.replace("[de.more]", "[de.mor]"), "language 'de': the plural 'more' has no form 'other'"),
        (LANGUAGES.replace("%(lead)s und %(count)s", "%(led)s"), "'subject' cannot be filled"),
        (LANGUAGES.replace("%(lead)s und %(count)s", "100 %"), "'subject' cannot be filled"),
    ],
)
def test_a_wrong_language_file_is_told_what_is_wrong(text: str, what: str) -> None:
    with pytest.raises(TemplateError) as caught:
        load_chrome({"languages.toml": TemplateFile(path="custom/languages.toml", text=text)})
    assert str(caught.value).startswith("custom/languages.toml")
    assert what in str(caught.value)
