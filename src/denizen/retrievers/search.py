"""Exact search over embeddings within a memory setting, approximate search (an extra), and the fusion of runs.

All return a run ordered by (-score, doc_id).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import SCHEMAS, each, rankings, rows_table, run_ranks
from denizen.engine.errors import InputError
from denizen.retrievers.cpu.exact_top_k import Rows, exact_top_k

_Vectors = np.ndarray[Any, np.dtype[np.float32]]
_Positions = np.ndarray[Any, np.dtype[np.int64]]


def search(
    query_ids: Sequence[str],
    queries: _Vectors,
    doc_ids: Sequence[str],
    corpus: Rows,
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
        corpus: Shape (passages, dim); may be memory-mapped, only one contiguous slice is read at a time.
        depth: How many passages a query gets (all of them in a smaller corpus).
        memory_mb: Bound on the memory for blocks of vectors and scores and for the best so far, in MiB; the vectors
            themselves and the run come on top. The run does not depend on it.
        progress: Called with the number of queries finished; a part of the corpus counts as its share of the queries.

    Returns:
        A `run` table. The scores are sums of 32-bit floats, each computed from its two vectors alone, so equal
        passages have equal scores.

    Raises:
        InputError: When doc_ids do not ascend, or a vector is not finite.
    """
    check_order(doc_ids)
    if not doc_ids or not query_ids:
        return SCHEMAS["run"].empty_table()
    depth = min(depth, len(doc_ids))
    dim = queries.shape[1]
    query_rows, corpus_rows = _block_shape(len(queries), len(doc_ids), dim, depth, memory_mb)
    # the queries that share one reading of the corpus get the last quarter: keys (two times 8 bytes a wanted passage),
    # what sorts them into scores and positions, and vectors, exact and rounded
    sharing = max(query_rows, (memory_mb << 20) // 4 // (28 * depth + 6 * dim))
    return run_table(
        query_ids, doc_ids, exact_top_k(queries, corpus, depth, (sharing, query_rows, corpus_rows), progress)
    )


def search_ivf(
    query_ids: Sequence[str],
    queries: _Vectors,
    doc_ids: Sequence[str],
    corpus: Rows,
    depth: int,
    *,
    probes: int = 64,
    sample: int = 100,
) -> tuple[pa.Table, float]:
    """Approximate search with an inverted file of faiss (the extra `faiss`), and its recall against `search`.

    An inverted file and not HNSW, because a corpus is embedded anew in every round and searched once, and clustering
    a sample takes a fraction of the time that linking all passages does. It holds a copy of the vectors.

    Args: As `search`, and
        probes: Clusters that a query looks through, of 4 sqrt(passages) (faiss, Guidelines to choose an index). 64
            is 1.6 % of a million passages.
        sample: Queries, evenly spread, for which recall is measured with `search`.

    Returns:
        A `run` table, and the share of the exact `depth` best passages of the sample that it has.

    Raises:
        InputError: When faiss is not installed or doc_ids do not ascend.
    """
    check_order(doc_ids)
    if not doc_ids or not query_ids:
        return SCHEMAS["run"].empty_table(), 1.0
    depth = min(depth, len(doc_ids))
    index = _inverted_file(corpus)
    index.nprobe = probes
    scores, positions = index.search(np.ascontiguousarray(queries, dtype=np.float32), depth)
    # where the clusters held too few passages the position is -1; by (-score, position) as everywhere
    scores = np.where(positions < 0, -np.inf, scores)
    order = np.lexsort((positions, -scores), axis=1)
    scores, positions = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
    run = run_table(query_ids, doc_ids, [(scores, positions)])
    asked = np.unique(np.linspace(0, len(queries) - 1, min(sample, len(queries))).astype(int))
    exact = search([query_ids[at] for at in asked], queries[asked], doc_ids, corpus, depth)
    wanted, found = (set(each(rows, "query_id", "doc_id")) for rows in (exact, run))
    return run, len(wanted & found) / len(wanted)


def fuse(runs: Sequence[pa.Table], depth: int, constant: int = 60, weights: Sequence[float] = ()) -> pa.Table:
    """Reciprocal rank fusion (Cormack et al. 2009): a passage scores the sum of weight / (constant + rank) over runs.

    Args:
        runs: `run` tables on the same corpus.
        depth: How many passages a query keeps.
        constant: As in the paper.
        weights: One a run; none: 1 each, as in the paper.

    Returns:
        A `run` table.
    """
    scores: dict[str, dict[str, float]] = {}
    for run, weight in zip(runs, weights or [1] * len(runs), strict=True):
        for (query_id, doc_id), rank in run_ranks(run).items():
            of_query = scores.setdefault(query_id, {})
            of_query[doc_id] = of_query.get(doc_id, 0.0) + weight / (constant + rank)
    return best_of(scores, depth)


def fuse_scores(
    runs: Sequence[pa.Table],
    depth: int,
    weights: Sequence[float],
    lowest: Sequence[float | None],
    searched: int | None = None,
) -> pa.Table:
    """The convex combination of normalised scores (Bruch et al. 2023, arXiv 2210.11934, there TM2C2).

    Of each query's scores in a run the best becomes 1, and the least that there can be 0; where that is not known, the
    least in the run. What a run that is full does not have counts as its last passage, the best it can have been; what
    one that is not full does not have counts 0.

    Args:
        runs: `run` tables on the same corpus, searched to the same depth.
        depth: How many passages a query keeps.
        weights: One a run; they are divided by their sum.
        lowest: The least score that there can be in each run, such as -1 for a cosine; None: unknown.
        searched: The depth of the runs; None: as many as are kept.

    Returns:
        A `run` table, with scores from 0 to 1.
    """
    scores: dict[str, dict[str, float]] = {}
    ranked = [rankings(run) for run in runs]
    for query_id in dict.fromkeys(itertools.chain.from_iterable(ranked)):
        lists = [of_run.get(query_id, []) for of_run in ranked]
        of_query = dict.fromkeys((doc_id for ranking in lists for doc_id, _ in ranking), 0.0)
        for ranking, weight, least in zip(lists, weights, lowest, strict=True):
            values, missing = _normalised(ranking, least, len(ranking) >= (searched or depth))
            for doc_id in of_query:
                of_query[doc_id] += weight / sum(weights) * values.get(doc_id, missing)
        scores[query_id] = of_query
    return best_of(scores, depth)


def _normalised(ranking: list[tuple[str, float]], least: float | None, full: bool) -> tuple[dict[str, float], float]:
    """What each passage counts, from 0 to 1, and what those count that are not in the ranking."""
    if not ranking:
        return {}, 0.0
    best, last = ranking[0][1], ranking[-1][1]
    # rounding may bring a cosine below -1
    floor = last if least is None else min(least, last)
    values = {doc_id: (score - floor) / (best - floor) if best > floor else 1.0 for doc_id, score in ranking}
    return values, values[ranking[-1][0]] if full and best > floor else 0.0


def best_of(scores: dict[str, dict[str, float]], depth: int) -> pa.Table:
    """A `run` of the best passages by query and passage; the queries in their order."""
    rows = [
        (query_id, doc_id, score)
        for query_id, found in scores.items()
        # as 32-bit floats, as the table keeps them: what is equal there must be ordered by id
        for doc_id, score in sorted(found.items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[:depth]
    ]
    return rows_table("run", rows)


def _inverted_file(corpus: Rows) -> Any:
    try:
        import faiss
    except ImportError:
        raise InputError("approximate search needs faiss: pip install 'denizen[faiss]'") from None

    passages, dim = corpus.shape
    clusters = min(round(4 * passages**0.5), passages)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, clusters, faiss.METRIC_INNER_PRODUCT)
    # 39 a cluster is the least that faiss trains on without a warning; evenly spread slices, as only slices are read
    step = max(1, passages // (39 * clusters))
    index.train(np.concatenate([corpus[at : at + 64] for at in range(0, passages, 64 * step)]))
    for start in range(0, passages, 1 << 16):
        index.add(np.ascontiguousarray(corpus[start : start + (1 << 16)], dtype=np.float32))
    return index


def _block_shape(queries: int, passages: int, dim: int, depth: int, memory_mb: int) -> tuple[int, int]:
    """Queries and passages of a block of scores; a quarter of the memory is for its vectors, half for its scores."""
    memory = memory_mb << 20
    # exact (4 bytes a number) and rounded (2); a multiple of 32, so that a block divides into groups
    corpus_rows = -(-max(2 * depth, min(passages, 8192, memory // 4 // (6 * dim))) // 32) * 32
    # scores (4 bytes), their maxima (4), which of them pass (1) and where they are (8), should a group be one passage
    return max(1, min(queries, 1024, memory // 2 // (17 * corpus_rows))), corpus_rows


def first(run: pa.Table, depth: int) -> pa.Table:
    """The first passages of each query of a `run`."""
    seen: dict[str, int] = {}
    kept = []
    for query_id in run["query_id"].to_pylist():
        seen[query_id] = seen.get(query_id, 0) + 1
        kept.append(seen[query_id] <= depth)
    return run.filter(pa.array(kept, pa.bool_()))


def in_order(run: pa.Table, query_ids: Iterable[str]) -> pa.Table:
    """A `run` with its queries in the given order, and the passages of each as they were."""
    places = {query_id: at for at, query_id in enumerate(query_ids)}
    return run.take(np.argsort([places[query_id] for query_id in run["query_id"].to_pylist()], kind="stable"))


def run_table(
    query_ids: Sequence[str], doc_ids: Sequence[str], blocks: Iterable[tuple[_Vectors, _Positions]]
) -> pa.Table:
    """A `run` from the scores and positions of each query's passages, best first; a score of -inf stands for none.

    Args:
        query_ids: One id a query.
        doc_ids: One id a passage.
        blocks: Those of the next queries, each of shape (some queries, some passages).
    """
    names = pa.array(doc_ids, type=pa.string())
    ids = pa.array(query_ids, type=pa.string())
    parts = []
    begin = 0
    for scores, positions in blocks:
        keep = np.isfinite(scores)
        rows = begin + keep.nonzero()[0]
        begin += len(scores)
        columns = [ids.take(pa.array(rows)), names.take(pa.array(positions[keep])), pa.array(scores[keep])]
        parts.append(pa.Table.from_arrays(columns, schema=SCHEMAS["run"]))
    return pa.concat_tables(parts).combine_chunks() if parts else SCHEMAS["run"].empty_table()


def check_order(doc_ids: Sequence[str]) -> None:
    """Makes sure that passages ascend by their ids.

    Raises:
        InputError: When they do not.
    """
    if any(one >= other for one, other in itertools.pairwise(doc_ids)):
        raise InputError("doc_ids must be distinct and ascending, because ties of scores are broken by doc_id")
