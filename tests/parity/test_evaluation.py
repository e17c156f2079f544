from __future__ import annotations

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from denizen.data.tables import table
from denizen.measuring.retrieval import MEASURES, measure, per_query
from denizen.measuring.significance import paired_difference

pytestmark = pytest.mark.parity

DOCUMENTS = 150
QUERIES = 25


@pytest.fixture(scope="module")
def judged_run() -> tuple[np.ndarray, np.ndarray, pa.Table, pa.Table]:
    """Grades and distinct scores of every (query, document), and the tables of both."""
    random = np.random.default_rng(0)
    grades = random.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 3], size=(QUERIES, DOCUMENTS))
    grades[:, 0] = 1
    scores = random.permuted(np.tile(np.arange(DOCUMENTS) / 256, (QUERIES, 1)), axis=1)
    order = np.argsort(-scores, axis=1)
    run = {
        "query_id": [f"q{query}" for query in range(QUERIES) for _ in range(DOCUMENTS)],
        "doc_id": [f"d{doc}" for doc in order.ravel()],
        "score": np.take_along_axis(scores, order, axis=1).ravel().tolist(),
    }
    qrels = {
        "query_id": [f"q{query}" for query in range(QUERIES) for _ in range(DOCUMENTS)],
        "doc_id": [f"d{doc}" for _ in range(QUERIES) for doc in range(DOCUMENTS)],
        "relevance": grades.ravel().tolist(),
    }
    return grades, scores, table("run", run), table("qrels", qrels)


def test_measures_equal_ir_measures_on_a_run_with_distinct_scores(judged_run) -> None:
    _, _, run, qrels = judged_run
    ours = measure(run, qrels, [f"q{query}" for query in range(QUERIES)])
    found = {(row["measure"], row["query_id"]): row["value"] for row in ours.to_pylist()}
    names = {
        str(RR @ 5): "MRR@5",
        str(R @ 5): "Recall@5",
        str(nDCG @ 10): "nDCG@10",
        str(R @ 100): "Recall@100",
    }
    theirs = list(
        ir_measures.iter_calc(
            [RR @ 5, R @ 5, nDCG @ 10, R @ 100],
            [Qrel(row["query_id"], row["doc_id"], row["relevance"]) for row in qrels.to_pylist()],
            [ScoredDoc(row["query_id"], row["doc_id"], row["score"]) for row in run.to_pylist()],
        )
    )
    assert len(theirs) == QUERIES * 4
    for metric in theirs:
        assert found[names[str(metric.measure)], metric.query_id] == pytest.approx(metric.value, abs=1e-9)


def test_dcg_and_ndcg_equal_scikit_learn(judged_run) -> None:
    from sklearn.metrics import dcg_score, ndcg_score

    grades, scores, run, qrels = judged_run
    ours = per_query(measure(run, qrels, [f"q{query}" for query in range(QUERIES)]))
    assert set(ours) == set(MEASURES)
    rows = range(QUERIES)
    assert ours["DCG@5"] == pytest.approx([dcg_score(grades[[row]], scores[[row]], k=5) for row in rows])
    assert ours["nDCG@10"] == pytest.approx([ndcg_score(grades[[row]], scores[[row]], k=10) for row in rows])


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.15])
def test_p_equals_the_exact_paired_test_of_scipy(shift: float) -> None:
    from scipy.stats import permutation_test

    random = np.random.default_rng(11)
    base = random.random(12)
    system = base + shift + random.normal(0, 0.2, 12)
    theirs = permutation_test(
        (system, base),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        n_resamples=2**12,
        vectorized=True,
    )
    assert paired_difference(system, base, seed=1).p == pytest.approx(theirs.pvalue, abs=0.02)
    assert paired_difference(system, base, seed=1).value == pytest.approx(theirs.statistic)
