from __future__ import annotations

import itertools
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import rows_table, table
from denizen.measuring.retrieval import (
    MEASURES,
    compare,
    dcg,
    graded_by,
    means,
    measure,
    missing_queries,
    of_graded,
    write_evaluation,
)


def run_of(ranked: dict[str, list[str]], scores: list[float] | None = None) -> pa.Table:
    rows = [(query_id, doc_id, at) for query_id, found in ranked.items() for at, doc_id in enumerate(found)]
    return table(
        "run",
        {
            "query_id": [query_id for query_id, _, _ in rows],
            "doc_id": [doc_id for _, doc_id, _ in rows],
            "score": scores or [1 - at / 1000 for _, _, at in rows],
        },
    )


def qrels_of(judged: dict[str, dict[str, int]]) -> pa.Table:
    rows = [(query_id, doc_id, grade) for query_id, grades in judged.items() for doc_id, grade in grades.items()]
    return table(
        "qrels",
        {name: [row[at] for row in rows] for at, name in enumerate(("query_id", "doc_id", "relevance"))},
    )


def values_of(metrics: pa.Table) -> dict[tuple[str, str], float]:
    return {(row["query_id"], row["measure"]): row["value"] for row in metrics.to_pylist()}


def test_every_measure_has_the_value_derived_by_hand_for_graded_relevance() -> None:
    """Relevant: b (grade 2) at rank 2, d (1) at rank 4, z (1) not found; e is judged irrelevant (0).

    MRR@5 = 1/2; Recall@5 = Recall@100 = 2/3
    DCG@5 = 2/log2(3) + 1/log2(5) = 1.261860 + 0.430677 = 1.692536
    nDCG@10 = 1.692536 / (2/log2(2) + 1/log2(3) + 1/log2(4)) = 1.692536 / 3.130930 = 0.540586
    """
    metrics = measure(
        run_of({"q": ["a", "b", "c", "d", "e"]}), qrels_of({"q": {"b": 2, "d": 1, "z": 1, "e": 0}}), ["q"]
    )
    assert values_of(metrics) == {
        ("q", "MRR@5"): pytest.approx(0.5),
        ("q", "Recall@5"): pytest.approx(2 / 3),
        ("q", "DCG@5"): pytest.approx(1.692536, abs=1e-6),
        ("q", "nDCG@10"): pytest.approx(0.540586, abs=1e-6),
        ("q", "Recall@100"): pytest.approx(2 / 3),
    }


def test_measures_stop_at_their_depth() -> None:
    """Relevant: one passage at rank 6, one at rank 101.

    MRR@5 = Recall@5 = DCG@5 = 0; nDCG@10 = (1/log2(7)) / (1 + 1/log2(3)) = 0.356207 / 1.630930 = 0.218407;
    Recall@100 = 1/2
    """
    found = [f"d{at}" for at in range(1, 111)]
    metrics = values_of(measure(run_of({"q": found}), qrels_of({"q": {"d6": 1, "d101": 1}}), ["q"]))
    assert metrics["q", "MRR@5"] == metrics["q", "Recall@5"] == metrics["q", "DCG@5"] == 0
    assert metrics["q", "nDCG@10"] == pytest.approx(0.218407, abs=1e-6)
    assert metrics["q", "Recall@100"] == pytest.approx(0.5)


def test_rank_five_still_counts_and_rank_ten_still_counts() -> None:
    """At rank 5: MRR@5 = 1/5, Recall@5 = 1, DCG@5 = 1/log2(6). At rank 10 (q2): nDCG@10 = 1/log2(11). At 100: found."""
    found = [f"d{at}" for at in range(1, 101)]
    metrics = values_of(
        measure(
            run_of({"q1": found, "q2": found, "q3": found}),
            qrels_of({"q1": {"d5": 1}, "q2": {"d10": 1}, "q3": {"d100": 1}}),
            ["q1", "q2", "q3"],
        )
    )
    assert metrics["q1", "MRR@5"] == pytest.approx(0.2)
    assert metrics["q1", "Recall@5"] == 1
    assert metrics["q1", "DCG@5"] == pytest.approx(1 / math.log2(6))
    assert metrics["q2", "nDCG@10"] == pytest.approx(1 / math.log2(11))
    assert metrics["q3", "Recall@100"] == 1


def test_dcg_by_hand() -> None:
    """3/log2(2) + 0 + 1/log2(4) = 3.5; the fourth passage lies beyond depth 3."""
    assert dcg(["a", "x", "b", "c"], {"a": 3, "b": 1, "c": 2}, 3) == pytest.approx(3.5)


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_equal_scores_keep_the_order_of_the_run(order: tuple[str, ...]) -> None:
    metrics = values_of(measure(run_of({"q": list(order)}, [1.0, 1.0, 1.0]), qrels_of({"q": {"b": 1}}), ["q"]))
    assert metrics["q", "MRR@5"] == pytest.approx(1 / (order.index("b") + 1))


def test_the_order_of_the_run_counts_and_not_its_scores() -> None:
    metrics = values_of(measure(run_of({"q": ["a", "b"]}, [0.1, 0.9]), qrels_of({"q": {"a": 1}}), ["q"]))
    assert metrics["q", "MRR@5"] == 1


