"""What says which domain a query belongs to, whatever it goes by: neighbours, a classifier, an LLM, labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from denizen.retrievers.store import Vectors

# shape (queries, domains); what is missing to 1 in a row is "none of them"
Probabilities = np.ndarray[Any, np.dtype[np.float64]]

MANIFEST = "router.json"


class Router(Protocol):
    """What gives each query the probability of each domain."""

    @property
    def name(self) -> str:
        """Its kind, as `router.json` has it: knn, centroids, logistic, llm or labels."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains, sorted by name."""

    def probabilities(self, queries: Mapping[str, str], embeddings: Vectors) -> Probabilities:
        """How probable each domain is for each query, calibrated on dev.

        Args:
            queries: Query id to text.
            embeddings: Of these queries by the frozen general base, in their order, shape (queries, dim), unit length.

        Returns:
            Shape (queries, domains), a row's sum at most 1; a row of zeros says that nothing is known.
        """

    def save(self, folder: Path) -> None:
        """Writes it, `router.json` last; `load_router` reads it again."""
