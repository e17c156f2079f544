from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.relatedness import not_negatives, related_passages
from denizen.data.tables import SCHEMAS, table
from denizen.supervision.mining import ceiling, mine


def corpus_of(home: dict[str, tuple[str, int]]) -> pa.Table:
    """Passages by id, each with its parent and its cluster."""
    parents, clusters = [parent for parent, _ in home.values()], [cluster for _, cluster in home.values()]
    numbers = {parent: number for number, parent in enumerate(dict.fromkeys(parents))}
    columns = {"doc_id": list(home), "text": list(home), "parent_id": parents, "cluster": clusters}
    return table("corpus", {**columns, "parent_cluster": [numbers[parent] for parent in parents]})


def alone(count: int) -> pa.Table:
    return corpus_of({f"d{at}": (f"d{at}", at) for at in range(1, count + 1)})


def run_of(found: dict[str, list[tuple[str, float]]]) -> pa.Table:
    rows = [(query_id, *pair) for query_id, pairs in found.items() for pair in pairs]
    return table("run", {name: [row[at] for row in rows] for at, name in enumerate(("query_id", "doc_id", "score"))})


def falling(count: int) -> list[tuple[str, float]]:
    """d1 at rank 1 down to d<count>, by falling scores."""
    return [(f"d{rank}", 1 - rank / 128) for rank in range(1, count + 1)]


def qrels_of(links: list[tuple[str, str, int]]) -> pa.Table:
    return table("qrels", {name: [link[at] for link in links] for at, name in enumerate(SCHEMAS["qrels"].names)})


def ids(candidates: pa.Table, role: str, query_id: str = "q") -> list[str]:
    rows = candidates.to_pylist()
    return [row["doc_id"] for row in rows if row["role"] == role and row["query_id"] == query_id]


def ranks(candidates: pa.Table, role: str, query_id: str = "q") -> list[int | None]:
    rows = candidates.to_pylist()
    return [row["rank"] for row in rows if row["role"] == role and row["query_id"] == query_id]


def test_related_passages_are_the_relevant_ones_their_duplicates_and_their_siblings() -> None:
    corpus = corpus_of({"a-0": ("a", 0), "a-1": ("a", 1), "b": ("b", 0), "c": ("c", 1), "d": ("d", 4), "e": ("e", 5)})
    found = related_passages(
        qrels_of([("q", "a-0", 1), ("r", "d", 1), ("r", "e", 0), ("s", "e", 1)]), corpus, ["q", "r"]
    )
    # c is a near-duplicate of the sibling a-1, not of a relevant passage; e is judged irrelevant
    assert found == {"q": {"a-0", "a-1", "b"}, "r": {"d"}}


def test_passages_of_a_near_duplicate_document_are_related_too() -> None:
    corpus = corpus_of({"a-0": ("a", 0), "b-0": ("b", 1), "b-1": ("b", 2), "c": ("c", 3)})
    same = corpus.set_column(corpus.schema.get_field_index("parent_cluster"), "parent_cluster", [[0, 0, 0, 3]])
    found = related_passages(qrels_of([("q", "a-0", 1)]), same.cast(SCHEMAS["corpus"]), ["q"])
    assert found == {"q": {"a-0", "b-0", "b-1"}}


HOMES = st.lists(st.tuples(st.sampled_from("wxyz"), st.integers(0, 4)), min_size=3, max_size=12)


@given(HOMES, st.data())
def test_no_relevant_passage_and_none_like_it_that_nobody_judged_is_ever_a_negative(homes, data) -> None:
    home = {f"d{at}": place for at, place in enumerate(homes)}
    doc_ids = list(home)
    link = st.tuples(st.sampled_from(["q1", "q2"]), st.sampled_from(doc_ids), st.integers(-1, 2))
    links = data.draw(st.lists(link, max_size=6, unique_by=lambda given: given[:2]))
    found = {
        query_id: [(doc_id, 1 - at / 64) for at, doc_id in enumerate(data.draw(st.permutations(doc_ids)))]
        for query_id in ("q1", "q2")
    }
    border, end = data.draw(st.tuples(st.integers(1, 6), st.integers(7, 14)))
    windows = [(1, border), (border + 1, end)]
    share = data.draw(st.sampled_from([0.0, 0.9]))
    candidates, counts = mine(
        run_of(found),
        qrels_of(links),
        corpus_of(home),
        ["q2", "q1"],
        windows,
        retriever="r",
        positive_ceiling=share,
    )
    relevant = {query_id: {doc for query, doc, grade in links if query == query_id and grade > 0} for query_id in found}
    judged = {query_id: {doc for query, doc, grade in links if query == query_id and grade <= 0} for query_id in found}
    windowed = {(query_id, doc) for query_id, ranking in found.items() for doc, _ in ranking[:end]}
    negatives = 0
    for row in candidates.to_pylist():
        if row["rank"] is not None:
            assert found[row["query_id"]][row["rank"] - 1] == (row["doc_id"], row["score"])
        if row["role"] == "irrelevant":
            assert row["doc_id"] in judged[row["query_id"]]
            negatives += (row["query_id"], row["doc_id"]) in windowed
            continue
        if row["role"] == "positive":
            assert row["doc_id"] in relevant[row["query_id"]]
            continue
        negatives += 1
        for positive in relevant[row["query_id"]]:
            assert row["doc_id"] != positive
            assert home[row["doc_id"]][0] != home[positive][0]
            assert home[row["doc_id"]][1] != home[positive][1]
    for query_id, known in relevant.items():
        assert set(ids(candidates, "positive", query_id)) == known
        assert set(ids(candidates, "irrelevant", query_id)) == judged[query_id]
    # everything in the windows is either kept or counted under one reason
    assert negatives + sum(counts.values()) == 2 * min(end, len(doc_ids))


