from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.retrievers.parity import Parity, compare, sample


def test_the_sample_holds_the_shortest_and_the_longest_texts() -> None:
    texts = [f"w{at} " * at for at in range(1, 500)]
    asis, queries, documents = sample(texts[::-1])
    assert set(texts[:16]) <= set(asis)
    assert set(texts[-16:]) <= set(asis)
    assert len(asis) == 48
    # all but the one that has a single word
    assert len(queries) == len(documents) == 498
    assert len(sample([f"{at} a b c" for at in range(3000)])[1]) == 1024


def test_queries_are_first_words_and_documents_what_follows() -> None:
    _, queries, documents = sample(["a b c d e", "one", " ".join(map(str, range(100)))])
    assert sorted(queries) == ["0 1 2 3 4 5 6 7 8 9 10 11", "a b"]
    assert sorted(documents) == [" ".join(map(str, range(12, 36))), "c d e"]


@given(st.lists(st.text(max_size=20), max_size=60))
def test_any_texts_can_be_sampled_and_their_order_does_not_matter(texts: list[str]) -> None:
    parts = sample(texts)
    assert parts == sample(sorted(texts))
    assert sample(texts, task=False) == (parts[0], [], [])
    assert len(parts[1]) == len(parts[2])
    assert set(parts[0]) <= set(texts)


def unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], dtype=np.float32).reshape(-1, 2)


def test_equal_vectors_pass_and_turned_ones_do_not() -> None:
    parts = [unit(0, 1, 2), unit(0, 1), unit(0.1, 1.1)]
    same = compare(parts, parts)
    assert same.passed and same.cosine == pytest.approx(1) and same.ndcg == 0 and same.texts == 7
    turned = compare([unit(0, 1, 2.5), *parts[1:]], parts)
    assert turned.cosine == pytest.approx(np.cos(0.5)) and not turned.passed


def test_a_lost_rank_is_seen() -> None:
    """Backwards, each of the two queries has the other's document first: nDCG falls from 1 to 1 / log2(3)."""
    theirs = [unit(), unit(0, 1), unit(0.1, 1.1)]
    ours = [unit(), unit(0, 1), unit(1.1, 0.1)]
    assert compare(ours, theirs).ndcg == pytest.approx(1 / np.log2(3) - 1)


@pytest.mark.parametrize(
    ("cosine", "length", "ndcg", "passed"),
    [
        (0.9991, 0.009, 0.002, True),
        (0.999, 0.0, 0.0, False),
        (1.0, 0.01, 0.0, False),
        (1.0, 0.0, -0.0021, False),
        (float("nan"), 0.0, 0.0, False),
        (1.0, float("nan"), 0.0, False),
    ],
)
def test_the_limits_of_the_gate(cosine: float, length: float, ndcg: float, passed: bool) -> None:
    assert Parity(cosine, length, ndcg, 1).passed is passed


def test_vectors_of_the_right_direction_and_the_wrong_length_do_not_pass() -> None:
    """Where similarity is the dot product, a longer vector ranks higher."""
    parts = [unit(0, 1), unit(0), unit(0.1)]
    found = compare([parts[0] * np.float32(1.5), *parts[1:]], parts)
    assert found.length == pytest.approx(0.5) and found.cosine == pytest.approx(1) and not found.passed


def test_a_text_that_both_embed_as_zeros_is_no_difference() -> None:
    """A model of word vectors gives zeros for a text without a known word."""
    parts = [np.zeros((1, 2), dtype=np.float32), unit(0), unit(0.1)]
    assert compare(parts, parts).passed


def test_vectors_of_zeros_and_nan_do_not_pass() -> None:
    parts = [unit(0, 1), unit(0), unit(0.1)]
    assert not compare([np.zeros((2, 2), dtype=np.float32), *parts[1:]], parts).passed
    assert not compare([np.full((2, 2), np.nan, dtype=np.float32), *parts[1:]], parts).passed
