"""Question-answer pairs from files and from `datasets`: the answer is the document, relevant to the question."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from denizen.data.formats.dates import date_in
from denizen.data.formats.rows import BadRows, require_content, table_rows
from denizen.data.formats.source import SPLITS, Source
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError, reason

# (query column, document column), in the order in which they are looked for
COLUMNS = (("question", "answer"), ("query", "positive"), ("anchor", "positive"))

_WANTED = ", ".join("/".join(pair) for pair in COLUMNS)


class _Row(NamedTuple):
    # ends with its number
    place: str
    values: dict[str, Any]
    # what its ids begin with, where rows of several parts have the same numbers
    prefix: str = ""
    split: str | None = None


def read_pairs(path: Path, skip_bad_rows: bool = False) -> Source:
    """Reads a file of pairs: .json (an array), .jsonl, .jsonl.gz, .csv, .tsv or .parquet.

    Each row keeps its own query: `q17` is the query of row 17, or of line 17 where places are lines. Equal answers
    become one document: `d17` is the answer that stands in row 17 first.

    Raises:
        InputError: When the file is empty or of an unknown kind, its columns are missing, or a row is unusable
            and may not be skipped.
    """
    require_content(path)
    bad = BadRows(skip_bad_rows)
    return _source((_Row(place, values) for place, values in table_rows(path, bad)), path.name, bad)


def read_dataset(name: str, skip_bad_rows: bool = False) -> Source:
    """Reads pairs through `datasets`: a folder saved by it, a folder of data files, or a hub id.

    The data set's own splits (train; validation or dev; test) are kept if there is more than one;
    ids then begin with the split's name, such as `train-q17`.

    Raises:
        InputError: When `datasets` cannot load it, or its rows are unusable.
    """
    import datasets

    path = Path(name)
    saved = path.is_dir() and any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        # what failed is often only said by the cause
        cause = f" ({reason(error.__cause__)})" if error.__cause__ else ""
        raise InputError(
            f"{name!r} is neither a file or folder here nor a data set that could be loaded: {reason(error)}{cause}"
        ) from None
    parts = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"all": loaded}
    splits: dict[str, str] = {}
    if len(parts) > 1:
        splits = {part: {"validation": "dev", "valid": "dev"}.get(part, part) for part in parts}
    rows = (
        _Row(f"{part}, row {number}", row, f"{part}-" if splits else "", split if split in SPLITS else None)
        for part, data in parts.items()
        for split in [splits.get(part)]
        for number, row in enumerate(data, start=1)
    )
    left_out = tuple(part for part, split in splits.items() if split not in SPLITS)
    return _source(rows, path.name, BadRows(skip_bad_rows), left_out)


def _source(rows: Iterable[_Row], name: str, bad: BadRows, left_out: tuple[str, ...] = ()) -> Source:
    """A source from rows; the first one that has a known pair of columns decides which pair is read."""
    columns: tuple[str, str] | None = None
    found: list[str] = []
    documents: dict[str, str] = {}
    queries: list[dict[str, Any]] = []
    dates: dict[str, str] = {}
    for row in rows:
        found = found or sorted(map(str, row.values))
        columns = columns or next((pair for pair in COLUMNS if set(pair) <= set(row.values)), None)
        problem = _pair_problem(row, columns)
        if columns is None or problem:
            bad.add(row.place, problem, row.values)
            continue
        question, answer = (row.values[column] for column in columns)
        number = row.place.rpartition(" ")[2]
        doc_id = documents.setdefault(answer.strip(), f"{row.prefix}d{number}")
        asked = {"query_id": f"{row.prefix}q{number}", "text": " ".join(question.split())}
        queries.append({**asked, "split": row.split, "source_doc_id": doc_id, "origin": "source"})
        if date := date_in(row.values):
            dates[asked["query_id"]] = date
    if found and columns is None:
        raise InputError(
            f"{name} has the columns {found}; pairs need {_WANTED}, and documents without questions a --teacher"
        )
    bad.check()
    if not documents:
        raise InputError(f"{name} holds no usable row")
    corpus = ({"doc_id": doc_id, "title": "", "text": text, "source": name} for text, doc_id in documents.items())
    links = ((row["query_id"], row["source_doc_id"], 1) for row in queries)
    tables = rows_table("corpus", corpus), rows_table("queries", queries), rows_table("qrels", links)
    return Source(*tables, cut=True, bad_rows=bad.rows, parts_left_out=left_out, query_dates=dates)


def _pair_problem(row: _Row, columns: tuple[str, str] | None) -> str:
    if columns is None:
        return f"has the columns {sorted(map(str, row.values))}; pairs need {_WANTED}"
    for column in columns:
        value = row.values.get(column)
        if not isinstance(value, str) or not value.strip():
            return f"{column!r} is empty or no text"
    return ""
