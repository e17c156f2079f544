"""A sheet on which people grade pairs of query and passage, written for Excel and LibreOffice and read back.

Only two columns are read back: `grade`, and `row`, which names the pair. A spreadsheet may turn an id such as "1-2"
into a date and "007" into 7; a row key is twelve small consonants, which no spreadsheet takes for a number, a date,
a currency or a word. `row_key` makes it from the two ids, so that no list of keys has to be kept: whoever knows the
pairs looks each of them up by its key. The judge's grades are not on the sheet, and the order of the rows is that of
their keys, as good as random: neither tells people what the judge thought.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from denizen.data.formats.grades import read_grades
from denizen.data.formats.rows import BadRow, require_content
from denizen.engine.errors import InputError, reason

# what each grade says, in the words of the prompt that judges grade by
GRADES = {
    1: "unrelated: the passage is about something else and holds no answer",
    2: "weakly related: the passage touches the topic, but cannot answer the query",
    3: "clearly related: the passage gives a part of the answer, or one that has to be guessed at",
    4: "answers: the passage answers the query directly, explicitly and completely",
}
# with their widths in characters
_WIDTHS = {"row": 16, "query": 40, "passage": 90, "grade": 8, "query_id": 16, "doc_id": 16}
COLUMNS = tuple(_WIDTHS)
_NEEDED = ("row", "grade")
# kept as text even when copied; not the passages, of which old Excels show only ### then
_IDS = ("row", "query_id", "doc_id")
LEAVE_EMPTY = (
    "Leave the grade empty where you cannot tell. Rows and columns may be moved; do not change the column 'row'."
)
_RULE = "Read the query and the passage, and choose the grade of the passage for this query alone."
# 64-bit digits of SHA-256 as letters without vowels: 12 of them are 48 bits, a clash in 10,000 pairs has p < 1e-6
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")
_KEY = re.compile(r"[bcdfghj-np-t]{12}")
# a comma as decimal point where Excel shows the cell with decimals
_GRADE = re.compile(r"([1-4])(?:[.,]0+)?")
# Excel's limit for one cell, in UTF-16 units; a longer one spills over or makes the file unreadable
_LONGEST_CELL = 32_767
_CUT = " [cut]"
# what XML 1.0 cannot hold, half surrogate pairs included
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FORMULA = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
# A spreadsheet that expects another separator cuts a field in two, quotes or not: a formula may begin there as well.
_FORMULA_IN_CSV = re.compile(rf'(^|[;\t\n])([\s"]*)(?={_FORMULA})')
# some thousand long passages have a tenth of it; read from a zip archive, it may be far more than the file's size
_MOST_BYTES = 128 * 2**20
# Excel's last row, and more columns than anybody adds: bounds what cells with wild addresses can cost
_LAST_ROW, _LAST_COLUMN = 1_048_576, 256


class SheetRow(NamedTuple):
    """One pair to grade."""

    query_id: str
    doc_id: str
    query: str
    passage: str


@dataclass(frozen=True)
class SheetKind:
    """What a sheet shows and what it asks for.

    Attributes:
        widths: Column to its width in characters; `row` and `grade` are among them.
        grades: Each grade, 1 to 4, with its meaning.
        rules: What else is said to those who fill it in.
    """

    widths: Mapping[str, int]
    grades: Mapping[int, str]
    rules: tuple[str, ...]


GRADING = SheetKind(_WIDTHS, GRADES, (_RULE, LEAVE_EMPTY))


@dataclass(frozen=True)
class GradedSheet:
    """What was on a sheet.

    Attributes:
        grades: Row key (see `row_key`) to grade, 1 to 4.
        empty: How many rows have no grade.
        problems: Rows whose grade is not used, by their number in the spreadsheet: no such grade, no such row key,
            or two grades for one pair.
    """

    grades: dict[str, int]
    empty: int
    problems: list[BadRow]


def row_key(query_id: str, doc_id: str) -> str:
    """The key by which a sheet names a pair: twelve small consonants, the same for the same two ids."""
    ids = json.dumps([query_id, doc_id])
    return hashlib.sha256(ids.encode("ascii")).hexdigest()[:12].translate(_LETTERS)


def write_sheet(path: Path, rows: Iterable[SheetRow]) -> None:
    """Writes the pairs to grade as .csv or .xlsx, in the order of their row keys.

    XLSX is the better choice: it brings the meaning of the grades on a second sheet, offers them as a list, and opens
    alike everywhere. CSV is UTF-8 with a byte order mark, so that Excel knows the encoding; where Excel expects
    semicolons, it has to be imported. Texts are for reading only: a cell longer than Excel allows is cut, characters
    that XML cannot hold are replaced, and in CSV an apostrophe stands before what would be taken for a formula.

    Raises:
        InputError: When there is no pair, a pair is there twice, the file's kind is unknown, it cannot be written,
            or it exists and is no sheet or holds grades.
    """
    write_keyed(path, {key: row._asdict() for key, row in _keyed(path, rows).items()}, GRADING)


def write_keyed(path: Path, keyed: Mapping[str, Mapping[str, str]], kind: SheetKind) -> None:
    """Writes a sheet of any kind, as `write_sheet` does.

    Args:
        path: Where to.
        keyed: Row key (`row_key`) to the text of each column but `row` and `grade`.
        kind: What the sheet shows and asks for.

    Raises:
        InputError: As `write_sheet`.
    """
    if not keyed:
        raise InputError(f"{path}: there is no pair to grade")
    keyed = dict(sorted(keyed.items()))
    write = {".csv": _write_csv, ".xlsx": _write_xlsx}.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path} is of an unknown kind; a grading sheet is written as .csv or .xlsx")
    if path.exists():
        _check_replaceable(path)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary, keyed, kind)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)}; close it elsewhere or choose another") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_sheet(path: Path) -> GradedSheet:
    """Reads the grades from a sheet as Excel or LibreOffice saved it.

    Read are .xlsx, and text (.csv, .tsv, .txt) with commas, semicolons or tabs, in UTF-8 or UTF-16 with or without
    byte order mark, or in another code page (what is read back is ASCII). "4", " 4 ", "4.0" and "4,0" are 4. Columns
    and rows may have been moved, added or removed. A pair with two different grades has neither. Read is, too, what the
    page of `denizen serve` has written (.jsonl), where the last grade of a pair counts.

    Raises:
        InputError: When the file is missing, empty, too large, of an unknown kind or broken, or has no column `row`
            or `grade`.
    """
    require_content(path)
    _check_size(path, path.stat().st_size)
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        return _graded(path, _xlsx_records(path))
    if suffix == ".jsonl":
        # a question that no run knows has no id, and no pair of a run has its key
        return GradedSheet({row_key(each.query_id, each.doc_id): each.grade or 0 for each in read_grades(path)}, 0, [])
    if suffix in (".csv", ".tsv", ".txt"):
        text = _decoded(path)
        return _graded(path, _records(path, (_csv_rows(path, text, separator) for separator in ",;\t")))
    raise InputError(f"{path} is of an unknown kind; save the sheet as .xlsx or .csv")


def _keyed(path: Path, rows: Iterable[SheetRow]) -> dict[str, SheetRow]:
    keyed: dict[str, SheetRow] = {}
    for row in rows:
        key = row_key(row.query_id, row.doc_id)
        if key in keyed:
            raise InputError(f"{path}: the pairs {row[:2]} and {keyed[key][:2]} have one row key; give every pair once")
        keyed[key] = row
    return keyed


def _check_replaceable(path: Path) -> None:
    try:
        sheet = read_sheet(path)
    except InputError as error:
        raise InputError(f"{path} exists and is not an empty grading sheet ({error}); choose another file") from None
    held = len(sheet.grades) + len(sheet.problems)
    if held:
        raise InputError(f"{path} holds {held} grade(s), which would be lost; move it, or choose another file")


def _cells(key: str, row: Mapping[str, str], kind: SheetKind, is_csv: bool) -> list[str]:
    return [_cell({**row, "row": key, "grade": ""}[column], is_csv) for column in kind.widths]


def _cell(text: str, is_csv: bool) -> str:
    # a carriage return is a line break to some spreadsheets and a new row to others
    text = _NO_CHARACTER.sub("\ufffd", re.sub("\r\n?", "\n", text)).strip()
    if is_csv:
        text = _FORMULA_IN_CSV.sub(r"\1\2'", text)
    units = text.encode("utf-16-le")
    if len(units) <= 2 * _LONGEST_CELL:
        return text
    return units[: 2 * (_LONGEST_CELL - len(_CUT))].decode("utf-16-le", "ignore") + _CUT


def _write_csv(path: Path, keyed: Mapping[str, Mapping[str, str]], kind: SheetKind) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([list(kind.widths), *(_cells(key, row, kind, True) for key, row in keyed.items())])


def _write_xlsx(path: Path, keyed: Mapping[str, Mapping[str, str]], kind: SheetKind) -> None:
    openpyxl = _openpyxl(path)
    from openpyxl.styles import Alignment, Font
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "grades"
    columns = list(kind.widths)
    sheet.append(columns)
    for number, (key, row) in enumerate(keyed.items(), start=2):
        for at, text in enumerate(_cells(key, row, kind, False), start=1):
            cell = sheet.cell(number, at, text or None)
            if text:
                # openpyxl takes "=..." for a formula and "#N/A" for an error
                cell.data_type = "s"
                # keeps it a text when somebody edits the cell
                cell.quotePrefix = re.match(_FORMULA, text) is not None
            if columns[at - 1] in _IDS:
                cell.number_format = "@"
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    for cell in sheet[1]:
        cell.font = Font(bold=True)
        sheet.column_dimensions[cell.column_letter].width = kind.widths[cell.value]
    sheet.freeze_panes = "A2"
    choice = DataValidation(
        type="list",
        formula1=f'"{",".join(map(str, kind.grades))}"',
        allow_blank=True,
        showErrorMessage=True,
        errorTitle="No such grade",
        error="1, 2, 3 or 4; the sheet 'meaning' says what they mean.",
    )
    grade = sheet.cell(1, columns.index("grade") + 1).column_letter
    choice.add(f"{grade}2:{grade}{len(keyed) + 1}")
    sheet.add_data_validation(choice)
    meaning = book.create_sheet("meaning")
    for line in (("grade", "meaning"), *kind.grades.items(), *((None, rule) for rule in kind.rules)):
        meaning.append(line)
    meaning.column_dimensions["B"].width = _WIDTHS["passage"]
    book.save(path)


def _openpyxl(path: Path) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise InputError(f"{path}: .xlsx needs openpyxl; pip install 'denizen[xlsx]', or use .csv") from None
    return openpyxl


def _graded(path: Path, records: Iterable[tuple[int, str, str]]) -> GradedSheet:
    # row key -> grade -> the first row that gives it
    given: dict[str, dict[int, int]] = {}
    problems: list[BadRow] = []
    empty = 0

    def add(number: int, problem: str, raw: str) -> None:
        problems.append(BadRow(f"{path.name}, row {number}", problem, raw[:500]))

    for number, key, grade in records:
        if not grade:
            empty += 1
        elif not _KEY.fullmatch(key):
            add(number, f"{key[:50]!r} is no row key; restore the column 'row' as it was written", key)
        elif found := _GRADE.fullmatch(grade):
            given.setdefault(key, {}).setdefault(int(found[1]), number)
        else:
            add(number, f"the grade is {grade[:50]!r}; it is 1, 2, 3 or 4, or empty", grade)
    for key, rows in given.items():
        if len(rows) > 1:
            said = ", ".join(f"{grade} in row {number}" for grade, number in rows.items())
            add(max(rows.values()), f"the pair {key} has different grades ({said}); keep one of them", key)
    return GradedSheet({key: next(iter(rows)) for key, rows in given.items() if len(rows) == 1}, empty, problems)


def _records(path: Path, tables: Iterable[Iterator[Sequence[Any]]]) -> list[tuple[int, str, str]]:
    """(number, key, grade) of each row below the header, in the first table that has both columns.

    A row without key and grade, such as a blank one, is none.
    """
    headers: list[list[str]] = []
    for rows in tables:
        headers.append([_text(name).casefold() for name in next(rows, ())])
        if set(_NEEDED) <= set(headers[-1]):
            places = [headers[-1].index(name) for name in _NEEDED]
            # Excel leaves out separators at the end of a line behind which all cells are empty
            cells = ([_text(row[at]) if at < len(row) else "" for at in places] for row in rows)
            return [(number, key, grade) for number, (key, grade) in enumerate(cells, start=2) if key or grade]
    names = max(headers, key=len, default=[])
    missing = [name for name in _NEEDED if name not in names]
    found = [name[:50] for name in names if name][:10]
    raise InputError(f"{path} has no columns {missing} in its first row ({found}); restore them as they were written")


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _csv_rows(path: Path, text: str, separator: str) -> Iterator[list[str]]:
    # strict: an open quote would otherwise swallow the rows behind it without a word
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: broken CSV: {error}") from None


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise InputError(f"{path} is broken UTF-16 at byte {error.start}; save it anew") from None
        # whatever code page Excel saved it in: keys, grades and separators are the same bytes in all of them
        return content.removeprefix(codecs.BOM_UTF8).decode("latin-1")


def _xlsx_records(path: Path) -> list[tuple[int, str, str]]:
    openpyxl = _openpyxl(path)
    # without limits openpyxl stops at the size that the file claims, which may be wrong
    limits = {"max_row": _LAST_ROW, "max_col": _LAST_COLUMN, "values_only": True}
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(entry.file_size for entry in archive.infolist()))
        # warnings about what openpyxl does not keep, which nobody asks it to
        with warnings.catch_warnings(action="ignore"):
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            with contextlib.closing(book):
                return _records(path, (sheet.iter_rows(**limits) for sheet in book.worksheets))
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (what a damaged file makes openpyxl raise is no fixed list)
        raise InputError(
            f"{path} is not a readable .xlsx file: {reason(error)}; save it anew, without password"
        ) from None


def _check_size(path: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise InputError(
            f"{path} holds {size / 2**20:,.0f} MiB; a grading sheet has at most {_MOST_BYTES // 2**20} MiB. Split it, "
            "or remove what else is in the file"
        )
