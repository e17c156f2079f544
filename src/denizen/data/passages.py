"""From a source to passages: long answers cut at sentence ends, each passage knowing where it came from."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from denizen.data.formats.source import SPLITS
from denizen.data.near_duplicates import clusters
from denizen.data.tables import each, folded, only, relevant, rows_table, texts, with_column


def cut(documents: pa.Table, qrels: pa.Table, passage_chars: int) -> tuple[pa.Table, pa.Table]:
    """Cuts documents into passages of at most `passage_chars` characters, at sentence ends where possible.

    Every passage keeps its document (`parent_id`) and its character offsets there. A document that is short enough
    stays one passage under its own id. Every passage of a relevant document is relevant: so say the new `qrels`.
    """
    from semantic_text_splitter import TextSplitter

    splitter = TextSplitter(passage_chars)
    taken = set(documents["doc_id"].to_pylist())
    rows: list[dict[str, object]] = []
    passages_of: dict[str, list[str]] = {}
    for document in documents.to_pylist():
        parts = splitter.chunk_indices(document["text"])
        doc_id = document["doc_id"]
        # a document may be called as the second passage of another one would be
        mark = "-"
        while any(f"{doc_id}{mark}{number}" in taken for number in range(len(parts))):
            mark += "-"
        for number, (start, text) in enumerate(parts):
            passage_id = doc_id if len(parts) == 1 else f"{doc_id}{mark}{number}"
            passages_of.setdefault(doc_id, []).append(passage_id)
            place = {"doc_id": passage_id, "text": text, "parent_id": doc_id, "start": start, "end": start + len(text)}
            rows.append({**document, **place})
    links = [
        (query_id, passage_id, relevance)
        for query_id, doc_id, relevance in each(qrels, "query_id", "doc_id", "relevance")
        for passage_id in passages_of.get(doc_id, [])
    ]
    return rows_table("corpus", rows), rows_table("qrels", links)


def keep_whole(documents: pa.Table) -> pa.Table:
    """Documents that stand as they are: each is its own parent, from its first to its last character.

    Passages that know their document and their place in it keep them.
    """
    zero = pa.scalar(0, pa.int32())
    defaults = {"parent_id": documents["doc_id"], "start": zero, "end": pc.utf8_length(documents["text"])}
    for name, values in defaults.items():
        documents = with_column(documents, name, pc.coalesce(documents[name], values))
    return documents


def with_clusters(corpus: pa.Table, threshold: float) -> pa.Table:
    """Fills `cluster` and `parent_cluster`: near-duplicates, passages and whole documents, carry the same number."""
    return with_parent_clusters(with_column(corpus, "cluster", clusters(texts(corpus), threshold)), threshold)


def with_parent_clusters(corpus: pa.Table, threshold: float) -> pa.Table:
    """Fills `parent_cluster` alone."""
    whole: dict[str, list[str]] = {}
    for parent, text in zip(corpus["parent_id"].to_pylist(), texts(corpus), strict=True):
        whole.setdefault(parent, []).append(text)
    alike = clusters([" ".join(parts) for parts in whole.values()], threshold)
    cluster_of = dict(zip(whole, alike, strict=True))
    return with_column(corpus, "parent_cluster", [cluster_of[parent] for parent in corpus["parent_id"].to_pylist()])


def ordered(corpus: pa.Table) -> pa.Table:
    """The corpus by `doc_id`: a passage's position then breaks ties of scores as its id would."""
    return corpus.sort_by("doc_id")


def without_empty(queries: pa.Table, qrels: pa.Table) -> pa.Table:
    """The queries that have at least one relevant passage."""
    return only(queries, "query_id", relevant(qrels))


def merge_equal_queries(
    queries: pa.Table, qrels: pa.Table, splits: Collection[str] = SPLITS
) -> tuple[pa.Table, pa.Table]:
    """Within each of some splits, makes one query of those with the same text; it has all their relevant passages."""
    first: dict[tuple[str, str], str] = {}
    kept_as: dict[str, str] = {}
    for query_id, split, text in each(queries, "query_id", "split", "text"):
        kept_as[query_id] = first.setdefault((split, folded(text)), query_id) if split in splits else query_id
    links: dict[tuple[str, str], int] = {}
    for query_id, doc_id, relevance in each(qrels, "query_id", "doc_id", "relevance"):
        if query_id in kept_as:
            key = (kept_as[query_id], doc_id)
            links[key] = max(links.get(key, relevance), relevance)
    merged = only(queries, "query_id", set(kept_as.values()))
    return merged, rows_table("qrels", ((*pair, relevance) for pair, relevance in links.items()))
