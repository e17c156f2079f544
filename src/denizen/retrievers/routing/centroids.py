"""Routing to the nearest centroid: the mean embedding of a domain's training queries (RouterRetriever, 2409.02685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denizen.retrievers.routing.head import Scores, sorted_domains
from denizen.retrievers.store import Vectors


@dataclass(frozen=True, eq=False)
class Centroids:
    """Some centroids a domain; a query's score is its cosine to the nearest one.

    Attributes:
        domains: The domains, sorted by name.
        centroids: Shape (centroids, dim), unit length, those of a domain together, in the order of domains.
        counts: How many each domain has, shape (domains,); at least one.
    """

    name: ClassVar[str] = "centroids"

    domains: tuple[str, ...]
    centroids: Vectors
    counts: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def fit(cls, embeddings: Vectors, labels: Sequence[str], *, number: int = 1, seed: int = 0) -> Centroids:
        """Computes them.

        Args:
            embeddings: Of the training queries, shape (queries, dim), unit length.
            labels: Their domains.
            number: Centroids a domain, by k-means where more than one; a domain of fewer queries has one a query.
            seed: Of k-means.

        Raises:
            InputError: When there are fewer than two domains.
        """
        domains, truth = sorted_domains(labels), np.asarray(labels)
        parts = [_centroids(embeddings[truth == name], number, seed) for name in domains]
        return cls(domains, np.concatenate(parts), np.asarray([len(part) for part in parts]))

    @property
    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Centroids and counts."""
        return {"centroids": self.centroids, "counts": self.counts}

    def scores(self, embeddings: Vectors) -> Scores:
        """The cosine to the nearest centroid of each domain, shape (queries, domains)."""
        begins = np.cumsum(self.counts) - self.counts
        found: Scores = np.maximum.reduceat(embeddings @ self.centroids.T, begins, axis=1)
        return found

    def closeness(self, embeddings: Vectors, scores: Scores) -> Scores:
        """That to the nearest domain, shape (queries,)."""
        nearest: Scores = scores.max(axis=1)
        return nearest


def _centroids(embeddings: Vectors, number: int, seed: int) -> Vectors:
    if number == 1:
        found = embeddings.mean(axis=0, keepdims=True)
    else:
        from sklearn.cluster import KMeans

        number = min(number, len(np.unique(embeddings, axis=0)))
        found = KMeans(number, n_init=4, random_state=seed).fit(embeddings).cluster_centers_
    unit: Vectors = (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit
