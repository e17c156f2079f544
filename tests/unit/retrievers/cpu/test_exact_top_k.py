from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from denizen.retrievers import backends
from denizen.retrievers.cpu import exact_top_k as module
from denizen.retrievers.cpu.exact_top_k import exact_top_k


@pytest.fixture(autouse=True)
def _always_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded products for any number of queries and on any processor; those without them emulate them."""
    monkeypatch.setattr(module, "_QUERIES_WORTH_ROUNDING", 1)
    monkeypatch.setattr(backends, "processor_has_bf16", lambda: True)


def one_by_one(queries: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    """The score of every pair, each computed from its two vectors alone."""
    return np.stack([np.einsum("ij,ij->i", np.repeat(query[None], len(corpus), 0), corpus) for query in queries])


def found(queries: np.ndarray, corpus: np.ndarray, depth: int, shape: tuple[int, int, int]) -> tuple:
    parts = list(exact_top_k(queries, corpus, depth, shape))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def check(queries: np.ndarray, corpus: np.ndarray, depth: int, shape: tuple[int, int, int]) -> None:
    scores, positions = found(queries, corpus, depth, shape)
    every = one_by_one(queries, corpus)
    wanted = np.argsort(-every, axis=1, kind="stable")[:, :depth]
    assert positions.tolist() == wanted.tolist()
    assert scores.tolist() == np.take_along_axis(every, wanted, 1).tolist()


def vectors(seed: int, rows: int, dim: int, kind: str) -> np.ndarray:
    """Vectors of a kind that makes rounding matter: spread, crowded in one direction, copies, or of many lengths."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(rows, dim))
    if kind == "narrow":
        made = 1 + 1e-3 * made
    if kind == "copies":
        made = made[random.integers(0, 1 + rows // 10, rows)]
    if kind == "lengths":
        made *= 10.0 ** random.integers(-25, 8, size=(rows, 1))
    if kind == "opposed":
        made = -np.abs(made)
    return made.astype(np.float32)


KINDS = ["spread", "narrow", "copies", "lengths", "opposed"]


@given(
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.integers(1, 400),
    st.integers(1, 70),
    st.integers(1, 50),
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 400)),
)
@example(0, 1, 64, 8, 3, "opposed", (1, 1, 64))
@settings(max_examples=150, deadline=None)
def test_scores_and_order_are_those_of_all_pairs_whatever_the_blocks(
    seed: int, asked: int, passages: int, dim: int, depth: int, kind: str, shape: tuple[int, int, int]
) -> None:
    queries, corpus = np.abs(vectors(seed, asked, dim, "spread")), vectors(seed + 1, passages, dim, kind)
    check(queries, corpus, min(depth, passages), shape)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_order_in_blocks_of_the_usual_size(kind: str) -> None:
    queries, corpus = vectors(0, 40, 96, "spread"), vectors(1, 6000, 96, kind)
    check(queries, corpus, 20, (40, 32, 2048))


@pytest.mark.parametrize("rows", [1, 2, 17, 300])
@pytest.mark.parametrize("columns", [1, 5, 64, 1000])
@pytest.mark.parametrize("dim", [1, 31, 384, 4096])
def test_rounded_scores_are_within_the_bound(rows: int, columns: int, dim: int) -> None:
    """Before the score itself is rounded, which takes half a unit of its last place: at most 2^-8 of it."""
    kind = torch.bfloat16
    queries = module._read(vectors(2, rows, dim, "spread"), 0, rows, kind)
    passages = module._read(vectors(3, columns, dim, "spread"), 0, columns, kind)
    scores = module._products(queries.rounded, passages.rounded, torch.empty(rows * columns)).double()
    true = queries.exact.double() @ passages.exact.double().T
    bound = module._bound(queries, passages).double()[:, None]
    assert bool(((scores - true).abs() <= bound + 2.0**-8 * (true.abs() + bound)).all())
    # and the bound is of the size of what it bounds: two roundings of 2^-9 or less each
    assert bool((bound <= 2.0**-7 * queries.norms.double()[:, None] * passages.norms.max()).all())


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20))
def test_keys_order_by_score_and_then_by_position_from_the_front(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    keys = module._keys(scores, np.arange(len(scores)))
    assert np.argsort(-keys).tolist() == np.lexsort((np.arange(len(scores)), -scores)).tolist()
    assert module._scores_of(keys).tolist() == scores.tolist()
    assert (keys[np.isfinite(scores)] > module._NOTHING).all()


def test_crowded_scores_are_computed_again_from_exact_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding cannot tell 2,000 vectors in a narrow cone apart; without the second product all would be scored."""
    scored: list[int] = []
    score = module._score
    monkeypatch.setattr(module, "_score", lambda *pairs: scored.append(len(pairs[1])) or score(*pairs))
    queries, corpus = vectors(0, 20, 64, "narrow"), vectors(1, 20_000, 64, "narrow")
    check(queries, corpus, 10, (20, 20, 2000))
    assert sum(scored) < 20 * 20_000 / 10


def test_progress_is_the_share_of_the_corpus_and_sums_to_the_queries() -> None:
    finished: list[int] = []
    list(exact_top_k(np.ones((10, 4), np.float32), np.ones((30, 4), np.float32), 2, (4, 2, 7), finished.append))
    assert sum(finished) == 10 and min(finished) >= 0
    # three readings of the corpus (4, 4 and 2 queries), five blocks each
    assert finished[:5] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("columns", [211, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_block_rules_out_none_of_the_best(columns: int, kind: str) -> None:
    """In one block only the maxima of its groups say what is too low; 211 is prime, so its groups are passages."""
    check(vectors(5, 300, 64, "spread"), vectors(6, columns, 64, kind), 60, (300, 300, columns))
