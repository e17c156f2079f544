"""Exact search: block-wise top-k over embeddings within a memory setting, and BM25.

Both return a run ordered by (-score, doc_id). Equal passages get equal scores up to the last bit of a 32-bit float,
which a matrix product may round differently in another block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from denizen.core.errors import InputError
from denizen.core.tables import SCHEMAS
from denizen.models.exact_top_k import Rows, exact_top_k, top_k

if TYPE_CHECKING:
    from torch import Tensor

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


def search(
    query_ids: Sequence[str],
    queries: _Vectors,
    doc_ids: Sequence[str],
    corpus: _Vectors,
    depth: int,
    *,
    memory_mb: int = 512,
    progress: Callable[[int], None] = lambda count: None,
) -> pa.Table:
    """The `depth` passages with the highest inner product, exactly.

    Args:
        query_ids: One id a query.
        queries: Shape (queries, dim), unit length where cosine is meant.
        doc_ids: One id a passage, ascending.
        corpus: Shape (passages, dim); may be memory-mapped, only one block is read at a time.
        depth: How many passages a query gets (all of them in a smaller corpus).
        memory_mb: Bound on the memory of one block of scores and what sorting them takes, in MiB.
        progress: Called with the number of queries that have just been finished.

    Returns:
        A `run` table.
    """
    _check_order(doc_ids)
    if not doc_ids or not query_ids:
        return SCHEMAS["run"].empty_table()
    depth = min(depth, len(doc_ids))
    sharing = max(1, (memory_mb << 20) // 4 // (24 * depth + 6 * queries.shape[1]))
    query_rows, corpus_rows = _block_shape(len(queries), len(doc_ids), queries.shape[1], depth, memory_mb)
    found = exact_top_k(queries, corpus, depth, (max(sharing, query_rows), query_rows, corpus_rows), progress)
    return _run_table(query_ids, doc_ids, found)


def search_bm25(
    query_ids: Sequence[str],
    queries: Sequence[str],
    doc_ids: Sequence[str],
    corpus: Sequence[str],
    depth: int,
    progress: Callable[[int], None] = lambda count: None,
) -> pa.Table:
    """BM25 (bm25s with its defaults: Lucene's variant, k1 1.5, b .75; English stop words, Snowball stemmer).

    Passages that share no term with the query are not in the run.

    Args: As `search`, with texts instead of vectors.

    Returns:
        A `run` table.
    """
    import bm25s
    import Stemmer
    import torch

    _check_order(doc_ids)
    stemmer = Stemmer.Stemmer("english")
    tokens = bm25s.tokenize(corpus, stopwords="en", stemmer=stemmer, show_progress=False)
    if not tokens.vocab:
        return SCHEMAS["run"].empty_table()
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    words = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
    depth = min(depth, len(doc_ids))

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for terms in words:
            known = [term for term in terms if term in index.vocab_dict]
            found = index.get_scores(known) if known else np.zeros(len(doc_ids), dtype=np.float32)
            scores, positions = top_k(torch.from_numpy(np.asarray(found, dtype=np.float32))[None, :], depth)
            progress(1)
            yield scores.masked_fill(scores <= 0, -torch.inf), positions

    return _run_table(query_ids, doc_ids, blocks())


def _block_shape(queries: int, passages: int, dim: int, depth: int, memory_mb: int) -> tuple[int, int]:
    """Queries and passages of a block of scores; a quarter of the memory is for its vectors, half for its scores."""
    memory = memory_mb << 20
    # exact (4 bytes a number) and rounded (2), in multiples of the groups of a block
    corpus_rows = max(2 * depth, min(passages, 8192, memory // 4 // (6 * dim)), 32) // 32 * 32
    # scores (4 bytes) and, should every passage be possible, where they are (16)
    return max(1, min(queries, 1024, memory // 2 // (20 * corpus_rows))), corpus_rows


def _run_table(query_ids: Sequence[str], doc_ids: Sequence[str], blocks: Iterator[tuple[Tensor, Tensor]]) -> pa.Table:
    import torch

    names = pa.array(doc_ids, type=pa.string())
    ids = pa.array(query_ids, type=pa.string())
    parts = []
    begin = 0
    for scores, positions in blocks:
        keep = torch.isfinite(scores)
        rows = torch.arange(begin, begin + len(scores))[:, None].expand_as(positions)[keep]
        begin += len(scores)
        columns = [ids.take(pa.array(rows.numpy())), names.take(pa.array(positions[keep].numpy()))]
        parts.append(pa.Table.from_arrays([*columns, pa.array(scores[keep].numpy())], schema=SCHEMAS["run"]))
    return pa.concat_tables(parts).combine_chunks() if parts else SCHEMAS["run"].empty_table()


def _check_order(doc_ids: Sequence[str]) -> None:
    if any(one >= other for one, other in itertools.pairwise(doc_ids)):
        raise InputError("doc_ids must be distinct and ascending, because ties of scores are broken by doc_id")
