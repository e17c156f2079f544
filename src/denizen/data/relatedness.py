"""What must never be a query's negative, by identity: what is relevant, what is nearly the same, and its neighbours."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from denizen.data.tables import each, relevant

# grades of arXiv 2512.08088: 1 and 2 are no answers, 3 is a part of one and 4 answers fully
NEGATIVE, POSITIVE = 2, 4


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
    home = {doc_id: places for doc_id, *places in each(corpus, "doc_id", "parent_cluster", "cluster")}
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


def not_negatives(
    qrels: pa.Table, judgments: pa.Table | None, corpus: pa.Table, query_ids: Collection[str]
) -> dict[str, frozenset[str]]:
    """`related_passages`, and what a teacher has said of them.

    A passage that was graded 1 or 2 may be a negative, whatever document it comes from; one with grade 3 never.

    Args:
        qrels: A `qrels` table.
        judgments: A `judgments` table; None: nobody has looked.
        corpus: A `corpus` table with clusters.
        query_ids: The queries that are asked for.
    """
    related = related_passages(qrels, corpus, query_ids)
    if judgments is None:
        return related
    wrong: dict[str, set[str]] = {}
    unsure: dict[str, set[str]] = {}
    for row in judgments.to_pylist():
        if row["grade"] is not None and row["grade"] < POSITIVE:
            (wrong if row["grade"] <= NEGATIVE else unsure).setdefault(row["query_id"], set()).add(row["doc_id"])
    return {
        query_id: (related.get(query_id, frozenset()) - wrong.get(query_id, set())) | unsure.get(query_id, set())
        for query_id in query_ids
    }
