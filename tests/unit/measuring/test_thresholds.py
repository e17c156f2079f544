"""Rates of thresholds, and thresholds of equal rates, by hand and by properties."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import rows_table
from denizen.measuring.retrieval_sets import RetrievalSet
from denizen.measuring.thresholds import (
    Similarities,
    at_false_positive_rates,
    equal_threshold,
    mapping,
    pooled,
    rates,
    resampled_weights,
)

ONCE = np.ones((3, 4))


def _of(right: list[float], wrong: list[float]) -> Similarities:
    return Similarities(np.asarray(right), np.asarray(wrong))


def test_a_rate_is_the_share_that_is_at_least_as_similar() -> None:
    """At .5: of (.9, .5, .4, .8) three are let through, of (.5, .1, .2, .3) one; weights all one: no width."""
    found = {row["threshold"]: row for row in rates(_of([0.9, 0.5, 0.4, 0.8], [0.5, 0.1, 0.2, 0.3]), ONCE)}
    assert found[0.5]["true_positive"] == {"value": 0.75, "low": 0.75, "high": 0.75}
    assert found[0.5]["false_positive"] == {"value": 0.25, "low": 0.25, "high": 0.25}
    assert found[0.0]["true_positive"]["value"] == 1.0


def test_the_equal_threshold_lets_as_many_through() -> None:
    """At .6 two of the old are let through; the new one's second and third are .3 and .2, and half-way is .25."""
    found = equal_threshold(np.asarray([0.9, 0.6, 0.5, 0.1]), np.asarray([0.1, 0.4, 0.2, 0.3]), 0.6, ONCE)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize("threshold", [0.05, 0.95])
def test_where_all_or_none_are_let_through_no_threshold_is_equal(threshold: float) -> None:
    old = np.asarray([0.9, 0.6, 0.5, 0.1])
    assert equal_threshold(old, old, threshold, ONCE) is None
    row = mapping(_of([0.9] * 4, [0.1, 0.2, 0.9, 0.9]), _of([0.9] * 4, [0.5, 0.6, 0.7, 0.8]), [0.15], ONCE)[0]
    assert row["rates"] == {"true_positive": 1.0, "false_positive": 0.75}
    assert row["true_positive"] is None
    assert row["false_positive"]["value"] == pytest.approx(0.55)


def test_the_interval_is_that_of_the_resamples() -> None:
    """The old one lets the first of two through at .8; by the new one it is the second best, at .3 after .5.

    Half-way is .4. Where the first is drawn twice, two are let through: the last of all, .3. Where it is not drawn,
    none are: the best, .5. Of these two resamples 2.5 and 97.5 % are .305 and .495.
    """
    weights = np.asarray([[2.0, 0.0], [0.0, 2.0]])
    found = equal_threshold(np.asarray([0.9, 0.1]), np.asarray([0.3, 0.5]), 0.8, weights)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.305, 0.495))


def test_the_lowest_threshold_of_a_false_positive_rate() -> None:
    """Of a hundred wrong ones at 0, .01, ..., .99 five may pass at 5 %: just above .94, where .95 passes."""
    wrong = np.arange(100) / 100
    found = {row["wanted"]: row for row in at_false_positive_rates(Similarities(np.full(100, 0.95), wrong))}
    assert found[0.05]["threshold"] == pytest.approx(0.94)
    assert found[0.05]["false_positive"] == 0.05
    assert found[0.05]["true_positive"] == 1.0
    assert found[0.01]["true_positive"] == 0.0


def test_queries_about_one_document_are_drawn_together() -> None:
    """q1 and q2 are about d1: they are in every resample as often as each other."""
    rows = [{"doc_id": f"d{at}", "text": "x", "parent_id": f"d{at}"} for at in range(1, 13)]
    links = [("q0", "d1", 1), *((f"q{at}", f"d{at}", 1) for at in range(1, 13))]
    queries = {f"q{at}": "?" for at in range(13)}
    asked = RetrievalSet("s", "domain", rows_table("corpus", rows), queries, rows_table("qrels", links))
    weights = resampled_weights(asked)
    assert weights.shape == (1000, 13)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 1], weights[:, 2])
    assert isinstance(asked.corpus, pa.Table)


def test_several_domains_are_pooled_by_query() -> None:
    found = pooled({"a": _of([0.9], [0.1]), "b": _of([0.8, 0.7], [0.2, 0.3])})
    assert found.true_positive.tolist() == [0.9, 0.8, 0.7]
    assert found.false_positive.tolist() == [0.1, 0.2, 0.3]


@given(seed=st.integers(0, 1000), threshold=st.floats(0.1, 0.9), shift=st.floats(-0.3, 0.3))
def test_a_model_whose_similarities_are_shifted_has_its_thresholds_shifted(
    seed: int, threshold: float, shift: float
) -> None:
    """The same order, so the same queries are let through, and the rate is met exactly."""
    old = np.random.default_rng(seed).uniform(0, 1, 50)
    weights = np.random.default_rng(seed).multinomial(50, np.full(50, 0.02), size=20).astype(float)
    found = equal_threshold(old, old + shift, threshold, weights)
    if found is not None:
        assert ((old + shift >= found.value) == (old >= threshold)).all()
        assert found.low - 1e-9 <= found.high
