"""Workbooks (.xlsx) as one document: a heading for each visible sheet, a table for each run of rows in it."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.ingest.charts import Drawings, paragraph_texts
from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, Member, UnreadableError
from denizen.ingest.office_zip import (
    OfficeParts,
    alternative_text,
    checked_office_file,
    core_properties,
    embedded_files,
    folded,
    library_errors,
    main_part,
    table_text,
)
from denizen.ingest.shown_numbers import shown_value

_S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_D = "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# a longer run of rows becomes several tables
_ROWS = 50
# Excel's own limit; a broken file may claim a row far beyond it, and those between would be walked through
_LAST_ROW = 1_048_576
_HIDDEN = "stands on a hidden sheet"
_ON_EACH_PAGE = "stands at the head or foot of each page"
_ON_ENTRY = "is said to those who fill in a cell"
# in a head or foot, where and how it stands: &C, &"Arial,Bold", &12, &K000000; a page's number, the date
_CODES = re.compile(r'&(?:"[^"]*"|K[0-9A-F]{6}|\d+|[A-Za-z+-])')
_NO_VALUES = (
    "{count:,} cells hold a formula and no value ({first} is the first), so what they would show is missing; open the "
    "workbook in Excel or LibreOffice and save it again"
)


@dataclass
class _Sheet:
    """A sheet: its name, whether it is shown, and where its part is."""

    name: str
    hidden: bool
    part: str
    page: int = 0
    blocks: list[Block] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def read_xlsx(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a workbook: the values that formulas had when it was saved, not the formulas.

    Left out are also the heads and feet of printed pages, and what is said to those who fill in a cell. Blank rows
    separate tables, and a run of more than 50 rows is several tables; a table of one cell is text. Behind
    its cells stand a sheet's charts, drawings and comments. Hidden sheets are left out, sheets without values, too;
    rows and columns that are hidden are not.

    Args:
        path: A .xlsx file.
        limits: Of it count `pages` (sheets), `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`, its pages are the visible sheets; a failure for each
        sheet that cannot be read to its end, for the formulas of a sheet that have no values, for each chart that
        cannot be read, and one where there are more sheets than the limit.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    # openpyxl warns of features that it does not keep when it writes
    with warnings.catch_warnings(), checked_office_file(path, limits, "xlsx") as checked, checked.open("rb") as file:
        warnings.simplefilter("ignore")
        with library_errors("xlsx"):
            from openpyxl import load_workbook

            parts = OfficeParts(checked)
            name, root = main_part(parts, f"{_S}workbook")
            sheets = _listed(parts, name, root)
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            # a program that writes formulas without calculating them asks for that, and may leave a 0 for each
            unsure = any(each.get("fullCalcOnLoad") in ("1", "true") for each in root.iter(f"{_S}calcPr"))
        for sheet in sheets[: limits.pages]:
            _read_sheet(sheet, book, parts, unsure)
        facts = core_properties(parts)
        left_out = [LeftOut(block.text, _HIDDEN) for sheet in sheets if sheet.hidden for block in sheet.blocks]
        left_out += [item for sheet in sheets for item in sheet.left_out]
        blocks = [block for sheet in sheets if not sheet.hidden for block in sheet.blocks]
        yield Document(blocks, title=facts.pop("title", ""), metadata=facts, left_out=left_out)
        yield from (failure for sheet in sheets for failure in sheet.failures)
        if len(sheets) > limits.pages:
            yield Failure("", f"has {len(sheets)} sheets; the limit is {limits.pages}, the rest is left out")
        yield from embedded_files(parts, *(sheet.part for sheet in sheets[: limits.pages]))
        parts.close()


def _listed(parts: OfficeParts, name: str, root: Any) -> list[_Sheet]:
    related, sheets, page = parts.related(name), list[_Sheet](), 0
    for each in root.iter(f"{_S}sheet"):
        _, part = related.get(each.get(_ID, ""), ("", ""))
        hidden = each.get("state", "visible") != "visible"
        page += not hidden
        sheets.append(_Sheet(each.get("name", ""), hidden, part, page))
    return sheets


def _read_sheet(sheet: _Sheet, book: Any, parts: OfficeParts, unsure: bool) -> None:
    try:
        with library_errors("xlsx"):
            if not sheet.part:
                raise UnreadableError("is missing from the file")
            # a sheet that is a chart has no cells
            cells = {each.title: each for each in book.worksheets}.get(sheet.name)
            if cells is not None:
                _add_tables(cells, _without_values(sheet, parts, unsure), sheet)
    except UnreadableError as error:
        sheet.failures.append(Failure(sheet.name, str(error)))
    _add_drawn(sheet, parts)
    title = folded(sheet.name)
    if sheet.blocks and title:
        sheet.blocks.insert(0, Block("heading", title, 2, sheet.page))


def _without_values(sheet: _Sheet, parts: OfficeParts, unsure: bool) -> set[tuple[int, int]]:
    """Row and column of each cell that holds a formula and not what it gives; a failure says how many there are.

    On the way, what stands beside the cells is noted as left out.
    """
    from lxml import etree
    from openpyxl.utils.cell import coordinate_to_tuple, get_column_letter

    found: dict[tuple[int, int], None] = {}
    line = 0
    with parts.opened(sheet.part) as file:
        tags = [f"{_S}row", f"{_S}headerFooter", f"{_S}dataValidation"]
        for _, row in etree.iterparse(file, tag=tags, resolve_entities=False, no_network=True):
            sheet.left_out += _said_aside(row)
            if row.tag != tags[0]:
                continue
            # some programs leave out where rows and cells are: behind the last
            line, column = int(row.get("r") or line + 1), 0
            for cell in row.iterchildren(f"{_S}c"):
                column = coordinate_to_tuple(cell.get("r"))[1] if cell.get("r") else column + 1
                if cell.find(f"{_S}f") is not None and _is_wanting(cell, unsure):
                    found[line, column] = None
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]
    if found:
        line, column = next(iter(found))
        first = f"{get_column_letter(column)}{line}"
        sheet.failures.append(Failure(sheet.name, _NO_VALUES.format(count=len(found), first=first)))
    return set(found)


def _said_aside(element: Any) -> Iterator[LeftOut]:
    """What stands beside a sheet's cells: at the head and foot of its printed pages, and by those to be filled in."""
    if element.tag == f"{_S}headerFooter":
        texts = (folded(_CODES.sub(" ", each.text or "")) for each in element.iterchildren("{*}*"))
        yield from (LeftOut(text, _ON_EACH_PAGE) for text in dict.fromkeys(texts) if any(map(str.isalpha, text)))
    elif element.tag == f"{_S}dataValidation":
        listed = element.findtext(f"{_S}formula1") or ""
        listed = listed if listed.startswith('"') and element.get("type") == "list" else ""
        said = (element.get("promptTitle", ""), element.get("prompt", ""), listed.strip('"').replace(",", ", "))
        if text := folded(" ".join(said)):
            yield LeftOut(text, _ON_ENTRY)


