"""The typed tables through which stages meet, and nothing about how they are made.

A table is a `pyarrow.Table` with one of the schemas below; on disk it is one Parquet file. Writing the same
rows twice gives the same bytes, so a table's digest says whether anything changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from denizen.engine.errors import InputError, reason

_TYPES = {
    "": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "texts": pa.list_(pa.string()),
    "floats": pa.list_(pa.float32()),
    "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
}


def _schema(columns: str) -> pa.Schema:
    """The columns in their order as "name:type", or as a name where they are text."""
    named = (column.partition(":") for column in columns.split())
    return pa.schema([(name, _TYPES[kind]) for name, _, kind in named])


SCHEMAS: dict[str, pa.Schema] = {
    # passages that are near-duplicates of one another carry the same number as cluster; parent_cluster is the same for
    # whole documents: where two copies are cut differs, so their passages need not be alike
    "corpus": _schema("doc_id title text domain source parent_id start:int end:int cluster:int parent_cluster:int"),
    "queries": _schema("query_id text domain split source_doc_id origin"),
    "qrels": _schema("query_id doc_id relevance:int"),
    "run": _schema("query_id doc_id score:float"),
    # the role is "positive" (known relevant), "irrelevant" (known to be that) or "negative" (nothing known or suspected
    # speaks for it)
    "candidates": _schema("query_id doc_id rank:int score:float retriever role"),
    # what a teacher says of a candidate: a grade from 1 to 4, or a score in [0, 1] (cross-encoder); prompt_hash is the
    # call that it comes from, a key of the store of replies
    "judgments": _schema("query_id doc_id grade:int score:float teacher prompt_hash cost:double"),
    "examples": _schema("query_id positive_id negative_ids:texts teacher_scores:floats kind reason round:int"),
    # on which side a document, or a section of one, stands where there are no labels to split; guard: on none
    "documents": _schema("parent_id domain split"),
    # what was written as a query and is not used, and why
    "dropped_queries": _schema("text domain split source_doc_id origin reason"),
    # the files that were looked at, and under which key what was read of them is kept
    "files": _schema("name path size:long modified:long key documents:int failures:int"),
    # whole documents as they were read and cleaned; offsets of passages refer to their text, metadata is JSON, and
    # repaired are blocks whose encoding was mended
    "texts": _schema("doc_id title text domain source language metadata repaired:int"),
    # what was read and is not in the corpus, and why
    "dropped_texts": _schema("doc_id text source reason"),
    # which part of the labelled queries a query is held out with, where all of them decide
    "folds": _schema("query_id fold:int"),
    # the rows of a retriever that reads by windows: whose each is, and where in title and text, in characters
    "windows": _schema("doc_id start:long end:long"),
    # what a language model is asked and what it should answer; document and evidence are null where a row comes from
    # nowhere in the corpus
    "task_rows": _schema("row_id task split document origin messages:messages answer evidence"),
    # two answers to what a language model is asked, and the way in which the rejected one was made
    "preferences": _schema("row_id task split document origin messages:messages chosen rejected way"),
    "metrics": _schema("measure query_id value:double"),
    "failures": _schema("stage key error raw"),
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


def rows_table(name: str, rows: Iterable[Mapping[str, Any] | tuple[Any, ...]]) -> pa.Table:
    """Makes a table from rows: mappings, or tuples of values in the order of the columns; what is left out is null.

    Raises:
        InputError: When a row has an unknown column.
    """
    names = SCHEMAS[name].names
    listed = [dict(zip(names[: len(row)], row, strict=True) if isinstance(row, tuple) else row) for row in rows]
    _check_names(name, {column for row in listed for column in row})
    return pa.Table.from_pylist(listed, schema=SCHEMAS[name])


def each(rows: pa.Table, *columns: str) -> Iterator[Any]:
    """The values of some columns, row by row, as tuples."""
    return zip(*(rows[column].to_pylist() for column in columns), strict=True)


def only(rows: pa.Table, column: str, values: Collection[Any]) -> pa.Table:
    """The rows that have one of some values in a column."""
    return rows.filter(pc.is_in(rows[column], pa.array(list(values), rows.schema.field(column).type)))


def with_column(rows: pa.Table, name: str, values: Sequence[Any] | pa.ChunkedArray) -> pa.Table:
    """The rows with other values in a column."""
    field = rows.schema.field(name)
    made = values if isinstance(values, pa.ChunkedArray) else pa.array(values, field.type)
    return rows.set_column(rows.schema.get_field_index(name), field, made)


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
    return [f"{title} {body}".strip() if title else body for title, body in each(corpus, "title", "text")]


def texts_by_id(corpus: pa.Table) -> dict[str, str]:
    """`texts` by doc_id."""
    return dict(zip(corpus["doc_id"].to_pylist(), texts(corpus), strict=True))


def folded(text: str) -> str:
    """A text without differences of case and white space: what makes two queries the same."""
    return " ".join(text.lower().split())


def relevant(qrels: pa.Table) -> dict[str, dict[str, int]]:
    """Qrels as query_id -> doc_id -> relevance, without the judged irrelevant (relevance 0 or less)."""
    found: dict[str, dict[str, int]] = {}
    for query_id, doc_id, grade in each(qrels, "query_id", "doc_id", "relevance"):
        if grade > 0:
            found.setdefault(query_id, {})[doc_id] = grade
    return found


def irrelevant(qrels: pa.Table) -> dict[str, list[str]]:
    """Qrels as query_id -> the doc_ids judged irrelevant (relevance 0 or less), in the table's order."""
    found: dict[str, list[str]] = {}
    for query_id, doc_id, grade in each(qrels, "query_id", "doc_id", "relevance"):
        if grade <= 0:
            found.setdefault(query_id, []).append(doc_id)
    return found


def rankings(run: pa.Table) -> dict[str, list[tuple[str, float]]]:
    """A `run` as query_id -> (doc_id, score), best first."""
    found: dict[str, list[tuple[str, float]]] = {}
    for query_id, doc_id, score in each(run, "query_id", "doc_id", "score"):
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
