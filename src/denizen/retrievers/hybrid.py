"""Several retrievers as one: their runs are fused by rank or by score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.retriever import Retriever, save_composite
from denizen.retrievers.search import combine, fuse, in_order

# the lowest score that a part can give: no term in common, and opposite vectors
_FLOORS = {"bm25": 0.0, "bi-encoder": -1.0}


@dataclass(frozen=True)
class Hybrid:
    """The fusion of retrievers, each searched to the same depth.

    Attributes:
        parts: The retrievers.
        constant: That of the fusion by rank.
        fusion: rrf (by rank) or convex (by score).
        weights: What each part counts; none: all the same.
    """

    kind: ClassVar[str] = "hybrid"

    parts: tuple[Retriever, ...]
    constant: int = 60  # Cormack et al. 2009
    fusion: str = "rrf"
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When there is nothing to fuse.
        """
        if len(self.parts) < 2 or type(self.constant) is not int or self.constant < 0:
            raise InputError(
                f"a hybrid of {len(self.parts)} part(s) with the constant {self.constant!r} cannot be; it needs at "
                "least 2 parts, and a whole number of 0 or more"
            )

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest([self.kind, self.constant, [part.digest for part in self.parts]])

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of the corpus."""
        return [part.index(corpus, progress) for part in self.parts]

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        searched = zip(self.parts, index, strict=True)
        return self.combine([part.search(own, queries, depth, progress) for part, own in searched], queries, depth)

    def combine(self, runs: Sequence[pa.Table], queries: Mapping[str, str], depth: int) -> pa.Table:
        """A `run` from one of each part."""
        # a query for which the first part has nothing would stand at the end
        if self.fusion == "rrf":
            return in_order(fuse(runs, depth, self.constant, self.weights or None), queries)
        return in_order(combine(runs, self.weights, [_FLOORS.get(part.kind) for part in self.parts], depth), queries)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own, the bi-encoder's as it was: it can be used by itself, too."""
        save_composite(folder, self, {"constant": self.constant})
