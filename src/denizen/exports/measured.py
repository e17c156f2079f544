"""What an export is worth beside the model as it was evaluated: on the same queries, in bytes, in milliseconds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from denizen.engine.progress import Progress
from denizen.exports.rows import Search
from denizen.measuring.latency import spread
from denizen.measuring.retrieval import of_graded, write_evaluation
from denizen.retrievers.loading import Kind

if TYPE_CHECKING:
    from denizen.exports.subject import Subject, Test
    from denizen.retrievers.encoder import Encoder
    from denizen.retrievers.retriever import Index, Retriever

MEASURES = ("MRR@5", "nDCG@10")
_DEPTH = 10
# queries that are timed one by one, after some that load what is loaded at the first
_TIMED, _WARM = 20, 5
# without passages: what is asked and what is answered, short and long
_SAMPLES = tuple(
    " ".join(["what is said in paragraph", str(number), *["of this text about rules"] * length])
    for number, length in enumerate((1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 40, 80))
)


def searching_by(retriever: Retriever, index: Index, progress: Progress) -> Search:
    """The search of a retriever."""

    def search(queries: Mapping[str, str], depth: int) -> pa.Table:
        return retriever.search(index, queries, depth, progress)

    return search


def measure(subject: Subject, test: Test, ours: Search, progress: Progress) -> dict[str, Any]:
    """An export and the model as it was evaluated, on the same queries.

    Args:
        subject: What was exported, with passages.
        test: The queries.
        ours: The search of the export.
        progress: Is shown bars.

    Returns:
        `means` of `evaluated` and `export`, `difference` with intervals, `queries`, `grouped`, `milliseconds` a query.
    """
    searches = {"evaluated": searching_by(subject.retriever, subject.index, progress), "export": ours}
    # a passage that nobody has graded is no rank, and the next one takes its place
    depth = _DEPTH if test.graded is None else 10 * _DEPTH
    runs = {name: of_graded(search(test.queries, depth), test.graded) for name, search in searches.items()}
    found = write_evaluation(None, runs, test.qrels, list(test.queries), subject.passages, MEASURES)
    asked = list(dict.fromkeys(test.queries.values()))
    milliseconds = {name: timed(search, asked) for name, search in searches.items()}
    return {
        "means": found["means"],
        "difference": found["differences"]["export"],
        "queries": found["queries"],
        "grouped": found["grouped"],
        "milliseconds": milliseconds,
    }


def timed(search: Search, asked: Sequence[str]) -> float:
    """Milliseconds from a query's text to ten passages, the median of some that are asked one after the other."""
    seconds = []
    for text in spread(asked, _TIMED + _WARM):
        began = time.perf_counter()
        search({"timed": text}, _DEPTH)
        seconds.append(time.perf_counter() - began)
    kept = seconds[min(_WARM, len(seconds) // 2) :]
    return round(1000 * statistics.median(kept), 2)


def vectors_alike(ours: Encoder, evaluated: Encoder) -> dict[str, Any]:
    """How alike the vectors of made-up texts are, where there is nothing to measure on.

    Returns:
        The `least` cosine and the `mean`, and of how many `texts`.
    """
    kinds: tuple[Kind, ...] = ("query", "document")
    pairs = [(encoder.encode(_SAMPLES, kind)[:] for encoder in (ours, evaluated)) for kind in kinds]
    cosines = np.concatenate([_cosines(*pair) for pair in pairs])
    return {"least": float(cosines.min()), "mean": float(cosines.mean()), "texts": len(cosines)}


def _cosines(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: np.ndarray[Any, Any] = np.einsum("nd,nd->n", one, other) / np.maximum(lengths, 1e-12)
    return found


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(Path(at, name).stat().st_size for at, _, names in os.walk(folder) for name in names)
