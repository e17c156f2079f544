"""What must never be a query's negative, by identity: what is relevant, what is nearly the same, and its neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import pyarrow as pa

from denizen.data.tables import each, irrelevant, relevant

# grades of arXiv 2512.08088: 1 and 2 are no answers, 3 is a part of one and 4 answers fully
NEGATIVE, POSITIVE = 2, 4


def related_passages(qrels: pa.Table, corpus: pa.Table, query_ids: Collection[str]) -> dict[str, frozenset[str]]:
    """For each query the passages that must never be its negatives, by the clusters of the corpus.

    They are the relevant ones, their near-duplicates, and those of their documents and of near-duplicates of these.
    """
    # near-duplicate documents count as one; a document is one with itself
    columns = each(corpus, "doc_id", "parent_cluster", "cluster")
    groups = {doc_id: (("document", parent), ("passage", cluster)) for doc_id, parent, cluster in columns}
    members: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for doc_id, of in groups.items():
        for group in of:
            members[group].append(doc_id)
    found, wanted = {}, set(query_ids)
    for query_id, passages in relevant(qrels).items():
        if query_id in wanted:
            related = {group for doc_id in passages for group in groups[doc_id]}
            found[query_id] = frozenset(doc_id for group in related for doc_id in members[group])
    return found


def not_negatives(
    qrels: pa.Table, judgments: pa.Table | None, corpus: pa.Table, query_ids: Collection[str]
) -> dict[str, frozenset[str]]:
    """`related_passages`, and what a teacher has said of them, or labels where none has looked.

    A passage that was graded 1 or 2, or is labelled irrelevant, may be a negative, whatever document it comes from and
    whatever it resembles; one with grade 3 never.
    """
    related = related_passages(qrels, corpus, query_ids)
    if judgments is None:
        labelled = irrelevant(qrels)
        return {query_id: found.difference(labelled.get(query_id, ())) for query_id, found in related.items()}
    wrong: dict[str, set[str]] = {}
    unsure: dict[str, set[str]] = {}
    for row in judgments.to_pylist():
        if row["grade"] is not None and row["grade"] < POSITIVE:
            (wrong if row["grade"] <= NEGATIVE else unsure).setdefault(row["query_id"], set()).add(row["doc_id"])
    return {
        query_id: (related.get(query_id, frozenset()) - wrong.get(query_id, set())) | unsure.get(query_id, set())
        for query_id in query_ids
    }
