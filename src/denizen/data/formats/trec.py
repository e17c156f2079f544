"""TREC files: runs (`query_id Q0 doc_id rank score tag`) and qrels (`query_id 0 doc_id relevance`).

White space in an id, which would end the field, is percent-encoded on the way out. It is decoded on the way in where a
file is known to be Denizen's own; in those of other programs a percent sign is a percent sign.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError

_RUN_FIELDS, _QRELS_FIELDS = 6, 4
_MOST_GRADE = 1_000_000


def write_trec_run(path: Path, run: pa.Table, tag: str) -> None:
    """Writes a run in its order; ranks count from 1 within a query.

    Scores keep all digits of a 32-bit float, so that no ties appear that the run does not have.
    """
    query_ids, doc_ids, scores = (run[name].to_pylist() for name in ("query_id", "doc_id", "score"))
    rank, last = 0, None
    with path.open("w", encoding="utf-8") as file:
        for query_id, doc_id, score in zip(query_ids, doc_ids, scores, strict=True):
            rank = rank + 1 if query_id == last else 1
            last = query_id
            file.write(f"{_field(query_id)} Q0 {_field(doc_id)} {rank} {score:.9g} {_field(tag)}\n")


def read_trec_run(path: Path, *, own: bool = False) -> pa.Table:
    """Reads a run; what counts is the score, as for trec_eval, and the id where scores are equal.

    Args:
        path: The file.
        own: Whether `write_trec_run` has written it, so that its ids are decoded.

    Returns:
        A `run` table, the queries in the order of the file.

    Raises:
        InputError: When a line is no line of a run, or a passage stands twice in a query.
    """
    found: dict[str, dict[str, float]] = {}
    for place, fields in _lines(path, _RUN_FIELDS):
        query_id, doc_id, score = _id(fields[0], own), _id(fields[2], own), _number(fields[4], place)
        if doc_id in found.setdefault(query_id, {}):
            raise InputError(f"{place}: passage {doc_id!r} stands twice in query {query_id!r}")
        found[query_id][doc_id] = score
    return rows_table(
        "run",
        (
            {"query_id": query_id, "doc_id": doc_id, "score": score}
            for query_id, scores in found.items()
            for doc_id, score in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
    )


def write_trec_qrels(path: Path, qrels: pa.Table) -> None:
    """Writes qrels in their order."""
    with path.open("w", encoding="utf-8") as file:
        for row in qrels.to_pylist():
            file.write(f"{_field(row['query_id'])} 0 {_field(row['doc_id'])} {row['relevance']}\n")


def read_trec_qrels(path: Path, *, own: bool = False) -> pa.Table:
    """Reads qrels.

    Args:
        path: The file.
        own: Whether `write_trec_qrels` has written it, so that its ids are decoded.

    Returns:
        A `qrels` table.

    Raises:
        InputError: When a line is no line of qrels, or a passage is judged twice for a query.
    """
    found: dict[tuple[str, str], int] = {}
    for place, fields in _lines(path, _QRELS_FIELDS):
        grade = _number(fields[3], place)
        if not grade.is_integer() or abs(grade) > _MOST_GRADE:
            raise InputError(f"{place}: relevance {fields[3]} is not a whole number of at most {_MOST_GRADE}")
        pair = _id(fields[0], own), _id(fields[2], own)
        if pair in found:
            raise InputError(f"{place}: passage {pair[1]!r} is judged twice for query {pair[0]!r}")
        found[pair] = int(grade)
    columns = ("query_id", "doc_id", "relevance")
    return rows_table("qrels", (dict(zip(columns, (*pair, grade), strict=True)) for pair, grade in found.items()))


def _lines(path: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                fields = raw.decode("utf-8-sig" if number == 1 else "utf-8").split()
            except UnicodeDecodeError as error:
                # to guess would make one id of two
                raise InputError(f"{path.name}:{number} is not UTF-8 ({error.reason})") from None
            if fields and len(fields) != count:
                raise InputError(f"{path.name}:{number} has {len(fields)} fields; a line has {count}")
            if fields:
                yield f"{path.name}:{number}", fields


def _number(text: str, place: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: {text!r} is not a number")
    return number


def _field(text: str) -> str:
    # what looks encoded already is encoded once more, so that decoding gives the id back
    return re.sub(r"\s|%(?=[0-9A-Fa-f]{2})", lambda found: quote(found[0]), text)


def _id(field: str, own: bool) -> str:
    return unquote(field) if own else field
