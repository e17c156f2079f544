"""Whether the difference of two systems on the same queries is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[np.float64]]

_PERMUTATIONS = 10_000
_RESAMPLES = 10_000
# rows of random numbers drawn at a time: bounds the memory at any number of queries
_CHUNK = 250


@dataclass(frozen=True)
class Difference:
    """The mean difference of two systems on the same queries.

    Attributes:
        value: Mean of (system - base) over queries.
        low: Lower end of the bootstrap interval, of 95 % where nothing else is said.
        high: Upper end.
        p: Two-sided p value of the paired randomisation test.
    """

    value: float
    low: float
    high: float
    p: float


def paired_difference(
    system: Values, base: Values, seed: int = 0, groups: Sequence[int] | None = None, level: float = 0.95
) -> Difference:
    """Mean difference, bootstrap interval and paired randomisation test.

    The test swaps the two systems' values within each query at random (Fisher; Smucker et al. 2007) 10,000 times;
    p = (1 + number of swaps with a mean difference as large) / (1 + 10,000), so it is never 0. The interval is the
    percentile bootstrap over queries, 10,000 resamples.

    Args:
        system: Shape (queries,).
        base: Shape (queries,).
        seed: Seed of both.
        groups: Shape (queries,): values with one number depend on each other, and are swapped and drawn together.
        level: How much of the bootstrap's means the interval holds.
    """
    (found,) = paired_differences([system], [base], seed, groups, level)
    return found


def paired_differences(
    systems: Sequence[Values],
    bases: Sequence[Values],
    seed: int = 0,
    groups: Sequence[int] | None = None,
    level: float = 0.95,
) -> list[Difference]:
    """As `paired_difference`, for several measures of the same queries by the same draws, which is as fast as for one.

    Args:
        systems: Shape (queries,) each.
        bases: The same.
        seed: Seed of all draws.
        groups: As there.
        level: As there.
    """
    delta = np.asarray(systems, dtype=np.float64) - np.asarray(bases, dtype=np.float64)
    return _differences(delta.mean(axis=1), *_drawn(delta, groups, np.random.default_rng(seed)), level)


def ratio_difference(
    apart: Values, sizes: Values, seed: int = 0, groups: Sequence[int] | None = None, level: float = 0.95
) -> Difference:
    """The sum of what items differ by over the sum of their sizes, as in bits a byte, tested as a mean is.

    Args:
        apart: Shape (items,): system minus base, each of the whole item.
        sizes: Shape (items,): above 0.
        seed: Seed of all draws.
        groups: Shape (items,): items with one number are swapped and drawn together.
        level: How much of the bootstrap's ratios the interval holds.
    """
    delta, total = np.asarray(apart, dtype=np.float64)[None], np.asarray(sizes, dtype=np.float64)
    drawn = _drawn(delta, groups, np.random.default_rng(seed), total)
    (found,) = _differences(delta.sum(axis=1) / total.sum(), *drawn, level)
    return found


def mean_differences(
    parts: Sequence[Sequence[tuple[Values, Values]]],
    groups: Sequence[Sequence[int]],
    seed: int = 0,
    level: float = 0.95,
) -> list[Difference]:
    """The mean over parts of the mean difference in each, where every part weighs the same.

    Values are swapped and drawn within their part: how many queries of it there are is no chance.

    Args:
        parts: For each part, for each comparison (system, base), shape (queries of that part,) each.
        groups: For each part, shape (queries of that part,): values with one number are drawn together.
        seed: Seed of all draws.
        level: How much of the bootstrap's means the interval holds.

    Returns:
        A difference for each comparison.
    """
    random = np.random.default_rng(seed)
    observed, swapped, resampled = list[Values](), list[Values](), list[Values]()
    for pairs, together in zip(parts, groups, strict=True):
        delta = np.stack([np.asarray(system, dtype=np.float64) - base for system, base in pairs])
        observed.append(delta.mean(axis=1))
        for kept, found in zip((swapped, resampled), _drawn(delta, together, random), strict=True):
            kept.append(found)
    first, second, third = (np.mean(found, axis=0) for found in (observed, swapped, resampled))
    return _differences(first, second, third, level)


def _drawn(
    delta: Values, groups: Sequence[int] | None, random: np.random.Generator, weights: Values | None = None
) -> tuple[Values, Values]:
    """Means of differences with values swapped, and of resamples, shape (draws, comparisons) each.

    Args:
        delta: Shape (comparisons, queries).
        groups: Shape (queries,); None: all are independent.
        random: What draws.
        weights: Shape (queries,): what the sums are divided by; None: 1 each, which makes means of them.
    """
    count = delta.shape[1]
    _, inverse = np.unique(np.arange(count) if groups is None else np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(inverse, weights=of) for of in delta], axis=1)
    sizes = np.bincount(inverse, weights=np.ones(count) if weights is None else weights)
    whole = sizes.sum()

    def draw(total: int, sample: Callable[[int], Values]) -> Values:
        return np.concatenate([sample(min(_CHUNK, total - begin)) for begin in range(0, total, _CHUNK)])

    def swapped(rows: int) -> Values:
        means: Values = (random.integers(0, 2, (rows, len(sums))) * 2.0 - 1.0) @ sums / whole
        return means

    def resampled(rows: int) -> Values:
        drawn = random.integers(0, len(sums), (rows, len(sums))) + np.arange(rows)[:, None] * len(sums)
        times = np.bincount(drawn.ravel(), minlength=rows * len(sums)).reshape(rows, -1).astype(np.float64)
        means: Values = times @ sums / (times @ sizes)[:, None]
        return means

    return draw(_PERMUTATIONS, swapped), draw(_RESAMPLES, resampled)


def _differences(observed: Values, swapped: Values, resampled: Values, level: float) -> list[Difference]:
    as_large = (np.abs(swapped) >= np.abs(observed) - 1e-12).sum(axis=0)
    low, high = np.percentile(resampled, [50 - 50 * level, 50 + 50 * level], axis=0)
    p = (1 + as_large) / (1 + _PERMUTATIONS)
    return [Difference(*map(float, found)) for found in zip(observed, low, high, p, strict=True)]
