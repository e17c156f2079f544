"""Of which language most of a corpus is."""

from __future__ import annotations

import pytest

from denizen.retrievers.corpus_language import LANGUAGES, corpus_language, is_written_in_latin

SENTENCES = {
    "en": "Gout is a disease of the joints, and it is treated with rest.",
    "de": "Der Versicherungsnehmer ist verpflichtet, den Schaden dem Versicherer zu melden.",
    "da": "Forsikringen dækker ikke skader, der blev anmeldt efter at aftalen er ophørt.",
    "no": "Forsikringen dekker ikke skader som ble meldt etter at avtalen er opphørt.",
    "sv": "Försäkringen ersätter inte skador som har anmälts för sent och som är små.",
    "es": "El contrato de seguro no cubre los daños que una persona causa con su coche.",
    "pt": "O contrato de seguro não cobre os danos que uma pessoa causa com o seu carro.",
    "it": "Il contratto non copre i danni che una persona causa con la sua auto, e gli altri sono inclusi.",
    "fr": "Le contrat ne couvre pas les dommages qui sont causés par une personne dans la rue.",
    "nl": "De verzekering dekt geen schade die het gevolg is van opzet, en ook niet door water.",
    "fi": "Vakuutus ei korvaa vahinkoa, joka on aiheutettu tahallaan, mutta muut se korvaa.",
    "pl": "Umowa nie obejmuje szkód, które są małe lub powstały z winy ubezpieczonego.",
    "cs": "Pojištění se nevztahuje na škody, které jsou malé nebo vznikly úmyslně.",
    "sk": "Poistenie sa nevzťahuje na škody, ktoré sú malé alebo vznikli úmyselne.",
    "ru": "Договор не покрывает ущерб, который причинен умышленно, так как это не является случаем для выплаты.",
    "uk": "Договір не покриває шкоду, що була завдана навмисно, або під час війни та для вигоди.",
    "sr": "Уговор не покрива штету која је настала у рату, као и ону која није пријављена од стране клијента.",
    "el": "Το συμβόλαιο δεν καλύπτει τις ζημιές που είναι μικρές και για την υγεία.",
    "ar": "هذا العقد لا يغطي الأضرار التي كان قد تم الإبلاغ عنها بعد ذلك",
    "fa": "این قرارداد خسارت را که در خانه رخ می دهد پوشش نمی‌دهد",
    "ur": "یہ معاہدہ گھر میں ہونے والے نقصان کو شامل نہیں کرتا ہے",
    "hi": "यह बीमा घर में हुए नुकसान को शामिल नहीं करता है",
    "tr": "Bu sigorta kasıtlı olarak verilen zararlar için değil ve çok küçük zararlar da yok.",
    "vi": "Hợp đồng bảo hiểm này không bao gồm các thiệt hại do cố ý",
    "zh": "糖尿病患者的胰岛素治疗 (insulin)",
    "ja": "糖尿病の治療について",
    "ko": "당뇨병 환자의 insulin 치료",
    "th": "การรักษาโรคเบาหวาน",
    "lo": "ພະຍາດເບົາຫວານ",
    "km": "ជំងឺទឹកនោមផ្អែម",
    "my": "ဆီးချိုရောဂါ",
}


@pytest.mark.parametrize(("language", "sentence"), SENTENCES.items())
def test_a_sentence_is_enough(language: str, sentence: str) -> None:
    assert corpus_language([sentence]) == language


def test_most_passages_decide_and_their_order_does_not() -> None:
    english, german, bare = SENTENCES["en"], SENTENCES["de"], "Revenue 12 345"
    assert corpus_language([english, german, german, bare, bare, bare]) == "de"
    assert corpus_language([german, english]) == corpus_language([english, german]) == "de"
    # 3,000 passages, of which every sixth is looked at
    assert corpus_language(1000 * [german, german, english]) == "de"


@pytest.mark.parametrize(
    ("passages", "language"),
    [
        ([], "en"),
        (["", "12 345"], "en"),
        (["gout", "lupus rash"], "en"),
        (["def get_name(self): return self._name"], "en"),
        (["საქართველოს კანონი"], ""),
    ],
)
def test_without_running_text_latin_letters_are_english(passages: list[str], language: str) -> None:
    assert corpus_language(passages) == language


def test_which_are_written_in_latin() -> None:
    assert {name for name in LANGUAGES if not is_written_in_latin(name)} == {
        *("ar", "be", "bg", "el", "fa", "he", "hi", "hy", "mk", "mr", "ne", "ru", "ta", "uk", "ur", "yi"),
        *("ja", "km", "ko", "lo", "my", "th", "zh"),
    }
