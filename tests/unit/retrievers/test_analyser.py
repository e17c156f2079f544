"""What keyword search counts as a term, by language and by script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.retrievers.analyser import _STEMMERS, _STOP_WORDS, Analyser
from denizen.retrievers.corpus_language import LANGUAGES


def terms(text: str, language: str = "en") -> list[str]:
    (found,) = Analyser(language).terms([text])
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Which toes does gout hurt?", ["which", "toe", "doe", "gout", "hurt"]),
        ("Vitamin C and the patient's 10-K", ["vitamin", "c", "patient", "10", "k"]),
        ("type 2, E11.9, W-2, § 5, §7", ["type", "e11", "9", "w", "2", "5", "7"]),
        ("1 234 5", ["234"]),
        ("Sjo\u0308gren, SJÖGREN’S, Sjogren", ["sjogren"] * 3),
        ("naïve résumés of naive resumes", ["naiv", "resum", "naiv", "resum"]),
        ("soft\u00adware Lipitor™ ﬁle", ["softwar", "lipitor", "file"]),
    ],
)
def test_english(text: str, wanted: list[str]) -> None:
    assert terms(text) == wanted


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("de", "die Verträge", "des Vertrags"),
        ("fr", "l’impôt des sociétés", "impots de la societe"),
        ("es", "los contratos", "el contrato"),
        ("ru", "договоры", "договора"),
        ("ar", "العَقْدُ", "العقد"),
        ("fa", "کتاب‌ها ۱۲", "کتاب 12"),
        ("tr", "SİGORTASI IŞIK", "sigortası ışık"),
        ("pl", "umowy", "umowa"),
        ("no", "forsikringer", "forsikring"),
        ("hi", "किताबें", "किताब"),
        # Latin words among others are taken for English
        ("ru", "insurance policies", "policy insurances"),
        ("zh", "insurance policies", "policy insurances"),
    ],
)
def test_forms_of_a_word_are_one_term_in_its_language(language: str, one: str, other: str) -> None:
    assert sorted(terms(one, language)) == sorted(terms(other, language)) != []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("糖尿病", ["糖", "尿", "病", "糖尿", "尿病"]),
        ("癌", ["癌"]),
        ("第5条", ["第", "5", "条", "第5", "5条"]),
        ("COVID19感染。ﾄﾞｸ", ["covid19", "感", "染", "感染", "ド", "ク", "ドク"]),
        ("병원", ["병", "원", "병원"]),
        # vowels written before a letter, above it, and behind it
        ("เบาหวาน", ["เบา", "ห", "วา", "น", "เบาห", "หวา", "วาน"]),
        ("ໂລກ", ["ໂລ", "ກ", "ໂລກ"]),
        ("ខ្មែរ", ["ខ្មែ", "រ", "ខ្មែរ"]),
        ("မြန်", ["မြ", "န်", "မြန်"]),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh", "de", ""])
def test_scripts_without_spaces_are_cut_into_letters_and_pairs(text: str, wanted: list[str], language: str) -> None:
    assert terms(text, language) == wanted


def test_words_with_vowel_signs_stay_whole() -> None:
    """Marks are no letters to Python: by its \\w, "हिन्दी" would be three letters, of which none is kept."""
    assert terms("हिन्दी தமிழ் שָׁלוֹם", "") == ["हिन्दी", "தமிழ்", "שלום"]


@given(st.text(max_size=40), st.sampled_from(["en", "de", "tr", "th", "zh", ""]))
def test_any_text_has_terms_that_are_not_empty(text: str, language: str) -> None:
    assert all(term and term == term.strip() for term in terms(text, language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_leaves_out_its_small_words_and_says_whether_it_stems(language: str) -> None:
    small = LANGUAGES[language][1].split()
    if language not in _STOP_WORDS:
        assert terms(" ".join(small), language) == []
    assert (", stemmed" in Analyser(language).name) == (language in _STEMMERS)


def test_names() -> None:
    names = [Analyser(language).name for language in ("en", "zh", "vi", "", "xx")]
    assert names == [
        "English, stemmed",
        "Chinese, letters and their pairs",
        "Vietnamese, words as they are",
        "words as they are",
        "xx, words as they are",
    ]


@pytest.mark.parametrize("language", ["english", "DE", "d", None, 7, ["de"], "de\n"])
def test_what_is_no_code_is_refused(language: object) -> None:
    with pytest.raises(InputError, match="is no code of two letters"):
        Analyser(language)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the cost of sales", ["cost", "sale", "cost sale"]),
        ("Costs rose", ["cost", "rose", "cost rose"]),
        ("gout", ["gout"]),
        ("of the", []),
        # words beside a script without spaces are neighbours; its letters have pairs already
        ("GDP 中国 growth", ["gdp", "growth", "中", "国", "中国", "gdp growth"]),
    ],
)
def test_pairs_are_those_of_neighbouring_stems(text: str, wanted: list[str]) -> None:
    (found,) = Analyser("en", pairs=True).terms([text])
    assert found == wanted


@given(st.text())
def test_pairs_only_add(text: str) -> None:
    (alone,), (both,) = Analyser().terms([text]), Analyser(pairs=True).terms([text])
    assert both[: len(alone)] == alone
    assert all(term.count(" ") == 1 for term in both[len(alone) :])


def test_pairs_are_no_other_than_true_or_false() -> None:
    with pytest.raises(InputError, match="pairs is 'yes'; it must be true or false"):
        Analyser("en", "yes")  # type: ignore[arg-type]
    assert Analyser("de", pairs=True).name == "German, stemmed, and pairs of words"
    assert Analyser("ja", pairs=True).name == Analyser("ja").name
    assert Analyser("en", pairs=True).record != Analyser("en").record
