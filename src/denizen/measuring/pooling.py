"""Measures over pooled grades: means with standard errors, drawn until they are sure, and where models disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from denizen.measuring.significance import paired_difference
from denizen.retrievers.backends import Vectors

MEASURES = ("MRR@5", "DCG@5")
# standard error over mean (arXiv 2512.08088)
SURE = 0.05
# fewer say nothing about a standard error
_LEAST = 50


class Drawing:
    """The measures of several models on the units that were drawn so far.

    Args:
        names: The models; differences are to the first.

    Attributes:
        batch: How many units are graded before the standard errors are looked at again.
    """

    batch = 50

    def __init__(self, names: Sequence[str]) -> None:
        self.values: dict[str, dict[str, list[float]]] = {measure: {name: [] for name in names} for measure in MEASURES}
        self.queries: list[int] = []

    def add(self, query: int, relevant: Mapping[str, Sequence[bool]]) -> None:
        """One unit: the number of its query, and for each model whether its best passages answer, by rank."""
        self.queries.append(query)
        for name, ranked in relevant.items():
            gains = np.array(ranked, dtype=np.float64) / np.log2(np.arange(2, len(ranked) + 2))
            first = next((rank for rank, answers in enumerate(ranked, start=1) if answers), None)
            self.values["MRR@5"][name].append(1 / first if first else 0.0)
            self.values["DCG@5"][name].append(float(gains.sum()))

    @property
    def count(self) -> int:
        """Units so far."""
        return len(self.queries)

    @property
    def sure(self) -> bool:
        """Whether every standard error is below 5 % of its mean."""
        found = [self._moments(values) for of_model in self.values.values() for values in of_model.values()]
        return self.count >= _LEAST and all(error < SURE * mean for mean, error in found)

    def summary(self) -> dict[str, Any]:
        """Means with standard errors, and the paired differences to the first model."""
        means: dict[str, dict[str, Any]] = {}
        differences: dict[str, dict[str, Any]] = {}
        for measure, of_model in self.values.items():
            first, *others = of_model
            moments = {name: self._moments(values) for name, values in of_model.items()}
            means[measure] = {name: {"mean": mean, "standard_error": error} for name, (mean, error) in moments.items()}
            base = np.array(of_model[first])
            differences[measure] = {
                name: asdict(paired_difference(np.array(of_model[name]), base, groups=self.queries)) for name in others
            }
        return {"pairs": self.count, "means": means, "differences": differences}

    def _moments(self, values: Sequence[float]) -> tuple[float, float]:
        return moments(values, self.queries)


def moments(values: Sequence[float], groups: Sequence[int]) -> tuple[float, float]:
    """Mean and its standard error, where values of one group depend on each other (Liang and Zeger 1986).

    Args:
        values: At least one.
        groups: The group of each; where all are different, the error is that of independent values.
    """
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(inverse, weights=found - mean)
    if len(sums) < 2:
        return mean, math.inf
    return mean, float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(found))


def disagreement(one: Vectors, other: Vectors) -> float:
    """How far two sets of passages are apart: the modified Hausdorff distance (Dubuisson and Jain 1994).

    The larger of the two mean distances of a set's members to the nearest member of the other set.

    Args:
        one: Shape (passages, dim), unit length.
        other: Shape (passages, dim), unit length.
    """
    distances = 1 - one @ other.T
    return float(max(distances.min(axis=1).mean(), distances.min(axis=0).mean()))
