from __future__ import annotations

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from denizen.engine.errors import InputError
from denizen.measuring.agreement import (
    Kappa,
    Rates,
    Weights,
    cohen_kappa,
    corrected_prevalence,
    positive_rates,
    words,
)

WEIGHTS = st.sampled_from(get_args(Weights))
GRADES = st.integers(1, 4)
fewer = settings(max_examples=40)
PAIRS = st.lists(st.tuples(GRADES, GRADES), min_size=2, max_size=40)


def pairs_of(table: dict[tuple[int, int], int]) -> tuple[list[int], list[int]]:
    pairs = [pair for pair, count in table.items() for _ in range(count)]
    return [one for one, _ in pairs], [other for _, other in pairs]


# 50 pairs: agreement 35/50; the judges call 25 and 30 of them relevant
TWO_BY_TWO = pairs_of({(4, 4): 20, (4, 1): 5, (1, 4): 10, (1, 1): 15})


def test_kappa_of_a_two_by_two_table_is_the_one_worked_out_by_hand() -> None:
    """Agreement (20 + 15) / 50 = 0.7; by chance 25/50 * 30/50 + 25/50 * 20/50 = 0.5; (0.7 - 0.5) / (1 - 0.5) = 0.4."""
    found = cohen_kappa(*TWO_BY_TWO)
    assert found.value == pytest.approx(0.4)
    assert (found.agreement, found.pairs, found.reason) == (pytest.approx(0.7), 50, "")
    # of two grades there is but one distance
    assert cohen_kappa(*TWO_BY_TWO, weights="quadratic").value == pytest.approx(0.4)


def test_quadratic_kappa_is_the_one_worked_out_by_hand() -> None:
    """Grades 1 2 3 4 against 1 1 4 4: squared distances 0 1 1 0, on average 1/2.

    By chance, 1 and 4 are (0 + 9) / 2 = 4.5 away from the other judge's, 2 and 3 are (1 + 4) / 2 = 2.5; on average 3.5.
    1 - 0.5 / 3.5 = 6/7. Without weights: agreement 1/2, by chance 1/4 * 1/2 * 2 = 1/4, so 1/3.
    """
    assert cohen_kappa([1, 2, 3, 4], [1, 1, 4, 4], weights="quadratic").value == pytest.approx(6 / 7)
    assert cohen_kappa([1, 2, 3, 4], [1, 1, 4, 4]).value == pytest.approx(1 / 3)


def test_a_grade_that_nobody_gives_still_lies_between_its_neighbours() -> None:
    """Without grade 3, 2 and 4 are two apart: distances 0 4 4 0, on average 2.

    Both judges give 1, 2, 4 to 1/4, 1/4, 1/2: by chance 2 * (1/16 * 1 + 1/8 * 9 + 1/8 * 4) = 3.375.
    1 - 2 / 3.375 = 11/27.
    """
    assert cohen_kappa([1, 2, 4, 4], [1, 4, 2, 4], weights="quadratic").value == pytest.approx(11 / 27)


def test_raw_agreement_flatters_where_one_grade_is_frequent() -> None:
    """Agreement 0.9; by chance 0.95 * 0.95 + 0.05 * 0.05 = 0.905; (0.9 - 0.905) / 0.095 = -1/19."""
    found = cohen_kappa(*pairs_of({(1, 1): 90, (1, 4): 5, (4, 1): 5}))
    assert found.agreement == pytest.approx(0.9)
    assert found.value == pytest.approx(-1 / 19)


def test_one_grade_only_leaves_kappa_undefined_and_says_why() -> None:
    reason = "both give all 3 pairs the grade 2: kappa needs pairs of at least two grades"
    assert cohen_kappa([2, 2, 2], [2, 2, 2]) == Kappa(None, None, None, 1.0, 3, reason)


@pytest.mark.parametrize("weights", get_args(Weights))
def test_a_judge_that_always_gives_one_grade_has_kappa_0_and_so_has_every_resample(weights) -> None:
    assert cohen_kappa([4] * 6, [4, 4, 4, 4, 4, 1], weights) == Kappa(0.0, 0.0, 0.0, pytest.approx(5 / 6), 6)
    assert cohen_kappa([4] * 6, [3] * 6, weights) == Kappa(0.0, 0.0, 0.0, 0.0, 6)


