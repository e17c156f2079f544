"""What gives a query's embedding a score for each domain, before anything is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from denizen.engine.errors import InputError
from denizen.retrievers.store import Vectors

# shape (queries, domains)
Scores = np.ndarray[Any, np.dtype[np.float32]]


class Head(Protocol):
    """A classifier over the embeddings of a frozen model."""

    @property
    def name(self) -> str:
        """Its kind."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains, sorted by name."""

    @property
    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """All that it knows, by name, as a file of safetensors keeps it."""

    def scores(self, embeddings: Vectors) -> Scores:
        """Scores of any scale, shape (queries, domains).

        Args:
            embeddings: Shape (queries, dim), unit length.
        """

    def closeness(self, embeddings: Vectors, scores: Scores) -> Scores:
        """How close queries are to what was trained on, of whichever domain: a cosine, shape (queries,).

        Args:
            embeddings: As of `scores`.
            scores: Theirs.
        """


def sorted_domains(labels: Sequence[str]) -> tuple[str, ...]:
    """The domains of training queries.

    Raises:
        InputError: When there are fewer than two.
    """
    found = tuple(sorted(set(labels)))
    if len(found) < 2:
        raise InputError(
            f"a router needs two domains or more, and the training queries have {len(found)}: {', '.join(found)}; with "
            "one domain there is nothing to choose: use denizen adapt"
        )
    return found
