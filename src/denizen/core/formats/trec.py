"""TREC run files: `query_id Q0 doc_id rank score tag`, one line for each retrieved passage."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa


def write_trec_run(path: Path, run: pa.Table, tag: str) -> None:
    """Writes a run in its order; ranks count from 1 within a query.

    White space in an id, which would end the field, is percent-encoded. Scores keep all digits of a 32-bit float, so
    that no ties appear that the run does not have.
    """
    query_ids, doc_ids, scores = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    rank, last = 0, None
    with path.open("w", encoding="utf-8") as file:
        for query_id, doc_id, score in zip(query_ids, doc_ids, scores, strict=True):
            rank = rank + 1 if query_id == last else 1
            last = query_id
            file.write(f"{_field(query_id)} Q0 {_field(doc_id)} {rank} {score:.9g} {_field(tag)}\n")


def _field(text: str) -> str:
    return re.sub(r"\s", lambda found: quote(found[0]), text)
