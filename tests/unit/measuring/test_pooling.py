from __future__ import annotations

import math

import numpy as np
import pytest

from denizen.measuring.pooling import Drawing, disagreement, moments


def test_a_unit_is_measured_by_the_first_answer_and_by_all() -> None:
    """Answers at ranks 2 and 3: RR 1/2, DCG 1/log2(3) + 1/log2(4)."""
    drawing = Drawing(["base", "adapted"])
    drawing.add(0, {"base": [False, False, False, False, False], "adapted": [False, True, True, False, False]})
    assert drawing.values["MRR@5"] == {"base": [0.0], "adapted": [0.5]}
    assert drawing.values["DCG@5"]["adapted"] == [pytest.approx(1 / math.log2(3) + 0.5)]


def test_the_standard_error_is_that_of_the_mean() -> None:
    """1, 2, 3: standard deviation 1, divided by the root of 3."""
    assert moments([1.0, 2.0, 3.0], [0, 1, 2]) == (2.0, pytest.approx(1 / math.sqrt(3)))


def test_values_of_one_query_count_as_one() -> None:
    """Each value twice over says no more than once; one query alone says nothing."""
    once = moments([1.0, 2.0, 3.0], [0, 1, 2])
    assert moments([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [0, 0, 1, 1, 2, 2]) == pytest.approx(once)
    assert moments([1.0, 2.0], [0, 0]) == (1.5, math.inf)


def test_drawing_is_sure_when_every_error_is_below_five_percent() -> None:
    """Half of n units right: the error is .5 / sqrt(n - 1), the mean .5: below 5 % from 402 units on."""
    drawing = Drawing(["base"])
    for at in range(400):
        drawing.add(at, {"base": [at % 2 == 0]})
    assert not drawing.sure
    for at in range(400, 404):
        drawing.add(at, {"base": [at % 2 == 0]})
    assert drawing.sure


def test_a_few_units_that_agree_are_not_sure() -> None:
    drawing = Drawing(["base"])
    for at in range(49):
        drawing.add(at, {"base": [True]})
    assert not drawing.sure
    drawing.add(49, {"base": [True]})
    assert drawing.sure


def test_the_summary_compares_with_the_first_model() -> None:
    drawing = Drawing(["base", "adapted"])
    for at in range(60):
        drawing.add(at, {"base": [False, True], "adapted": [at % 3 > 0, True]})
    found = drawing.summary()
    assert found["pairs"] == 60
    assert found["means"]["MRR@5"]["base"]["mean"] == 0.5
    assert found["differences"]["MRR@5"]["adapted"]["value"] == pytest.approx(2 / 3 + 1 / 6 - 0.5)
    assert "base" not in found["differences"]["MRR@5"]


def test_disagreement_is_the_larger_mean_distance_to_the_other_set() -> None:
    """Of one set both members are in the other (0); of the other one member is at distance 1 from all: 1/3."""
    x, y, z = np.eye(3, dtype=np.float32)
    assert disagreement(np.stack([x, y]), np.stack([x, y, z])) == pytest.approx(1 / 3)
    assert disagreement(np.stack([x, y]), np.stack([y, x])) == 0