def test_queries_absent_from_the_run_count_as_zero_and_are_listed() -> None:
    run = run_of({"here": ["a"]})
    query_ids = ["gone", "here", "away"]
    metrics = measure(run, qrels_of({query_id: {"a": 1} for query_id in query_ids}), query_ids)
    for name in MEASURES:
        assert values_of(metrics)["gone", name] == values_of(metrics)["away", name] == 0
        assert means(metrics)[name] == pytest.approx(1 / 3)
    assert missing_queries(run, query_ids) == ["gone", "away"]


def test_an_empty_run_gives_zero_for_every_query() -> None:
    metrics = measure(run_of({}), qrels_of({"q": {"a": 1}}), ["q"])
    assert metrics["value"].to_pylist() == [0.0] * len(MEASURES)


def test_metrics_stand_by_measure_then_in_the_order_of_the_queries_asked_for() -> None:
    metrics = measure(run_of({"q1": ["a"], "q2": ["a"]}), qrels_of({"q1": {"a": 1}, "q2": {"b": 1}}), ["q2", "q1"])
    assert metrics["measure"].to_pylist() == [name for name in MEASURES for _ in range(2)]
    assert metrics["query_id"].to_pylist() == ["q2", "q1"] * len(MEASURES)
    assert metrics["value"].to_pylist()[:2] == [0.0, 1.0]


def test_queries_that_were_not_asked_for_are_left_out() -> None:
    metrics = measure(run_of({"q1": ["a"], "q2": ["a"]}), qrels_of({"q1": {"a": 1}, "q2": {"a": 1}}), ["q2"])
    assert set(metrics["query_id"].to_pylist()) == {"q2"}


@given(st.lists(st.integers(0, 3), min_size=2, max_size=14).filter(any), st.integers(0, 2))
def test_measures_lie_in_their_range_and_moving_a_better_passage_up_never_lowers_one(
    grades: list[int], unfound: int
) -> None:
    names = [f"d{at}" for at in range(len(grades))]
    judged = {**dict(zip(names, grades, strict=True)), **{f"u{at}": 1 for at in range(unfound)}}
    ranked = {"q": names}
    for at in range(1, len(grades)):
        if grades[at] > grades[at - 1]:
            ranked[f"up{at}"] = [*names[: at - 1], names[at], names[at - 1], *names[at + 1 :]]
    metrics = values_of(measure(run_of(ranked), qrels_of(dict.fromkeys(ranked, judged)), list(ranked)))
    for (query_id, name), value in metrics.items():
        assert value >= 0
        assert value <= 1 + 1e-12 or name == "DCG@5"
        assert value >= metrics["q", name] - 1e-12, (query_id, name)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5))
def test_the_ideal_order_has_ndcg_one_and_full_recall(grades: list[int]) -> None:
    names = [f"d{at}" for at in range(len(grades))]
    judged = dict(zip(names, sorted(grades, reverse=True), strict=True))
    metrics = values_of(measure(run_of({"q": names}), qrels_of({"q": judged}), ["q"]))
    assert [metrics["q", name] for name in ("MRR@5", "Recall@5", "nDCG@10", "Recall@100")] == pytest.approx([1] * 4)


def test_compare_subtracts_the_base_from_the_system_for_each_measure() -> None:
    qrels = qrels_of({"q1": {"a": 1}, "q2": {"b": 1}})
    system = measure(run_of({"q1": ["a", "b"], "q2": ["b", "a"]}), qrels, ["q1", "q2"])
    base = measure(run_of({"q1": ["b", "a"], "q2": ["b", "a"]}), qrels, ["q1", "q2"])
    found = compare(system, base)
    assert list(found) == list(MEASURES)
    assert found["MRR@5"].value == pytest.approx(0.25)
    assert found["Recall@5"].value == 0
    assert compare(base, system)["MRR@5"].value == pytest.approx(-0.25)


def test_what_nobody_has_graded_is_left_out_and_the_next_passage_takes_its_rank() -> None:
    run = rows_table("run", [("q", "new", 0.9), ("q", "wrong", 0.8), ("q", "right", 0.7)])
    judged = rows_table("judgments", [("q", "wrong", 1), ("q", "right", 4)])
    known = rows_table("qrels", [("q", "right", 1)])

    def mrr(graded: frozenset[tuple[str, str]] | None) -> float:
        return means(measure(of_graded(run, graded), known, ["q"]))["MRR@5"]

    assert mrr(graded_by(judged)) == 0.5 and mrr(graded_by(None)) == pytest.approx(1 / 3)
    # a grade that was missing is known
    more = rows_table("judgments", [("q", "new", 2), ("q", "wrong", 1), ("q", "right", 4)])
    assert mrr(graded_by(more)) == pytest.approx(1 / 3)


def test_an_evaluation_says_what_it_took_together() -> None:
    corpus = rows_table("corpus", [{"doc_id": f"d{at}", "text": "x", "parent_id": f"p{at // 2}"} for at in range(24)])
    ids = [f"q{at}" for at in range(24)]
    known = rows_table("qrels", [(name, f"d{at}", 1) for at, name in enumerate(ids)])
    right = rows_table("run", [(name, f"d{at}", 1.0) for at, name in enumerate(ids)])
    found = write_evaluation(None, {"base": right, "bm25": right, "adapted": right}, known, ids, corpus)
    assert found["grouped"] == {"by": "document", "groups": 12}
    assert set(found["over_bm25"]) == {"base", "adapted"} and found["over_bm25"]["adapted"]["MRR@5"]["p"] == 1
