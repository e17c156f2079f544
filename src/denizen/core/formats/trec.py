"""TREC run files: `query_id Q0 doc_id rank score tag`, one line for each retrieved passage."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from denizen.core.errors import InputError


def write_trec_run(path: Path, run: pa.Table, tag: str) -> None:
    """Writes a run in its order; ranks count from 1 within a query.

    Raises:
        InputError: When an id is empty or holds white space, which the format cannot carry; nothing is written.
    """
    query_ids, doc_ids, scores = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    for query_id, doc_id in zip(query_ids, doc_ids, strict=True):
        if query_id.split() != [query_id] or doc_id.split() != [doc_id]:
            raise InputError(f"ids {query_id!r}, {doc_id!r} hold white space; a TREC run cannot carry them")
    rank, last = 0, None
    with path.open("w", encoding="utf-8") as file:
        for query_id, doc_id, score in zip(query_ids, doc_ids, scores, strict=True):
            rank = rank + 1 if query_id == last else 1
            last = query_id
            file.write(f"{query_id} Q0 {doc_id} {rank} {score:.6f} {tag}\n")
