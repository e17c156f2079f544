"""Candidates for training, mined with the current student: where it ranks what is relevant, and what it confuses.

A negative is excluded by identity: known relevant passages, their near-duplicates, and passages of the same document
never are negatives. On top, the positive-aware ceiling of NV-Retriever (arXiv 2407.15831) drops what scores nearly as
high as the positive and is likely to be relevant without a label. What is labelled irrelevant needs no such guess: it
is a negative wherever the student ranks it, and comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from denizen.data.relatedness import related_passages
from denizen.data.tables import irrelevant, rankings, relevant, rows_table


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
        qrels: What is known to be relevant, and what to be irrelevant.
        corpus: A `corpus` table with clusters.
        query_ids: The queries to mine for.
        windows: Rank windows (first, last) from which negatives come.
        retriever: The name to write into the table.
        positive_ceiling: Drop negatives that score above this share of the best positive's score; 0: off.

    Returns:
        A `candidates` table (by query, positives first, then what is irrelevant, then negatives, each by rank), and
        how many retrieved passages were excluded for which reason.
    """
    known, wrong, ranked = relevant(qrels), irrelevant(qrels), rankings(run)
    related = related_passages(qrels, corpus, query_ids)
    places = sorted({rank for first, last in windows for rank in range(first, last + 1)})
    counts: Counter[str] = Counter(relevant=0, related=0, above_ceiling=0)
    rows: list[tuple[str, str, int | None, float | None, str, str]] = []
    for query_id in query_ids:
        found, answers = ranked.get(query_id, []), known.get(query_id, {})
        judged = {**dict.fromkeys(wrong.get(query_id, ()), "irrelevant"), **dict.fromkeys(answers, "positive")}
        place = {doc_id: (rank, score) for rank, (doc_id, score) in enumerate(found, start=1) if doc_id in judged}
        labelled = [*place, *(doc_id for doc_id in judged if doc_id not in place)]
        for role in ("positive", "irrelevant"):
            of_role = [doc_id for doc_id in labelled if judged[doc_id] == role]
            rows += [(query_id, doc_id, *place.get(doc_id, (None, None)), retriever, role) for doc_id in of_role]
        positives = [doc_id for doc_id in labelled if doc_id in answers]
        limit = ceiling(place.get(positives[0], (0, None))[1], positive_ceiling) if positives else None
        for rank in places:
            if rank > len(found):
                break
            doc_id, score = found[rank - 1]
            if doc_id in judged:
                counts["relevant"] += doc_id in answers
            elif doc_id in related.get(query_id, ()):
                counts["related"] += 1
            elif limit is not None and score > limit:
                counts["above_ceiling"] += 1
            else:
                rows.append((query_id, doc_id, rank, score, retriever, "negative"))
    return rows_table("candidates", rows), dict(counts)


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
