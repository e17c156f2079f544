"""Reading foreign files row by row, so that one bad row is a fact about that row and not the end of the run."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen.data.decoding import LOST, decode
from denizen.data.delimited import Dialect, delimited_rows
from denizen.engine.errors import InputError, reason

# (place, column to value) of each row; a place ends with the row's number
Rows = Iterator[tuple[str, dict[str, Any]]]

TABLES = (".json", ".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet")
_SHOWN = 5
_TOO_MUCH = "is nested too deeply, or holds a number of too many digits"


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used: where it stands, why, and how it begins."""

    place: str
    problem: str
    raw: str


@dataclass
class BadRows:
    """Collects bad rows while a source is read.

    Attributes:
        skip: Whether the user asked to skip them; otherwise `check` raises.
    """

    skip: bool = False
    rows: list[BadRow] = field(default_factory=list)

    def add(self, place: str, problem: str, raw: object = "") -> None:
        """Notes one bad row; the raw text is cut so that the record stays readable."""
        # half a surrogate pair, which JSON can escape, has no UTF-8 to be kept in
        text = str(raw)[:500].encode("utf-8", "backslashreplace").decode("utf-8")
        self.rows.append(BadRow(place, problem, text))

    def check(self) -> None:
        """Stops the run when there are bad rows that nobody agreed to skip.

        Raises:
            InputError: Naming the first rows, their places and the remedy.
        """
        if not self.rows or self.skip:
            return
        shown = "\n".join(f"  {row.place}: {row.problem}" for row in self.rows[:_SHOWN])
        more = f"\n  and {len(self.rows) - _SHOWN} more" if len(self.rows) > _SHOWN else ""
        raise InputError(
            f"{len(self.rows)} unusable row(s):\n{shown}{more}\nMend them, or skip and count them with --skip-bad-rows."
        )


def json_lines(path: Path, bad: BadRows) -> Rows:
    """The objects of a .jsonl or .jsonl.gz file, one a line; blank lines are passed over."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{path.name}, line {number}"
        row: Any = None
        try:
            row = json.loads(line.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n"))
            problem = _object_problem(row)
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 (byte {error.start})"
        except json.JSONDecodeError as error:
            problem = f"broken JSON: {error.msg} at column {error.colno}"
        except (ValueError, RecursionError):
            problem = _TOO_MUCH
        if problem:
            bad.add(place, problem, line.decode("utf-8", "backslashreplace"))
        else:
            yield place, row


def json_array(path: Path, bad: BadRows) -> Rows:
    """The objects of a .json file that holds one array of them."""
    try:
        rows = json.loads(_decode(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: broken JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} {_TOO_MUCH}") from None
    if not isinstance(rows, list):
        raise InputError(f"{path} holds a JSON {type(rows).__name__}; it should be an array of objects")
    for number, row in enumerate(rows, start=1):
        if problem := _object_problem(row):
            bad.add(f"{path.name}, row {number}", problem, row)
        else:
            yield f"{path.name}, row {number}", row


def delimited(path: Path, bad: BadRows, dialect: Dialect | None = None) -> Rows:
    """The records of a .csv or .tsv file with a header, in the dialect it is found to be in, or in the one given.

    The file may be in another encoding than UTF-8, which is then found out.

    Raises:
        InputError: When it is no text, or characters of it cannot be decoded.
    """
    for row in delimited_rows(io.StringIO(_decoded(path), newline=""), dialect=dialect):
        place = f"{path.name}, line {row.last}"
        if row.problem and (row.values or dialect or not row.raw.startswith("#")):
            bad.add(place, row.problem, row.raw)
        elif row.values:
            yield place, row.values


def parquet_rows(path: Path) -> Rows:
    """The rows of a Parquet file."""
    try:
        rows = pq.read_table(path).to_pylist()
    # ValueError: bytes that should be text are decoded only here
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {reason(error)}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{path.name}, row {number}", row


def table_rows(path: Path, bad: BadRows) -> Rows:
    """The rows of a file, read as its name says.

    Raises:
        InputError: When it is of an unknown kind.
    """
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return json_lines(path, bad)
    if name.endswith(".json"):
        return json_array(path, bad)
    if name.endswith((".csv", ".tsv")):
        return delimited(path, bad)
    if name.endswith(".parquet"):
        return parquet_rows(path)
    raise InputError(f"{path} is of an unknown kind; rows come as .json, .jsonl[.gz], .csv, .tsv or .parquet")


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: null, NaN (what a data frame writes), or no text.

    The words "nan", "None" and "NA" are texts: a passage can be about them.
    """
    # of all values only NaN differs from itself
    return value is None or value == "" or (isinstance(value, float | Decimal) and value != value)


def as_text(value: Any) -> str | None:
    """A value of a text column as text: "" where it is missing, 1984 and 1984.0 as "1984"; None where it is no text.

    A data frame makes fractions of whole numbers as soon as one of them is missing, so both are written alike. Lists,
    objects, truth values and bytes are no texts.
    """
    if is_missing(value):
        return ""
    if isinstance(value, bool | list | dict | tuple | bytes):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def require_content(path: Path) -> None:
    """Checks that a file exists and is not empty.

    Raises:
        InputError: When it is missing or has no bytes.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")


def _object_problem(row: Any) -> str:
    if not isinstance(row, dict):
        return f"is a JSON {type(row).__name__}, not an object"
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return "holds half a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ""


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        # not "utf-8-sig", which counts bytes from behind the mark
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _decoded(path: Path) -> str:
    found = decode(path.read_bytes())
    if found.lost:
        line = found.text.count("\n", 0, found.text.index(LOST)) + 1
        raise InputError(f"{path}, line {line}: not {found.encoding}, and not UTF-8; save it as UTF-8")
    return found.text


def _lines(path: Path) -> Iterator[bytes]:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else Path.open
    try:
        with opened(path, "rb") as file:
            yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a readable gzip file: {error}") from None
