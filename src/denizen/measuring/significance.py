"""Whether the difference of two systems on the same queries is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_Values = np.ndarray[Any, np.dtype[np.float64]]

_PERMUTATIONS = 10_000
_RESAMPLES = 10_000
# rows of random numbers drawn at a time: bounds the memory at any number of queries
_CHUNK = 250


@dataclass(frozen=True)
class Difference:
    """The mean difference of two systems on the same queries.

    Attributes:
        value: Mean of (system - base) over queries.
        low: Lower end of the bootstrap 95 % interval.
        high: Upper end.
        p: Two-sided p value of the paired randomisation test.
    """

    value: float
    low: float
    high: float
    p: float


def paired_difference(system: _Values, base: _Values, seed: int = 0, groups: Sequence[int] | None = None) -> Difference:
    """Mean difference, bootstrap interval and paired randomisation test.

    The test swaps the two systems' values within each query at random (Fisher; Smucker et al. 2007) 10,000 times;
    p = (1 + number of swaps with a mean difference as large) / (1 + 10,000), so it is never 0. The interval is the
    percentile bootstrap over queries, 10,000 resamples.

    Args:
        system: Shape (queries,).
        base: Shape (queries,).
        seed: Seed of both.
        groups: Shape (queries,): values with one number depend on each other, and are swapped and drawn together.
    """
    delta = np.asarray(system, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    observed = float(delta.mean())
    random = np.random.default_rng(seed)
    count = len(delta)
    _, inverse = np.unique(np.arange(count) if groups is None else np.asarray(groups), return_inverse=True)
    sums: _Values = np.bincount(inverse, weights=delta).astype(np.float64)
    sizes = np.bincount(inverse)

    def draw(total: int, sample: Callable[[int], _Values]) -> _Values:
        return np.concatenate([sample(min(_CHUNK, total - begin)) for begin in range(0, total, _CHUNK)])

    swapped = draw(_PERMUTATIONS, lambda rows: (random.integers(0, 2, (rows, len(sums)), dtype=np.int8) * 2 - 1) @ sums)
    as_large = int((np.abs(swapped / count) >= abs(observed) - 1e-12).sum())

    def mean_of_drawn(rows: int) -> _Values:
        drawn = random.integers(0, len(sums), (rows, len(sums)))
        means: _Values = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
        return means

    resampled = draw(_RESAMPLES, mean_of_drawn)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Difference(observed, float(low), float(high), (1 + as_large) / (1 + _PERMUTATIONS))
