"""Candidates for training, mined with the current student: where it ranks what is relevant, and what it confuses.

A negative is excluded by identity: known relevant passages, their near-duplicates, and passages of the same document
never are negatives. On top, the positive-aware ceiling of NV-Retriever (arXiv 2407.15831) drops what scores nearly as
high as the positive and is likely to be relevant without a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from denizen.data.tables import rankings, relevant, table


@dataclass(frozen=True)
class Candidate:
    """A passage that a query may be trained with; rank and score are None beyond the depth of the run."""

    query_id: str
    doc_id: str
    rank: int | None
    score: float | None
    role: str


def related_passages(qrels: pa.Table, corpus: pa.Table, query_ids: Collection[str]) -> dict[str, frozenset[str]]:
    """For each query the passages that must never be its negatives.

    Args:
        qrels: A `qrels` table.
        corpus: A `corpus` table with clusters.
        query_ids: The queries that are asked for.

    Returns:
        Query id to the ids of the relevant passages, their near-duplicates, and the passages of their documents and of
        near-duplicates of these.
    """
    # near-duplicate documents count as one; a document is one with itself
    columns = [corpus[name].to_pylist() for name in ("doc_id", "parent_cluster", "cluster")]
    home = {doc_id: (parent, cluster) for doc_id, parent, cluster in zip(*columns, strict=True)}
    of_parent: dict[int, list[str]] = {}
    of_cluster: dict[int, list[str]] = {}
    for doc_id, (parent, cluster) in home.items():
        of_parent.setdefault(parent, []).append(doc_id)
        of_cluster.setdefault(cluster, []).append(doc_id)
    found = {}
    wanted = set(query_ids)
    for query_id, passages in relevant(qrels).items():
        if query_id not in wanted:
            continue
        parents = {home[doc_id][0] for doc_id in passages}
        alike = {home[doc_id][1] for doc_id in passages}
        found[query_id] = frozenset(
            [doc_id for parent in parents for doc_id in of_parent[parent]]
            + [doc_id for cluster in alike for doc_id in of_cluster[cluster]]
        )
    return found


def mine(
    run: pa.Table,
    qrels: pa.Table,
    corpus: pa.Table,
    query_ids: Sequence[str],
    windows: Sequence[tuple[int, int]],
    *,
    retriever: str,
    positive_ceiling: float = 0.0,
) -> tuple[pa.Table, dict[str, int]]:
    """Turns a run into candidates.

    Args:
        run: A `run` of the current student.
        qrels: What is known to be relevant.
        corpus: A `corpus` table with clusters.
        query_ids: The queries to mine for.
        windows: Rank windows (first, last) from which negatives come.
        retriever: The name to write into the table.
        positive_ceiling: Drop negatives that score above this share of the best positive's score; 0: off.

    Returns:
        A `candidates` table (by query, positives first, then by rank), and how many retrieved passages were
        excluded for which reason.
    """
    known = relevant(qrels)
    related = related_passages(qrels, corpus, query_ids)
    ranked = rankings(run)
    counts: Counter[str] = Counter(relevant=0, related=0, above_ceiling=0)
    rows: list[Candidate] = []
    places = sorted({rank for first, last in windows for rank in range(first, last + 1)})
    for query_id in query_ids:
        found = ranked.get(query_id, [])
        positives = _positives(query_id, found, known.get(query_id, {}))
        rows += positives
        limit = ceiling(positives[0].score, positive_ceiling) if positives else None
        barred: dict[str, Collection[str]] = {
            "relevant": known.get(query_id, {}),
            "related": related.get(query_id, frozenset()),
        }
        rows += _negatives(query_id, found, places, barred, limit, counts)
    table_columns = {
        name: [getattr(row, name) for row in rows] for name in ("query_id", "doc_id", "rank", "score", "role")
    }
    return table("candidates", {**table_columns, "retriever": [retriever] * len(rows)}), dict(counts)


def ceiling(positive: float | None, share: float) -> float | None:
    """The highest score that a negative may have next to a positive (NV-Retriever's TopK-PercPos).

    positive - |positive| (1 - share): with the absolute value the ceiling stays below a negative score, too.

    Args:
        positive: The positive's score; None when it lies beyond the run, so that all that was retrieved scores above.
        share: The share in (0, 1]; 0 switches the ceiling off.

    Returns:
        The limit, or None when there is none.
    """
    if share == 0:
        return None
    if positive is None:
        return float("-inf")
    return positive - abs(positive) * (1 - share)


def _positives(query_id: str, found: list[tuple[str, float]], known: Mapping[str, int]) -> list[Candidate]:
    ranked = [
        Candidate(query_id, doc_id, rank, score, "positive")
        for rank, (doc_id, score) in enumerate(found, start=1)
        if doc_id in known
    ]
    seen = {row.doc_id for row in ranked}
    return ranked + [Candidate(query_id, doc_id, None, None, "positive") for doc_id in known if doc_id not in seen]


def _negatives(
    query_id: str,
    found: list[tuple[str, float]],
    places: Sequence[int],
    barred: Mapping[str, Collection[str]],
    limit: float | None,
    counts: Counter[str],
) -> Iterator[Candidate]:
    for rank in places:
        if rank > len(found):
            return
        doc_id, score = found[rank - 1]
        reason = next((reason for reason, passages in barred.items() if doc_id in passages), None)
        if reason is None and limit is not None and score > limit:
            reason = "above_ceiling"
        if reason:
            counts[reason] += 1
        else:
            yield Candidate(query_id, doc_id, rank, score, "negative")
