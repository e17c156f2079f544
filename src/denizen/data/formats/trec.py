"""TREC files: runs (`query_id Q0 doc_id rank score tag`) and qrels (`query_id 0 doc_id relevance`).

White space in an id, which would end the field, is percent-encoded on the way out. It is decoded on the way in where a
file is known to be Denizen's own; in those of other programs a percent sign is a percent sign.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa

from denizen.data.tables import each, rows_table
from denizen.engine.errors import InputError

_MOST_GRADE = 1_000_000


def write_trec_run(path: Path, run: pa.Table, tag: str) -> None:
    """Writes a run in its order; ranks count from 1 within a query.

    Scores keep all digits of a 32-bit float, so that no ties appear that the run does not have.
    """
    rank, last = 0, None
    with path.open("w", encoding="utf-8") as file:
        for query_id, doc_id, score in each(run, "query_id", "doc_id", "score"):
            rank = rank + 1 if query_id == last else 1
            last = query_id
            file.write(f"{_field(query_id)} Q0 {_field(doc_id)} {rank} {score:.9g} {_field(tag)}\n")


def read_trec_run(path: Path, *, own: bool = False) -> pa.Table:
    """Reads a `run`, its queries in the order of the file; ids are decoded where `write_trec_run` has written it (own).

    What counts is the score, as for trec_eval, and the id where scores are equal.

    Raises:
        InputError: When a line is no line of a run, or a passage stands twice in a query.
    """
    found = _read(path, own, 6, "stands twice in", lambda fields: _number(fields[4]))
    order = {query_id: at for at, query_id in enumerate(dict.fromkeys(query_id for query_id, _ in found))}
    ranked = sorted(found.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1]))
    return rows_table("run", ((*pair, score) for pair, score in ranked))


def write_trec_qrels(path: Path, qrels: pa.Table) -> None:
    """Writes qrels in their order."""
    with path.open("w", encoding="utf-8") as file:
        for query_id, doc_id, relevance in each(qrels, "query_id", "doc_id", "relevance"):
            file.write(f"{_field(query_id)} 0 {_field(doc_id)} {relevance}\n")


def read_trec_qrels(path: Path, *, own: bool = False) -> pa.Table:
    """Reads `qrels`; ids are decoded where `write_trec_qrels` has written them (own).

    Raises:
        InputError: When a line is no line of qrels, or a passage is judged twice for a query.
    """
    found = _read(path, own, 4, "is judged twice for", lambda fields: _grade(fields[3]))
    return rows_table("qrels", ((*pair, grade) for pair, grade in found.items()))


def _read(
    path: Path, own: bool, count: int, twice: str, value: Callable[[list[str]], float]
) -> dict[tuple[str, str], float]:
    """(query id, passage) to value, in the order of the file."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    found: dict[tuple[str, str], float] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            place = f"{path.name}:{number}"
            try:
                fields = raw.decode("utf-8-sig" if number == 1 else "utf-8").split()
            except UnicodeDecodeError as error:
                # to guess would make one id of two
                raise InputError(f"{place} is not UTF-8 ({error.reason})") from None
            if not fields:
                continue
            if len(fields) != count:
                raise InputError(f"{place} has {len(fields)} fields; a line has {count}")
            query_id, doc_id = (unquote(field) if own else field for field in (fields[0], fields[2]))
            if (query_id, doc_id) in found:
                raise InputError(f"{place}: passage {doc_id!r} {twice} query {query_id!r}")
            try:
                found[query_id, doc_id] = value(fields)
            except ValueError as error:
                raise InputError(f"{place}: {error}") from None
    return found


def _number(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise ValueError(f"{text!r} is not a number")


def _grade(text: str) -> int:
    grade = _number(text)
    if not grade.is_integer() or abs(grade) > _MOST_GRADE:
        raise ValueError(f"relevance {text} is not a whole number of at most {_MOST_GRADE}")
    return int(grade)


def _field(text: str) -> str:
    # what looks encoded already is encoded once more, so that decoding gives the id back
    return re.sub(r"\s|%(?=[0-9A-Fa-f]{2})", lambda found: quote(found[0]), text)
