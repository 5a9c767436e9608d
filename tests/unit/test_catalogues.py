"""The catalogues: nothing that a page or a mail says lacks a translation, and every one can be filled."""

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from newsletter.core.errors import TemplateError
from newsletter.sources.catalogues import choose_catalogue, load_catalogues
from newsletter.web.speech import choose_speech

ROOT = Path(__file__).parents[2]
LANGUAGES = ("ar", "de", "es", "fr", "he", "ur")
KEYWORDS = {"_": None, "say": None, "ngettext": (1, 2), "say_many": (1, 2)}


@cache
def list_messages() -> set[str | tuple[str, ...]]:
    """Everything that is said, by Babel's own reading of the sources and the templates."""
    jinja = [("**.html", "jinja2.ext:babel_extract"), ("**.txt", "jinja2.ext:babel_extract")]
    found: set[str | tuple[str, ...]] = set()
    for folder, methods in ((ROOT / "newsletter/web", [("**.py", "python")]), (ROOT / "templates/web", jinja)):
        for _, _, message, _, _ in extract_from_dir(folder, method_map=methods, keywords=KEYWORDS):
            found.add(message if isinstance(message, str) else tuple(message))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_message_and_no_other(language: str) -> None:
    with (ROOT / "templates" / "web" / "locale" / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    assert {message.id for message in catalogue if message.id} == list_messages()
    for message in catalogue:
        if not message.id:
            continue
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        wanted = set(re.findall(r"%\((\w+)\)s", str(message.id if isinstance(message.id, str) else message.id[1])))
        for text in texts:
            assert text, message.id
            assert set(re.findall(r"%\((\w+)\)s", str(text))) == wanted, message.id


def test_a_sentence_is_escaped_and_so_are_its_values() -> None:
    speech = choose_speech(load_catalogues(None), own=None, accepted="fr", usual="en")
    said = speech.say("Leave %(name)s?", name="<b>X</b>")
    assert str(said) == "Quitter &lt;b&gt;X&lt;/b&gt; ?"


@pytest.mark.parametrize(
    ("own", "accepted", "usual", "chosen"),
    [
        ("ur", "de", "en", "ur"),
        ("de-AT", "fr", "en", "de"),
        ("ja", "fr", "es", "es"),
        (None, "ja, fr;q=0.2, de;q=0.8", "en", "de"),
        (None, "*", "es", "es"),
        (None, "fr;q=0", "de", "de"),
        (None, ";;;,,q=, =", "xx", "en"),
    ],
)
def test_the_readers_language_wins_then_the_browsers_then_ours(
    own: str | None, accepted: str, usual: str, chosen: str
) -> None:
    assert choose_speech(load_catalogues(None), own=own, accepted=accepted, usual=usual).language == chosen


def test_an_operators_catalogue_stands_before_ours_and_a_broken_one_is_named(tmp_path: Path) -> None:
    locale = tmp_path / "web" / "locale"
    locale.mkdir(parents=True)
    (locale / "de.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "Save"\nmsgstr "Los"\n'
    )
    catalogues = load_catalogues(tmp_path)
    assert catalogues["de"].gettext("Save") == "Los"
    assert choose_catalogue(catalogues, "xx") == "en"
    (locale / "fr.po").write_text("msgid nonsense\n")
    with pytest.raises(TemplateError, match=r"fr\.po: it is no gettext catalogue"):
        load_catalogues(tmp_path)
