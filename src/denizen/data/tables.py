"""The typed tables through which stages meet, and nothing about how they are made.

A table is a `pyarrow.Table` with one of the schemas below; on disk it is one Parquet file. Writing the same
rows twice gives the same bytes, so a table's digest says whether anything changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen.engine.errors import InputError, reason

_text, _int, _float = pa.string(), pa.int32(), pa.float32()

SCHEMAS: dict[str, pa.Schema] = {
    "corpus": pa.schema(
        [
            ("doc_id", _text),
            ("title", _text),
            ("text", _text),
            ("domain", _text),
            ("source", _text),
            ("parent_id", _text),
            ("start", _int),
            ("end", _int),
            # passages that are near-duplicates of one another carry the same number
            ("cluster", _int),
            # the same for whole documents: where two copies are cut differs, so their passages need not be alike
            ("parent_cluster", _int),
        ]
    ),
    "queries": pa.schema(
        [
            ("query_id", _text),
            ("text", _text),
            ("domain", _text),
            ("split", _text),
            ("source_doc_id", _text),
            ("origin", _text),
        ]
    ),
    "qrels": pa.schema([("query_id", _text), ("doc_id", _text), ("relevance", _int)]),
    "run": pa.schema([("query_id", _text), ("doc_id", _text), ("score", _float)]),
    "candidates": pa.schema(
        [
            ("query_id", _text),
            ("doc_id", _text),
            ("rank", _int),
            ("score", _float),
            ("retriever", _text),
            # "positive" (known relevant) or "negative" (nothing known or suspected speaks for it)
            ("role", _text),
        ]
    ),
    # what a teacher says of a candidate: a grade from 1 to 4, or a score in [0, 1] (cross-encoder)
    "judgments": pa.schema(
        [
            ("query_id", _text),
            ("doc_id", _text),
            ("grade", _int),
            ("score", _float),
            ("teacher", _text),
            # the call that it comes from: a key of the store of replies
            ("prompt_hash", _text),
            ("cost", pa.float64()),
        ]
    ),
    "examples": pa.schema(
        [
            ("query_id", _text),
            ("positive_id", _text),
            ("negative_ids", pa.list_(_text)),
            ("teacher_scores", pa.list_(_float)),
            ("kind", _text),
            ("reason", _text),
            ("round", _int),
        ]
    ),
    # on which side a whole document stands where there are no labels to split
    "documents": pa.schema([("parent_id", _text), ("domain", _text), ("split", _text)]),
    # what was written as a query and is not used, and why
    "dropped_queries": pa.schema(
        [
            ("text", _text),
            ("domain", _text),
            ("split", _text),
            ("source_doc_id", _text),
            ("origin", _text),
            ("reason", _text),
        ]
    ),
    # the files that were looked at, and under which key what was read of them is kept
    "files": pa.schema(
        [
            ("name", _text),
            ("path", _text),
            ("size", pa.int64()),
            ("modified", pa.int64()),
            ("key", _text),
            ("documents", _int),
            ("failures", _int),
        ]
    ),
    # whole documents as they were read and cleaned; offsets of passages refer to their text
    "texts": pa.schema(
        [
            ("doc_id", _text),
            ("title", _text),
            ("text", _text),
            ("domain", _text),
            ("source", _text),
            ("language", _text),
            # JSON
            ("metadata", _text),
            # blocks whose encoding was mended
            ("repaired", _int),
        ]
    ),
    # what was read and is not in the corpus, and why
    "dropped_texts": pa.schema([("doc_id", _text), ("text", _text), ("source", _text), ("reason", _text)]),
    "metrics": pa.schema([("measure", _text), ("query_id", _text), ("value", pa.float64())]),
    "failures": pa.schema([("stage", _text), ("key", _text), ("error", _text), ("raw", _text)]),
}


def table(name: str, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Makes a table from columns; columns that are left out are filled with nulls.

    Args:
        name: A key of `SCHEMAS`.
        columns: Column name to values, all of one length; none at all makes an empty table.

    Raises:
        InputError: When a column is unknown, or the columns are not of one length.
    """
    schema = SCHEMAS[name]
    _check_names(name, columns)
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the columns of {name} have different lengths: {lengths}")
    length = next(iter(lengths.values()), 0)
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(length, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def rows_table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Makes a table from an iterable of row mappings; what a row leaves out is null.

    Raises:
        InputError: When a row has an unknown column.
    """
    listed = [dict(row) for row in rows]
    _check_names(name, {column for row in listed for column in row})
    return pa.Table.from_pylist(listed, schema=SCHEMAS[name])


def write_table(path: Path, rows: pa.Table) -> None:
    """Writes a table as one Parquet file, with the same bytes for the same rows."""
    # Parquet cuts its pages where the chunks end, and how rows came together is not part of what they say
    pq.write_table(rows.combine_chunks(), path, compression="zstd", row_group_size=1 << 17)


def read_table(path: Path, name: str) -> pa.Table:
    """Reads a table and checks its columns.

    Raises:
        InputError: When the file is missing or unreadable, or its columns are not those of `name`.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; it should hold the table '{name}'")
    try:
        rows = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {reason(error)}") from None
    schema = SCHEMAS[name]
    if rows.schema.names != schema.names:
        raise InputError(f"{path} has the columns {rows.schema.names}; '{name}' has {schema.names}")
    if rows.schema.types != schema.types:
        raise InputError(
            f"{path} has columns of the types {[str(kind) for kind in rows.schema.types]}; "
            f"'{name}' has {[str(kind) for kind in schema.types]}"
        )
    return rows


def texts(corpus: pa.Table) -> list[str]:
    """The text of every passage as models see it: title and text, as BEIR joins them."""
    titles, bodies = corpus["title"].to_pylist(), corpus["text"].to_pylist()
    return [f"{title} {body}".strip() if title else body for title, body in zip(titles, bodies, strict=True)]


def texts_by_id(corpus: pa.Table) -> dict[str, str]:
    """`texts` by doc_id."""
    return dict(zip(corpus["doc_id"].to_pylist(), texts(corpus), strict=True))


def folded(text: str) -> str:
    """A text without differences of case and white space: what makes two queries the same."""
    return " ".join(text.lower().split())


def relevant(qrels: pa.Table) -> dict[str, dict[str, int]]:
    """Qrels as query_id -> doc_id -> relevance, without the judged irrelevant (relevance 0 or less)."""
    found: dict[str, dict[str, int]] = {}
    columns = (qrels[name].to_pylist() for name in ("query_id", "doc_id", "relevance"))
    for query_id, doc_id, grade in zip(*columns, strict=True):
        if grade > 0:
            found.setdefault(query_id, {})[doc_id] = grade
    return found


def rankings(run: pa.Table) -> dict[str, list[tuple[str, float]]]:
    """A `run` as query_id -> (doc_id, score), best first."""
    found: dict[str, list[tuple[str, float]]] = {}
    columns = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    for query_id, doc_id, score in zip(*columns, strict=True):
        found.setdefault(query_id, []).append((doc_id, score))
    return found


def run_ranks(run: pa.Table) -> dict[tuple[str, str], int]:
    """A `run` as (query_id, doc_id) -> rank, from 1."""
    return {
        (query_id, doc_id): rank
        for query_id, ranking in rankings(run).items()
        for rank, (doc_id, _) in enumerate(ranking, start=1)
    }


def _check_names(name: str, columns: Iterable[str]) -> None:
    known = SCHEMAS[name].names
    unknown = sorted(set(columns) - set(known))
    if unknown:
        raise InputError(f"{name} has no columns {unknown}; it has {known}")
