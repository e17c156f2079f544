"""Temperature, scope and the calibration error, by hand and by properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.retrievers.routing.calibration import Calibration, Scope, expected_calibration_error


def test_the_temperature_is_the_one_at_which_confidence_is_the_share_that_is_right() -> None:
    """Scores (1, 0) throughout, three in four right: p = .75 is log odds ln 3 = 1 / T, so T = .9102."""
    scores = np.tile(np.asarray([[1.0, 0.0]], dtype=np.float32), (8, 1))
    found = Calibration.fit(scores, scores[:, 0], [0, 0, 0, 1] * 2)
    assert found.temperature == pytest.approx(1 / np.log(3), rel=1e-3)


def test_with_nothing_known_outside_a_stranger_is_one_that_is_farther_than_dev() -> None:
    """Of 199 dev queries with closeness .5 a query at .4 has p = 1/200 = .005, half of .01; at .5 nothing is taken."""
    scope = Scope.fit(np.tile([[0.5, 0.0]], (199, 1)), np.ones(199, dtype=bool))
    assert scope.probability(np.asarray([[0.4, 0.0], [0.5, 0.0], [0.9, 0.0]])) == pytest.approx([0.5, 1.0, 1.0])


def test_twenty_queries_of_dev_cannot_tell_a_stranger() -> None:
    """p is at least 1/21 = .048, which is no rarity of one in a hundred: nothing is said against any query."""
    scope = Scope.fit(np.tile([[0.5, 0.0]], (20, 1)), np.ones(20, dtype=bool))
    assert scope.probability(np.asarray([[-1.0, -9.0]])) == pytest.approx([1.0])


def test_with_queries_outside_closeness_decides_on_the_scope() -> None:
    random = np.random.default_rng(0)
    close = np.concatenate([random.normal(0.8, 0.05, 100), random.normal(0.2, 0.05, 100)])
    scores = np.stack([close, np.zeros(200)], axis=1).astype(np.float32)
    found = Calibration.fit(scores, scores[:, 0], [0] * 100 + [-1] * 100)
    asked = np.asarray([[0.8, 0.0], [0.2, 0.0]], dtype=np.float32)
    total = found.probabilities(asked, asked[:, 0]).sum(axis=1)
    assert total[0] > 0.9
    assert total[1] < 0.1


def test_without_a_query_of_any_domain_nothing_can_be_calibrated() -> None:
    with pytest.raises(InputError, match="no dev query is of a domain"):
        Calibration.fit(np.zeros((2, 2), dtype=np.float32), np.zeros(2, dtype=np.float32), [-1, -1])


@given(seed=st.integers(0, 1000), outside=st.booleans())
def test_probabilities_are_probabilities_and_keep_the_order_of_scores(seed: int, outside: bool) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(60, 3)).astype(np.float32)
    truth = scores.argmax(axis=1)
    truth[:10] = random.integers(0, 3, 10)
    if outside:
        truth[-10:] = -1
    close = scores.max(axis=1)
    found = Calibration.fit(scores, close, truth.tolist()).probabilities(scores, close)
    assert (found >= 0).all()
    assert (found.sum(axis=1) <= 1 + 1e-9).all()
    assert (found.argmax(axis=1) == scores.argmax(axis=1))[found.max(axis=1) > 0].all()


def test_the_calibration_error_is_the_gap_of_each_bin_by_its_queries() -> None:
    """Two of three at .9 right (gap .2333), one at .5 wrong (gap .5): (3 * .2333 + .5) / 4 = .3."""
    confidence, right = np.asarray([0.9, 0.9, 0.9, 0.5]), np.asarray([True, True, False, False])
    assert expected_calibration_error(confidence, right) == pytest.approx(0.3)


def test_a_router_that_is_right_as_often_as_it_says_has_no_error() -> None:
    assert expected_calibration_error(np.asarray([1.0, 1.0]), np.asarray([True, True])) == 0.0
