"""A model's search of a corpus, with a bar: what mining, evaluation and the forgetting gate all do."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from denizen.data.tables import texts
from denizen.engine.progress import Progress
from denizen.retrievers import search as retrieval
from denizen.retrievers.encoder import Encoder


def search_with(
    encoder: Encoder,
    queries: Mapping[str, str],
    corpus: pa.Table,
    depth: int,
    progress: Progress,
    *,
    memory_mb: int = 512,
    unit: str = "queries",
) -> pa.Table:
    """What a model finds for queries (id to text) in a corpus: a `run`. The backend is chosen on the corpus."""
    with progress.bar(len(corpus) + len(queries), "texts") as advance:
        found = encoder.encode(texts(corpus), "document", advance)
        vectors = encoder.encode(list(queries.values()), "query", advance)
    with progress.bar(len(queries), unit) as advance:
        return retrieval.search(
            list(queries),
            vectors[:],
            corpus["doc_id"].to_pylist(),
            found,
            depth,
            memory_mb=memory_mb,
            progress=advance,
        )


def search_bm25(queries: Mapping[str, str], corpus: pa.Table, depth: int, progress: Progress) -> pa.Table:
    """What BM25 finds: a `run`."""
    with progress.bar(len(queries), "queries by BM25") as advance:
        return retrieval.search_bm25(
            list(queries), list(queries.values()), corpus["doc_id"].to_pylist(), texts(corpus), depth, advance
        )
