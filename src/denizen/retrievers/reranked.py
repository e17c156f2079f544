"""A retriever whose first passages a cross-encoder puts into another order: the second stage."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import only, rankings, rows_table
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.model_ref import NOT_THE_MODEL
from denizen.retrievers.retriever import Retriever, load_parts, save_composite, save_parts

# of each query; twice as many cost twice the time, and seldom is anything right below
RESCORED = 50
# where it lies beside the first stage
RERANKER = "reranker"


@dataclass(frozen=True)
class _Indexed:
    """What the first stage has made of a corpus, and the passages, which the second reads."""

    first: Any
    corpus: pa.Table


@dataclass(frozen=True)
class Reranked:
    """A retriever with a second stage.

    Attributes:
        parts: The first stage.
        reranker: What scores its best passages again.
        rescored: How many of a query.
        share: What its score counts beside that of the first stage (`mixed`).
    """

    kind: ClassVar[str] = "reranked"

    parts: tuple[Retriever]
    reranker: Reranker
    rescored: int = RESCORED
    share: float = 1.0

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When no passage would be scored again, or that would not count.
        """
        if type(self.share) not in (int, float) or not 0 < self.share <= 1:
            raise InputError(f"the share of a reranker cannot be {self.share!r}; give more than 0 and at most 1")
        if type(self.rescored) is not int or self.rescored < 1:
            raise InputError(f"a reranked retriever cannot rescore {self.rescored!r} passages; give 1 or more")

    @property
    def first(self) -> Retriever:
        """The first stage."""
        return self.parts[0]

    @property
    def digest(self) -> str:
        """What it is."""
        # one by its order alone was saved before there were shares
        share = [self.share] if self.share < 1 else []
        return json_digest([self.kind, self.rescored, self.reranker.digest, self.first.digest, *share])

    def index(self, corpus: pa.Table, progress: Progress) -> _Indexed:
        """What the first stage makes of the corpus."""
        return _Indexed(self.first.index(corpus, progress), corpus)

    def save_index(self, index: _Indexed, folder: Path) -> None:
        """What the first stage keeps."""
        save_parts(self.parts, [index.first], folder)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> _Indexed:
        """What the first stage makes of what it has kept."""
        (first,) = load_parts(self.parts, folder, [corpus], progress)
        return _Indexed(first, corpus)

    def search(self, index: _Indexed, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        # a fusion ranks alike from that depth on
        found = self.first.search(index.first, queries, max(depth, self.rescored, FUSED_DEPTH), progress)
        scores = scored(self.reranker, found, queries, index.corpus, progress, self.rescored)
        return mixed(found, scores, self.share, depth)

    def save(self, folder: Path) -> None:
        """Writes the first stage into a folder of its own, and the cross-encoder into `reranker` beside it."""
        ours = shutil.ignore_patterns(*NOT_THE_MODEL)
        shutil.copytree(self.reranker.folder, folder / RERANKER, dirs_exist_ok=True, ignore=ours)
        save_composite(folder, self, {"rescored": self.rescored, "share": self.share})


def scored(
    reranker: Reranker,
    run: pa.Table,
    queries: Mapping[str, str],
    corpus: pa.Table,
    progress: Progress,
    rescored: int = RESCORED,
) -> dict[tuple[str, str], float]:
    """What a cross-encoder says of the first passages of each query.

    Args:
        reranker: What scores.
        run: A `run`.
        queries: Query id to text, for all of its queries.
        corpus: A `corpus` table that has its passages.
        progress: Is shown a bar of "pairs".
        rescored: How many passages of a query are scored.

    Returns:
        Query and passage to the score.
    """
    pairs = [(name, doc_id) for name, found in rankings(run).items() for doc_id, _ in found[:rescored]]
    shown = only(corpus, "doc_id", {doc_id for _, doc_id in pairs})
    scores = reranker.scores([(queries[name], doc_id) for name, doc_id in pairs], shown, progress)
    return dict(zip(pairs, scores, strict=True))


def mixed(run: pa.Table, scores: Mapping[tuple[str, str], float], share: float, depth: int) -> pa.Table:
    """Puts the passages that were scored again into the order of both stages.

    Both scores are spread to [0, 1] over those passages of a query, and the second one counts by its share: a
    cross-encoder that has learnt from a few hundred queries ranks worse than what finds passages, and both together
    better than either (docs/LOG.md).

    Args:
        run: A `run` of the first stage.
        scores: Those of the second, of the first passages of each query (`scored`).
        share: In (0, 1].
        depth: How many passages a query keeps.

    Returns:
        A `run`: of each query those passages by (-score, doc_id), then the others as they stood, each with 1 less than
        the one before.
    """
    rows: list[tuple[str, str, float]] = []
    for name, found in rankings(run).items():
        again = [(doc_id, score) for doc_id, score in found if (name, doc_id) in scores]
        rest = [doc_id for doc_id, _ in found if (name, doc_id) not in scores]
        first, second = _spread([score for _, score in again]), _spread([scores[name, doc_id] for doc_id, _ in again])
        best = sorted(
            # as the table keeps it: what differs by less is in the order of ids
            (-float(np.float32((1 - share) * one + share * other)), doc_id)
            for (doc_id, _), one, other in zip(again, first, second, strict=True)
        )
        ordered = [(doc_id, -negated) for negated, doc_id in best]
        lowest = ordered[-1][1] if ordered else 0.0
        ordered += [(doc_id, lowest - place) for place, doc_id in enumerate(rest, start=1)]
        rows += [(name, doc_id, score) for doc_id, score in ordered[:depth]]
    return rows_table("run", rows)


def _spread(scores: Sequence[float]) -> list[float]:
    """From the least, 0, to the best, 1; what is no number is least."""
    known = [score for score in scores if math.isfinite(score)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return [(score - low) / (high - low) if math.isfinite(score) and high > low else 0.0 for score in scores]
