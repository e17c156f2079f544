"""Question-answer pairs from files and from `datasets`: the answer is the document, relevant to the question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from denizen.core.errors import InputError
from denizen.core.formats.rows import (
    BadRows,
    delimited,
    json_array,
    json_lines,
    parquet_rows,
    require_content,
)
from denizen.core.formats.source import SPLITS, Source
from denizen.core.tables import table

# (query column, document column), in the order in which they are looked for
COLUMNS = (("question", "answer"), ("query", "positive"), ("anchor", "positive"))

_Rows = Iterable[tuple[str, dict[str, Any]]]


def read_pairs(path: Path, skip_bad_rows: bool = False) -> Source:
    """Reads a file of pairs: .json (an array), .jsonl, .jsonl.gz, .csv, .tsv or .parquet.

    Equal answers become one document. Each row keeps its own query; `q17` is the query of row 17.

    Raises:
        InputError: When the file is empty or of an unknown kind, its columns are missing, or a row is unusable
            and may not be skipped.
    """
    require_content(path)
    bad = BadRows(skip_bad_rows)
    return source_of_pairs(((place, row, None) for place, row in _rows(path, bad)), path.name, bad)


def read_dataset(name: str, skip_bad_rows: bool = False) -> Source:
    """Reads pairs through `datasets`: a folder saved by it, a folder of data files, or a hub id.

    The data set's own splits (train; validation or dev; test) are kept if there is more than one.

    Raises:
        InputError: When `datasets` cannot load it, or its rows are unusable.
    """
    import datasets

    path = Path(name)
    saved = path.is_dir() and any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name!r} is neither a file or folder here nor a data set that could be loaded: "
            f"{str(error).splitlines()[0]}"
        ) from None
    parts = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"all": loaded}
    own = len(parts) > 1
    bad = BadRows(skip_bad_rows)

    def rows() -> Iterator[tuple[str, dict[str, Any], str | None]]:
        for part, data in parts.items():
            split = {"validation": "dev", "valid": "dev"}.get(part, part) if own else None
            for number, row in enumerate(data, start=1):
                yield f"{part}, row {number}", row, split if split in SPLITS else None

    return source_of_pairs(rows(), path.name, bad)


def source_of_pairs(rows: Iterable[tuple[str, dict[str, Any], str | None]], name: str, bad: BadRows) -> Source:
    """Makes a source from (place, row, split) triples.

    Raises:
        InputError: When the columns are missing, no row is left, or a row is unusable and may not be skipped.
    """
    columns: tuple[str, str] | None = None
    documents: dict[str, str] = {}
    queries: dict[str, list[Any]] = {"query_id": [], "text": [], "split": [], "source_doc_id": []}
    for number, (place, row, split) in enumerate(rows):
        columns = columns or _columns(row, name)
        question, answer = row.get(columns[0]), row.get(columns[1])
        if not isinstance(question, str) or not question.strip():
            bad.add(place, f"{columns[0]!r} is empty or no text", row)
        elif not isinstance(answer, str) or not answer.strip():
            bad.add(place, f"{columns[1]!r} is empty or no text", row)
        else:
            doc_id = documents.setdefault(answer.strip(), f"d{number}")
            values = (f"q{number}", " ".join(question.split()), split, doc_id)
            for column, value in zip(queries, values, strict=True):
                queries[column].append(value)
    bad.check()
    if not documents:
        raise InputError(f"{name} holds no usable row")
    count = len(queries["query_id"])
    return Source(
        documents=table(
            "corpus",
            {
                "doc_id": list(documents.values()),
                "title": [""] * len(documents),
                "text": list(documents),
                "source": [name] * len(documents),
            },
        ),
        queries=table("queries", {**queries, "origin": ["source"] * count}),
        qrels=table(
            "qrels",
            {"query_id": queries["query_id"], "doc_id": queries["source_doc_id"], "relevance": [1] * count},
        ),
        cut=True,
        bad_rows=bad.rows,
    )


def _columns(row: dict[str, Any], name: str) -> tuple[str, str]:
    for pair in COLUMNS:
        if pair[0] in row and pair[1] in row:
            return pair
    wanted = ", ".join("/".join(pair) for pair in COLUMNS)
    raise InputError(f"{name} has the columns {sorted(map(str, row))}; pairs need {wanted}")


def _rows(path: Path, bad: BadRows) -> _Rows:
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return json_lines(path, bad)
    if name.endswith(".json"):
        return json_array(path, bad)
    if name.endswith(".csv"):
        return delimited(path, bad)
    if name.endswith(".tsv"):
        return delimited(path, bad, "\t")
    if name.endswith(".parquet"):
        return parquet_rows(path)
    raise InputError(f"{path} is of an unknown kind; pairs come as .json, .jsonl[.gz], .csv, .tsv or .parquet")
