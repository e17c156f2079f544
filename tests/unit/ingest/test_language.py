import random

import pytest

from denizen.ingest import language
from denizen.ingest.language import detected_language

TEXTS = {
    "en": "The buyer shall pay the price within thirty days after the invoice has been received from the seller.",
    "de": "Der Käufer verpflichtet sich, den Kaufpreis innerhalb von dreißig Tagen nach der Rechnung zu zahlen.",
    "fr": "Le vendeur s'engage à livrer les marchandises dans un délai de trente jours à compter de la commande.",
    "es": "El comprador se compromete a pagar el precio dentro de los treinta días siguientes a la factura.",
    "ru": "Покупатель обязуется оплатить товар в течение тридцати дней после получения счёта от продавца.",
    "zh": "卖方应当在收到货款之后三十日之内将全部货物交付给买方，买方应当在收到货物之后七日之内完成验收。" * 2,
}


@pytest.mark.parametrize("expected", TEXTS)
def test_the_language_of_a_sentence(expected):
    assert detected_language(TEXTS[expected]) == expected


def test_capitals_and_figures_do_not_mislead():
    assert detected_language(TEXTS["de"].upper()) == "de"
    table = "\n".join(f"{figure} | {figure * 7:,} | {figure / 3:.2f}%" for figure in range(400))
    assert detected_language(f"{TEXTS['fr']}\n{table}") == "fr"


def test_too_few_letters_are_no_language():
    enough = "The price of all goods is due within thirty days of that said date to firms"
    assert sum(map(str.isalpha, enough)) == 60
    assert detected_language(enough) == "en"
    assert detected_language(enough[:-1] + " 12345 ---- 67890 " * 20) == ""
    assert detected_language("") == ""
    assert detected_language("1,234 | 5,678\n" * 50) == ""


def test_what_is_no_language_is_none():
    letters = random.Random(1)
    noise = " ".join("".join(letters.choices("bcdfghjklmnpqrstvwxz", k=6)) for _ in range(40))
    assert detected_language(noise) == ""


def test_only_the_beginning_middle_and_end_of_a_long_text_are_read(monkeypatch):
    read = []

    class Identifier:
        def classify(self, text):
            read.append(text)
            return "en", 1.0

    monkeypatch.setattr(language, "_identifier", Identifier)
    text = "a" * 1_000 + "x" * 50_000 + "b" * 1_000 + "x" * 50_000 + "c" * 1_000
    assert detected_language(text) == "en"
    assert read == [" ".join(("a" * 1_000, "b" * 1_000, "c" * 1_000))]


def test_a_doubtful_answer_is_none(monkeypatch):
    class Identifier:
        def classify(self, text):
            return "en", 0.49

    monkeypatch.setattr(language, "_identifier", Identifier)
    assert detected_language(TEXTS["en"]) == ""


def test_the_model_is_loaded_once():
    assert language._identifier() is language._identifier()
