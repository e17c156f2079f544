"""Training sets; training itself is tested end to end."""

from __future__ import annotations

import pytest

from denizen.data.tables import rows_table, table
from denizen.recipes.config import AdaptConfig
from denizen.training.bi_encoder import total_steps, training_set


@pytest.mark.parametrize(
    ("rows", "epochs", "batch_size", "steps"), [(100, 1.0, 32, 4), (100, 0.1, 32, 1), (64, 2.5, 32, 5)]
)
def test_total_steps(rows: int, epochs: float, batch_size: int, steps: int) -> None:
    assert total_steps(rows, AdaptConfig("x", epochs=epochs, batch_size=batch_size)) == steps


def _tables() -> tuple[object, object, object]:
    corpus = table("corpus", {"doc_id": ["a", "b", "c"], "title": ["", "", "C"], "text": ["ta", "tb", "tc"]})
    queries = table("queries", {"query_id": ["q", "r"], "text": ["tq", "tr"]})
    rows = [
        {"query_id": "q", "positive_id": "a", "negative_ids": ["b", "c"], "kind": "hard", "reason": "", "round": 0},
        {"query_id": "r", "positive_id": "b", "negative_ids": ["c"], "kind": "hard", "reason": "", "round": 0},
    ]
    return rows_table("examples", rows), corpus, queries


def test_a_row_without_enough_negatives_repeats_its_positive_which_is_masked() -> None:
    examples, corpus, queries = _tables()
    related = {"q": frozenset({"a"}), "r": frozenset({"b"})}
    made = training_set(examples, corpus, queries, related, fill=True)
    assert made.columns["anchor"] == ["tq", "tr"]
    assert made.columns["positive"] == ["ta", "tb"]
    assert made.columns["negative_1"] == ["tb", "C tc"]
    assert made.columns["negative_2"] == ["C tc", "tb"]
    assert made.columns["label"] == [0, 1]
    mask = made.relevance.mask([0, 1])
    # columns: a b | b c | c b; row q keeps one b and one c, row r keeps its own b and one c
    assert mask.tolist() == [[False, False, True, False, True, True], [False, False, True, False, True, True]]


def test_without_filling_such_rows_are_dropped_and_counted() -> None:
    examples, corpus, queries = _tables()
    made = training_set(examples, corpus, queries, {"q": frozenset({"a"})}, fill=False)
    assert made.columns["anchor"] == ["tq"]
    assert made.dropped == 1
