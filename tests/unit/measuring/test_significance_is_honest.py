"""Whether intervals and p values keep what they promise, on simulated evaluations whose truth is known.

A query's reciprocal rank is drawn from what test sets show (half of the answers first, a sixth not found). The second
system changes a third of the queries. Of 600 evaluations, 95 % should cover the true difference; with 600 draws the
share has a standard error of .9 %, so 93 to 97 % is two of them on each side.
"""

from __future__ import annotations

import numpy as np
import pytest

from denizen.measuring.significance import paired_difference

_EVALUATIONS, _CHANGED = 600, 1 / 3
_RANKS = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 0])
_BASE = np.array([0.50, 0.14, 0.09, 0.06, 0.04, 0.17])
_BETTER = np.array([0.62, 0.14, 0.08, 0.04, 0.03, 0.09])


def _evaluations(shares: np.ndarray, seed: int, queries: int = 120) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(_EVALUATIONS):
        base = random.choice(_RANKS, queries, p=_BASE)
        anew = random.choice(_RANKS, queries, p=shares)
        found.append((np.where(random.random(queries) < _CHANGED, anew, base), base))
    return found


@pytest.mark.parametrize("shares", [_BETTER, _BASE], ids=["better", "equal"])
def test_the_interval_covers_the_truth_in_93_to_97_of_100(shares: np.ndarray) -> None:
    assert 0.93 <= _covered(shares, 120) <= 0.97


def test_with_50_queries_it_covers_a_little_less() -> None:
    """What a report shows of a group of queries: below that it would be wrong too often."""
    assert 0.91 <= _covered(_BETTER, 50) <= 0.97


def _covered(shares: np.ndarray, queries: int) -> float:
    truth = _CHANGED * float((shares - _BASE) @ _RANKS)
    covered = 0
    for at, (system, base) in enumerate(_evaluations(shares, 1, queries)):
        found = paired_difference(system, base, seed=at)
        covered += found.low <= truth <= found.high
    return covered / _EVALUATIONS


def test_a_true_null_is_rejected_about_5_times_of_100() -> None:
    found = [paired_difference(*pair, seed=at) for at, pair in enumerate(_evaluations(_BASE, 2))]
    assert 0.03 <= np.mean([one.p <= 0.05 for one in found]) <= 0.07


def test_a_true_gain_is_found_more_often_than_a_null() -> None:
    found = [paired_difference(*pair, seed=at) for at, pair in enumerate(_evaluations(_BETTER, 3))]
    # a difference of .04 at 120 queries has a power of about 35 %
    assert np.mean([one.p <= 0.05 for one in found]) > 0.2
