"""Several domains without a router: every query asks every domain's index, and what is found becomes one list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import each
from denizen.data.union import of_domain
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.retriever import Retriever, load_parts, save_composite, save_parts
from denizen.retrievers.score_calibration import ScoreCalibration
from denizen.retrievers.search import best_of


@dataclass(frozen=True)
class Federated:
    """A retriever for each domain, whose scores are made comparable (federated search with calibrated scores).

    A passage of several domains counts as the best that one of them gives it.

    Attributes:
        parts: One for each domain; each indexes the passages of its domain, and those of none.
        domains: Their names.
        calibrations: Of the scores of each.
    """

    kind: ClassVar[str] = "federated"

    parts: tuple[Retriever, ...]
    domains: tuple[str, ...]
    calibrations: tuple[ScoreCalibration, ...]

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When parts, domains and calibrations are not of one number.
        """
        if not len(self.parts) == len(self.domains) == len(self.calibrations) > 1:
            raise InputError(
                f"a federated retriever of {len(self.parts)} parts, {len(self.domains)} domains and "
                f"{len(self.calibrations)} calibrations cannot be; it needs as many of each, 2 or more"
            )

    @property
    def digest(self) -> str:
        """What it is."""
        parts = [part.digest for part in self.parts]
        return json_digest([self.kind, list(self.domains), [each.as_dict() for each in self.calibrations], parts])

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of the passages of its domain."""
        named = zip(self.parts, self.domains, strict=True)
        return [part.index(of_domain(corpus, name), progress) for part, name in named]

    def save_index(self, index: list[Any], folder: Path) -> None:
        """What each part keeps, in a folder of its own."""
        save_parts(self.parts, index, folder)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of what it has kept."""
        return load_parts(self.parts, folder, (of_domain(corpus, name) for name in self.domains), progress)

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`, whose scores are the calibrated ones."""
        scores: dict[str, dict[str, float]] = {name: {} for name in queries}
        for part, own, calibrated in zip(self.parts, index, self.calibrations, strict=True):
            run = part.search(own, queries, depth, progress)
            values = calibrated(run["score"].to_numpy().astype(np.float64))
            for (query_id, doc_id), value in zip(each(run, "query_id", "doc_id"), values.tolist(), strict=True):
                of_query = scores[query_id]
                of_query[doc_id] = max(value, of_query.get(doc_id, value))
        return best_of(scores, depth)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own."""
        calibrations = [each.as_dict() for each in self.calibrations]
        save_composite(folder, self, {"domains": list(self.domains), "calibrations": calibrations})
