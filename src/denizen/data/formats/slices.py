"""One source cut into slices by a column of its queries or its documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from denizen.data.formats import read_source
from denizen.data.formats.beir import is_beir_folder
from denizen.data.formats.rows import BadRow, BadRows, as_text, json_lines, table_rows
from denizen.data.formats.source import Source
from denizen.data.tables import each, only, relevant
from denizen.engine.errors import InputError


def read_slices(source: str, column: str, skip_bad_rows: bool = False) -> dict[str, Source]:
    """Reads a BEIR folder or a file of pairs, and puts each query into the slice that a column names.

    A BEIR folder has the column in queries.jsonl or corpus.jsonl, in the row itself or in its metadata. Where documents
    have it, a query goes where its most relevant document is. A slice has its own documents; where queries have the
    column, those that only other slices' queries name are left out, and those that no query names are in all slices.

    Args:
        source: A BEIR folder, or a file of pairs.
        column: The name of the column.
        skip_bad_rows: Skip and count unusable rows, and queries without a slice, instead of stopping.

    Returns:
        The value of the column to its slice, by value.

    Raises:
        InputError: When the source cannot be read, has no such column, or a query has no value there.
    """
    whole, path = read_source(source, skip_bad_rows), Path(source)
    if is_beir_folder(path):
        asked, documents = (_beir_values(path, name, column) for name in ("queries", "corpus"))
    elif path.is_file():
        asked, documents = _row_values(path, column), {}
    else:
        raise InputError(
            f"{source!r} is a data set, whose columns are not looked at here; give a BEIR folder, a file of pairs "
            "(.jsonl, .parquet, ...), or several sources"
        )
    home = dict.fromkeys(whole.queries["query_id"].to_pylist(), "")
    if asked:
        home = {name: asked.get(name) or asked.get(_without_split(name), "") for name in home}
    elif documents:
        best = {name: min(known, key=lambda doc: (-known[doc], doc)) for name, known in relevant(whole.qrels).items()}
        home = {name: documents.get(best.get(name, ""), "") for name in home}
    else:
        raise InputError(
            f"{source} has no column {column!r} in its queries or documents, so there is one slice only; name another "
            "with --slices COLUMN, or give several sources"
        )
    lacking = BadRows(skip_bad_rows)
    for name, value in home.items():
        if not value:
            lacking.add(f"query {name}", f"{column!r} is empty: it belongs to no slice")
    lacking.check()
    values = sorted(set(home.values()) - {""})
    whole = replace(whole, columns_left_out=tuple(name for name in whole.columns_left_out if name != column))
    return {value: _slice(whole, value, home, {} if asked else documents, lacking.rows) for value in values}


def _slice(
    whole: Source, value: str, home: Mapping[str, str], of_document: Mapping[str, str], lacking: list[BadRow]
) -> Source:
    queries = only(whole.queries, "query_id", [name for name, its in home.items() if its == value])
    if of_document:
        kept = [name for name in whole.documents["doc_id"].to_pylist() if of_document.get(name) == value]
    else:
        named: dict[str, set[str]] = {}
        for query_id, doc_id in each(whole.qrels, "query_id", "doc_id"):
            named.setdefault(doc_id, set()).add(home[query_id])
        kept = [name for name in whole.documents["doc_id"].to_pylist() if value in named.get(name, {value})]
    qrels = only(only(whole.qrels, "query_id", queries["query_id"].to_pylist()), "doc_id", kept)
    documents = only(whole.documents, "doc_id", kept)
    return replace(whole, documents=documents, queries=queries, qrels=qrels, bad_rows=[*whole.bad_rows, *lacking])


def _beir_values(folder: Path, name: str, column: str) -> dict[str, str]:
    """Id to what a row of a BEIR file says in a column; without those that say nothing."""
    plain = folder / f"{name}.jsonl"
    path = plain if plain.is_file() else folder / f"{name}.jsonl.gz"
    found = {}
    for _, row in json_lines(path, BadRows(skip=True)):
        metadata = row.get("metadata")
        value = _value(row, column) or (_value(metadata, column) if isinstance(metadata, dict) else "")
        if value:
            found[as_text(row.get("_id")) or ""] = value
    return found


def _row_values(path: Path, column: str) -> dict[str, str]:
    """The query of each row, as `read_pairs` calls it, to what the row says in a column."""
    rows = table_rows(path, BadRows(skip=True))
    return {f"q{place.rpartition(' ')[2]}": value for place, row in rows if (value := _value(row, column))}


def _value(row: Mapping[str, Any], column: str) -> str:
    return (as_text(row.get(column)) or "").strip()


def _without_split(name: str) -> str:
    """A query that stands in a second split has that behind its id."""
    return name.rstrip("@").rpartition("@")[0]
