"""Ensembles: every model embeds every passage, and all of them are asked; by calibrated scores, or by joined vectors.

Fusion by rank is `Hybrid` with reciprocal rank fusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import rankings
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.cpu.exact_top_k import Rows
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.retriever import Retriever, load_parts, save_composite, save_parts
from denizen.retrievers.score_calibration import ScoreCalibration
from denizen.retrievers.search import best_of, first, search
from denizen.retrievers.store import Vectors


@dataclass(frozen=True)
class Ensemble:
    """Retrievers of the same passages, whose calibrated scores are averaged.

    Attributes:
        parts: The retrievers.
        calibrations: Of the scores of each.
    """

    kind: ClassVar[str] = "ensemble"

    parts: tuple[Retriever, ...]
    calibrations: tuple[ScoreCalibration, ...]

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When parts and calibrations are not of one number.
        """
        if not len(self.parts) == len(self.calibrations) > 1:
            raise InputError(
                f"an ensemble of {len(self.parts)} parts with {len(self.calibrations)} calibrations cannot be; it "
                "needs as many of each, 2 or more"
            )

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest([self.kind, [of.as_dict() for of in self.calibrations], [of.digest for of in self.parts]])

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
        # a fusion must rank alike however deep it is searched
        deep = max(depth, FUSED_DEPTH)
        runs = [part.search(own, queries, deep, progress) for part, own in zip(self.parts, index, strict=True)]
        return self.combine(runs, queries, depth)

    def combine(self, runs: Sequence[pa.Table], queries: Mapping[str, str], depth: int) -> pa.Table:
        """A `run`: the mean of calibrated scores; what is not among the first 100 of a part counts as their last."""
        scores: dict[str, dict[str, float]] = {name: {} for name in queries}
        ranked = [rankings(first(run, FUSED_DEPTH)) for run in runs]
        for query_id, of_query in scores.items():
            lists = [of_run.get(query_id, []) for of_run in ranked]
            of_query.update(dict.fromkeys((doc_id for found in lists for doc_id, _ in found), 0.0))
            for found, calibrated in zip(lists, self.calibrations, strict=True):
                if not found:
                    continue
                values = calibrated(np.asarray([score for _, score in found])).tolist()
                own = {doc_id: value for (doc_id, _), value in zip(found, values, strict=True)}
                for doc_id in of_query:
                    of_query[doc_id] += own.get(doc_id, values[-1]) / len(lists)
        return best_of(scores, depth)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own."""
        save_composite(folder, self, {"calibrations": [of.as_dict() for of in self.calibrations]})


class _SideBySide:
    """Vectors of several models for the same passages, each of unit length, joined when a slice is read."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and the dimensions of all together."""
        return self._parts[0].shape[0], sum(part.shape[1] for part in self._parts)

    def __len__(self) -> int:
        return self._parts[0].shape[0]

    def __getitem__(self, part: slice) -> Vectors:
        return _joined([of[part] for of in self._parts])


@dataclass(frozen=True)
class Concatenated:
    """Bi-encoders as one, whose normalised embeddings of a text stand side by side: its cosine is the mean of theirs.

    Attributes:
        parts: The bi-encoders.
    """

    kind: ClassVar[str] = "concatenated"
    # a mean of cosines
    lowest: ClassVar[float | None] = -1.0

    parts: tuple[BiEncoder, ...]

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When there are fewer than two parts, or one is no bi-encoder.
        """
        kinds = [part.kind for part in self.parts]
        if len(kinds) < 2 or set(kinds) != {BiEncoder.kind}:
            raise InputError(f"vectors of {', '.join(kinds) or 'nothing'} cannot be joined; give 2 bi-encoders or more")

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest([self.kind, [of.digest for of in self.parts]])

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of the corpus."""
        return [part.index(corpus, progress) for part in self.parts]

    def save_index(self, index: list[Any], folder: Path) -> None:
        """The embeddings of each part, in a folder of its own."""
        save_parts(self.parts, index, folder)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of what it has kept."""
        return load_parts(self.parts, folder, [corpus] * len(self.parts), progress)

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        asked = _joined([part.embed(own, queries, progress) for part, own in zip(self.parts, index, strict=True)])
        passages = _SideBySide([own.vectors for own in index])
        memory = self.parts[0].encoders.memory_mb
        with progress.bar(len(queries), "queries") as advance:
            return search(list(queries), asked, index[0].doc_ids, passages, depth, memory_mb=memory, progress=advance)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own."""
        save_composite(folder, self, {})


def _joined(vectors: Sequence[Vectors]) -> Vectors:
    """Shape (texts, dims of all), of unit length: each is made one, and all count the same."""
    unit = [np.asarray(of) / np.maximum(np.linalg.norm(of, axis=1, keepdims=True), 1e-12) for of in vectors]
    found: Vectors = (np.concatenate(unit, axis=1) / np.sqrt(len(unit))).astype(np.float32)
    return found
