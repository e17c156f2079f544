"""Routing by multinomial logistic regression on frozen embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denizen.retrievers.routing.centroids import Centroids
from denizen.retrievers.routing.head import Scores, sorted_domains
from denizen.retrievers.store import Vectors

# more than any of the sets in docs/domains.md needs
_ITERATIONS = 1000
# of a domain; with one of ten broad domains strangers are told less well (docs/domains.md)
_CENTROIDS = 16


@dataclass(frozen=True, eq=False)
class Logistic:
    """A linear layer; a query's score is its logit.

    Far from all training queries logits are as high as anywhere, so how close a query is says the nearest of some
    centroids of each domain.

    Attributes:
        domains: The domains, sorted by name.
        weights: Shape (domains, dim).
        bias: Shape (domains,).
        centroids: Shape (centroids, dim), unit length.
    """

    name: ClassVar[str] = "logistic"

    domains: tuple[str, ...]
    weights: Vectors
    bias: np.ndarray[Any, np.dtype[np.float32]]
    centroids: Vectors

    @classmethod
    def fit(cls, embeddings: Vectors, labels: Sequence[str], *, inverse_penalty: float, seed: int = 0) -> Logistic:
        """Fits it by scikit-learn (lbfgs).

        Args:
            embeddings: Of the training queries, shape (queries, dim), unit length.
            labels: Their domains.
            inverse_penalty: scikit-learn's C: the larger, the less the weights are held to zero.
            seed: Of the k-means of centroids.

        Raises:
            InputError: When there are fewer than two domains.
        """
        from sklearn.linear_model import LogisticRegression

        domains = sorted_domains(labels)
        found = LogisticRegression(C=inverse_penalty, max_iter=_ITERATIONS).fit(embeddings, np.asarray(labels))
        weights, bias = found.coef_, found.intercept_
        if len(domains) == 2:
            # of two classes it keeps the difference of the second to the first
            weights, bias = np.concatenate([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
        near = Centroids.fit(embeddings, labels, number=_CENTROIDS, seed=seed)
        return cls(domains, weights.astype(np.float32), bias.astype(np.float32), near.centroids)

    @property
    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Weights, bias and centroids."""
        return {"weights": self.weights, "bias": self.bias, "centroids": self.centroids}

    def scores(self, embeddings: Vectors) -> Scores:
        """The logits, shape (queries, domains)."""
        logits: Scores = embeddings @ self.weights.T + self.bias
        return logits

    def closeness(self, embeddings: Vectors, scores: Scores) -> Scores:
        """The cosine to the nearest centroid, shape (queries,)."""
        nearest: Scores = (embeddings @ self.centroids.T).max(axis=1)
        return nearest
