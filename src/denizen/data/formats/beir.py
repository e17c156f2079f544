"""BEIR folders: corpus.jsonl[.gz], queries.jsonl[.gz] and qrels/*.tsv."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.delimited import Dialect
from denizen.data.formats.dates import date_in
from denizen.data.formats.rows import BadRows, as_text, delimited, json_lines, require_content
from denizen.data.formats.source import Source
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError

# the same three parts under the names that published folders use
_SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
_QRELS_COLUMNS = ("query-id", "corpus-id", "score")
# an id is text, with its quotes
_QRELS_DIALECT = Dialect("\t", quote="")
# relevance is kept as a 32-bit number
_MOST = 2**31 - 1


def is_beir_folder(path: Path) -> bool:
    """Whether a folder looks like a BEIR data set."""
    return path.is_dir() and any((path / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def read_beir(folder: Path, skip_bad_rows: bool = False, split: str | None = None) -> Source:
    """Reads a BEIR folder.

    Of the files in qrels/ those called train, dev (valid, validation) and test count; where none is called so, all
    count, as one set without splits. With `split`, that file alone is read, whatever it is called.

    Raises:
        InputError: When a file is missing or empty, or a row is unusable and may not be skipped.
    """
    bad = BadRows(skip_bad_rows)
    written: dict[str, str] = {}
    asked: dict[str, str] = {}
    documents = read_beir_corpus(folder, bad, written)
    texts = _read_queries(_jsonl(folder, "queries"), bad, asked)
    paths = _qrels_paths(folder / "qrels", split)
    grades = _read_qrels(paths, set(documents["doc_id"].to_pylist()), texts, bad)
    bad.check()
    if not grades:
        read = ", ".join(path.name for path in paths)
        raise InputError(f"{folder / 'qrels'} has no usable row in {read}; a query and a document must be linked")
    names = _names(((query_id, part) for query_id, part, _ in grades), texts)
    queries = [
        {"query_id": name, "text": texts[query_id], "split": part or None, "origin": "source"}
        for (query_id, part), name in names.items()
    ]
    links = [(names[query_id, part], doc_id, grade) for (query_id, part, doc_id), grade in grades.items()]
    left_out = tuple(path.name for path in sorted((folder / "qrels").glob("*.tsv")) if path not in paths)
    tables = documents, rows_table("queries", queries), rows_table("qrels", links)
    dates = {name: asked[query_id] for (query_id, _), name in names.items() if query_id in asked}
    return Source(
        *tables,
        cut=False,
        bad_rows=bad.rows,
        parts_left_out=left_out,
        document_dates=written,
        query_dates=dates,
    )


def read_beir_corpus(folder: Path, bad: BadRows, dates: dict[str, str] | None = None) -> pa.Table:
    """The documents of a BEIR folder, as a `corpus` table; their dates are added to `dates`.

    Passages whose metadata names the document that they were cut from (`parent_id`) keep it.

    Raises:
        InputError: When the corpus is missing or empty.
    """
    path = _jsonl(folder, "corpus")
    found: dict[str, dict[str, Any]] = {}
    for place, row in json_lines(path, bad):
        doc_id, title, text = as_text(row.get("_id")), as_text(row.get("title")), row.get("text")
        if doc_id is None or not doc_id.strip() or not isinstance(text, str):
            bad.add(place, f"needs '_id' and 'text'; it has {sorted(row)}", row)
        elif title is None:
            bad.add(place, f"the title of document {doc_id!r} is no text but a {type(row['title']).__name__}", row)
        elif doc_id in found:
            bad.add(place, f"duplicate id {doc_id!r}", row)
        elif not (text.strip() or title.strip()):
            bad.add(place, f"document {doc_id!r} has no text", row)
        else:
            home = _home(row.get("metadata"))
            found[doc_id] = {"doc_id": doc_id, "title": title, "text": text, "source": folder.name, **home}
            if dates is not None and (date := date_in(row)):
                dates[home.get("parent_id", doc_id)] = date
    if not found:
        bad.check()
        raise InputError(f"{path} holds no {'usable ' if bad.rows else ''}document")
    return rows_table("corpus", found.values())


def corpus_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a BEIR folder's corpus as they stand, with all that is in them; those that are no objects are not."""
    return (row for _, row in json_lines(_jsonl(folder, "corpus"), BadRows(skip=True)))