@pytest.mark.parametrize("grades, agreement", [([], None), ([3], 1.0)])
def test_fewer_than_two_pairs_leave_kappa_undefined(grades, agreement) -> None:
    reason = f"kappa needs at least 2 pairs graded by both; there are {len(grades)}"
    assert cohen_kappa(grades, grades) == Kappa(None, None, None, agreement, len(grades), reason)


def test_different_numbers_of_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="one judge graded 2 pairs and the other 1"):
        cohen_kappa([1, 2], [1])
    with pytest.raises(InputError, match="one judge graded 1 pairs and the other 0"):
        positive_rates([1], [])


@fewer
@given(PAIRS, WEIGHTS)
def test_swapping_the_judges_changes_nothing(pairs, weights) -> None:
    one, other = zip(*pairs, strict=True)
    found, swapped = cohen_kappa(one, other, weights), cohen_kappa(other, one, weights)
    assert found.value == pytest.approx(swapped.value)
    assert (found.agreement, found.reason) == (swapped.agreement, swapped.reason)


@fewer
@given(PAIRS, WEIGHTS, st.randoms())
def test_the_order_of_the_pairs_changes_nothing_the_interval_included(pairs, weights, random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    assert cohen_kappa(*zip(*pairs, strict=True), weights) == cohen_kappa(*zip(*shuffled, strict=True), weights)


@fewer
@given(st.lists(GRADES, min_size=2, max_size=40).filter(lambda grades: len(set(grades)) > 1), WEIGHTS)
def test_equal_grades_of_two_kinds_give_kappa_1(grades, weights) -> None:
    assert cohen_kappa(grades, grades, weights) == Kappa(1.0, 1.0, 1.0, 1.0, len(grades))


@fewer
@given(PAIRS, WEIGHTS)
def test_kappa_and_interval_are_at_most_1_in_order_and_kept_by_json(pairs, weights) -> None:
    found = cohen_kappa(*zip(*pairs, strict=True), weights)
    if found.value is not None:
        assert found.low <= found.high <= 1 and found.value <= 1
    assert Kappa(**json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))) == found


@pytest.mark.parity
@fewer
@given(PAIRS.filter(lambda pairs: len({grade for pair in pairs for grade in pair}) > 1), WEIGHTS)
def test_kappa_is_that_of_scikit_learn(pairs, weights) -> None:
    one, other = zip(*pairs, strict=True)
    # labels: its distances are between places in this list
    theirs = cohen_kappa_score(one, other, labels=[1, 2, 3, 4], weights=None if weights == "none" else weights)
    assert cohen_kappa(one, other, weights).value == pytest.approx(theirs)


@pytest.mark.parametrize("weights", get_args(Weights))
def test_the_interval_is_that_of_resampled_pairs(weights) -> None:
    """Percentiles of kappa over resamples drawn pair by pair, each by its definition: mean distances."""
    random = np.random.default_rng(1)
    one = random.integers(1, 5, 120)
    other = np.where(random.random(120) < 0.5, one, random.integers(1, 5, 120))
    apart = one[:, None] - other[None, :]
    distance = apart**2 if weights == "quadratic" else apart != 0
    kappas = [
        1 - distance[rows, rows].mean() / distance[np.ix_(rows, rows)].mean()
        for rows in random.integers(0, 120, (2000, 120))
    ]
    # twice what percentiles of 2,000 resamples scatter
    found = cohen_kappa(one.tolist(), other.tolist(), weights)
    assert [found.low, found.high] == pytest.approx(np.percentile(kappas, [2.5, 97.5]).tolist(), abs=0.02)
    assert found.low < found.value < found.high


def test_the_interval_is_the_same_with_the_same_seed_and_narrows_with_more_pairs() -> None:
    few, again, other = cohen_kappa(*TWO_BY_TWO), cohen_kappa(*TWO_BY_TWO), cohen_kappa(*TWO_BY_TWO, seed=1)
    assert few == again != other
    many = cohen_kappa(TWO_BY_TWO[0] * 100, TWO_BY_TWO[1] * 100)
    # a hundred times the pairs, a tenth of the width
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.1, rel=0.1)


