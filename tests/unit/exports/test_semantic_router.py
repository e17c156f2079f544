"""Examples and thresholds of a router, by numbers that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from denizen.exports.semantic_router import Router, Share, Signal, _examples, _signal, best, fragment
from denizen.measuring.thresholds import Similarities


def test_examples_are_nearest_to_the_mean_and_none_stands_twice() -> None:
    """The mean of (1, 0), (0, 1), (1, 0), (.8, .6) is (.7, .4): products .7, .4, .7, .8."""
    vectors = np.asarray([[1, 0], [0, 1], [1, 0], [0.8, 0.6]], dtype=np.float32)
    assert _examples(["What is A?", "what is b?", "what  is a?", "c"], vectors) == [3, 0, 1]


def test_of_many_only_some_are_examples() -> None:
    vectors = np.ones((40, 2), dtype=np.float32)
    assert _examples([f"query {at}" for at in range(40)], vectors) == list(range(15))


def test_a_query_is_as_similar_as_its_most_similar_example() -> None:
    bank = np.asarray([[1, 0], [0, 1]], dtype=np.float32)
    assert best(bank, np.asarray([[0.6, 0.8], [1, 0]], dtype=np.float32)) == pytest.approx([0.8, 1])
    assert best(bank, np.zeros((0, 2), dtype=np.float32)).shape == (0,)


def similar(own: list[float], others: list[float]) -> dict[str, Similarities]:
    return {"law": Similarities(np.asarray(own), np.asarray(others))}


def test_a_threshold_lets_one_in_twenty_others_through_on_dev_and_is_counted_on_test() -> None:
    """Of 20 others on dev, .01 to .20, one may be let through: the threshold stands just above .19, up to .1901. On
    test two of four of its own reach it (.1901 itself does), and one of two others."""
    dev = similar([0.5] * 10, [at / 100 for at in range(1, 21)])
    found = _signal("law", {"dev": dev, "test": similar([0.1, 0.19, 0.1901, 0.9], [0.2, 0.1])}, ["a"])
    assert found.threshold == 0.1901 and found.chosen_on == (10, 20)
    assert found.own and found.own.value == 0.5 and found.others and found.others.value == 0.5


def test_without_others_a_threshold_keeps_nineteen_in_twenty_of_its_own() -> None:
    """Of 21 from .01 to .21 the share .05 stands at the second, .02, which is kept: 20 of 21 are let through."""
    own = [at / 100 for at in range(1, 22)]
    found = _signal("law", {"dev": similar(own, []), "test": similar(own, [])}, ["a"])
    assert found.threshold == 0.02 and found.others is None
    assert found.own and found.own.value == pytest.approx(20 / 21)


def test_the_interval_of_a_share() -> None:
    """Wilson's of 5 in 10: (.5 + 1.96**2 / 20 -+ 1.96 * sqrt(.025 + 1.96**2 / 400)) / (1 + 1.96**2 / 10)."""
    found = Share.of(np.asarray([True] * 5 + [False] * 5))
    half = 1.96 * (0.025 + 1.96**2 / 400) ** 0.5 / (1 + 1.96**2 / 10)
    assert found and (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)
    assert Share.of(np.zeros(0, dtype=bool)) is None


def test_the_fragment_has_the_names_of_the_router() -> None:
    signal = Signal(("what is a tax?",), 0.5, None, None, (0, 0))
    found = fragment(Router("mine", "RUN", "0" * 64, 384, {"tax": signal}, {}))
    semantic = found["global"]["model_catalog"]["embeddings"]["semantic"]
    assert semantic["embedding_config"] == {
        "backend": "openai_compatible",
        "model_type": "remote",
        "preload_embeddings": False,
        "target_dimension": 384,
        "enable_soft_matching": False,
        "top_k": 1,
        "prototype_scoring": {"enabled": False},
    }
    assert semantic["endpoint"] == {
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "mine",
        "timeout_seconds": 10,
        "max_retries": 2,
        "dimensions": 384,
    }
    assert found["routing"]["signals"]["embeddings"] == [
        {"name": "tax", "threshold": 0.5, "aggregation_method": "max", "candidates": ["what is a tax?"]}
    ]
