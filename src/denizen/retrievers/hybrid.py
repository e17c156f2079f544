"""Several retrievers as one: their runs are fused, by rank or by score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.retriever import Bounded, Retriever, load_parts, save_composite, save_parts
from denizen.retrievers.search import first, fuse, fuse_scores, in_order

FUSIONS = ("rrf", "convex")
# of each part: what stands deeper counts as not found, so that a fusion ranks alike however deep it is searched
FUSED_DEPTH = 100


@dataclass(frozen=True)
class Hybrid:
    """Retrievers as one, each searched to the same depth.

    Attributes:
        parts: The retrievers.
        constant: That of reciprocal rank fusion.
        fusion: "rrf": reciprocal rank fusion (`fuse`); "convex": of normalised scores (`fuse_scores`).
        weights: What each part counts; none: all the same. Where all but one count nothing, that one is the whole.
    """

    kind: ClassVar[str] = "hybrid"
    # of either fusion
    lowest: ClassVar[float | None] = 0.0

    parts: tuple[Retriever, ...]
    constant: int = 60  # Cormack et al. 2009
    fusion: str = "rrf"
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When there is nothing to fuse, or no such fusion.
        """
        if len(self.parts) < 2 or type(self.constant) is not int or self.constant < 0:
            raise InputError(
                f"a hybrid of {len(self.parts)} part(s) with the constant {self.constant!r} cannot be; it needs at "
                "least 2 parts, and a whole number of 0 or more"
            )
        if self.fusion not in FUSIONS:
            raise InputError(f"a hybrid has no fusion {self.fusion!r}; there are {', '.join(FUSIONS)}")
        object.__setattr__(self, "weights", _checked(self.weights, len(self.parts)))

    @property
    def digest(self) -> str:
        """What it is."""
        parts = [part.digest for part in self.parts]
        return json_digest([self.kind, self.fusion, self.constant, self.weights, parts])

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of the corpus."""
        return [part.index(corpus, progress) for part in self.parts]

    def save_index(self, index: list[Any], folder: Path) -> None:
        """What each part keeps, in a folder of its own."""
        save_parts(self.parts, index, folder)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of what it has kept."""
        return load_parts(self.parts, folder, [corpus] * len(self.parts), progress)

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        searched = zip(self.parts, index, strict=True)
        return self.combine([part.search(own, queries, depth, progress) for part, own in searched], queries, depth)

    def combine(self, runs: Sequence[pa.Table], queries: Mapping[str, str], depth: int) -> pa.Table:
        """A `run` from one of each part, all of this depth, of which the first 100 passages of a query count."""
        runs = [first(run, FUSED_DEPTH) for run in runs]
        counting = [(run, part, w) for run, part, w in zip(runs, self.parts, self.weights, strict=True) if w]
        if len(counting) == 1:
            # as it is: normalised, what was apart by a last digit may be equal
            return counting[0][0]
        runs, parts, weights = zip(*counting, strict=True)
        if self.fusion == "rrf":
            fused = fuse(runs, depth, self.constant, weights)
        else:
            lowest = [part.lowest if isinstance(part, Bounded) else None for part in parts]
            fused = fuse_scores(runs, depth, weights, lowest, min(depth, FUSED_DEPTH))
        # a query for which the first part has nothing would stand at the end
        return in_order(fused, queries)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own, the bi-encoder's as it was: it can be used by itself, too."""
        settings = {"fusion": self.fusion, "constant": self.constant, "weights": list(self.weights)}
        save_composite(folder, self, settings)


def _checked(weights: Any, parts: int) -> tuple[float, ...]:
    """The weights as numbers, one a part."""
    listed = weights if isinstance(weights, list | tuple) else [weights]
    numbers = all(type(each) in (int, float) and math.isfinite(each) and each >= 0 for each in listed)
    if not numbers or (listed and (len(listed) != parts or not any(listed))):
        raise InputError(
            f"a hybrid of {parts} parts cannot weigh them {weights!r}; give one number of 0 or more for each, and one "
            "above 0"
        )
    return tuple(map(float, listed)) or (1.0,) * parts
