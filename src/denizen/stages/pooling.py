"""Measures over pooled grades: means with standard errors, drawn until they are sure, and where models disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from denizen.core.paired import paired_difference
from denizen.models.backends import Vectors

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

    def add(self, relevant: Mapping[str, Sequence[bool]]) -> None:
        """One unit: for each model whether its best passages answer, by rank."""
        for name, ranked in relevant.items():
            gains = np.array(ranked, dtype=np.float64) / np.log2(np.arange(2, len(ranked) + 2))
            first = next((rank for rank, answers in enumerate(ranked, start=1) if answers), None)
            self.values["MRR@5"][name].append(1 / first if first else 0.0)
            self.values["DCG@5"][name].append(float(gains.sum()))

    @property
    def sure(self) -> bool:
        """Whether every standard error is below 5 % of its mean."""
        found = [moments(values) for of_model in self.values.values() for values in of_model.values()]
        return all(count >= _LEAST and error < SURE * mean for mean, error, count in found)

    def summary(self) -> dict[str, Any]:
        """Means with standard errors, and the paired differences to the first model."""
        names = list(self.values[MEASURES[0]])
        count = len(self.values[MEASURES[0]][names[0]])
        means = {
            measure: {
                name: {"mean": mean, "standard_error": error}
                for name, (mean, error, _) in ((name, moments(values)) for name, values in of_model.items())
            }
            for measure, of_model in self.values.items()
        }
        differences = {
            measure: {
                name: asdict(paired_difference(np.array(of_model[name]), np.array(of_model[names[0]])))
                for name in names[1:]
            }
            for measure, of_model in self.values.items()
            if count
        }
        return {"pairs": count, "means": means, "differences": differences}


def moments(values: Sequence[float]) -> tuple[float, float, int]:
    """Mean, standard error of the mean, and count; zeros without values."""
    count = len(values)
    if count < 2:
        return (float(values[0]) if values else 0.0), 0.0, count
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(count)), count


def disagreement(one: Vectors, other: Vectors) -> float:
    """How far two sets of passages are apart: the modified Hausdorff distance (Dubuisson and Jain 1994).

    The larger of the two mean distances of a set's members to the nearest member of the other set.

    Args:
        one: Shape (passages, dim), unit length.
        other: Shape (passages, dim), unit length.
    """
    distances = 1 - one @ other.T
    return float(max(distances.min(axis=1).mean(), distances.min(axis=0).mean()))
