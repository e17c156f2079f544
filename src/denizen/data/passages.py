"""From a source to passages: long answers cut at sentence ends, each passage knowing where it came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from denizen.data.formats.source import SPLITS
from denizen.data.near_duplicates import clusters
from denizen.data.tables import folded, relevant, table, texts


def cut(documents: pa.Table, qrels: pa.Table, passage_chars: int) -> tuple[pa.Table, pa.Table]:
    """Cuts documents into passages of at most `passage_chars` characters, at sentence ends where possible.

    Every passage keeps its document (`parent_id`) and its character offsets there; every passage of a relevant
    document is relevant. A document that is short enough stays one passage under its own id.

    Args:
        documents: A `corpus` table of whole documents.
        qrels: A `qrels` table over the documents.
        passage_chars: The longest passage, in characters.

    Returns:
        The `corpus` of passages and the `qrels` over them.
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
        (link["query_id"], passage_id, link["relevance"])
        for link in qrels.to_pylist()
        for passage_id in passages_of.get(link["doc_id"], [])
    ]
    columns = ("query_id", "doc_id", "relevance")
    passages = pa.Table.from_pylist(rows, schema=documents.schema)
    return passages, table("qrels", {name: [link[at] for link in links] for at, name in enumerate(columns)})


def keep_whole(documents: pa.Table) -> pa.Table:
    """Documents that stand as they are: each is its own parent, from its first to its last character.

    Passages that know their document and their place in it keep them.
    """
    columns = {name: documents[name].to_pylist() for name in documents.schema.names}
    columns["parent_id"] = [given or own for given, own in zip(columns["parent_id"], columns["doc_id"], strict=True)]
    columns["start"] = [given or 0 for given in columns["start"]]
    lengths = [len(text) for text in columns["text"]]
    columns["end"] = [length if given is None else given for given, length in zip(columns["end"], lengths, strict=True)]
    return table("corpus", columns)


def with_clusters(corpus: pa.Table, threshold: float) -> pa.Table:
    """Fills `cluster` and `parent_cluster`: near-duplicates, passages and whole documents, carry the same number."""
    whole: dict[str, list[str]] = {}
    for parent, text in zip(corpus["parent_id"].to_pylist(), texts(corpus), strict=True):
        whole.setdefault(parent, []).append(text)
    alike = clusters([" ".join(parts) for parts in whole.values()], threshold)
    cluster_of = dict(zip(whole, alike, strict=True))
    parents = [cluster_of[parent] for parent in corpus["parent_id"].to_pylist()]
    return _replace(_replace(corpus, "cluster", clusters(texts(corpus), threshold)), "parent_cluster", parents)


def ordered(corpus: pa.Table) -> pa.Table:
    """The corpus by `doc_id`: a passage's position then breaks ties of scores as its id would."""
    return corpus.sort_by("doc_id")


def without_empty(queries: pa.Table, qrels: pa.Table) -> pa.Table:
    """The queries that have at least one relevant passage."""
    known = relevant(qrels)
    kept = [query_id in known for query_id in queries["query_id"].to_pylist()]
    return queries.filter(pa.array(kept, type=pa.bool_()))


def _replace(rows: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), pa.array(values, type=rows.schema.field(at).type))


def merge_equal_queries(
    queries: pa.Table, qrels: pa.Table, splits: Collection[str] = SPLITS
) -> tuple[pa.Table, pa.Table]:
    """Within each of some splits, makes one query of those with the same text; it has all their relevant passages."""
    first: dict[tuple[str, str], str] = {}
    kept_as: dict[str, str] = {}
    for row in queries.to_pylist():
        query_id, split = row["query_id"], row["split"]
        kept_as[query_id] = first.setdefault((split, folded(row["text"])), query_id) if split in splits else query_id
    kept = [name == query_id for query_id, name in kept_as.items()]
    merged = queries.filter(pa.array(kept, type=pa.bool_()))
    links: dict[tuple[str, str], int] = {}
    for link in qrels.to_pylist():
        if link["query_id"] in kept_as:
            key = (kept_as[link["query_id"]], link["doc_id"])
            links[key] = max(links.get(key, link["relevance"]), link["relevance"])
    columns: dict[str, list[Any]] = {
        "query_id": [query_id for query_id, _ in links],
        "doc_id": [doc_id for _, doc_id in links],
        "relevance": list(links.values()),
    }
    return merged, table("qrels", columns)
