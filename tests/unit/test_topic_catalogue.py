"""topics.toml: what is read from it, and the sentence that each mistake gets."""

import pytest

from newsletter.core.errors import ConfigError
from newsletter.core.model import Topic
from newsletter.core.topics.catalogue import parse_catalogue

KEYS = "a topic has name, description, parent, keywords, sections, languages"
GOOD = """
# a catalogue
[topics.sport]
name = " Sport "
description = "Matches"
keywords = ["match", "WHO"]
sections = ["Athletics"]
languages = ["en-GB", "de"]

[topics."foot-ball_2"]
name = "Football"
parent = "sport"
"""


def test_everything_a_topic_may_hold() -> None:
    sport = Topic(
        id="sport",
        name="Sport",
        description="Matches",
        keywords=("match", "WHO"),
        sections=("Athletics",),
        languages=("en", "de"),
    )
    football = Topic(id="foot-ball_2", name="Football", parent="sport")
    catalogue = parse_catalogue(GOOD, source="topics.toml")
    assert list(catalogue.items()) == [("sport", sport), ("foot-ball_2", football)]


def test_an_empty_file_is_an_empty_catalogue() -> None:
    assert parse_catalogue("# nothing yet\n", source="topics.toml") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[topics.a]\nname = "A"\n\n[topics.a]\nname = "B"\n',
            "t.toml, line 4: Cannot declare ('topics', 'a') twice",
        ),
        ('[topics.a]\nname = "A"\nname = "B"', "t.toml, line 3: Cannot overwrite a value"),
        ("[topics.a\n", "t.toml, line 1: Expected ']' at the end of a table declaration"),
        ('[topic.a]\nname = "A"\n', "t.toml: 'topic' is not known here, topics stand in tables [topics.ID]"),
        ("topics = 3\n", "t.toml: topics must be tables [topics.ID], not 3"),
        ("[topics]\na = 3\n", "t.toml: topic 'a' must be a table [topics.a], not 3"),
        (
            '# one\n[topics.Sport]\nname = "S"\n',
            "t.toml, line 2: the topic id 'Sport' may hold only the letters a to z, digits, - and _",
        ),
        (
            '[topics."*"]\nname = "S"\n',
            "t.toml, line 1: the topic id '*' may hold only the letters a to z, digits, - and _",
        ),
        (
            '[topics."a;b"]\nname = "S"\n',
            "t.toml, line 1: the topic id 'a;b' may hold only the letters a to z, digits, - and _",
        ),
        ('[topics.a]\ndescription = "A"\n', "t.toml, line 1: topic 'a' has no name"),
        ('[topics.a]\nname = " "\n', "t.toml, line 2: 'name' of topic 'a' is empty"),
        ("[topics.a]\nname = 7\n", "t.toml, line 2: 'name' of topic 'a' must be text, not 7"),
        (
            '[topics.b]\nname = "B"\nwords = 1\n[topics.a]\nname = "A"\nwords = ["x"]\n',
            f"t.toml, line 3: 'words' of topic 'b' is not known, {KEYS}",
        ),
        ('[topics.a]\ndescription = "A"\n[topics.b]\nname = "B"\n', "t.toml, line 1: topic 'a' has no name"),
        (
            '[topics.a]\nname = "A"\nkeywords = "x"\n',
            "t.toml, line 3: 'keywords' of topic 'a' must be a list of texts, not 'x'",
        ),
        (
            '[topics.a]\nname = "A"\nsections = ["x", 1]\n',
            "t.toml, line 3: 'sections' of topic 'a' must hold texts only, not 1",
        ),
        (
            '[topics.a]\nname = "A"\nkeywords = ["x", "…"]\n',
            "t.toml, line 3: 'keywords' of topic 'a' holds '…', which has no letter or digit",
        ),
        (
            '[topics.a]\nname = "A"\nlanguages = ["English!"]\n',
            "t.toml, line 3: 'languages' of topic 'a' holds 'English!', which is not a language such as en or pt-BR",
        ),
        (
            '[topics.a]\nname = "A"\nparent = "b"\n',
            "t.toml, line 3: topic 'a' has the unknown parent 'b'",
        ),
        (
            '[topics.a]\nname = "A"\nparent = "a"\n',
            "t.toml, line 3: the parents of topic 'a' go in a circle: a → a",
        ),
        (
            '[topics.a]\nname = "A"\nparent = "b"\n[topics.b]\nname = "B"\nparent = "a"\n',
            "t.toml, line 3: the parents of topic 'a' go in a circle: a → b → a",
        ),
        (
            'topics.a = {name = "A", parent = "b"}\n',
            "t.toml: topic 'a' has the unknown parent 'b'",
        ),
    ],
)
def test_mistakes_are_named_with_file_line_and_value(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_catalogue(text, source="t.toml")
    assert str(caught.value) == sentence
