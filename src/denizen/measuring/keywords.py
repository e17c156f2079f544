"""BM25 as a model is fused with it, and the step that searches so for the queries that decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Queries, Run
from denizen.data.tables import SCHEMAS, write_table
from denizen.engine.step import Context, step
from denizen.measuring.students import Searching, shown_to
from denizen.retrievers.bm25 import BM25


def by_words_and_pairs(corpus: pa.Table) -> BM25:
    """What a model is fused with: BM25 over words and pairs of neighbours.

    A model reads what words mean, and blurs which of them stand together. By pairs the base's hybrid gained on five of
    six sets, .018 of MRR@5 on the mean of all (docs/LOG.md).
    """
    return BM25.fitting(corpus, pairs=True)


@step(version=2, makes=Run)
def keywords(
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    corpus: Corpus,
    queries: Queries,
    documents: Documents | None = None,
) -> dict[str, Any]:
    """What BM25 finds by words and pairs for train and dev; a query is shown what it is of a student's finds."""
    rows, bm25 = queries.of("train", "dev"), by_words_and_pairs(corpus.table)
    parts = [SCHEMAS["run"].empty_table()]
    for shown, asked in shown_to(corpus.table, rows, documents.table if documents else None):
        parts.append(bm25.search(bm25.index(shown, ctx.progress), asked, params.depth, ctx.progress))
    write_table(out / "run.parquet", pa.concat_tables(parts))
    return {"queries": len(rows)}
