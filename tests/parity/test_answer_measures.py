"""ROUGE-L and BERTScore against the packages that made them known, where these are installed and run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from denizen.answering.bert_score import BertScorer
from denizen.answering.rouge import rouge_l
from tests.conftest import WORDS

pytestmark = pytest.mark.parity


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 30))).capitalize() + "." for _ in range(count)]


def test_rouge_l_is_that_of_rouge_score() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for answer, reference in zip(
        [*texts(200, 1), "", "A_b c's 3.5 %"], [*texts(200, 2), "x", "c a b 3 5"], strict=True
    ):
        expected = scorer.score(reference, answer)["rougeL"].fmeasure
        assert rouge_l(answer, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layer", [1, 2])
def test_bert_score_is_that_of_bert_score(layer: int, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("bert_score")
    # it asks for a slow tokenizer, which transformers 5 makes no more of a folder with a fast one
    from transformers import AutoTokenizer

    monkeypatch.setattr(
        "bert_score.scorer.get_tokenizer", lambda folder, use_fast: AutoTokenizer.from_pretrained(folder)
    )
    answers, references = texts(20, 3), texts(20, 4)
    scorer = package.BERTScorer(model_type=str(tiny_encoder), num_layers=layer, device="cpu", batch_size=1)
    _, _, expected = scorer.score(answers, references)
    found = BertScorer(tiny_encoder, layer).scores(answers, references)
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
