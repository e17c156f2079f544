"""Question-answer pairs from files and from `datasets`: the answer is the document, relevant to the question.

Beside it there can be negatives: documents that are judged irrelevant to the question.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from denizen.data.formats.dates import dated
from denizen.data.formats.rows import BadRows, as_text, is_missing, require_content, table_rows
from denizen.data.formats.source import SPLITS, Source
from denizen.data.tables import folded, rows_table
from denizen.engine.errors import InputError, reason

# (query column, document column), in the order in which they are looked for: those of sentence-transformers and mteb,
# BGE (pos, neg), Tevatron (passages) and DPR (ctxs)
COLUMNS = (
    ("question", "answer"),
    ("query", "positive"),
    ("anchor", "positive"),
    ("query", "answer"),
    ("query", "positives"),
    ("anchor", "positives"),
    ("query", "pos"),
    ("query", "positive_passages"),
    ("question", "positive_ctxs"),
    ("query", "passage"),
    ("question", "passage"),
)
# negative, negative_1, negatives, hard_negatives, neg, negative_passages, hard_negative_ctxs; not neg_scores
_NEGATIVE = re.compile(r"(hard_?)?neg(ative)?s?(_?\d+|_passages|_ctxs)?")
# columns that hold several documents, which a CSV file can only have as JSON
_SEVERAL = re.compile(r"pos|neg|.*s")
# columns that can say whether the answer is one, and whether they are grades: other values than 0 and 1 say so, too,
# and a row without one is unusable
_LABELS = {"relevance": True, "label": False, "score": False}

# more is an id or a year
_MOST_GRADE = 1000

_WANTED = ", ".join("/".join(pair) for pair in COLUMNS)

# title and text
_Document = tuple[str, str]


class _Row(NamedTuple):
    # ends with its number
    place: str
    values: dict[str, Any]
    # what its ids begin with, where rows of several parts have the same numbers
    prefix: str = ""
    split: str | None = None

    def name(self, mark: str, count: int = 1) -> str:
        """The id of what stands in the row, such as d17, or d17.2 for the second document."""
        number = self.place.rpartition(" ")[2]
        return f"{self.prefix}{mark}{number}" + (f".{count}" if count > 1 else "")

    def bare(self, column: str) -> Any:
        """What stands in a column, without blanks around it."""
        value = self.values.get(column)
        return value.strip() if isinstance(value, str) else value


def read_pairs(path: Path, skip_bad_rows: bool = False) -> Source:
    """Reads a file of pairs: .json (an array), .jsonl, .jsonl.gz, .csv, .tsv or .parquet.

    Each row keeps its own query: `q17` is the query of row 17, or of line 17 where places are lines. Equal answers
    become one document: `d17` is the answer that stands in row 17 first, `d17.2` a second one there, `n17` a negative.
    A document is a text or an object with `text` and, if it has one, `title`; a column can hold a list of them.
    A column of numbers alone holds no negatives, whatever its name.

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


class _Asked(NamedTuple):
    row: _Row
    question: str
    positives: list[_Document]
    negatives: list[_Document]


def _source(rows: Iterable[_Row], name: str, bad: BadRows, left_out: tuple[str, ...] = ()) -> Source:
    """A source from rows; the first one that has a known pair of columns decides which pair is read."""
    # what is in a column is known only from all of its rows
    rows = list(rows)
    # a set that keeps their order
    found = dict.fromkeys(str(column) for row in rows for column in row.values)
    negatives = {column for column in found if _NEGATIVE.fullmatch(column) and not _holds_numbers(rows, column)}
    columns: tuple[str, str] | None = None
    asked: list[_Asked] = []
    for row in rows:
        columns = columns or next((pair for pair in COLUMNS if set(pair) <= set(row.values)), None)
        try:
            asked.append(_asked(row, columns, negatives))
        except ValueError as error:
            bad.add(row.place, str(error), row.values)
    label = _label_column([of.row for of in asked])
    asked = _labelled(asked, label, bad)
    if found and columns is None:
        raise InputError(
            f"{name} has the columns {sorted(found)}; pairs need {_WANTED}, and documents without questions a --teacher"
        )
    bad.check()
    if columns is None or not asked:
        raise InputError(f"{name} holds no usable row")
    _, queries, _ = tables = _tables(asked, label, name)
    # a query is called as the row that it comes from
    made = set(queries["query_id"].to_pylist())
    said = {of.row.name("q"): dated(of.row.values) for of in asked if of.row.name("q") in made}
    dates = {query_id: date for query_id, (_, date) in said.items() if date}
    read = {*columns, label, *(column for column, date in said.values() if date)}
    unread = tuple(column for column in found if column not in read | negatives)
    return Source(
        *tables,
        cut=True,
        bad_rows=bad.rows,
        parts_left_out=left_out,
        columns_left_out=unread,
        query_dates=dates,
    )