def _home(metadata: Any) -> dict[str, Any]:
    """The document that a passage was cut from and its characters there, where `ingest` has written them."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("parent_id"), str) or not metadata["parent_id"]:
        return {}
    ends = [metadata.get(name) for name in ("start", "end")]
    known = all(isinstance(end, int) and not isinstance(end, bool) and 0 <= end <= _MOST for end in ends)
    return {"parent_id": metadata["parent_id"], **(dict(zip(("start", "end"), ends, strict=True)) if known else {})}


def _jsonl(folder: Path, name: str) -> Path:
    path = next((path for end in ("jsonl", "jsonl.gz") if (path := folder / f"{name}.{end}").is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no {name}.jsonl or {name}.jsonl.gz; a BEIR folder has both corpus and queries")
    require_content(path)
    return path


def _read_queries(path: Path, bad: BadRows, dates: dict[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for place, row in json_lines(path, bad):
        query_id, text = as_text(row.get("_id")), row.get("text")
        if not query_id or not isinstance(text, str) or not text.strip():
            bad.add(place, f"needs '_id' and a 'text' that is not empty; it has {sorted(row)}", row)
        elif query_id in texts:
            bad.add(place, f"duplicate id {query_id!r}", row)
        else:
            texts[query_id] = text
            if date := date_in(row):
                dates[query_id] = date
    if not texts:
        bad.check()
        raise InputError(f"{path} holds no {'usable ' if bad.rows else ''}query")
    return texts


def _qrels_paths(folder: Path, split: str | None) -> dict[Path, str]:
    """The files to read, each with the split it stands for ("" for none)."""
    paths = sorted(folder.glob("*.tsv"))
    if not paths:
        raise InputError(f"{folder} has no .tsv file; the links between queries and documents are missing")
    if split is not None:
        if folder / f"{split}.tsv" not in paths:
            raise InputError(f"{folder} has no {split}.tsv; it has {[path.name for path in paths]}")
        return {folder / f"{split}.tsv": split}
    known = {path: _SPLIT_NAMES[path.stem] for path in paths if path.stem in _SPLIT_NAMES}
    return known or dict.fromkeys(paths, "")


def _read_qrels(
    paths: Mapping[Path, str], doc_ids: Collection[str], query_ids: Collection[str], bad: BadRows
) -> dict[tuple[str, str, str], int]:
    """(query id, split, document id) to relevance, in the order of the files; of a repeated label the highest."""
    grades: dict[tuple[str, str, str], int] = {}
    for path, split in paths.items():
        require_content(path)
        _require_header(path)
        for place, row in delimited(path, bad, _QRELS_DIALECT):
            query_id, doc_id, score = (row[column] for column in _QRELS_COLUMNS)
            if query_id not in query_ids:
                problem = f"query id {query_id!r} is not in queries.jsonl"
            elif doc_id not in doc_ids:
                problem = f"document id {doc_id!r} is not in the corpus"
            else:
                problem = _score_problem(score)
            if problem:
                bad.add(f"{path.parent.name}/{place}", problem, row)
                continue
            key, grade = (query_id, split, doc_id), int(float(score))
            grades[key] = max(grade, grades.get(key, grade))
    return grades


def _require_header(path: Path) -> None:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split("\t")
    if not set(_QRELS_COLUMNS) <= set(header):
        raise InputError(f"{path} has the columns {header}; a qrels file needs {list(_QRELS_COLUMNS)}, tab-separated")


def _score_problem(score: str) -> str:
    try:
        grade = float(score)
    except ValueError:
        return f"score {score!r} is not a number"
    # false for nan and the infinities too
    if not grade.is_integer():
        return f"score {score!r} is not a whole number"
    return f"score {score!r} is beyond {_MOST}" if abs(grade) > _MOST else ""


def _names(stands: Iterable[tuple[str, str]], query_ids: Collection[str]) -> dict[tuple[str, str], str]:
    """(query id, split) to the id there.

    A query that stands in two splits keeps a row in each, under a second id, so that the leak guard sees it twice
    instead of losing it silently.
    """
    names: dict[tuple[str, str], str] = {}
    used: set[str] = set()
    for query_id, split in dict.fromkeys(stands):
        name = query_id
        if name in used:
            name = f"{query_id}@{split}"
            while name in query_ids or name in used:
                name += "@"
        used.add(name)
        names[query_id, split] = name
    return names