def _is_wanting(cell: Any, unsure: bool) -> bool:
    value = cell.findtext(f"{_S}v")
    # where a formula gives an empty text, the value is an empty string; Apache POI has 0.0 where nothing is worked out
    return (unsure and value in ("0", "0.0")) or (not value and (unsure or cell.get("t") != "str"))


def _add_tables(cells: Any, unknown: set[tuple[int, int]], sheet: _Sheet) -> None:
    # the size that a file states of a sheet is often wrong
    cells.reset_dimensions()
    for rows in _runs(cells, unknown):
        first = min(next(index for index, cell in enumerate(row) if cell) for row in rows)
        last = max(len(row) for row in rows)
        filled = [[*row, *[""] * (last - len(row))][first:] for row in rows]
        is_one = len(rows) == last - first == 1
        sheet.blocks.append(Block("text" if is_one else "table", table_text(filled), 0, sheet.page))


def _runs(cells: Any, unknown: set[tuple[int, int]]) -> Iterator[list[list[str]]]:
    """Rows with a value that follow one another, at most so many at once, each without the blanks at its end."""
    run: list[list[str]] = []
    for number, found in enumerate(itertools.islice(cells.iter_rows(), _LAST_ROW), start=1):
        row = [
            "" if cell.value is None or (number, column) in unknown else shown_value(cell.value, cell.number_format)
            for column, cell in enumerate(found, start=1)
        ]
        while row and not row[-1]:
            row.pop()
        if row:
            run.append(row)
        if run and (not row or len(run) == _ROWS):
            yield run
            run = []
    if run:
        yield run


def _add_drawn(sheet: _Sheet, parts: OfficeParts) -> None:
    """Adds what stands over the cells: charts, drawings and comments."""
    related = list(parts.related(sheet.part).values())
    threaded = any(kind == "threadedComment" for kind, _ in related)
    for kind, part in related:
        with_texts = kind == "threadedComment" or (kind == "comments" and not threaded)
        try:
            with library_errors("xlsx"):
                if with_texts:
                    texts = ["".join(each.itertext()) for each in parts.root(part).iter("{*}text")]
                    sheet.blocks += [Block("text", folded(text), 0, sheet.page) for text in texts if text.strip()]
                elif kind == "drawing":
                    _add_drawing(sheet, parts, part)
        except UnreadableError as error:
            sheet.failures.append(Failure(sheet.name, str(error)))


def _add_drawing(sheet: _Sheet, parts: OfficeParts, part: str) -> None:
    root = parts.root(part)
    texts = [
        text
        for shape in root.iter(f"{_D}sp", f"{_D}pic")
        for text in (*paragraph_texts(shape), alternative_text(shape))
    ]
    sheet.blocks += [Block("text", text, 0, sheet.page) for text in texts if text]
    for kind, name in parts.related(part).values():
        try:
            with library_errors("xlsx"):
                # where a chart keeps no values, the cells that it draws have them
                sheet.blocks += Drawings(parts).blocks(kind, name, sheet.page)
        except UnreadableError as error:
            sheet.failures.append(Failure(sheet.name, f"a chart or diagram cannot be read: {error}"))
