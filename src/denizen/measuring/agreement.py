"""How far a judge's grades can be trusted, measured on pairs that people graded too.

Raw agreement flatters a judge wherever one grade is frequent: two judges who call everything irrelevant agree on
everything. What counts is the agreement beyond chance (kappa), and how often the judge is right where it matters.
All results are dataclasses of plain numbers; `dataclasses.asdict` gives what JSON holds, None included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from denizen.engine.errors import InputError

Weights = Literal["none", "quadratic"]

# the grade from which on a passage counts as relevant: it answers the query by itself
RELEVANT = 4

_Values = np.ndarray[Any, np.dtype[np.float64]]

# a percentile at 2.5 % rests on 50 of them
_RESAMPLES = 2_000
# sums of shares that are 1 on paper differ from it by less
_ROUNDING = 1e-9
# upper end of each band, in table 2 of the paper
_BANDS = ((0.20, "slight"), (0.40, "fair"), (0.60, "moderate"), (0.80, "substantial"))


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance of two judges on the same pairs.

    Attributes:
        value: Cohen's kappa, at most 1; 0 is what chance gives. None where it is undefined.
        low: Lower end of the bootstrap 95 % interval; None where `value` is.
        high: Upper end; None where `value` is.
        agreement: Raw agreement, the share of pairs with equal grades; None without pairs.
        pairs: How many pairs were graded by both.
        reason: Why `value` is None; empty where it is not.
    """

    value: float | None
    low: float | None
    high: float | None
    agreement: float | None
    pairs: int
    reason: str = ""


@dataclass(frozen=True)
class Rate:
    """A share of `count` pairs with its Wilson 95 % interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Rates:
    """How often a judge is right, for relevant pairs and for the others.

    Attributes:
        sensitivity: Of the pairs that are relevant, the share that the judge calls so; None when there are none.
        specificity: Of the pairs that are not, the share that the judge does not call so; None when there are none.
    """

    sensitivity: Rate | None
    specificity: Rate | None


def cohen_kappa(one: Sequence[int], other: Sequence[int], weights: Weights = "none", seed: int = 0) -> Kappa:
    """Cohen's kappa of two judges, with its interval and the raw agreement beside it.

    Kappa is 1 - observed / expected disagreement (Cohen 1960); a disagreement counts 1, or with "quadratic" weights
    the squared distance of the two grades (Cohen 1968), so that 1 against 4 counts nine times as much as 3 against 4.
    The interval is the percentile bootstrap over pairs, 2,000 resamples.

    Degenerate cases:
        - Both judges give all pairs one and the same grade: chance alone would agree fully, and kappa is undefined.
        - Only one judge gives all pairs the same grade: kappa is 0, whatever the agreement.
        - Fewer than 2 pairs: undefined.
        - Resamples in which kappa is undefined are left out of the interval.
        - Equal grades throughout give the interval [1, 1], however few the pairs: every resample agrees too. Read it
          with `pairs`.

    Args:
        one: One judge's grade for each pair.
        other: The other judge's, in the same order. Swapping the judges changes neither kappa nor agreement.
        weights: How much a disagreement counts.
        seed: Seed of the bootstrap. The order of the pairs does not matter.

    Raises:
        InputError: When the two have not graded the same number of pairs.
    """
    first, second = _aligned(one, other)
    count = len(first)
    agreement = float((first == second).mean()) if count else None
    if count < 2:
        return Kappa(
            None, None, None, agreement, count, f"kappa needs at least 2 pairs graded by both; there are {count}"
        )
    grades, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    if len(grades) == 1:
        reason = f"both give all {count} pairs the grade {grades[0]}: kappa needs pairs of at least two grades"
        return Kappa(None, None, None, agreement, count, reason)
    size = len(grades)
    # a resample of the pairs is a draw of the counts of this table
    counts = np.bincount(codes[:count] * size + codes[count:], minlength=size * size)
    draws = np.random.default_rng(seed).multinomial(count, counts / count, _RESAMPLES)
    distance = _distance(grades, weights)
    value = _kappas(counts.reshape(1, size, size), distance)[0]
    low, high = np.nanpercentile(_kappas(draws.reshape(-1, size, size), distance), [2.5, 97.5])
    return Kappa(float(value), float(low), float(high), agreement, count)


def positive_rates(judge: Sequence[int], truth: Sequence[int]) -> Rates:
    """Sensitivity and specificity of a judge for relevant (grade 4) against not.

    The intervals are Wilson's (1927), which stay within [0, 1] and have a width even where every pair is right.

    Args:
        judge: The judge's grade for each pair.
        truth: The grade that counts as true, in the same order.

    Raises:
        InputError: When the two have not graded the same number of pairs.
    """
    judged, true = _aligned(judge, truth)
    said, relevant = judged >= RELEVANT, true >= RELEVANT
    return Rates(_rate(said[relevant]), _rate(~said[~relevant]))


def corrected_prevalence(share: float, sensitivity: float, specificity: float) -> float | None:
    """The true share of relevant pairs behind the share that a fallible judge calls relevant.

    (share + specificity - 1) / (sensitivity + specificity - 1), clipped to [0, 1] (Rogan and Gladen 1978).

    Args:
        share: The share of pairs that the judge calls relevant, 0 to 1.
        sensitivity: Of the relevant pairs, the share that it calls so.
        specificity: Of the others, the share that it does not call so.

    Returns:
        None when sensitivity + specificity is 1 or less: such a judge says nothing about the truth.
    """
    gain = sensitivity + specificity - 1
    if gain < _ROUNDING:
        return None
    return min(max((share + specificity - 1) / gain, 0.0), 1.0)


def words(kappa: float) -> str:
    """The usual word for a kappa (Landis and Koch 1977, table 2), from its two decimals as they are printed there.

    The bands are the authors' habit and not derived from anything; the interval says more.
    """
    rounded = round(kappa, 2)
    if rounded < 0:
        return "poor"
    return next((word for highest, word in _BANDS if rounded <= highest), "almost perfect")


def _aligned(one: Sequence[int], other: Sequence[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if len(one) != len(other):
        raise InputError(f"one judge graded {len(one)} pairs and the other {len(other)}; give the pairs of both")
    return np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64)


def _distance(grades: np.ndarray[Any, Any], weights: Weights) -> _Values:
    apart: _Values = (grades[:, None] - grades[None, :]).astype(np.float64)
    return np.square(apart) if weights == "quadratic" else (apart != 0).astype(np.float64)


def _kappas(counts: np.ndarray[Any, Any], distance: _Values) -> _Values:
    """Kappa of each table of counts, shape (tables, grades, grades); nan where it is undefined."""
    observed = (counts * distance).sum(axis=(1, 2))
    total = counts.sum(axis=(1, 2))
    expected = np.einsum("ti,ij,tj->t", counts.sum(axis=2), distance, counts.sum(axis=1)) / total
    kappas: _Values = 1 - np.divide(observed, expected, out=np.full(len(counts), np.nan), where=expected > 0)
    return kappas


def _rate(right: np.ndarray[Any, Any]) -> Rate | None:
    from scipy.stats import binomtest

    count = len(right)
    if not count:
        return None
    interval = binomtest(int(right.sum()), count).proportion_ci(0.95, method="wilson")
    return Rate(float(right.mean()), float(interval.low), float(interval.high), count)
