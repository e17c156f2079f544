"""The search of one corpus by several retrievers, with bars: what mining, evaluation and the forgetting gate all do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from denizen.engine.progress import Advance, Progress
from denizen.retrievers.retriever import Fusion, Retriever


class CorpusSearch:
    """What retrievers find for the same queries in the same corpus; each searches once, also as a part of a fusion.

    Args:
        corpus: A `corpus` table, ascending by doc_id.
        queries: Query id to text.
        depth: How many passages a query gets at most.
        progress: Is shown bars of "texts" and of "queries by NAME".
        unit: What it calls the queries.
    """

    def __init__(
        self, corpus: pa.Table, queries: Mapping[str, str], depth: int, progress: Progress, unit: str = "queries"
    ) -> None:
        self.corpus = corpus
        self.queries = queries
        self.depth = depth
        self.progress = progress
        self.unit = unit
        self._runs: dict[Retriever, pa.Table] = {}

    def run(self, name: str, retriever: Retriever) -> pa.Table:
        """What a retriever finds, a `run`; the name is for the bars."""
        if retriever not in self._runs:
            self._runs[retriever] = self._search(name, retriever)
        return self._runs[retriever]

    def _search(self, name: str, retriever: Retriever) -> pa.Table:
        if isinstance(retriever, Fusion):
            runs = [self.run(name, part) for part in retriever.parts]
            return retriever.combine(runs, self.queries, self.depth)
        progress = cast("Progress", _Named(self.progress, f"{self.unit} by {name}" if name else self.unit))
        return retriever.search(retriever.index(self.corpus, progress), self.queries, self.depth, progress)


def search_each(
    systems: Mapping[str, Retriever],
    queries: Mapping[str, str],
    corpus: pa.Table,
    depth: int,
    progress: Progress,
    unit: str = "queries",
) -> dict[str, pa.Table]:
    """System name to its `run`; the arguments are those of `CorpusSearch`."""
    found = CorpusSearch(corpus, queries, depth, progress, unit)
    return {name: found.run(name, retriever) for name, retriever in systems.items()}


class _Named:
    """A progress whose bars of queries say whose they are."""

    def __init__(self, progress: Progress, unit: str) -> None:
        self._progress = progress
        self._unit = unit

    def bar(self, total: int, unit: str) -> contextlib.AbstractContextManager[Advance]:
        return self._progress.bar(total, self._unit if unit == "queries" else unit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._progress, name)
