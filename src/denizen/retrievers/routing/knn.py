"""Routing by neighbours: a domain is as close as the training queries of it that are nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denizen.retrievers.routing.head import Scores, sorted_domains
from denizen.retrievers.store import Vectors

# 10,000 embeddings of 384 dimensions are looked through in about 2 ms on one core
_MOST = 10_000
# queries that are looked at at a time: bounds the memory
_ROWS = 128
# below every cosine
_NOBODY = np.float32(-2.0)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest training queries of each domain; a query's score is its mean cosine to them.

    A vote of the k nearest of all would favour the domain with more queries, and say nothing of one that has none among
    them; so each domain is asked for its own nearest.

    Attributes:
        domains: The domains, sorted by name.
        neighbours: Training queries, shape (queries, dim), unit length, those of a domain together, in their order.
        counts: How many each domain has, shape (domains,); at least one.
        k: How many of a domain count; of a domain with fewer, all.
    """

    name: ClassVar[str] = "knn"

    domains: tuple[str, ...]
    neighbours: Vectors
    counts: np.ndarray[Any, np.dtype[np.int64]]
    k: int

    @classmethod
    def fit(cls, embeddings: Vectors, labels: Sequence[str], *, k: int, most: int = _MOST, seed: int = 0) -> Neighbours:
        """Keeps the training queries, or so many of them.

        Args:
            embeddings: Of the training queries, shape (queries, dim), unit length.
            labels: Their domains.
            k: Neighbours of a domain that count.
            most: Queries that are kept; of more, the largest domains are drawn from.
            seed: Of the draw.

        Raises:
            InputError: When there are fewer than two domains.
        """
        domains, truth = sorted_domains(labels), np.asarray(labels)
        random = np.random.default_rng(seed)
        rows = [np.flatnonzero(truth == name) for name in domains]
        limit = _limit([len(of) for of in rows], most)
        kept = [of if len(of) <= limit else np.sort(random.choice(of, limit, replace=False)) for of in rows]
        return cls(domains, embeddings[np.concatenate(kept)], np.asarray([len(of) for of in kept]), k)

    @property
    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Neighbours, counts and k."""
        return {"neighbours": self.neighbours, "counts": self.counts, "k": np.asarray(self.k)}

    def scores(self, embeddings: Vectors) -> Scores:
        """The mean cosine to the k nearest of each domain, shape (queries, domains)."""
        # a row of places for each domain, as long as the longest: one partition of all is faster than one of each
        domain = np.repeat(np.arange(len(self.counts)), self.counts)
        place = np.arange(len(domain)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        taken = np.minimum(self.counts, self.k).astype(np.float32)
        parts = [np.zeros((0, len(self.counts)), dtype=np.float32)]
        for begin in range(0, len(embeddings), _ROWS):
            cosines = embeddings[begin : begin + _ROWS] @ self.neighbours.T
            aside = np.full((len(cosines), len(self.counts), int(self.counts.max())), _NOBODY, dtype=np.float32)
            aside[:, domain, place] = cosines
            k = min(self.k, aside.shape[2])
            best = np.partition(aside, -k, axis=2)[:, :, -k:]
            parts.append(np.where(best == _NOBODY, 0.0, best).sum(axis=2, dtype=np.float32) / taken)
        return np.concatenate(parts)

    def closeness(self, embeddings: Vectors, scores: Scores) -> Scores:
        """That to the nearest domain, shape (queries,)."""
        nearest: Scores = scores.max(axis=1)
        return nearest


def _limit(sizes: Sequence[int], most: int) -> int:
    """The most queries of one domain, so that all of them together are no more than `most`."""
    low, high = 1, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(size, middle) for size in sizes) <= most else (low, middle - 1)
    return low
