"""What makes the scores of different models comparable: z-scores, or the probability of being relevant.

The scores of two models have different means and spreads, and that one of them gives more says nothing: what a score of
a model means is learnt from what it gave to passages for dev queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from denizen.engine.errors import InputError

Values = np.ndarray[Any, np.dtype[np.float64]]

# beside a probability: it orders what is equally probable, and nothing else, for a z-score is seldom above 10
_BESIDE = 1e-4


class ScoreCalibration(Protocol):
    """A map from the scores of one model to what can be compared with those of others; it never falls."""

    @property
    def kind(self) -> str:
        """What a saved one is called."""

    def __call__(self, scores: Values) -> Values:
        """Scores of any shape, made comparable."""

    def as_dict(self) -> dict[str, Any]:
        """It as JSON keeps it."""


@dataclass(frozen=True)
class ZScore:
    """How many standard deviations a score lies above the mean of those that were found for dev queries."""

    kind: ClassVar[str] = "z"

    mean: float
    spread: float

    @classmethod
    def fit(cls, scores: Values) -> ZScore:
        """Mean and standard deviation of some scores, shape (scores,); where they are all the same the spread is 1."""
        spread = float(scores.std()) if len(scores) else 0.0
        return cls(float(scores.mean()) if len(scores) else 0.0, spread if spread > 1e-9 else 1.0)

    def __call__(self, scores: Values) -> Values:
        """As `ScoreCalibration`."""
        found: Values = (np.asarray(scores, dtype=np.float64) - self.mean) / self.spread
        return found

    def as_dict(self) -> dict[str, Any]:
        """As `ScoreCalibration`."""
        return {"kind": self.kind, "mean": self.mean, "spread": self.spread}


@dataclass(frozen=True)
class Isotonic:
    """How probable it is that a passage of some score is relevant, by isotonic regression on dev.

    It is centred (Oron and Flournoy 2017): between the means of neighbouring steps the probability is interpolated, so
    that it rises wherever scores of dev say that it does. What is equally probable is ordered by the z-score.

    Attributes:
        scores: Ascending, shape (steps,).
        values: The probability at each.
        beside: The z-score of the same model.
    """

    kind: ClassVar[str] = "isotonic"

    scores: tuple[float, ...]
    values: tuple[float, ...]
    beside: ZScore

    @classmethod
    def fit(cls, scores: Values, right: Values) -> Isotonic:
        """Fits it.

        Args:
            scores: What was found for dev queries, shape (scores,).
            right: 1 where the passage is relevant, else 0, shape (scores,).

        Raises:
            InputError: When there are no scores.
        """
        if not len(scores):
            raise InputError("there are no scores to calibrate; give dev queries that find something")
        from sklearn.isotonic import IsotonicRegression

        order = np.argsort(scores, kind="stable")
        ascending = np.asarray(scores, dtype=np.float64)[order]
        fitted = IsotonicRegression(out_of_bounds="clip").fit(ascending, np.asarray(right, dtype=np.float64)[order])
        steps = fitted.predict(ascending)
        levels, inverse = np.unique(steps, return_inverse=True)
        centres = np.bincount(inverse, weights=ascending) / np.bincount(inverse)
        return cls(tuple(centres.tolist()), tuple(levels.tolist()), ZScore.fit(ascending))

    def __call__(self, scores: Values) -> Values:
        """As `ScoreCalibration`."""
        return np.interp(scores, self.scores, self.values) + _BESIDE * self.beside(scores)

    def as_dict(self) -> dict[str, Any]:
        """As `ScoreCalibration`."""
        steps = {"scores": list(self.scores), "values": list(self.values)}
        return {"kind": self.kind, **steps, "beside": self.beside.as_dict()}


def calibration_of(saved: Any) -> ScoreCalibration:
    """A calibration from what `as_dict` gave.

    Raises:
        InputError: When it is none.
    """
    try:
        if saved["kind"] == ZScore.kind:
            return _z_score(saved)
        if saved["kind"] == Isotonic.kind:
            steps, values = tuple(map(float, saved["scores"])), tuple(map(float, saved["values"]))
            if not steps or len(steps) != len(values) or list(steps) != sorted(steps):
                raise ValueError("its steps do not ascend")
            return Isotonic(steps, values, _z_score(saved["beside"]))
        raise ValueError(f"there is no kind {saved['kind']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a calibration of scores is damaged ({error}); save the retriever anew") from error


def _z_score(saved: Mapping[str, Any]) -> ZScore:
    mean, spread = float(saved["mean"]), float(saved["spread"])
    if not np.isfinite(mean) or not np.isfinite(spread) or spread <= 0:
        raise ValueError(f"mean {mean} and spread {spread} are none of scores")
    return ZScore(mean, spread)
