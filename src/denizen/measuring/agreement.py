"""How far a judge's grades can be trusted, measured on pairs that were graded twice.

Raw agreement flatters a judge wherever one grade is frequent: two judges who call everything irrelevant agree on
everything. What counts is the agreement beyond chance (kappa), and how often the judge is right where it matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from denizen.data.relatedness import POSITIVE
from denizen.engine.errors import InputError

Weights = Literal["none", "quadratic"]

_Values = np.ndarray[Any, np.dtype[np.float64]]
_Grades = np.ndarray[Any, np.dtype[np.int64]]

# a percentile at 2.5 % rests on 50 of them
_RESAMPLES = 2_000
# sums of shares that are 1 on paper differ from it by less
_ROUNDING = 1e-9
# upper end of each band, in table 2 of the paper
_BANDS = {-0.01: "poor", 0.2: "slight", 0.4: "fair", 0.6: "moderate", 0.8: "substantial", 1.0: "almost perfect"}


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
    """A share of `count` pairs, or of anything else, with its Wilson 95 % interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Rates:
    """How often a judge is right.

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
    It is undefined for fewer than 2 pairs, and where both judges give all pairs one grade; 0 where one of them does.

    The interval is the percentile bootstrap over pairs, 2,000 resamples without those whose kappa is undefined. Equal
    grades throughout give [1, 1], however few the pairs: read it with `pairs`.

    Args:
        one: One judge's grade for each pair.
        other: The other judge's, in the same order.
        weights: How much a disagreement counts.
        seed: Seed of the bootstrap. The order of the pairs does not matter.

    Raises:
        InputError: When the two have not graded the same number of pairs.
    """
    first, second = _aligned(one, other)
    count = len(first)
    agreement = float((first == second).mean()) if count else None
    grades, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    size, reason = len(grades), ""
    if count < 2:
        reason = f"kappa needs at least 2 pairs graded by both; there are {count}"
    elif size == 1:
        reason = f"both give all {count} pairs the grade {grades[0]}: kappa needs pairs of at least two grades"
    if reason:
        return Kappa(None, None, None, agreement, count, reason)
    apart = grades[:, None] - grades
    distance = apart**2.0 if weights == "quadratic" else (apart != 0) * 1.0
    # a resample of the pairs is a draw of the counts of this table
    counts = np.bincount(codes[:count] * size + codes[count:], minlength=size * size)
    draws = np.random.default_rng(seed).multinomial(count, counts / count, _RESAMPLES)
    value, *resampled = _kappas(np.vstack([counts, draws]).reshape(-1, size, size), distance)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Kappa(float(value), float(low), float(high), agreement, count)


def compare(one: Sequence[int | None], other: Sequence[int | None]) -> dict[str, Any]:
    """Both kappas of two gradings of the same pairs, and how many of these one of them has not graded (None)."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    first, second = [a for a, _ in both], [b for _, b in both]
    return {
        "kappa": asdict(cohen_kappa(first, second)),
        "weighted_kappa": asdict(cohen_kappa(first, second, "quadratic")),
        "failed": len(one) - len(both),
    }


def positive_rates(judge: Sequence[int], truth: Sequence[int]) -> Rates:
    """Sensitivity and specificity of a judge for relevant (grade 4) against not.

    The intervals are Wilson's (1927), which stay within [0, 1] and have a width even where every pair is right.

    Raises:
        InputError: When the two have not graded the same number of pairs.
    """
    judged, true = _aligned(judge, truth)
    said, relevant = judged >= POSITIVE, true >= POSITIVE
    return Rates(rate(said[relevant]), rate(~said[~relevant]))


def corrected_prevalence(share: float, sensitivity: float, specificity: float) -> float | None:
    """The true share of relevant pairs behind the share that a fallible judge calls relevant.

    (share + specificity - 1) / (sensitivity + specificity - 1), clipped to [0, 1] (Rogan and Gladen 1978). None where
    sensitivity + specificity is 1 or less: such a judge says nothing about the truth.
    """
    gain = sensitivity + specificity - 1
    return None if gain < _ROUNDING else min(max((share + specificity - 1) / gain, 0.0), 1.0)


def words(kappa: float) -> str:
    """The usual word for a kappa (Landis and Koch 1977, table 2), from its two decimals as they are printed there.

    The bands are the authors' habit and not derived from anything; the interval says more.
    """
    return next(word for highest, word in _BANDS.items() if round(kappa, 2) <= highest)


def _aligned(one: Sequence[int], other: Sequence[int]) -> tuple[_Grades, _Grades]:
    if len(one) != len(other):
        raise InputError(f"one judge graded {len(one)} pairs and the other {len(other)}; give the pairs of both")
    return np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64)


def _kappas(counts: _Grades, distance: _Values) -> _Values:
    """Kappa of each table of counts, shape (tables, grades, grades); nan where it is undefined."""
    observed = (counts * distance).sum(axis=(1, 2))
    total = counts.sum(axis=(1, 2))
    expected = np.einsum("ti,ij,tj->t", counts.sum(axis=2), distance, counts.sum(axis=1)) / total
    kappas: _Values = 1 - np.divide(observed, expected, out=np.full(len(counts), np.nan), where=expected > 0)
    return kappas


def rate(right: np.ndarray[Any, Any]) -> Rate | None:
    """The share of a number of pairs, or of anything else, that is right; None where there are none.

    Args:
        right: Whether each is, shape (pairs,).
    """
    from scipy.stats import binomtest

    count = len(right)
    if not count:
        return None
    interval = binomtest(int(right.sum()), count).proportion_ci(0.95, method="wilson")
    return Rate(float(right.mean()), float(interval.low), float(interval.high), count)
