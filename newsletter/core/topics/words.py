"""Cuts text into comparable words: marks removed, acronyms closed up, words stemmed in the story's language.

Uses snowballstemmer; a language that it does not know (Urdu, Hebrew) is only folded. Scripts that write no spaces are
left to raw substrings, see `UNSPACED`.
"""

import re
import unicodedata
from functools import lru_cache

import snowballstemmer

_RANGES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RANGES += "\U00020000-\U0003ffff"
_INNER_MARKS = "\u0300-\u036f\u0900-\u0963\u0966-\u0dff"
UNSPACED = re.compile(f"[{_RANGES}]")
"""A character of Thai, Lao, Burmese, Khmer, Han or Kana: scripts without spaces between words."""

_WORD = re.compile(rf"[\w{_INNER_MARKS}]+")
_ACRONYM_DOT = re.compile(r"\.(?<=\b[^\W\d_]\.)(?=[^\W\d_]\b)")
_POSSESSIVE = re.compile(r"['’]s\b", re.IGNORECASE)
_ARABIC_ARTICLE = re.compile(r"^(?:[وفبك]?ال|لل)(?=\w{3})")
_DOTTED_I = str.maketrans({"I": "ı", "İ": "i"})

# Soft hyphen, zero-width (non-)joiner, Hebrew points, Arabic vowel signs and tatweel carry no meaning here; Arabic and
# Urdu keyboards write kaf and yeh by different code points.
_POINTS = {*range(0x591, 0x5C8)} - {0x5BE, 0x5C0, 0x5C3, 0x5C6}  # of Hebrew: the maqaf and three others are punctuation
_SILENT = [0xAD, 0x200C, 0x200D, 0x640, 0x670, *_POINTS, *range(0x610, 0x61B), *range(0x64B, 0x660)]
_LETTERS = {**dict.fromkeys(_SILENT, None), ord("ک"): "ك", ord("ی"): "ي", ord("_"): " "}

_ALGORITHMS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish",
    "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian",
    "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch", "nn": "norwegian",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


def primary_language(tag: str) -> str:
    """The language of a tag without its region or script: `pt` of `pt-BR` (BCP 47)."""
    return tag.replace("_", "-").partition("-")[0].strip().lower()


def normalise(text: str) -> str:
    """Compatibility forms (NFKC) and letters that only look different made one; case stays."""
    return text.replace("_", " ") if text.isascii() else unicodedata.normalize("NFKC", text).translate(_LETTERS)


def split_words(text: str) -> list[str]:
    """The words of normalised text as they are written: `U.S.` is `US`, `Anna's` is `Anna`, `e-mail` is two words."""
    plain = _ACRONYM_DOT.sub("", _POSSESSIVE.sub("", text))
    return _WORD.findall(plain if plain.isascii() else UNSPACED.sub(" ", plain))


@lru_cache(maxsize=1 << 16)
def stem_word(word: str, language: str) -> str:
    """One word, folded and stemmed. Snowball's stemmers keep state, so each call gets its own: safe in threads."""
    folded = word.translate(_DOTTED_I).casefold() if language in {"az", "tr"} else word.casefold()
    if language not in _ALGORITHMS or not folded.isalpha():
        return folded
    stemmer = snowballstemmer.stemmer(_ALGORITHMS[language])
    if language != "ar":
        return str(stemmer.stemWord(folded))
    # One pass leaves `مكتبات` and `مكتبة`, and words with and without the article, on different stems (snowball 3.1.1).
    return str(stemmer.stemWord(stemmer.stemWord(_ARABIC_ARTICLE.sub("", folded))))
