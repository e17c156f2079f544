from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import table
from denizen.retrievers.store import StoredVectors
from denizen.supervision.sampling import Sampling, from_corpus, from_documents, has_long_documents

SAMPLING = Sampling(top=2, drawn=3, decay=0.05, seed=1, found_by=2)


@given(st.integers(0, 60), st.text(max_size=5))
def test_the_best_are_all_taken_and_the_rest_drawn_below_them(count: int, name: str) -> None:
    ranks = SAMPLING.ranks(count, name)
    assert ranks[:2] == list(range(1, min(2, count) + 1))
    assert len(ranks) == min(5, count)
    assert ranks == sorted(set(ranks)) and all(1 <= rank <= count for rank in ranks)
    assert ranks == SAMPLING.ranks(count, name)


def test_drawing_follows_the_weights() -> None:
    """omega = ln 2: rank 3 has twice the weight of rank 4; of two ranks below, the first is drawn in 2 of 3 cases."""
    drawn = [Sampling(2, 1, float(np.log(2)), 7).ranks(4, str(name))[-1] for name in range(3000)]
    assert drawn.count(3) / len(drawn) == pytest.approx(2 / 3, abs=0.03)


def test_a_large_decay_takes_the_next_best() -> None:
    assert Sampling(2, 3, 50.0, 1).ranks(40, "q") == [1, 2, 3, 4, 5]


def run_of(**ranked: list[str]) -> object:
    rows = [(name, doc_id, -float(at)) for name, ids in ranked.items() for at, doc_id in enumerate(ids)]
    return table("run", {key: [row[at] for row in rows] for at, key in enumerate(("query_id", "doc_id", "score"))})


def test_from_the_corpus_each_query_gets_its_own_draw_and_what_it_was_written_for() -> None:
    ids = [f"d{at:02}" for at in range(40)]
    found = from_corpus(run_of(q1=ids, q2=ids[::-1]), SAMPLING, {"q1": ["d39", "beyond"]}, "student-0")
    rows = {name: [row for row in found.to_pylist() if row["query_id"] == name] for name in ("q1", "q2")}
    assert [row["doc_id"] for row in rows["q1"]][:2] == ["d00", "d01"]
    assert {row["doc_id"]: row["rank"] for row in rows["q1"]}["d39"] == 40
    assert {row["doc_id"]: row["rank"] for row in rows["q1"]}["beyond"] is None
    assert len(rows["q1"]) == 7 and len(rows["q2"]) == 5
    assert {row["role"] for row in found.to_pylist()} == {None}


def test_within_documents_the_owners_of_the_best_passages_are_looked_into() -> None:
    """Document a has the best passage and b the second best; c has the third and is not looked into (K = 2)."""
    ids = ["a0", "a1", "a2", "b0", "b1", "c0"]
    corpus = table("corpus", {"doc_id": ids, "parent_id": [name[0] for name in ids]})
    scores = np.array([0.9, 0.1, 0.5, 0.8, 0.2, 0.7], dtype=np.float32)
    vectors = StoredVectors(np.stack([scores, scores], axis=1) / 2, np.arange(6))
    run = run_of(q=["a0", "b0", "c0", "a2", "b1", "a1"])
    query = np.ones(2, dtype=np.float32)
    found = from_documents(run, corpus, vectors, {"q": query}, SAMPLING, {}, "student-0")
    assert [(row["doc_id"], row["rank"]) for row in found.to_pylist()] == [
        ("a0", 1), ("a2", 2), ("a1", 3), ("b0", 1), ("b1", 2)
    ]  # fmt: skip
    assert found["score"].to_pylist() == pytest.approx([0.9, 0.5, 0.1, 0.8, 0.2])
    more = from_documents(run, corpus, vectors, {"q": query}, SAMPLING, {"q": ["c0"]}, "student-0")
    assert more["doc_id"].to_pylist()[-1] == "c0"


# a document is the first letter of its passages
PASSAGES = [f"{document}{at}" for document in "abc" for at in range(4)]
rankings = st.dictionaries(st.sampled_from("qr"), st.permutations(PASSAGES).map(lambda ids: ids[:5]), min_size=1)
written_for = st.dictionaries(st.sampled_from("qr"), st.lists(st.sampled_from(PASSAGES), max_size=4))


@given(rankings, written_for, st.integers(1, 3))
def test_a_passage_is_a_candidate_of_a_query_once_and_all_that_has_to_be_in_is(
    ranked: dict[str, list[str]], own: dict[str, list[str]], found_by: int
) -> None:
    """Also where a query was written for several passages of one document, which none of the best stands in."""
    corpus = table("corpus", {"doc_id": PASSAGES, "parent_id": [name[0] for name in PASSAGES]})
    vectors = StoredVectors(np.linspace(0, 1, len(PASSAGES), dtype=np.float32)[:, None], np.arange(len(PASSAGES)))
    queries = {name: np.ones(1, dtype=np.float32) for name in ranked}
    few = Sampling(top=1, drawn=1, decay=0.05, seed=1, found_by=found_by)
    run = run_of(**ranked)
    for made in (from_corpus(run, few, own, "s"), from_documents(run, corpus, vectors, queries, few, own, "s")):
        pairs = list(zip(made["query_id"].to_pylist(), made["doc_id"].to_pylist(), strict=True))
        assert len(pairs) == len(set(pairs))
        assert {(name, doc_id) for name in ranked for doc_id in own.get(name, ())} <= set(pairs)


def test_documents_of_fifteen_passages_are_long() -> None:
    def corpus(documents: int, passages: int) -> object:
        parents = [f"d{at}" for at in range(documents) for _ in range(passages)]
        return table("corpus", {"doc_id": [str(at) for at in range(len(parents))], "parent_id": parents})

    assert has_long_documents(corpus(2, 15)) and not has_long_documents(corpus(2, 14))
