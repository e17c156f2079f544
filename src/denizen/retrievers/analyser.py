"""What words of a text keyword search counts: the stems of a language, pairs of letters where no spaces are written."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.versions import installed
from denizen.retrievers.corpus_language import (
    BURMESE,
    KHMER,
    LANGUAGES,
    WITHOUT_SPACES,
    is_written_in_latin,
    marks,
)

# raised by hand when the terms of a text change
_VERSION = 1
# Snowball's algorithms (PyStemmer 3.1)
_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
# those that bm25s has; of the other languages the most frequent small words are left out
_STOP_WORDS = {
    "da": "DANISH",
    "de": "GERMAN",
    "en": "EN",
    "es": "SPANISH",
    "fr": "FRENCH",
    "it": "ITALIAN",
    "nl": "DUTCH",
    "no": "NORWEGIAN",
    "pt": "PORTUGUESE",
    "ru": "RUSSIAN",
    "sv": "SWEDISH",
    "tr": "TURKISH",
}
# where people leave accents out when they type; elsewhere a letter with one is another letter (as in Lucene's light
# stemmers, which take them off after the stem is found)
_ACCENTS_LEFT_OUT = ("ca", "en", "es", "fr", "it", "pt")
_ACCENTS = re.compile("[\u0300-\u036f]")
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae"})
# what nobody sees or types: soft hyphens, joiners, marks of direction, and of Arabic and Hebrew vowels
_UNSEEN = "\u00ad\u200d-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u0640\u0591-\u05bd\u05bf\u05c1-\u05c7\u064b-\u065f\u0670"
_BEFORE_A_FIGURE = ("§", r"§\s", r"[^\W\d_][.-]", r"[^\W\d_]\d[.-]", r"[^\W\d_]\d\d[.-]")
# NFKC makes letters of them, which the word before would end in
_TRADE_MARKS = "\u2120\u2122"


@dataclass(frozen=True)
class Analyser:
    """Texts to the terms that are compared, the same for passages and queries.

    Words of two characters and more count, and single letters ("vitamin C", "10-K"), not what an apostrophe cuts off
    ("patient's", "l'impôt") and no single figures: in tables they are everywhere. Words are stemmed, and stop words
    left out, as the language has it; Latin words among others are taken for English.

    Where a script has no spaces, each letter and each pair of neighbours is a term, whatever the language (Lucene's
    CJKBigramFilter with outputUnigrams; Nie et al. 2000, On the use of words and n-grams for Chinese information
    retrieval). A letter there comes with its vowel signs, a number beside one counts as a letter ("第5条").

    Attributes:
        language: That of most of the corpus, as two letters (ISO 639-1); "": unknown, words are taken as they are.
        pairs: Whether two neighbouring words are a term besides (statistical phrases: Salton, Yang and Yu 1975), which
            stop words between them do not part: "cost of sales" is a pair.
    """

    language: str = "en"
    pairs: bool = False

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When the language is no code, or pairs is no bool.
        """
        if not isinstance(self.language, str) or not re.fullmatch("(?:[a-z]{2})?", self.language):
            raise InputError(f'language {self.language!r} is no code of two letters, such as "de", and not ""')
        if not isinstance(self.pairs, bool):
            raise InputError(f"pairs is {self.pairs!r}; it must be true or false")

    @property
    def name(self) -> str:
        """What people call it, as "German, stemmed"."""
        name, _ = LANGUAGES.get(self.language, (self.language, ""))
        if self.language in LANGUAGES and not LANGUAGES[self.language][1]:
            return f"{name}, letters and their pairs"
        how = "stemmed" if self.language in _STEMMERS else "words as they are"
        return (f"{name}, {how}" if name else how) + (", and pairs of words" if self.pairs else "")

    @property
    def record(self) -> dict[str, Any]:
        """What decides the terms: indexes are comparable where it is the same."""
        known = {"language": self.language, "version": _VERSION, "PyStemmer": installed("PyStemmer")}
        # what was kept before there were pairs says nothing of them
        return {**known, "pairs": True} if self.pairs else known

    def terms(self, texts: Iterable[str]) -> list[list[str]]:
        """The terms of each text."""
        split = [self._split(text) for text in texts]
        distinct = list(dict.fromkeys(itertools.chain.from_iterable(words + letters for words, letters in split)))
        stem_of = dict(zip(distinct, self._stems(distinct), strict=True))
        found = []
        for words, letters in split:
            stems = [stem_of[word] for word in words]
            # no stem has a space in it
            pairs = map(" ".join, itertools.pairwise(stems)) if self.pairs else ()
            found.append([*stems, *(stem_of[letter] for letter in letters), *pairs])
        return found

    def _split(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a text; and letters and their pairs, where no spaces are written."""
        text = _normalised(text, self.language)
        forms, stops = _forms(), _stop_words(self.language)
        if text.isascii() or not forms.without_spaces.search(text):
            return [word for word in forms.word.findall(text) if word not in stops], []
        found = [word for word in forms.word.findall(forms.without_spaces.sub(" ", text)) if word not in stops]
        beside: list[str] = []
        for run in forms.without_spaces.findall(text):
            letters = forms.letter.findall(run)
            beside += [*letters, *map("".join, itertools.pairwise(letters))]
        return found, beside

    def _stems(self, words: Sequence[str]) -> list[str]:
        known = self.language in LANGUAGES
        if self.language == "en" or (known and not is_written_in_latin(self.language)):
            latin = [_plain(word) if word[0] <= "\u024f" else word for word in words]
            words = _stemmer("en")(latin)
        if self.language in _STEMMERS and self.language != "en":
            words = _stemmer(self.language)(words)
        return [_plain(word) for word in words] if self.language in _ACCENTS_LEFT_OUT else list(words)


@dataclass(frozen=True)
class _Forms:
    """What a word is, a stretch of a script without spaces, and a letter of one."""

    word: re.Pattern[str]
    without_spaces: re.Pattern[str]
    letter: re.Pattern[str]


@functools.cache
def _forms() -> _Forms:
    # vowel signs and accents are no \w to Python: without them no word of Hindi stays whole
    part, letter = rf"\w{marks()}", rf"[{WITHOUT_SPACES}]"
    lone = rf"(?<![{part}'’])[^\W\d_](?![{part}'’])"
    # a section ("§ 5"), or the end of a code ("W-2", "E11.9")
    codes = "|".join(rf"(?<={before})\d(?!\w)" for before in _BEFORE_A_FIGURE)
    run = rf"(?:(?<!\w)\d+(?={letter}))?{letter}(?:{letter}|[{marks()}]|\d++(?![a-z_]))*"
    # the vowel that is written before a Thai or Lao letter, what Khmer and Burmese stack below one, what follows
    stacked = f"[\u17d2\u1039][{KHMER}{BURMESE}]"
    before = "(?:[\u0e40-\u0e44\u0ec0-\u0ec4](?=[\u0e01-\u0e2e\u0e81-\u0eae]))?"
    after = "[\u0e30\u0e32\u0e45\u0eb0\u0eb2]*"
    one = rf"\d+|{before}{letter}(?:{stacked}|[{marks()}])*{after}"
    return _Forms(re.compile(rf"[{part}]{{2,}}|{lone}|{codes}"), re.compile(run), re.compile(one))


def _normalised(text: str, language: str) -> str:
    """A text with one form of each letter that can be written in several, and in lower case."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_cleaning()))
    if language in ("az", "tr"):
        text = text.replace("I", "ı").replace("İ", "i")
    return text.lower()


@functools.cache
def _cleaning() -> dict[int, str]:
    unseen = re.compile(f"[{_UNSEEN}]")
    found = {code: "" for code in range(0x10000) if unseen.match(chr(code))}
    found |= {ord(mark): " " for mark in _TRADE_MARKS}
    figures = ((code, unicodedata.decimal(chr(code), None)) for code in range(0x80, 0x20000))
    return found | {code: str(value) for code, value in figures if value is not None}


@functools.cache
def _stop_words(language: str) -> frozenset[str]:
    if language not in LANGUAGES:
        return frozenset()
    own = LANGUAGES[language][1].split()
    english = frozenset() if is_written_in_latin(language) else _stop_words("en")
    import bm25s.stopwords

    listed = getattr(bm25s.stopwords, f"STOPWORDS_{_STOP_WORDS[language]}") if language in _STOP_WORDS else own
    return english | frozenset(_normalised(word, language) for word in listed)


@functools.cache
def _stemmer(language: str) -> Callable[[Sequence[str]], list[str]]:
    import Stemmer

    stem_words: Callable[[Sequence[str]], list[str]] = Stemmer.Stemmer(_STEMMERS[language]).stemWords
    return stem_words


def _plain(word: str) -> str:
    """A word without accents."""
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", word))).translate(_LIGATURES)
