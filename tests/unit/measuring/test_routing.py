"""Figures of routers, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from denizen.measuring.routing import abstention_auroc, decisions_of, measure_router, milliseconds_a_query
from denizen.retrievers.routing.decision import Route, Thresholds
from denizen.retrievers.routing.labelled import LabelledQueries
from denizen.retrievers.routing.router import Probabilities


@dataclass(frozen=True)
class Told:
    """A router whose probabilities are its embeddings."""

    name: str = "told"
    domains: tuple[str, ...] = ("law", "medicine")

    def probabilities(self, queries: Mapping[str, str], embeddings: np.ndarray) -> Probabilities:
        return embeddings.astype(np.float64)

    def save(self, folder: Path) -> None:
        raise AssertionError(folder)


def _asked(rows: list[tuple[str, float, float]]) -> LabelledQueries:
    texts = {f"q{at}": "?" for at in range(len(rows))}
    return LabelledQueries(texts, [row[0] for row in rows], np.asarray([row[1:] for row in rows], dtype=np.float32))


def test_accuracy_confusions_and_decisions() -> None:
    """Four of the domains: right at .9 and .75, wrong at .8, undecided at .3 with .2; one stranger at .1.

    Accuracy of the most probable: 3 of 4. Below .5 the undecided one is abstained from, and so is the stranger; two of
    the three that are left are right.
    """
    rows = [("law", 0.9, 0.1), ("medicine", 0.25, 0.75), ("law", 0.2, 0.8), ("law", 0.3, 0.2), ("", 0.1, 0.0)]
    found = measure_router(Told(), Thresholds(0.5, 1.0), _asked(rows))
    assert found["accuracy"]["value"] == 0.75
    assert found["accuracy"]["count"] == 4
    assert found["by_domain"]["law"]["value"] == pytest.approx(2 / 3)
    assert found["confused"] == [{"true": "law", "said": "medicine", "queries": 1}]
    made = found["decisions"]
    assert made["abstained"]["value"] == 0.25
    assert made["abstained_outside"]["value"] == 1.0
    assert made["right"]["value"] == pytest.approx(2 / 3)
    assert found["abstention"]["value"] == 1.0
    assert found["few"] == ["law", "medicine"]
    # gaps .1 and .25 (right at .9 and .75), .8 (wrong) and .7 (right at .3), each in a bin of its own
    assert found["ece"] == pytest.approx((0.1 + 0.25 + 0.8 + 0.7) / 4, abs=1e-6)


def test_a_router_that_says_nothing_is_not_right() -> None:
    """Zeros, where an LLM gave no answer: neither law, the first domain, nor taken for it."""
    found = measure_router(Told(), Thresholds(0.5, 1.0), _asked([("law", 0.0, 0.0), ("medicine", 0.0, 0.0)]))
    assert found["accuracy"]["value"] == 0.0 and found["confused"] == []


def test_twenty_queries_have_a_wide_interval() -> None:
    """Wilson's for 19 of 20: .764 to .991."""
    found = measure_router(Told(), Thresholds(0.0, 1.0), _asked([("law", 0.9, 0.1)] * 19 + [("law", 0.1, 0.9)]))
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx((0.764, 0.991), abs=1e-3)
    assert found["few"] == ["law"]
    assert found["abstention"] is None
    assert found["decisions"]["abstained_outside"] is None


def test_the_area_under_the_curve_counts_pairs_and_ties_half() -> None:
    """(.9, .5) against (.5, .1): .9 beats both, .5 ties one and beats one: 3.5 of 4. As scikit-learn says."""
    from sklearn.metrics import roc_auc_score

    confidence, inside = np.asarray([0.9, 0.5, 0.5, 0.1]), np.asarray([True, True, False, False])
    found = abstention_auroc(confidence, inside)
    assert found is not None
    assert found["value"] == 0.875 == roc_auc_score(inside, confidence)
    assert found["low"] <= found["value"] <= found["high"]


def test_a_query_that_goes_to_two_domains_is_right_if_one_is() -> None:
    routes = [Route(("law", "medicine"), 0.9), Route(("law",), 0.9), Route((), 0.2)]
    found = decisions_of(routes, ["medicine", "medicine", "law"], ("law", "medicine"))
    assert found["two_domains"]["value"] == 0.5
    assert found["right"]["value"] == 0.5
    assert found["abstained"]["value"] == pytest.approx(1 / 3)


def test_time_is_that_of_single_queries() -> None:
    assert 0 < milliseconds_a_query(Told(), _asked([("law", 0.9, 0.1)] * 3)) < 100
