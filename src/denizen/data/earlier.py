"""What an earlier run has learnt from, was chosen by and was tested on: for the run that goes on from it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from denizen.data import passages
from denizen.data.artifacts import Corpus, Qrels, Queries
from denizen.data.leaks import leak_groups
from denizen.data.near_duplicates import clusters
from denizen.data.splitting import SIDES, check_sides, split_by_group
from denizen.data.tables import SCHEMAS, each, folded, only, relevant, rows_table, texts, with_column
from denizen.engine.artifact import Artifact

_MARK = "earlier:"


@dataclass(frozen=True)
class Earlier:
    """The labelled queries of an earlier run beside a new source.

    Attributes:
        queries: Those of all its sides, under ids that the source does not use.
        qrels: What is relevant to them; a passage that the source has, too, goes by its id there.
        passages: A `corpus` table of those that the source has not, of documents that are relevant to a query.
    """

    queries: pa.Table
    qrels: pa.Table
    passages: pa.Table

    @classmethod
    def of(cls, made: Mapping[str, Artifact], corpus: pa.Table, queries: pa.Table) -> Earlier:
        """Reads an earlier run.

        Args:
            made: Its tables: corpus, queries, qrels.
            corpus: The passages of the source.
            queries: The queries of the source.
        """
        before = {name: kind(made[name].path, made[name].digest).table for name, kind in _TABLES.items()}
        ids = [*corpus["doc_id"].to_pylist(), *corpus["parent_id"].to_pylist(), *queries["query_id"].to_pylist()]
        mark = _MARK
        while any(name.startswith(mark) for name in ids):
            mark += _MARK
        # ids of rows are given anew with every file, and so only what is written tells whether a passage is the same
        here: dict[str, tuple[str, str]] = {}
        for text, *place in zip(texts(corpus), *(corpus[name].to_pylist() for name in _PLACE), strict=True):
            here.setdefault(text, (place[0], place[1]))
        rows = before["corpus"].to_pylist()
        same = [here.get(text) for text in texts(before["corpus"])]
        doc_of, parent_of = dict[str, str](), dict[str, str]()
        for row, found in zip(rows, same, strict=True):
            doc_of[row["doc_id"]] = found[0] if found else f"{mark}{row['doc_id']}"
            if found:
                parent_of.setdefault(row["parent_id"], found[1])
        right = {doc_id for known in relevant(before["qrels"]).values() for doc_id in known}
        wanted = {row["parent_id"] for row in rows if row["doc_id"] in right}
        others = [
            {
                **row,
                "doc_id": doc_of[row["doc_id"]],
                "parent_id": parent_of.get(row["parent_id"], f"{mark}{row['parent_id']}"),
            }
            for row, found in zip(rows, same, strict=True)
            if found is None and row["parent_id"] in wanted
        ]
        asked = with_column(
            before["queries"], "query_id", [f"{mark}{name}" for name in before["queries"]["query_id"].to_pylist()]
        )
        links = {
            (f"{mark}{query_id}", doc_of[doc_id]): grade
            for query_id, doc_id, grade in each(before["qrels"], "query_id", "doc_id", "relevance")
            if doc_id in right
        }
        return cls(
            asked, rows_table("qrels", ((*pair, grade) for pair, grade in links.items())), rows_table("corpus", others)
        )

    @classmethod
    def none(cls) -> Earlier:
        """That of a run that goes on from none."""
        return cls(*(SCHEMAS[name].empty_table() for name in ("queries", "qrels", "corpus")))

    @cached_property
    def ids(self) -> frozenset[str]:
        """Those of its queries."""
        return frozenset(self.queries["query_id"].to_pylist())

    @cached_property
    def side_of(self) -> dict[str, str]:
        """Folded text to the side where such a query stood."""
        found: dict[str, str] = {}
        for text, split in each(self.queries, "text", "split"):
            found[folded(text)] = min(split, found.get(folded(text), "train"), key=SIDES.index)
        return found

    def clustered(self, corpus: pa.Table, threshold: float) -> tuple[pa.Table, Earlier]:
        """Clusters the passages of the source and these together: the source's, and these with theirs."""
        whole = passages.with_clusters(pa.concat_tables([corpus, self.passages]), threshold)
        return whole.slice(0, len(corpus)), replace(self, passages=whole.slice(len(corpus)))

    def beside(self, queries: pa.Table, qrels: pa.Table, corpus: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
        """The tables of the source with what is here."""
        both = ((queries, self.queries), (qrels, self.qrels), (corpus, self.passages))
        first, second, third = (pa.concat_tables(pair) for pair in both)
        return first, second, third

    def stands(self, queries: pa.Table, groups: Mapping[str, int]) -> dict[str, str | None]:
        """Query of the source to the side where its text, or else its group (`leak_groups`), stood; None: it is new."""
        of_group: dict[int, str] = {}
        for name, split in each(self.queries, "query_id", "split"):
            of_group[groups[name]] = min(split, of_group.get(groups[name], "train"), key=SIDES.index)
        return {
            name: self.side_of.get(folded(text)) or of_group.get(groups[name])
            for name, text in each(queries, "query_id", "text")
        }

    def split(
        self,
        queries: pa.Table,
        qrels: pa.Table,
        corpus: pa.Table,
        shares: Mapping[str, float],
        seed: int,
        near_duplicate: float,
    ) -> pa.Table:
        """Splits the queries of a source as the earlier run did, and what is new by document and near-duplicate.

        A query whose text was there stands where it stood; one that would leak into such a one stands with it.

        Raises:
            InputError: When a side stays empty.
        """
        groups = leak_groups(*self.beside(queries, qrels, corpus), near_duplicate)
        known = self.stands(queries, groups)
        new = only(queries, "query_id", [name for name, side in known.items() if side is None])
        new = split_by_group(new, groups, shares["dev"], shares["test"], seed)
        dealt = {**known, **dict(each(new, "query_id", "split"))}
        splits = [dealt[name] for name in queries["query_id"].to_pylist()]
        told = f"the {len(queries):,} queries, {len(new):,} of them new, stand as in the earlier run where they can"
        check_sides([side for side in splits if side], told, "add documents with questions")
        return with_column(queries, "split", splits)

    def unlearnt(self, queries: pa.Table, near_duplicate: float) -> pa.Table:
        """The queries that are not, or nearly, what the earlier run was trained on: its model can be asked them."""
        learnt = only(self.queries, "split", ("train",))["text"].to_pylist()
        alike = clusters([*learnt, *queries["text"].to_pylist()], near_duplicate)
        known = set(alike[: len(learnt)])
        return queries.filter(pa.array([number not in known for number in alike[len(learnt) :]], pa.bool_()))

    def kept(self, queries: pa.Table) -> dict[str, int]:
        """How many queries of each side stood there before."""
        found: Sequence[str] = [
            split for text, split in each(queries, "text", "split") if self.side_of.get(folded(text)) == split
        ]
        return {side: found.count(side) for side in reversed(SIDES)}


_PLACE = ("doc_id", "parent_id")
_TABLES: Mapping[str, type[Corpus] | type[Queries] | type[Qrels]] = {
    "corpus": Corpus,
    "queries": Queries,
    "qrels": Qrels,
}
