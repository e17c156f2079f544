"""Which queries depend on each other, so that they are swapped and drawn together where chance is asked for.

Questions about one document fail and succeed together: of eight questions each about documents that do not differ in
truth, a test that takes them as independent calls every third difference real (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from denizen.data.tables import each, relevant

# a bootstrap over fewer groups says too little about any of them; the finer grouping then says more
_FEWEST = 10


@dataclass(frozen=True)
class Groups:
    """Queries by what they depend on.

    Attributes:
        of: Query id to the number of its group.
        by: What a group is: document, or passage; query: all are independent.
    """

    of: Mapping[str, int]
    by: str

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(set(self.of.values()))

    def numbers(self, query_ids: Sequence[str]) -> list[int]:
        """The group of each of some queries."""
        return [self.of[query_id] for query_id in query_ids]


def groups(query_ids: Sequence[str], qrels: pa.Table, corpus: pa.Table) -> Groups:
    """Puts queries together whose most relevant passages are of one document, or of near-duplicates of it.

    Where that leaves fewer than ten groups, as with one long document, they are grouped by passage.

    Args:
        query_ids: The queries.
        qrels: What is relevant to them; a query with nothing relevant stands by itself.
        corpus: A `corpus` table.
    """
    home = {doc_id: rest for doc_id, *rest in each(corpus, "doc_id", "parent_id", "parent_cluster", "cluster")}
    known = relevant(qrels)
    best = {}
    for query_id in query_ids:
        right = {doc_id: grade for doc_id, grade in known.get(query_id, {}).items() if doc_id in home}
        best[query_id] = min(right, key=lambda doc_id: (-right[doc_id], doc_id), default=None)

    def keys(by: str) -> dict[str, Hashable]:
        found: dict[str, Hashable] = {}
        for query_id, doc_id in best.items():
            if doc_id is None or by == "query":
                found[query_id] = ("query", query_id)
                continue
            parent, of_document, of_passage = home[doc_id]
            whole, own = (parent, of_document) if by == "document" else (doc_id, of_passage)
            # a table that was never clustered has no numbers
            found[query_id] = ("cluster", own) if own is not None else (by, whole)
        return found

    for by in ("document", "passage", "query"):
        found = keys(by)
        distinct = {key: number for number, key in enumerate(dict.fromkeys(found.values()))}
        if len(distinct) >= min(_FEWEST, len(query_ids)):
            # what groups nothing is no grouping
            by = by if len(distinct) < len(found) else "query"
            return Groups({query_id: distinct[key] for query_id, key in found.items()}, by)
    raise AssertionError("as many groups as queries are enough")
