"""Workbooks (.xlsx) as one document: a heading for each visible sheet, a table for each run of rows in it."""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.office_zip import check_office_file, core_properties, folded, library_errors, table_text

# a longer run of rows becomes several tables
_ROWS = 50
# Excel's own limit; a broken file may claim a row far beyond it, and those between would be walked through
_LAST_ROW = 1_048_576
# up to here a float holds each whole number
_WHOLE = 2**53


def read_xlsx(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a workbook: the values that formulas had when it was saved, not the formulas.

    Blank rows separate tables, and a run of more than 50 rows is several tables; a table of one cell is text. Hidden
    sheets and sheets without values are left out.

    Args:
        path: A .xlsx file.
        limits: Of it count `pages` (visible sheets), `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`, its pages are the visible sheets; a failure for each
        sheet that cannot be read to its end, and one where there are more sheets than the limit.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    check_office_file(path, limits, "xlsx")
    blocks: list[Block] = []
    failures: list[Failure] = []
    # openpyxl warns of features that it does not keep when it writes
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        with library_errors("xlsx"):
            from openpyxl import load_workbook

            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        for page, sheet in enumerate(sheets[: limits.pages], start=1):
            found: list[Block] = []
            try:
                with library_errors("xlsx"):
                    _add_tables(sheet, page, found)
            except UnreadableError as error:
                failures.append(Failure(sheet.title, str(error)))
            title = folded(sheet.title)
            blocks += [Block("heading", title, 2, page), *found] if found and title else found
    if len(sheets) > limits.pages:
        failures.append(Failure("", f"has {len(sheets)} sheets; the limit is {limits.pages}, the rest is left out"))
    facts = core_properties(path)
    yield Document(blocks, title=facts.pop("title", ""), metadata=facts)
    yield from failures


def _add_tables(sheet: Any, page: int, found: list[Block]) -> None:
    # the size that a file states of a sheet is often wrong
    sheet.reset_dimensions()
    for rows in _runs(sheet.iter_rows(values_only=True)):
        first = min(next(index for index, cell in enumerate(row) if cell) for row in rows)
        last = max(len(row) for row in rows)
        cells = [[*row, *[""] * (last - len(row))][first:] for row in rows]
        found.append(Block("text" if len(rows) == last - first == 1 else "table", table_text(cells), 0, page))


def _runs(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[list[str]]]:
    """Rows with a value that follow one another, at most so many at once, each without the blanks at its end."""
    run: list[list[str]] = []
    for values in itertools.islice(rows, _LAST_ROW):
        row = [_shown(value) for value in values]
        while row and not row[-1]:
            row.pop()
        if row:
            run.append(row)
        if run and (not row or len(run) == _ROWS):
            yield run
            run = []
    if run:
        yield run


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        # 15 digits are what Excel keeps: 0.3, not 0.30000000000000004
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE else format(value, ".15g")
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return folded(str(value))
