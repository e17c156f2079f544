"""What a run without labels works on, and what of it a query may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from denizen.data.tables import relevant
from denizen.recipes.config import AdaptConfig
from denizen.supervision.sampling import has_long_documents


@dataclass(frozen=True)
class Texts:
    """What an unlabelled run works on.

    Attributes:
        corpus: The passages.
        documents: The side of each document.
        queries: Written queries (train, dev and, where the source has no labels, test), and labelled test queries.
        sources: The passages that queries were written for, as qrels.
        labels: The source's own qrels of test queries; empty without labels.
        digests: Digest of each table.
        facts: Counts.
    """

    corpus: pa.Table
    documents: pa.Table
    queries: pa.Table
    sources: pa.Table
    labels: pa.Table
    digests: dict[str, str]
    facts: dict[str, Any]

    def of(self, *splits: str) -> list[dict[str, Any]]:
        """The queries of some splits."""
        return [row for row in self.queries.to_pylist() if row["split"] in splits]

    def written_for(self) -> dict[str, list[str]]:
        """Query id to the passages that it was written for."""
        return {query_id: list(passages) for query_id, passages in relevant(self.sources).items()}


def mined_within(config: AdaptConfig, corpus: pa.Table) -> str:
    """Where candidates are looked for, "documents" or "corpus": as set, else by how long the documents are."""
    if config.mine_within != "auto":
        return config.mine_within
    return "documents" if has_long_documents(corpus) else "corpus"


def visible(found: Texts, splits: tuple[str, ...]) -> list[tuple[list[int], list[dict[str, Any]]]]:
    """For each domain and split: the positions of the passages that its queries may be shown, and the queries."""
    sides = {row["parent_id"]: row["split"] for row in found.documents.to_pylist()}
    places = list(zip(found.corpus["parent_id"].to_pylist(), found.corpus["domain"].to_pylist(), strict=True))
    shown = {"train": {"train"}, "dev": {"train", "dev"}}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found.of(*splits):
        groups.setdefault((row["split"], row["domain"] or ""), []).append(row)
    return [
        (
            [
                at
                for at, (parent, domain) in enumerate(places)
                if sides[parent] in shown[split] and (not wanted or (domain or "") == wanted)
            ],
            rows,
        )
        for (split, wanted), rows in sorted(groups.items())
    ]