def test_resamples_without_a_kappa_are_left_out_of_the_interval() -> None:
    """Of the resamples of two agreeing pairs half hold one of them twice; in the others kappa is 1."""
    assert cohen_kappa([1, 4], [1, 4]) == Kappa(1.0, 1.0, 1.0, 1.0, 2)


def test_rates_and_their_wilson_intervals_are_those_worked_out_by_hand() -> None:
    """10 relevant pairs, 9 called so; 8 others (grade 3 among them), all of them not called relevant.

    Wilson with z = 1.959964, z^2 = 3.841459: 9/10: centre (0.9 + z^2/20) / (1 + z^2/10) = 0.788986, half width
    z / (1 + z^2/10) * sqrt(0.09/10 + z^2/400) = 0.193137. 8/8: the lower end is 1 / (1 + z^2/8) = 0.675592.
    """
    rates = positive_rates([4] * 9 + [3] + [3] * 4 + [1] * 4, [4] * 10 + [3, 3, 2, 1] * 2)
    assert dataclasses.astuple(rates.sensitivity) == pytest.approx((0.9, 0.595849, 0.982123, 10), abs=2e-6)
    assert dataclasses.astuple(rates.specificity) == pytest.approx((1.0, 0.675592, 1.0, 8), abs=2e-6)


def test_a_partial_answer_called_relevant_counts_against_specificity_alone() -> None:
    rates = positive_rates([4, 4], [4, 3])
    assert (rates.sensitivity.value, rates.specificity.value) == (1.0, 0.0)


def test_a_rate_of_no_pairs_is_none_and_json_keeps_it() -> None:
    assert positive_rates([], []) == Rates(None, None)
    rates = positive_rates([4, 1], [4, 4])
    assert rates.specificity is None and rates.sensitivity.count == 2
    kept = json.loads(json.dumps(dataclasses.asdict(rates), allow_nan=False))
    assert kept["specificity"] is None and kept["sensitivity"]["value"] == 0.5


def test_corrected_prevalence_is_the_one_worked_out_by_hand() -> None:
    """(0.3 + 0.9 - 1) / (0.8 + 0.9 - 1) = 0.2 / 0.7; below 1 - specificity nothing is left, above sensitivity all."""
    assert corrected_prevalence(0.3, 0.8, 0.9) == pytest.approx(2 / 7)
    assert corrected_prevalence(0.05, 0.8, 0.9) == 0.0
    assert corrected_prevalence(0.85, 0.8, 0.9) == 1.0


@pytest.mark.parametrize("sensitivity, specificity", [(0.5, 0.5), (0.9, 0.1), (0.3, 0.7), (0.2, 0.3), (0.1 + 0.2, 0.7)])
def test_a_judge_no_better_than_chance_corrects_nothing(sensitivity, specificity) -> None:
    assert corrected_prevalence(0.4, sensitivity, specificity) is None


@given(st.floats(0, 1), st.floats(0.55, 1), st.floats(0.55, 1))
def test_corrected_prevalence_finds_the_share_that_the_judge_blurred(true, sensitivity, specificity) -> None:
    share = true * sensitivity + (1 - true) * (1 - specificity)
    assert corrected_prevalence(share, sensitivity, specificity) == pytest.approx(true, abs=1e-9)


@pytest.mark.parametrize(
    "kappa, word",
    [
        (-0.3, "poor"),
        (-0.01, "poor"),
        (0.0, "slight"),
        (0.2, "slight"),
        (0.204, "slight"),
        (0.21, "fair"),
        (0.4, "fair"),
        (0.41, "moderate"),
        (0.6, "moderate"),
        (0.61, "substantial"),
        (0.8, "substantial"),
        (0.81, "almost perfect"),
        (1.0, "almost perfect"),
    ],
)
def test_words_are_those_of_landis_and_koch(kappa, word) -> None:
    assert words(kappa) == word
