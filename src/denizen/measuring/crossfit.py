"""Cross-fitting: with few dev queries, those of train decide, too, each asked of students that have not seen its like.

Five times a fifth of the queries of train and dev is held out, with all that shares a document or is nearly the same,
and the rounds are trained again on the examples of the rest. What the five students of a round find for the queries
that they have not seen is one run over all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Examples, Folds, Model, Qrels, Queries, Run
from denizen.data.leaks import leak_groups
from denizen.data.near_duplicates import clusters, tied
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import each, folded, only, relevant, rows_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.settings import Params, Seeded
from denizen.engine.step import Context, step
from denizen.measuring.students import POOLED, Pool, Searching
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.index import Index

FOLDS = 5
# a part that is larger than this would leave one fold with most of the queries
_LARGEST = 1 / 3


@dataclass(frozen=True)
class Folding(NearDuplicates, Seeded):
    """How queries are put into folds."""


@step(version=1, makes=Folds)
def folds(
    out: Path, params: Folding, ctx: Context, *, queries: Queries, qrels: Qrels, corpus: Corpus
) -> dict[str, Any]:
    """Puts the queries of train and dev into five folds of about one size; what would leak stays together.

    Where one group holds more than a third of them, as with one long document, only what asks for one passage, or asks
    nearly the same, stays together in it.
    """
    known = relevant(qrels.table)
    asked = only(queries.table, "query_id", list(queries.texts("train", "dev")))
    asked = only(asked, "query_id", [name for name in asked["query_id"].to_pylist() if name in known])
    ids = asked["query_id"].to_pylist()
    of = leak_groups(asked, qrels.table, corpus.table, params.near_duplicate)
    sizes = Counter(of.values())
    if len(sizes) < FOLDS or max(sizes.values()) > _LARGEST * len(ids):
        of = _finer(asked, of, qrels.table, corpus.table, params.near_duplicate)
        sizes = Counter(of.values())
    numbers = np.random.default_rng(params.seed).permutation(sorted(sizes)).tolist()
    # the largest first, each into the fold that has the fewest
    room, fold_of = Counter(dict.fromkeys(range(FOLDS), 0)), {}
    for number in sorted(numbers, key=lambda found: -sizes[found]):
        fold = min(room, key=lambda at: (room[at], at))
        fold_of[number] = fold
        room[fold] += sizes[number]
    write_table(out / "folds.parquet", rows_table("folds", ((name, fold_of[of[name]]) for name in ids)))
    ctx.progress.note(f"{len(ids):,} queries of {len(sizes):,} groups in {FOLDS} folds")
    return {"queries": len(ids), "groups": len(sizes)}


def _finer(
    asked: pa.Table, of: Mapping[str, int], qrels: pa.Table, corpus: pa.Table, near_duplicate: float
) -> dict[str, int]:
    """Parts groups that are too large for folds of about one size; all others stay as they are."""
    sizes, ids, texts = Counter(of.values()), asked["query_id"].to_pylist(), asked["text"].to_pylist()
    known, alike = relevant(qrels), clusters(texts, near_duplicate)
    # a table that was never clustered has no numbers
    home = {doc_id: doc_id if number is None else number for doc_id, number in each(corpus, "doc_id", "cluster")}
    large = {number for number, size in sizes.items() if size > _LARGEST * len(ids) or len(sizes) < FOLDS}
    keys: list[list[Hashable]] = [
        [("words", folded(text)), ("text", cluster), *(("passage", home[doc_id]) for doc_id in known[name])]
        if of[name] in large
        else [of[name]]
        for name, text, cluster in zip(ids, texts, alike, strict=True)
    ]
    return dict(zip(ids, tied(keys), strict=True))


def _planned_rest(params: Params, *, examples: Examples, **inputs: Any) -> dict[str, Any]:
    return {**examples.facts, "examples": examples.facts.get("examples", 0) * (FOLDS - 1) // FOLDS}


@step(version=1, makes=Examples, name="examples", plan=_planned_rest)
def leave_out(
    out: Path, params: Params, ctx: Context, *, examples: Examples, folds: Folds, fold: Value
) -> dict[str, Any]:
    """The examples of all queries that are not in a fold."""
    held = {name for name, number in folds.number_of.items() if number == fold.content}
    kept = only(examples.table, "query_id", set(examples.table["query_id"].to_pylist()) - held)
    write_table(out / "examples.parquet", kept)
    return {**examples.facts, "examples": len(kept)}


def _planned_search(
    params: Searching, *, models: Sequence[Model], corpus: Corpus, queries: Queries, **inputs: Any
) -> dict[str, Any]:
    counts = queries.facts.get("queries", {})
    passages, asked = corpus.facts.get("passages", 0), counts.get("train", 0) + counts.get("dev", 0)
    return {"encoded_texts": min(3 * POOLED * asked, len(models) * passages)}


@step(version=2, makes=Run, plan=_planned_search)
def held_out(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    models: Sequence[Model],
    index: Index,
    folds: Folds,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    runs: Sequence[Run],
    documents: Documents | None = None,
) -> dict[str, Any]:
    """What the students of a round find for the queries that each of them has not seen.

    Each searches a `Pool`.

    Args:
        out: Where the run goes.
        params: How deep.
        ctx: The encoders.
        models: A student for each fold.
        index: What embeds with them.
        folds: Which queries each of them has not seen.
        corpus: The passages.
        queries: Those of train and dev count.
        qrels: What is relevant to them.
        runs: What others have found for them.
        documents: The sides of documents, where they have any.
    """
    encoders = ctx[Encoders]
    sides = documents.table if documents else None
    pool, found = Pool(corpus.table, sides, qrels.table, [run.table for run in runs], params.depth), []
    with ctx.progress.bar(len(folds.table), "queries") as advance:
        for number, rows in in_folds(queries, folds):
            found.append(pool.search(index.retriever(models[number], encoders), rows, ctx.progress))
            advance(len(rows))
    write_table(out / "run.parquet", pa.concat_tables(found))
    return {"queries": len(folds.table)}


def in_folds(queries: Queries, folds: Folds) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The number of each fold that has queries, and the rows of these."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in queries.of("train", "dev"):
        if row["query_id"] in folds.number_of:
            rows.setdefault(folds.number_of[row["query_id"]], []).append(row)
    yield from sorted(rows.items())
