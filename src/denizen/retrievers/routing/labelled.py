"""Queries whose domains are known, with their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from denizen.retrievers.store import Vectors


@dataclass(frozen=True)
class LabelledQueries:
    """Queries of one side with their domains.

    Attributes:
        texts: Query id to text.
        domains: Of each, in order; "" is a query of no domain.
        embeddings: Shape (queries, dim), unit length.
    """

    texts: Mapping[str, str]
    domains: Sequence[str]
    embeddings: Vectors

    def only(self, rows: Sequence[int]) -> LabelledQueries:
        """Some of them."""
        ids = list(self.texts)
        kept = {ids[row]: self.texts[ids[row]] for row in rows}
        return LabelledQueries(kept, [self.domains[row] for row in rows], self.embeddings[np.asarray(rows, dtype=int)])

    @property
    def inside(self) -> LabelledQueries:
        """Those of a domain."""
        return self.only([row for row, domain in enumerate(self.domains) if domain])

    def places(self, domains: Sequence[str]) -> list[int]:
        """The place of each query's domain among some; -1 where it is none of them."""
        place = {name: at for at, name in enumerate(domains)}
        return [place.get(domain, -1) for domain in self.domains]


def unit(embeddings: Vectors) -> Vectors:
    """Embeddings of unit length, whatever their model compares by."""
    found: Vectors = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    return found


def drawn(number: int, most: int, seed: int) -> list[int]:
    """So many of a number of rows at most, drawn at random, in their order."""
    return sorted(np.random.default_rng(seed).permutation(number)[:most].tolist())
