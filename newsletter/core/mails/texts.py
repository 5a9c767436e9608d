"""What a text is to its reader: its language, which a screen reader must know, its direction, its time to read.

A story is in its brief's language, unless its letters say otherwise: an Arabic story in an English brief is told by its
script. Nothing guesses between languages of one script but where letters decide it.
"""

import re
import unicodedata
from collections import Counter

WORDS_A_MINUTE = 230  # Brysbaert 2019: 238 for English non-fiction
CHARACTERS_A_MINUTE = 400  # of scripts that write no spaces
ISOLATE_OCTETS = 6  # of the two marks around a text of the other direction
OWN_SHARE = 5  # a fifth of the letters: a report on Apple and Microsoft may have no more in Arabic ones
MOST_CHARACTERS = 2_000  # of a text are looked at

# The letters of a script, and the languages that are written in it, the commonest first.
_SCRIPTS = {
    "latin": (r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]", ()),
    "arabic": (
        r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]",
        ("ar", "ur", "fa", "ps", "sd", "ug", "ckb"),
    ),
    "hebrew": (r"[\u05d0-\u05ea]", ("he", "yi")),
    "kana": (r"[\u3041-\u30ff]", ("ja",)),
    "han": (r"[\u3400-\u9fff\U00020000-\U0003134f]", ("zh", "ja", "yue", "ko")),
    "hangul": (r"[\uac00-\ud7a3]", ("ko",)),
    "cyrillic": (r"[\u0400-\u052f]", ("ru", "uk", "bg", "sr", "be", "mk", "kk", "ky", "mn", "tg")),
    "greek": (r"[\u0370-\u03ff]", ("el",)),
    "devanagari": (r"[\u0900-\u097f]", ("hi", "mr", "ne", "sa")),
    "thai": (r"[\u0e00-\u0e7f]", ("th",)),
}
_LETTERS = {script: re.compile(letters) for script, (letters, _) in _SCRIPTS.items()}
_NOT_LATIN = re.compile(r"[\u0370-\u1dff\u2e80-\uffff\U00010000-\U0010ffff]")
_ADDRESS = re.compile(r"\S+://\S+|www\.\S+|\S+@\S+")
_URDU = re.compile("[ٹڈڑںے]")
_PERSIAN = re.compile("[پچژگ]")
UNSPACED = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\u0e00-\u0e7f\U00020000-\U0003134f]")
_ENGLISH = "en"


def find_language(text: str, declared: str) -> str:
    """The language of a text that is declared to be in one: that, unless hardly a letter of it is written so."""
    sample = _ADDRESS.sub(" ", text[:MOST_CHARACTERS])
    primary = declared.partition("-")[0]
    if primary not in _FOREIGN and not _NOT_LATIN.search(sample):
        return declared
    counts = Counter({script: len(letters.findall(sample)) for script, letters in _LETTERS.items()})
    if counts["kana"] and counts["kana"] * 20 > counts["han"]:
        counts["kana"] += counts["han"]
    script, count = counts.most_common(1)[0]
    languages = _SCRIPTS[script][1]
    own = max((counts[name] for name, (_, written) in _SCRIPTS.items() if primary in written), default=0)
    if not count or primary in languages or own * OWN_SHARE >= counts.total():
        return declared
    if not languages:
        return _ENGLISH if primary in _FOREIGN else declared
    if script == "arabic":
        return "ur" if _URDU.search(sample) else "fa" if _PERSIAN.search(sample) else "ar"
    return languages[0]


def find_script_direction(language: str) -> str:
    """`ltr` or `rtl`, by the script that a language is written in."""
    right_to_left = (*_SCRIPTS["arabic"][1], *_SCRIPTS["hebrew"][1])
    return "rtl" if language.partition("-")[0] in right_to_left else "ltr"


def find_base_direction(text: str, usual: str) -> str:
    """`ltr` or `rtl`: the usual one where a third of the letters have it, or where there are none.

    Not that of the first letter: a Hebrew headline may begin with a name in Latin ones.
    """
    if text.isascii():
        return "ltr" if any(map(str.isalpha, text)) else usual
    counts = Counter(map(unicodedata.bidirectional, text[:MOST_CHARACTERS]))
    letters = {"ltr": counts["L"], "rtl": counts["R"] + counts["AL"]}
    return usual if 3 * letters[usual] >= sum(letters.values()) else "rtl" if usual == "ltr" else "ltr"


def isolate_text(text: str, around: str) -> str:
    """For plain text: a text of the other direction, kept from turning what stands around it (UAX 9, X5c)."""
    return f"\u2068{text}\u2069" if find_base_direction(text, around) != around else text


def measure_reading(text: str) -> int:
    """The seconds that the text takes to read."""
    unspaced = len(UNSPACED.findall(text)) if not text.isascii() else 0
    words = len(UNSPACED.sub("", text).split() if unspaced else text.split())
    return round(60 * (words / WORDS_A_MINUTE + unspaced / CHARACTERS_A_MINUTE))


_FOREIGN = {language for _, languages in _SCRIPTS.values() for language in languages} - {"sr", "mn", "ug"}
"""Languages that are not written in Latin letters."""
