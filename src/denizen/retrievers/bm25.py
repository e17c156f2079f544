"""BM25: what plain keyword search finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import SCHEMAS, texts
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.retriever import Retriever, save_composite
from denizen.retrievers.search import check_order, run_table

_Scores = np.ndarray[Any, np.dtype[np.float32]]
_Positions = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class _Terms:
    """The passages by their terms (an index of bm25s; None: no passage has any) and their ids."""

    bm25: Any
    doc_ids: list[str]


@dataclass(frozen=True)
class BM25:
    """BM25 (bm25s with its defaults: Lucene's variant, k1 1.5, b .75; English stop words, Snowball stemmer).

    Passages that share no term with the query are not in the run.
    """

    kind: ClassVar[str] = "bm25"
    parts: ClassVar[tuple[Retriever, ...]] = ()

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest({"kind": self.kind})

    def index(self, corpus: pa.Table, progress: Progress) -> _Terms:
        """Counts the terms of all passages."""
        import bm25s

        doc_ids = corpus["doc_id"].to_pylist()
        check_order(doc_ids)
        tokens = _tokens(texts(corpus))
        if not tokens.vocab:
            return _Terms(None, doc_ids)
        found = bm25s.BM25()
        found.index(tokens, show_progress=False)
        return _Terms(found, doc_ids)

    def search(self, index: _Terms, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        if index.bm25 is None:
            return SCHEMAS["run"].empty_table()
        words = _tokens(list(queries.values()), return_ids=False)

        def blocks() -> Iterator[tuple[_Scores, _Positions]]:
            for terms in words:
                known = [term for term in terms if term in index.bm25.vocab_dict]
                scores = index.bm25.get_scores(known) if known else np.zeros(0, dtype=np.float32)
                positions = best(scores, depth)
                advance(1)
                yield scores[None, positions], positions[None]

        with progress.bar(len(queries), "queries by BM25") as advance:
            return run_table(list(queries), index.doc_ids, blocks())

    def save(self, folder: Path) -> None:
        """Writes what it is; it has no weights."""
        save_composite(folder, self, {})


def best(scores: _Scores, depth: int) -> _Positions:
    """The positions of the `depth` highest scores above 0, by (-score, position).

    Args:
        scores: Shape (passages,).
        depth: How many at most.
    """
    found = np.flatnonzero(scores > 0)
    if len(found) > depth:
        # all that are as good as the last one, so that ties at the border are broken by position, too
        found = found[scores[found] >= np.partition(scores[found], -depth)[-depth]]
    order: _Positions = found[np.argsort(-scores[found], kind="stable")][:depth]
    return order


def _tokens(listed: list[str], **options: Any) -> Any:
    import bm25s
    import Stemmer

    return bm25s.tokenize(listed, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False, **options)
