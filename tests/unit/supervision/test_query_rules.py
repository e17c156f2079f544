"""What no user's query says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.supervision.query_rules import COPIED_WORDS, PassageWords, copies, speaks_of_source


@pytest.mark.parametrize(
    "query",
    [
        "What is the passage about?",
        "What is the main topic of the passage about?",
        "What does this study say about gout?",
        "Who are the authors?",
        "What is shown in Table 3?",
        "What is in Appendix II?",
        "What is the code 44281229 used for in the passage?",
        "According to the above text, who pays?",
        "What factors are mentioned above?",
        "What did the researchers find?",
        "Worum geht es im Text?",
        "Was sagt der vorliegende Abschnitt über Gicht?",
        "Welche Werte zeigt die Tabelle?",
        "De quoi parle l'extrait ?",
        "Que dit cet article sur la goutte ?",
        "¿De qué trata el texto?",
        "¿Qué concluye este estudio?",
        "Di cosa parla il brano?",
        "Quali dati riporta l'articolo?",
        "Do que trata o texto?",
        "O que diz este artigo?",
        "Waar gaat de tekst over?",
        "Vad handlar texten om?",
        "Hvad handler teksten om?",
        "Mitä tekstissä sanotaan?",
        "O czym jest mowa w tekście?",
        "O čem je řeč v textu?",
        "О чём говорится в тексте?",
        "Про що йдеться у тексті?",
        "Bu metinde ne anlatılıyor?",
        "Apa isi teks ini?",
        "本文主要讲了什么？",
        "这段文字说了什么？",
        "この文章は何についてですか？",
        "본문에서 말하는 것은 무엇인가?",
        "이 글의 주제는?",
        "ماذا يقول هذا النص؟",
        "इस पाठ में क्या कहा गया है?",
    ],
)
def test_what_speaks_of_its_source_is_told(query: str) -> None:
    assert speaks_of_source(query)


@pytest.mark.parametrize(
    "query",
    [
        "What does section 409A of the tax code require?",
        "When does a tenant have to give notice?",
        "How does the study of birds help ecology?",
        "Which document must be filed with a Form 10-K?",
        "chapter 11 bankruptcy deadline",
        "What is the HeteSim measure and how is it used to measure the similarities between lncRNAs and proteins?",
        "Who may sign Schedule K?",
        "How is a table of contents made?",
        "What are text messages subject to under the TCPA?",
        "What is passage money?",
        "Wie hoch ist der Steuersatz nach Artikel 5 des Gesetzes?",
        "Was verlangt der Artikel 17 der DSGVO?",
        "Wie lange dauert die Probezeit?",
        "Quel est le taux de l'article 12 du code ?",
        "¿Cuánto cuesta el permiso?",
        "Qual è la pena per il furto?",
        "Qual o prazo para recorrer?",
        "Hoe lang is de opzegtermijn?",
        "Hur lång är uppsägningstiden?",
        "Какой срок исковой давности?",
        "Ceza zamanaşımı kaç yıldır?",
        "诉讼时效是多久？",
        "時効は何年ですか？",
        "소멸시효는 몇 년인가?",
        "Who wrote the code of conduct of Enron?",
        "What are the figures for revenue in 2020?",
        "How many authors may share a copyright?",
    ],
)
def test_what_names_a_thing_of_the_world_is_not(query: str) -> None:
    assert not speaks_of_source(query)


def test_seven_words_in_a_row_are_no_copy_and_eight_are() -> None:
    assert not copies("is gout a form of arthritis that causes", "gout a form of arthritis that causes sudden pain")
    assert copies("is gout a form of arthritis that causes sudden", "Gout a form of arthritis, that causes sudden pain")


def test_a_technical_question_is_no_copy() -> None:
    """Nine words of it stand in a row in the passage, of which three are terms."""
    query = "How is HeteSim used to measure the similarities between lncRNAs and proteins?"
    passage = "HeteSim is then used to measure the similarities between lncRNAs and proteins in the network."
    assert copies(query, passage)
    terms = {"similarities", "lncrnas", "proteins"}
    assert not copies(query, passage, lambda word: word not in terms)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("what will the company do next", True),
        ("what is the revenue of the company in Norway", True),
        ("what is the revenue of Fjordbank", False),
        # of another ending
        ("which branch is closed", False),
        ("银行的收入是多少", False),
    ],
)
def test_a_query_of_ordinary_words_fits_many_passages(query: str, fits: bool) -> None:
    passage = "The revenue of Fjordbank is what the company lost. Its branches are closed."
    frequent = dict.fromkeys(["what", "is", "the", "company", "revenue", "of", "in", "will", "do", "are", "its"], 11)
    words = PassageWords(1000, frequent)
    assert words.fits_many(query, [passage]) == fits
    # of few passages nothing is known
    assert not PassageWords(199, frequent).fits_many(query, [passage])


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_copies_is_what_all_runs_of_eight_say(query: list[str], passage: list[str]) -> None:
    """As by hand: some window of eight words of the one stands in the other."""
    windows = [passage[at : at + COPIED_WORDS] for at in range(len(passage) - COPIED_WORDS + 1)]
    runs = [query[at : at + COPIED_WORDS] for at in range(len(query) - COPIED_WORDS + 1)]
    assert copies(" ".join(query), " ".join(passage)) == any(run in windows for run in runs)


def test_what_is_ordinary_and_what_names_something() -> None:
    """Of 60 passages three make a word ordinary, of few two; up to five of any number, or one of a hundred, name."""
    words = PassageWords.of([f"the the n{at}" for at in range(57)] + ["often rare"] + ["often"] * 2)
    assert words.passages == 60 and words.counts["the"] == 57
    assert [words.is_ordinary(word) for word in ("the", "often", "rare", "never")] == [True, True, False, False]
    assert [words.names(word) for word in ("the", "often", "rare", "never")] == [False, True, True, True]
    assert PassageWords(2, {"a": 2, "b": 1}).is_ordinary("a") and not PassageWords(2, {"b": 1}).is_ordinary("b")
    assert PassageWords(1000, {"a": 10, "b": 11}).names("a") and not PassageWords(1000, {"b": 11}).names("b")
