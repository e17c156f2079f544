"""The step that searches by keywords for the queries that decide: what a hybrid is made of, and its opponent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Queries, Run
from denizen.data.tables import SCHEMAS, write_table
from denizen.engine.step import Context, step
from denizen.measuring.students import Searching, shown_to
from denizen.retrievers.bm25 import BM25


@step(version=1, makes=Run)
def keywords(
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    corpus: Corpus,
    queries: Queries,
    documents: Documents | None = None,
) -> dict[str, Any]:
    """What BM25 finds for train and dev; a query is shown what it is shown of a student's finds."""
    rows, bm25 = queries.of("train", "dev"), BM25.fitting(corpus.table)
    parts = [SCHEMAS["run"].empty_table()]
    for shown, asked in shown_to(corpus.table, rows, documents.table if documents else None):
        parts.append(bm25.search(bm25.index(shown, ctx.progress), asked, params.depth, ctx.progress))
    write_table(out / "run.parquet", pa.concat_tables(parts))
    return {"queries": len(rows)}
