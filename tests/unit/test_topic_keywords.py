"""Which words make a keyword fire: inflection, word borders, capitals, punctuation and the scripts of the world."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.model import Block, BlockKind, Span, Story, Topic
from newsletter.core.topics.keywords import TEXT_CHARACTERS, Form, KeywordFinder, compile_keyword, cut_opening
from newsletter.core.topics.words import normalise, primary_language, split_words, stem_word


def fires(keyword: str, title: str, language: str = "en") -> bool:
    topic = Topic(id="t", name="T", keywords=(keyword,))
    return bool(KeywordFinder([topic], language=language).find(Story(title=title)))


@pytest.mark.parametrize(
    ("keyword", "title", "language"),
    [
        ("library", "Two LIBRARIES open", "en"),
        ("Wahl", "Die Wahlen beginnen", "de"),
        ("Brücke", "Neue Brücken", "de"),
        ("Straße", "Neue STRASSEN", "de"),
        ("élection", "Les élections approchent", "fr-CA"),
        ("économie", "L’économie va mieux", "fr"),
        ("biblioteca", "Las bibliotecas abren", "es"),
        ("انتخابات", "بدء الانتخابات اليوم", "ar"),
        ("كرة القدم", "نهائي كرة القدم", "ar"),
        ("مكتبة", "افتتاح المكتبات الجديدة", "ar"),
        ("مَكتَبة", "مكتبة المدينة", "ar"),
        ("کتب خانہ", "نیا کتب خانہ کھل گیا", "ur"),
        ("ראש הממשלה", "נאום ראש־הממשלה הערב", "he"),
        ("کھیل", "كھيل کا میدان", "ur"),
        ("ilkbahar", "İLKBAHAR geldi", "tr"),
        ("ışık", "IŞIK söndü", "tr"),
        ("चुनाव", "चुनाव की तारीख", "hi"),
    ],
)
def test_inflected_forms_and_spellings_fire(keyword: str, title: str, language: str) -> None:
    assert fires(keyword, title, language)


@pytest.mark.parametrize(
    ("keyword", "title"),
    [
        ("try", "A country walk"),
        ("art", "The party starts"),
        ("net", "Internet for all"),
        ("bank", "Bankrupt and embankment"),
        ("night train", "A train at night"),
        ("night train", "Tonight train services stop"),
        ("چین", "چینی مہنگی ہو گئی"),
    ],
)
def test_parts_of_words_and_scattered_phrases_do_not_fire(keyword: str, title: str) -> None:
    assert not fires(keyword, title)


@pytest.mark.parametrize(
    ("keyword", "title", "expected"),
    [
        ("WHO", "The WHO warns", True),
        ("WHO", "The WHO's advice", True),
        ("WHO", "Who is it?", False),
        ("WHO", "WHOLE towns", False),
        ("IT", "Jobs in IT", True),
        ("IT", "it rains", False),
        ("EU", "An EU-wide rule", True),
        ("U.S.", "The US votes", True),
        ("US", "The U.S. votes", True),
        ("US", "The U.S-led talks", True),
        ("US", "Tell us more", False),
        ("COVID-19", "COVID-19 wanes", True),
        ("COVID-19", "Covid-19 wanes", False),
        ("5G", "5G masts", True),
        ("who", "WHO warns", True),
        ("Nasa", "NASA launches", True),
    ],
)
def test_a_keyword_in_capitals_fires_only_so(keyword: str, title: str, expected: bool) -> None:
    assert fires(keyword, title) is expected


@pytest.mark.parametrize(
    ("keyword", "title"),
    [
        ("climate change", "Climate-change report"),
        ("climate-change", "Reports on climate change"),
        ("e-mail", "An E\u2011mail from Anna"),
        ("mayor", "The mayor’s dog"),
        ("mayor", "The mayors' dogs"),
        ("O'Neill", "Meet Mrs O’Neill"),
        ("snake case", "snake_case"),
        ("café", "cafe\u0301 closes"),
        ("cooperation", "co\u00adoperation"),
        ("p.m.", "Doors at 7 p.m. sharp"),
        ("full", "ｆｕｌｌ width"),
    ],
)
def test_hyphens_apostrophes_dots_and_marks(keyword: str, title: str) -> None:
    assert fires(keyword, title)


@pytest.mark.parametrize(
    ("keyword", "title", "language"),
    [
        ("经济", "中国经济学家", "zh"),
        ("サッカー", "女子サッカー決勝", "ja"),
        ("ฟุตบอล", "ทีมฟุตบอลหญิงชนะ", "th"),
        ("AI", "研究用AI技術", "zh"),
        ("ｗｅｂ経済", "WEB経済", "ja"),
        ("经济", "A word like 经济学 in English", "en"),
    ],
)
def test_scripts_without_spaces_match_raw(keyword: str, title: str, language: str) -> None:
    assert fires(keyword, title, language)


def test_languages_of_a_topic_bound_its_keywords() -> None:
    topic = Topic(id="t", name="T", keywords=("Rat",), languages=("de",))
    story = Story(title="Der Rat tagt")
    assert KeywordFinder([topic], language="de-AT").find(story)
    assert KeywordFinder([topic], language="en").find(story) == {}


def test_two_keywords_with_the_same_stem_count_once_in_a_topic_and_for_each_topic() -> None:
    topics = [Topic(id="a", name="A", keywords=("film", "films")), Topic(id="b", name="B", keywords=("filming",))]
    found = KeywordFinder(topics, language="en").find(Story(title="A film"))
    assert {topic: [reason.matched for reason in reasons] for topic, reasons in found.items()} == {
        "a": ["film"],
        "b": ["filming"],
    }


def test_title_counts_three_and_text_one_for_each_time() -> None:
    body = Block(kind=BlockKind.PARAGRAPH, spans=(Span(text="A bridge, two bridges."),))
    found = KeywordFinder([Topic(id="t", name="T", keywords=("bridge",))], language="en").find(
        Story(title="Bridge", blocks=(body,))
    )
    assert [(reason.place, reason.weight) for reason in found["t"]] == [("title", 3.0), ("text", 2.0)]


def test_only_the_opening_counts_to_the_end_of_its_last_word() -> None:
    filler = "x" * (TEXT_CHARACTERS - 4)
    assert cut_opening(f"{filler} bridge and more") == f"{filler} bridge"
    assert cut_opening(f"{'x' * (TEXT_CHARACTERS - 1)} bridge") == f"{'x' * (TEXT_CHARACTERS - 1)} "
    assert cut_opening("x" * 700) == "x" * 700
    assert cut_opening("short") == "short"
    assert cut_opening("") == ""


@pytest.mark.parametrize("keyword", ["", "…", "?!"])
def test_a_keyword_without_letters_is_no_pattern(keyword: str) -> None:
    assert compile_keyword(keyword, language="en") is None
    assert not fires(keyword, "Anything … at all?!")


def test_patterns_say_how_a_keyword_is_looked_for() -> None:
    forms = [compile_keyword(keyword, language="en") for keyword in ("films", "UN", "电影")]
    assert [(form.form, form.text) for form in forms if form] == [
        (Form.STEMMED, " film "),
        (Form.EXACT, " UN "),
        (Form.RAW, "电影"),
    ]


@pytest.mark.parametrize(("tag", "code"), [("pt-BR", "pt"), ("zh_Hant_TW", "zh"), ("EN", "en"), ("", "")])
def test_primary_language(tag: str, code: str) -> None:
    assert primary_language(tag) == code


def test_unknown_languages_are_only_folded() -> None:
    assert stem_word("Bridges", "xx") == "bridges"
    assert stem_word("B2B", "en") == "b2b"


@given(text=st.text(max_size=200), language=st.sampled_from(["en", "ar", "ur", "zh", "tr", "hi", "xx"]))
def test_any_text_splits_into_words_without_spaces(text: str, language: str) -> None:
    words = split_words(normalise(text))
    assert not any(character.isspace() for word in words for character in word)
    assert all(words)
    assert all(stem_word(word, language) for word in words)


@given(word=st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0x24F), min_size=1, max_size=12))
def test_a_word_finds_itself(word: str) -> None:
    assert fires(word, f"Before {word}, after")