def test_negatives_come_from_the_windows_and_no_other_rank() -> None:
    candidates, _ = mine(
        run_of({"q": falling(20)}),
        qrels_of([("q", "d4", 1)]),
        alone(20),
        ["q"],
        [(3, 5), (9, 10)],
        retriever="r",
    )
    assert ranks(candidates, "negative") == [3, 5, 9, 10]
    assert ids(candidates, "negative") == ["d3", "d5", "d9", "d10"]


def test_a_window_beyond_the_run_ends_with_the_run() -> None:
    candidates, counts = mine(
        run_of({"q": falling(4)}),
        qrels_of([("q", "d1", 1)]),
        alone(9),
        ["q"],
        [(3, 50), (60, 90)],
        retriever="r",
    )
    assert ranks(candidates, "negative") == [3, 4]
    assert counts == {"relevant": 0, "related": 0, "above_ceiling": 0}


def test_positives_come_first_by_rank_whatever_the_windows_and_those_beyond_the_run_have_no_rank() -> None:
    candidates, _ = mine(
        run_of({"q": falling(8)}),
        qrels_of([("q", "d9", 1), ("q", "d7", 1), ("q", "d2", 2)]),
        alone(9),
        ["q"],
        [(1, 3)],
        retriever="student-0",
    )
    rows = [(row["doc_id"], row["rank"], row["role"]) for row in candidates.to_pylist()]
    assert rows == [
        ("d2", 2, "positive"),
        ("d7", 7, "positive"),
        ("d9", None, "positive"),
        ("d1", 1, "negative"),
        ("d3", 3, "negative"),
    ]
    assert candidates["score"].to_pylist() == [1 - 2 / 128, 1 - 7 / 128, None, 1 - 1 / 128, 1 - 3 / 128]
    assert set(candidates["retriever"].to_pylist()) == {"student-0"}
    assert candidates.schema == SCHEMAS["candidates"]


def test_what_is_labelled_irrelevant_comes_first_wherever_it_stands_and_whatever_it_resembles() -> None:
    """d2, above the ceiling, d4, a sibling of the positive d3, and d9, beyond the run, are labelled; d1 is not."""
    home = {f"d{at}": (f"d{at}", at) for at in range(1, 10)} | {"d4": ("d3", 4)}
    qrels = qrels_of([("q", "d9", 0), ("q", "d4", -1), ("q", "d3", 1), ("q", "d2", 0)])
    candidates, counts = mine(
        run_of({"q": [("d1", 0.99), ("d2", 0.98), ("d3", 0.97), ("d4", 0.96), ("d5", 0.1)]}),
        qrels,
        corpus_of(home),
        ["q"],
        [(1, 5)],
        retriever="r",
        positive_ceiling=0.95,
    )
    rows = [(row["doc_id"], row["rank"], row["role"]) for row in candidates.to_pylist()]
    labelled = [("d2", 2, "irrelevant"), ("d4", 4, "irrelevant"), ("d9", None, "irrelevant")]
    assert rows == [("d3", 3, "positive"), *labelled, ("d5", 5, "negative")]
    assert counts == {"relevant": 1, "related": 0, "above_ceiling": 1}
    # nor does the loss take the sibling out again
    assert not_negatives(qrels, None, corpus_of(home), ["q"]) == {"q": {"d3"}}


def test_only_the_queries_asked_for_are_mined_in_their_order() -> None:
    run = run_of({name: falling(3) for name in ("q1", "q2", "q3")})
    qrels = qrels_of([(name, "d1", 1) for name in ("q1", "q2", "q3", "gone")])
    candidates, _ = mine(run, qrels, alone(3), ["q3", "q1", "gone"], [(1, 2)], retriever="r")
    assert list(dict.fromkeys(candidates["query_id"].to_pylist())) == ["q3", "q1", "gone"]
    # a query that the run does not have keeps its positive, so that it can be counted
    assert ranks(candidates, "positive", "gone") == [None] and ids(candidates, "negative", "gone") == []


