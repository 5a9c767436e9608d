"""What a text is to its reader: its language by its letters, and how long it takes to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.mails.texts import (
    find_base_direction,
    find_language,
    find_script_direction,
    isolate_text,
    measure_reading,
)


@pytest.mark.parametrize(
    ("text", "declared", "language"),
    [
        ("Harbour bridge reopens", "en", "en"),
        ("Die Brücke ist offen", "de", "de"),
        ("Die Brücke ist offen", "ar", "en"),
        ("Harbour bridge reopens", "ar", "en"),
        ("شهر جديد", "en", "ar"),
        ("شہر میں نئے کتب خانے", "en", "ur"),
        ("خبرهای گرم", "en", "fa"),
        ("شہر میں نئے کتب خانے", "ar", "ar"),
        ("כותרות היום", "en", "he"),
        ("כותרות היום", "yi", "yi"),
        ("港口大桥重新开放", "en", "zh"),
        ("港口大桥重新开放", "ja", "ja"),
        ("橋が再び開きました", "en", "ja"),
        ("다리가 다시 열렸다", "en", "ko"),
        ("Мост открыт", "en", "ru"),
        ("Міст відкрито", "uk", "uk"),
        ("Η γέφυρα άνοιξε", "en", "el"),
        ("पुल खुल गया", "en", "hi"),
        ("สะพานเปิด", "en", "th"),
        ("12:30 — 😀", "en", "en"),
        ("12:30", "ar", "ar"),
        ("The word שלום stands in an English text", "en", "en"),
        ("", "ur", "ur"),
    ],
)
def test_the_letters_say_where_a_declared_language_cannot_be(text: str, declared: str, language: str) -> None:
    assert find_language(text, declared) == language


@given(st.text(), st.sampled_from(["en", "ar", "zh", "de-AT", "sr"]))
def test_every_text_has_a_language_and_a_time(text: str, declared: str) -> None:
    assert find_language(text, declared)
    assert measure_reading(text) >= 0


def test_the_time_goes_by_words_or_by_characters() -> None:
    assert measure_reading("word " * 230) == 60
    assert measure_reading("港" * 400) == 60
    assert measure_reading("港" * 400 + " word" * 230) == 120


@pytest.mark.parametrize(
    ("text", "usual", "direction"),
    [
        ("Harbour bridge", "rtl", "ltr"),
        ("שלום", "ltr", "rtl"),
        ("OpenStreetMap מפרסמת גרסה", "rtl", "rtl"),
        ("OpenStreetMap מפרסמת גרסה חדשה של המפה ושל כל האתרים", "ltr", "rtl"),
        ("The word שלום stands in it", "rtl", "ltr"),
        ("12:30 — 😀", "rtl", "rtl"),
        ("12", "ltr", "ltr"),
        ("", "rtl", "rtl"),
    ],
)
def test_the_usual_direction_holds_where_a_third_of_the_letters_have_it(text: str, usual: str, direction: str) -> None:
    assert find_base_direction(text, usual) == direction


def test_only_text_of_the_other_direction_is_isolated() -> None:
    assert isolate_text("paper.example", "ltr") == "paper.example"
    assert isolate_text("paper.example", "rtl") == "\u2068paper.example\u2069"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Apple تطلق iPhone 20 Pro أعلنت الشركة عن هاتف iPhone 20 Pro وساعة Apple Watch Ultra 4.", "ar"),
        ("نظام جديد https://example.org/a-very-long-address-of-nothing-but-latin-letters", "ar"),
        ("Microsoft: Windows 12 is out, and everybody has to wait.", "en"),
    ],
)
def test_names_and_addresses_in_latin_letters_make_no_arabic_story_english(text: str, language: str) -> None:
    assert find_language(text, "ar") == language
    assert find_script_direction(language) == {"ar": "rtl", "en": "ltr"}[language]
