"""What rows bench/losses.py makes of what a reranker says, and the loss that is its own."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from denizen.training.losses import Relevance

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("losses")


def test_what_scores_above_the_answer_is_no_negative_and_may_be_an_answer(bench: ModuleType) -> None:
    mined = bench.Mined({"q": ["a", "b", "c"]}, {}, {"q": ["b", "a"]})
    rows = {name: way.row("q", "own", mined) for name, way in bench.WAYS.items()}
    assert rows["infonce"] == rows["hardness"] == [["own", "a"]]
    assert rows["listwise"] == rows["graded-bce"] == [["own", "a", "b"]]
    assert rows["dropped"] == [["own", "c"]]
    # the best of those above it, with the same negative
    assert rows["promoted"] == [["own", "c"], ["b", "c"]]


def test_hardness_weights_the_nearer_negative_more_and_equal_ones_not_at_all(
    bench: ModuleType, tiny_encoder: Path
) -> None:
    """One query at cosine 1 of its answer, with two negatives, at a temperature of 1. Both at cosine 0: weights of 1,
    ln(1 + 2 / e) = .5514. At 1 and 0: weights 2 e / (1 + e) and 2 / (1 + e), ln(1 + 2 (e + 1 / e) / (1 + e)) = .9783.
    """
    relevance = Relevance(np.array([[0, 1, 2]]), np.array([0]), [frozenset({0})])
    loss = bench._Hardness(SentenceTransformer(str(tiny_encoder)), relevance, 1.0)
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert loss.mean([one, one, other, other], [0]).item() == pytest.approx(0.5514, abs=1e-4)
    assert loss.mean([one, one, one, other], [0]).item() == pytest.approx(0.9783, abs=1e-4)


def test_a_set_counts_once_however_many_seeds_it_has(bench: ModuleType) -> None:
    keys = ("MRR@5", "nDCG@10", "MRR@5 with BM25", "nDCG@10 with BM25")

    def part(name: str, gain: float) -> dict[str, object]:
        values = {
            way: {key: [0.5 + of, 0.7 + of] for key in keys} for way, of in (("infonce", 0.0), ("listwise", gain))
        }
        return {"set": name, "values": values}

    found = bench.summary([part("a", 0.1), part("a", 0.3), part("b", -0.1)])
    assert found["a"]["listwise"]["over"]["MRR@5"]["value"] == pytest.approx(0.2)
    assert found["mean"]["listwise"]["over"]["MRR@5"]["value"] == pytest.approx(0.05)
