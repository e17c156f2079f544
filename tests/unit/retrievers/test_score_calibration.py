"""Scores of two models made comparable: z-scores by hand, isotonic steps by hand, and what neither may do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.retrievers.score_calibration import Isotonic, ZScore, calibration_of

SCORES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40)


def test_a_z_score_is_in_standard_deviations_of_dev() -> None:
    """Mean .4; deviations -.2, 0, .2, so the standard deviation is sqrt(.08 / 3)."""
    of = ZScore.fit(np.asarray([0.2, 0.4, 0.6]))
    assert of.mean == pytest.approx(0.4) and of.spread == pytest.approx((0.08 / 3) ** 0.5)
    assert of(np.asarray([0.4, 0.4 + of.spread])) == pytest.approx([0.0, 1.0])


def test_scores_that_are_all_the_same_have_a_spread_of_one() -> None:
    assert ZScore.fit(np.asarray([0.5, 0.5])) == ZScore(0.5, 1.0) and ZScore.fit(np.asarray([])) == ZScore(0.0, 1.0)


def test_isotonic_is_the_share_of_relevant_ones_between_the_means_of_its_steps() -> None:
    """0 0 | 1 0 pooled to a half | 1: steps at the mean scores .15, .35, .5 with 0, .5, 1."""
    of = Isotonic.fit(np.asarray([0.1, 0.2, 0.3, 0.4, 0.5]), np.asarray([0.0, 0.0, 1.0, 0.0, 1.0]))
    assert of.scores == pytest.approx((0.15, 0.35, 0.5)) and of.values == pytest.approx((0.0, 0.5, 1.0))
    assert of(np.asarray([0.25])) == pytest.approx([0.25], abs=1e-3)
    # beyond the last step it is as probable, and still ordered
    assert of(np.asarray([0.9])) > of(np.asarray([0.6]))


@given(SCORES, st.data())
def test_what_scores_higher_never_counts_less(scores: list[float], data: st.DataObject) -> None:
    values = np.asarray(scores, dtype=np.float64)
    right = np.asarray(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(scores), max_size=len(scores))))
    asked = np.sort(np.asarray(data.draw(SCORES), dtype=np.float64))
    for of in (ZScore.fit(values), Isotonic.fit(values, right)):
        assert (np.diff(of(asked)) >= -1e-12).all()
        assert calibration_of(json.loads(json.dumps(of.as_dict()))) == of


def test_two_models_of_different_scales_are_compared_alike() -> None:
    """The second gives half and .3 more of what the first gives: after either calibration they agree."""
    drawn = np.random.default_rng(0)
    first, right = drawn.normal(size=200), drawn.integers(0, 2, 200).astype(float)
    second = first / 2 + 0.3
    asked = np.linspace(-1, 1, 9)
    assert ZScore.fit(first)(asked) == pytest.approx(ZScore.fit(second)(asked / 2 + 0.3))
    assert Isotonic.fit(first, right)(asked) == pytest.approx(Isotonic.fit(second, right)(asked / 2 + 0.3))


@pytest.mark.parametrize(
    "saved",
    [
        {"kind": "platt"},
        {"kind": "z", "mean": 0.1, "spread": 0.0},
        {"kind": "isotonic", "scores": [0.2, 0.1], "values": [0.0, 1.0], "beside": {"mean": 0.0, "spread": 1.0}},
        None,
    ],
)
def test_what_is_damaged_is_refused(saved: Any) -> None:
    with pytest.raises(InputError, match="a calibration of scores is damaged"):
        calibration_of(saved)


def test_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(InputError, match="there are no scores to calibrate"):
        Isotonic.fit(np.asarray([]), np.asarray([]))