def _tables(asked: Sequence[_Asked], label: str | None, name: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Corpus, queries and qrels; of what is said twice of a document the best counts.

    A row that only says what is no answer adds that to the first row that has an answer to the same question.
    """
    documents: dict[_Document, str] = {}
    queries: dict[str, dict[str, Any]] = {}
    links: dict[tuple[str, str], int] = {}
    first: dict[tuple[str | None, str], str] = {}
    graded = [(1 if label is None else _grade(of.row.bare(label)) or 0, of) for of in asked]
    for grade, (row, question, positives, negatives) in sorted(graded, key=lambda pair: pair[0] <= 0):
        key, query_id = (row.split, folded(question)), row.name("q")
        if grade <= 0:
            query_id = first.get(key, query_id)
        first.setdefault(key, query_id)
        for mark, texts, relevance in (("d", positives, grade), ("n", negatives, 0)):
            for count, document in enumerate(texts, start=1):
                doc_id = documents.setdefault(document, row.name(mark, count))
                links[query_id, doc_id] = max(relevance, links.get((query_id, doc_id), relevance))
        source_id = documents[positives[0]] if grade > 0 else None
        told = {"query_id": query_id, "text": question, "split": row.split, "origin": "source"}
        queries.setdefault(query_id, {**told, "source_doc_id": source_id})
    corpus = [
        {"doc_id": doc_id, "title": title, "text": text, "source": name} for (title, text), doc_id in documents.items()
    ]
    qrels = rows_table("qrels", ((*pair, relevance) for pair, relevance in links.items()))
    return rows_table("corpus", corpus), rows_table("queries", queries.values()), qrels


def _asked(row: _Row, columns: tuple[str, str] | None, negative: Collection[str]) -> _Asked:
    """What a row says; ValueError says what is wrong with it."""
    if columns is None:
        raise ValueError(f"has the columns {sorted(map(str, row.values))}; pairs need {_WANTED}")
    question, positives = row.values.get(columns[0]), _documents(row.values, columns[1])
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{columns[0]!r} is empty or no text")
    if not positives:
        raise ValueError(f"{columns[1]!r} is empty or no text")
    negatives = [
        document for name in map(str, row.values) if name in negative for document in _documents(row.values, name)
    ]
    return _Asked(row, " ".join(question.split()), positives, negatives)


def _documents(values: Mapping[str, Any], column: str) -> list[_Document]:
    """The documents of a column; none where it is missing."""
    value = values.get(column)
    if isinstance(value, str) and _SEVERAL.fullmatch(column) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{column!r} is no list as JSON writes it") from None
    found = []
    for given in value if isinstance(value, list) else [value]:
        whole = given if isinstance(given, Mapping) else {"text": given}
        title, text = as_text(whole.get("title")), whole.get("text")
        if is_missing(given):
            continue
        if title is None or not isinstance(text, str):
            raise ValueError(f"{column!r} is empty or no text")
        if text.strip():
            found.append((title.strip(), text.strip()))
    return found


def _holds_numbers(rows: Sequence[_Row], column: str) -> bool:
    """Whether there is nothing but numbers in a column, such as classes; in a CSV file they are texts."""
    values = [value for row in rows if not is_missing(value := row.bare(column))]
    return bool(values) and all(_number(value) is not None for value in values)


def _label_column(rows: Sequence[_Row]) -> str | None:
    """The column that says which answers are none: grades, or 0 and 1 alone, which neither classes nor margins are.

    Grades can be missing in some rows; one row without a class or a margin does not make a label of the others.
    """
    for column, graded in _LABELS.items():
        values = [row.bare(column) for row in rows]
        grades = [_grade(value) for value in values if not (graded and is_missing(value))]
        if grades and all(grade is not None and (graded or grade in (0, 1)) for grade in grades):
            return column
    return None


def _labelled(asked: list[_Asked], label: str | None, bad: BadRows) -> list[_Asked]:
    """The rows that have a label, where there is one; of the others nobody knows whether theirs is an answer."""
    if label is None:
        return asked
    kept = []
    for of in asked:
        if is_missing(of.row.bare(label)):
            bad.add(of.row.place, f"{label!r} is empty, and other rows have one", of.row.values)
        else:
            kept.append(of)
    return kept


def _grade(value: Any) -> int | None:
    """A whole number, a truth value, or either as text; None: no grade."""
    grade = _number(value)
    return int(grade) if grade is not None and grade.is_integer() and abs(grade) <= _MOST_GRADE else None


def _number(value: Any) -> float | None:
    """A number or a truth value, also as text; None: it is none."""
    text = {"true": "1", "false": "0"}.get(str(value).lower(), str(value))
    try:
        number = float(text)
    except ValueError:
        return None
    # "nan" and "infinity" are words
    return number if math.isfinite(number) else None
