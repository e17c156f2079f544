"""From scores to probabilities that hold: temperature scaling among domains, and whether a query is of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denizen.engine.errors import InputError
from denizen.retrievers.routing.head import Scores
from denizen.retrievers.routing.router import Probabilities

_Values = np.ndarray[Any, np.dtype[np.float64]]
_Flags = np.ndarray[Any, np.dtype[np.bool_]]

# of the inverse temperature: cosines that differ by .01 need some hundreds of it, logits about one
_LOWEST, _HIGHEST = 1e-2, 1e4
# the share of in-scope queries whose closeness may speak against them where no others are known
_RARE = 0.01


@dataclass(frozen=True)
class Scope:
    """How probable it is that a query is of any of the domains, by two features: log odds = bias + weights @ features.

    The features are how close it is to what was trained on, and the log of its highest probability
    among the domains (how clear the choice is). Where no queries of no domain are known, the only question is whether a
    query is stranger than those of dev: its conformal p value, the share of them that are no closer, over .01, and at
    most 1.

    Attributes:
        weights: Of the two features and the bias; none where no queries outside were known.
        closeness: Of dev's queries, ascending, where none outside were known.
    """

    weights: tuple[float, ...] = ()
    closeness: tuple[float, ...] = ()

    @classmethod
    def fit(cls, features: _Values, inside: _Flags) -> Scope:
        """Fits it on dev.

        Args:
            features: Shape (queries, 2).
            inside: Whether each is of one of the domains, shape (queries,).
        """
        if inside.all():
            return cls(closeness=tuple(np.sort(features[:, 0]).tolist()))
        from sklearn.linear_model import LogisticRegression

        mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-12)
        found = LogisticRegression().fit((features - mean) / spread, inside)
        slopes = found.coef_[0] / spread
        return cls(weights=(*slopes.tolist(), float(found.intercept_[0] - slopes @ mean)))

    def probability(self, features: _Values) -> _Values:
        """Shape (queries,), of features of shape (queries, 2)."""
        if self.weights:
            from scipy.special import expit

            *slopes, bias = self.weights
            found: _Values = expit(features @ np.asarray(slopes) + bias)
            return found
        no_closer = np.searchsorted(np.asarray(self.closeness), features[:, 0], side="right")
        share: _Values = (1 + no_closer) / (1 + len(self.closeness))
        return np.minimum(1.0, share / _RARE)


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of scores.

    Attributes:
        temperature: By which scores are divided before softmax (Guo et al. 2017).
        scope: Whether a query is of any domain.
    """

    temperature: float
    scope: Scope

    @classmethod
    def fit(cls, scores: Scores, closeness: Scores, truth: Sequence[int]) -> Calibration:
        """The temperature of the lowest log loss on dev queries of the domains, and the scope on all of them.

        Args:
            scores: Of the dev queries, shape (queries, domains); none of these has been trained on.
            closeness: Theirs, shape (queries,).
            truth: The place of each query's domain; -1: it is of none.

        Raises:
            InputError: When no query is of a domain.
        """
        from scipy.optimize import minimize_scalar

        places = np.asarray(truth)
        inside = places >= 0
        if not inside.any():
            raise InputError("no dev query is of a domain that was trained on; give some of each")
        known, right = np.asarray(scores[inside], dtype=np.float64), places[inside]

        def log_loss(log_inverse: float) -> float:
            of = _log_softmax(known * np.exp(log_inverse))
            return float(-of[np.arange(len(right)), right].mean())

        found = minimize_scalar(log_loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
        temperature = float(np.exp(-found.x))
        return cls(temperature, Scope.fit(_features(scores, closeness, temperature), inside))

    def probabilities(self, scores: Scores, closeness: Scores) -> Probabilities:
        """Shape (queries, domains), a row's sum at most 1, of scores and closeness as the head gives them."""
        among: Probabilities = np.exp(_log_softmax(np.asarray(scores, dtype=np.float64) / self.temperature))
        return among * self.scope.probability(_features(scores, closeness, self.temperature))[:, None]


def expected_calibration_error(confidence: _Values, right: _Flags, bins: int = 15) -> float:
    """How far confidence is from accuracy on average (Guo et al. 2017, eq. 3), with their 15 bins of equal width.

    Args:
        confidence: From 0 to 1, shape (queries,).
        right: Whether each was right.
        bins: Of [0, 1], each weighing as much as it has queries.
    """
    number = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = np.bincount(number, weights=confidence, minlength=bins) - np.bincount(number, weights=right, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(confidence)))


def _features(scores: Scores, closeness: Scores, temperature: float) -> _Values:
    of = np.asarray(scores, dtype=np.float64)
    return np.stack([closeness.astype(np.float64), _log_softmax(of / temperature).max(axis=1)], axis=1)


def _log_softmax(logits: _Values) -> _Values:
    shifted = logits - logits.max(axis=1, keepdims=True)
    of: _Values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return of