def test_counts_name_the_reason_of_every_exclusion() -> None:
    """Window 1-6, ceiling .9 of .98: .882. d1 and d2 above it, d3 relevant, d4 sibling, d5 duplicate, d6 kept.

    What is barred by identity is counted there, whatever its score.
    """
    home = {f"d{at}": (f"d{at}", at) for at in range(1, 7)} | {"d4": ("d3", 4), "d5": ("d5", 3)}
    found = [("d1", 1.0), ("d2", 0.99), ("d3", 0.98), ("d4", 0.97), ("d5", 0.96), ("d6", 0.5)]
    candidates, counts = mine(
        run_of({"q": found}),
        qrels_of([("q", "d3", 1)]),
        corpus_of(home),
        ["q"],
        [(1, 6)],
        retriever="r",
        positive_ceiling=0.9,
    )
    assert counts == {"relevant": 1, "related": 2, "above_ceiling": 2}
    assert ids(candidates, "negative") == ["d6"]


@pytest.mark.parametrize(
    ("positive", "share", "limit"),
    [
        (0.8, 0.95, 0.76),  # .8 - .8 * .05
        (-0.4, 0.95, -0.42),  # -.4 - .4 * .05: below the negative score, where a product would be above it
        (0.0, 0.9, 0.0),
        (0.5, 1.0, 0.5),
    ],
)
def test_the_ceiling_lies_below_the_positive_by_its_share(positive: float, share: float, limit: float) -> None:
    assert ceiling(positive, share) == pytest.approx(limit)


def test_a_share_of_zero_switches_the_ceiling_off() -> None:
    assert ceiling(0.8, 0) is None
    assert ceiling(None, 0) is None


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        # positive .8: limit .76
        ([0.9, 0.8, 0.77, 0.75, 0.1], ["d4", "d5"]),
        # positive -.4: limit -.42
        ([-0.1, -0.4, -0.41, -0.43, -0.9], ["d4", "d5"]),
    ],
)
def test_negatives_above_the_ceiling_are_dropped(scores: list[float], kept: list[str]) -> None:
    found = [(f"d{at}", score) for at, score in enumerate(scores, start=1)]
    candidates, counts = mine(
        run_of({"q": found}),
        qrels_of([("q", "d2", 1)]),
        alone(5),
        ["q"],
        [(1, 5)],
        retriever="r",
        positive_ceiling=0.95,
    )
    assert ids(candidates, "negative") == kept
    assert counts["above_ceiling"] == 2


def test_the_ceiling_follows_the_best_positive() -> None:
    """Positives score .9 and .2; with a share of .5 the limit is .45, not .1."""
    found = [("d1", 0.9), ("d2", 0.5), ("d3", 0.4), ("d4", 0.2)]
    candidates, _ = mine(
        run_of({"q": found}),
        qrels_of([("q", "d4", 1), ("q", "d1", 1)]),
        alone(4),
        ["q"],
        [(1, 4)],
        retriever="r",
        positive_ceiling=0.5,
    )
    assert ids(candidates, "negative") == ["d3"]


def test_with_a_ceiling_no_negative_is_left_when_the_positive_lies_beyond_the_run() -> None:
    arguments = (run_of({"q": falling(5)}), qrels_of([("q", "d9", 1)]), alone(9), ["q"], [(1, 4)])
    candidates, counts = mine(*arguments, retriever="r", positive_ceiling=0.95)
    assert ids(candidates, "negative") == []
    assert counts["above_ceiling"] == 4
    without, _ = mine(*arguments, retriever="r")
    assert ranks(without, "negative") == [1, 2, 3, 4]


def test_a_wide_window_keeps_its_best_ranked_negatives() -> None:
    candidates, _ = mine(
        run_of({"q": falling(100)}), qrels_of([("q", "d1", 1)]), alone(100), ["q"], [(1, 100)], retriever="r"
    )
    kept = ranks(candidates, "negative")
    assert len(kept) >= 30
    assert kept == list(range(2, 2 + len(kept)))


def test_overlapping_windows_list_and_count_a_passage_once_and_by_rank() -> None:
    candidates, counts = mine(
        run_of({"q": falling(8)}),
        qrels_of([("q", "d5", 1)]),
        alone(8),
        ["q"],
        [(4, 8), (1, 6)],
        retriever="r",
    )
    assert ranks(candidates, "negative") == [1, 2, 3, 4, 6, 7, 8]
    assert counts["relevant"] == 1


def test_as_many_negatives_are_kept_as_the_settings_can_ask_for() -> None:
    candidates, _ = mine(
        run_of({"q": falling(100)}), qrels_of([("q", "d1", 1)]), alone(100), ["q"], [(1, 100)], retriever="r"
    )
    assert len(ids(candidates, "negative")) >= 64
