"""The steps that make other examples of those that slices have: a part of them, all together, as many as the fewest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data import passages
from denizen.data.artifacts import Corpus, Examples, Part, Qrels, Queries
from denizen.data.guard import named
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import with_column, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.settings import Params, Seeded
from denizen.engine.step import Context, step


def _planned_draw(params: Seeded, *, examples: Examples, most: Value) -> dict[str, Any]:
    return {**examples.facts, "examples": min(examples.facts.get("examples", 0), most.content)}


@step(version=1, makes=Examples, name="drawn", plan=_planned_draw)
def draw(out: Path, params: Seeded, ctx: Context, *, examples: Examples, most: Value) -> dict[str, Any]:
    """So many examples at most, drawn at random and kept in their order."""
    drawn = _drawn(examples.table, most.content, params.seed)
    write_table(out / "examples.parquet", drawn)
    ctx.progress.note(f"{len(drawn):,} of {len(examples.table):,} examples")
    return {**examples.facts, "examples": len(drawn)}


def _planned_subset(params: Seeded, *, examples: Examples, slices: Sequence[Examples]) -> dict[str, Any]:
    return {**examples.facts, "examples": min(each.facts.get("examples", 0) for each in slices)}


@step(version=1, makes=Examples, name="subset", plan=_planned_subset)
def subset(
    out: Path, params: Seeded, ctx: Context, *, examples: Examples, slices: Sequence[Examples]
) -> dict[str, Any]:
    """As many of all examples as the smallest slice has, drawn at random."""
    most = min(len(each.table) for each in slices)
    drawn = _drawn(examples.table, most, params.seed)
    write_table(out / "examples.parquet", drawn)
    ctx.progress.note(f"{len(drawn):,} of {len(examples.table):,} examples, as many as the smallest slice has")
    return {**examples.facts, "examples": len(drawn)}


def _drawn(examples: pa.Table, most: int, seed: int) -> pa.Table:
    if len(examples) <= most:
        return examples
    places = np.random.default_rng(seed).choice(len(examples), size=most, replace=False)
    return examples.take(pa.array(np.sort(places)))


class Pooled(Artifact):
    """What all slices have, under names that say of which slice it is."""

    corpus = Part("corpus.parquet", Corpus)
    queries = Part("queries.parquet", Queries)
    qrels = Part("qrels.parquet", Qrels)
    examples = Part("examples.parquet", Examples)


def _planned_pool(params: Params, *, examples: Mapping[str, Examples], **inputs: Any) -> dict[str, Any]:
    facts = [each.facts for each in examples.values()]
    return {
        "examples": sum(each.get("examples", 0) for each in facts),
        "texts_a_row": max(each.get("texts_a_row", 1) for each in facts),
    }


@step(version=2, makes=Pooled, name="pool", plan=_planned_pool)
def pool(
    out: Path,
    params: NearDuplicates,
    ctx: Context,
    *,
    examples: Mapping[str, Examples],
    corpus: Mapping[str, Corpus],
    queries: Mapping[str, Queries],
    qrels: Mapping[str, Qrels],
) -> dict[str, Any]:
    """Puts the examples of all slices together, slice after slice, with the tables that they name.

    Near-duplicates are found anew: a passage that two slices have must not be a negative of itself.
    """
    tables: dict[str, list[pa.Table]] = {name: [] for name in ("corpus", "queries", "qrels", "examples")}
    for name in examples:
        tables["corpus"].append(named(corpus[name].table, name, "doc_id", "parent_id"))
        tables["queries"].append(named(queries[name].table, name, "query_id"))
        tables["qrels"].append(named(qrels[name].table, name, "query_id", "doc_id"))
        tables["examples"].append(_named_examples(examples[name].table, name))
    for name, parts in tables.items():
        whole = pa.concat_tables(parts)
        made = passages.with_clusters(whole, params.near_duplicate) if name == "corpus" else whole
        write_table(out / f"{name}.parquet", made)
    return {**_planned_pool(params, examples=examples), "examples": sum(map(len, tables["examples"]))}


def _named_examples(examples: pa.Table, name: str) -> pa.Table:
    made = named(examples, name, "query_id", "positive_id")
    negatives = [[f"{name}/{doc_id}" for doc_id in ids] for ids in examples["negative_ids"].to_pylist()]
    return with_column(made, "negative_ids", negatives)
