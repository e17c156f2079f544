"""Queries that share passages, made up, and what they share; not a test itself."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from denizen.data.tables import table

Tables = tuple[pa.Table, pa.Table, pa.Table]


def queries_of(texts: list[str], splits: list[str | None] | None = None) -> pa.Table:
    columns = {"query_id": [f"q{at}" for at in range(len(texts))], "text": texts}
    return table("queries", {**columns, "split": splits or [None] * len(texts)})


def qrels_of(links: list[tuple[str, str]]) -> pa.Table:
    columns = {"query_id": [query_id for query_id, _ in links], "doc_id": [doc_id for _, doc_id in links]}
    return table("qrels", {**columns, "relevance": [1] * len(links)})


def corpus_of(home: list[tuple[str, int]]) -> pa.Table:
    """Passages d0, d1, ... with their parent and their cluster."""
    names = [f"d{at}" for at in range(len(home))]
    parents, clusters = [parent for parent, _ in home], [cluster for _, cluster in home]
    numbers = {parent: number for number, parent in enumerate(dict.fromkeys(parents))}
    columns = {"doc_id": names, "text": names, "parent_id": parents, "cluster": clusters}
    return table("corpus", {**columns, "parent_cluster": [numbers[parent] for parent in parents]})


def split_of(queries: pa.Table) -> dict[str, str]:
    return dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))


def shared_things(tables: Tables) -> dict[tuple[str, object], set[str]]:
    """What each text, parent and cluster is shared by, said anew without the code under test."""
    queries, qrels, corpus = tables
    home = {row["doc_id"]: (row["parent_id"], row["cluster"]) for row in corpus.to_pylist()}
    things: dict[tuple[str, object], set[str]] = {}
    for row in queries.to_pylist():
        things.setdefault(("text", " ".join(row["text"].lower().split())), set()).add(row["query_id"])
    present = set(queries["query_id"].to_pylist())
    for row in qrels.to_pylist():
        if row["relevance"] > 0 and row["query_id"] in present:
            parent, cluster = home[row["doc_id"]]
            things.setdefault(("parent", parent), set()).add(row["query_id"])
            things.setdefault(("cluster", cluster), set()).add(row["query_id"])
    return things


def on_two_sides(tables: Tables) -> list[tuple[str, object]]:
    sides = split_of(tables[0])
    return [thing for thing, ids in shared_things(tables).items() if len({sides[query_id] for query_id in ids}) > 1]


@st.composite
def linked_queries(draw: st.DrawFn, splits: tuple[str, ...] = ()) -> Tables:
    """Up to 24 queries from a small vocabulary with links into a small corpus, so that much is shared."""
    words = st.lists(
        st.sampled_from(["gout", "lupus", "fever", "rash", "toe", "skin", "pain", "child"]), min_size=1, max_size=4
    )
    texts = draw(st.lists(words.map(" ".join), min_size=6, max_size=24))
    home = draw(st.lists(st.tuples(st.sampled_from("stuvwxyz"), st.integers(0, 11)), min_size=12, max_size=12))
    links = draw(
        st.lists(st.tuples(st.integers(0, len(texts) - 1), st.integers(0, 11)), max_size=len(texts), unique=True)
    )
    sides = draw(st.lists(st.sampled_from(splits), min_size=len(texts), max_size=len(texts))) if splits else None
    qrels = qrels_of([(f"q{query}", f"d{doc}") for query, doc in links])
    return queries_of(texts, sides), qrels, corpus_of(home)
