"""Several retrievers as one: their runs are fused by rank."""

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
from denizen.retrievers.search import fuse, in_order


@dataclass(frozen=True)
class Hybrid:
    """The reciprocal rank fusion of retrievers, each searched to the same depth.

    Attributes:
        parts: The retrievers.
        constant: That of the fusion.
    """

    kind: ClassVar[str] = "hybrid"

    parts: tuple[Retriever, ...]
    constant: int = 60  # Cormack et al. 2009

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
        return in_order(fuse(runs, depth, self.constant), queries)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own, the bi-encoder's as it was: it can be used by itself, too."""
        save_composite(folder, self, {"constant": self.constant})
