"""Reading foreign files row by row, so that one bad row is a fact about that row and not the end of the run."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen.core.errors import InputError

_SHOWN = 5


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
        self.rows.append(BadRow(place, problem, str(raw)[:500]))

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


def json_lines(path: Path, bad: BadRows) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, object) for each line of a .jsonl or .jsonl.gz file; blank lines are passed over."""
    with _open_binary(path) as file:
        for number, line in enumerate(_lines(file, path), start=1):
            if not line.strip():
                continue
            place = f"{path.name}, line {number}"
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                bad.add(place, f"not UTF-8 (byte {error.start})", line)
                continue
            except json.JSONDecodeError as error:
                bad.add(place, f"broken JSON: {error.msg} at column {error.colno}", line.decode("utf-8"))
                continue
            if isinstance(row, dict):
                yield place, row
            else:
                bad.add(place, f"is a JSON {type(row).__name__}, not an object", row)


def json_array(path: Path, bad: BadRows) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, object) for a .json file that holds one array of objects."""
    try:
        rows = json.loads(_decode(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: broken JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(rows, list):
        raise InputError(f"{path} holds a JSON {type(rows).__name__}; it should be an array of objects")
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield f"{path.name}, row {number}", row
        else:
            bad.add(f"{path.name}, row {number}", f"is a JSON {type(row).__name__}, not an object", row)


def delimited(path: Path, bad: BadRows, delimiter: str = ",") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, object) for each record of a .csv or .tsv file with a header."""
    reader = csv.reader(_decode(path).splitlines(keepends=True), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(reader, [])]
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: broken CSV: {error}") from None
        place = f"{path.name}, line {reader.line_num}"
        if not record:
            continue
        if len(record) == len(header):
            yield place, dict(zip(header, record, strict=True))
        else:
            bad.add(place, f"has {len(record)} fields, the header has {len(header)}", record)


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, object) for each row of a Parquet file."""
    try:
        rows = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows.to_pylist(), start=1):
        yield f"{path.name}, row {number}", row


def require_content(path: Path) -> None:
    """Checks that a file exists and is not empty.

    Raises:
        InputError: When it is missing or has no bytes.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _open_binary(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a readable gzip file: {error}") from None
