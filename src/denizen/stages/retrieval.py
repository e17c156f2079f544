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

if TYPE_CHECKING:
    from torch import Tensor

    from denizen.models.embedding_store import StoredVectors

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


def search(
    query_ids: Sequence[str],
    queries: _Vectors,
    doc_ids: Sequence[str],
    corpus: _Vectors | StoredVectors,
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
    import torch

    _check_order(doc_ids)
    depth = min(depth, len(doc_ids))
    query_rows, corpus_rows = _block_shape(len(queries), len(doc_ids), depth, memory_mb)

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for begin in range(0, len(queries), query_rows):
            part = torch.from_numpy(np.array(queries[begin : begin + query_rows]))
            scores = torch.empty(len(part), 0)
            positions = torch.empty(len(part), 0, dtype=torch.long)
            for start in range(0, len(doc_ids), corpus_rows):
                block = part @ torch.from_numpy(np.array(corpus[start : start + corpus_rows])).T
                best, where = top_k(block, depth)
                # older positions are lower and stand first, so a stable sort keeps ties in corpus order
                scores, order = top_k(torch.cat([scores, best], dim=1), depth)
                positions = torch.cat([positions, where + start], dim=1).gather(1, order)
            progress(len(part))
            yield scores, positions

    return _run_table(query_ids, doc_ids, blocks())


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


def top_k(scores: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """The largest `depth` values of each row and their positions, by (-score, position), exactly.

    `torch.topk` alone chooses freely among equal values at the border; rows where that matters are sorted.

    Args:
        scores: Shape (rows, columns).
        depth: How many to take; all if there are fewer columns.

    Returns:
        Values and positions, each of shape (rows, min(depth, columns)).
    """
    import torch

    depth = min(depth, scores.shape[1])
    if depth == scores.shape[1]:
        values, where = torch.sort(scores, dim=1, descending=True, stable=True)
        return values, where
    values, where = torch.topk(scores, depth, dim=1)
    # into position order first, so that the stable sort by value leaves ties in position order
    where, order = torch.sort(where, dim=1)
    values, order = torch.sort(values.gather(1, order), dim=1, descending=True, stable=True)
    where = where.gather(1, order)
    tied = (scores >= values[:, -1:]).sum(dim=1) > depth
    if bool(tied.any()):
        full_values, full_where = torch.sort(scores[tied], dim=1, descending=True, stable=True)
        values[tied], where[tied] = full_values[:, :depth], full_where[:, :depth]
    return values, where


def _block_shape(queries: int, passages: int, depth: int, memory_mb: int) -> tuple[int, int]:
    # scores (4 bytes), the comparison of the tie check (1), and sorted values and positions of tied rows (4 + 8 + 4)
    cells = memory_mb * (1 << 20) // 21
    corpus_rows = max(1, 2 * depth, min(passages, 32768))
    return max(1, min(queries, cells // corpus_rows)), corpus_rows


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
