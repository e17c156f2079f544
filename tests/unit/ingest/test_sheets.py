from __future__ import annotations

import contextlib
import datetime
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.worksheet.datavalidation import DataValidation

from denizen.ingest import sheets
from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, UnreadableError
from denizen.ingest.sheets import read_xlsx

SMALL = Limits(unpacked_mb=64)


def saved(tmp_path: Path, book: Workbook) -> Path:
    path = tmp_path / "file.xlsx"
    book.save(path)
    return path


def sheet_of(rows, tmp_path: Path) -> Path:
    book = Workbook()
    book.active.title = "Data"
    for row in rows:
        book.active.append(row)
    return saved(tmp_path, book)


def only(path: Path) -> Document:
    [document] = read_xlsx(path, SMALL)
    assert isinstance(document, Document)
    return document


def changed(path: Path, name: str, data: bytes) -> Path:
    target = path.with_name("changed.xlsx")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.namelist():
            new.writestr(each, data if each == name else old.read(each))
    return target


def test_regions_and_values(tmp_path):
    day = datetime.datetime(2024, 3, 1)
    rows = [
        ["Turnover"],
        [],
        ["month", "sum", "paid"],
        [day, 1234.0, True],
        [datetime.datetime(2024, 3, 2, 13, 5), 0.1 + 0.2, None],
        [],
        [],
        [None, "a\nb", "c"],
    ]
    assert only(sheet_of(rows, tmp_path)).blocks == [
        Block("heading", "Data", 2, 1),
        Block("text", "Turnover", 0, 1),
        Block("table", "month | sum | paid\n2024-03-01 | 1234 | TRUE\n2024-03-02 13:05:00 | 0.3 | ", 0, 1),
        Block("table", "a b | c", 0, 1),
    ]


def test_long_run_is_cut(tmp_path):
    blocks = only(sheet_of([[number, "x"] for number in range(120)], tmp_path)).blocks[1:]
    assert [len(block.text.splitlines()) for block in blocks] == [50, 50, 20]
    lines = [line for block in blocks for line in block.text.splitlines()]
    assert lines == [f"{number} | x" for number in range(120)]


def test_formulas_without_values_are_counted(tmp_path):
    # openpyxl writes no values for formulas
    document, failure = read_xlsx(sheet_of([["sum", "=1+1"], ["text", '=A1&"x"']], tmp_path), SMALL)
    assert isinstance(document, Document) and document.blocks[1:] == [Block("table", "sum\ntext", 0, 1)]
    assert isinstance(failure, Failure) and failure.name == "Data"
    assert "2 cells hold a formula and no value (B1 is the first)" in failure.error


def formulas(cells: str, tmp_path: Path, asks: bool) -> tuple[list[str], list[str]]:
    """What is read of a row of cells, and what is said of it."""
    path = sheet_of([["a"]], tmp_path)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    xml = f'<worksheet xmlns="{main}"><sheetData><row r="1">{cells}</row></sheetData></worksheet>'
    with zipfile.ZipFile(path) as file:
        book = file.read("xl/workbook.xml")
    assert b' fullCalcOnLoad="1"' in book
    path = changed(path, "xl/worksheets/sheet1.xml", xml.encode())
    if not asks:
        path = changed(path.rename(tmp_path / "b.xlsx"), "xl/workbook.xml", book.replace(b' fullCalcOnLoad="1"', b""))
    document, *failures = read_xlsx(path, SMALL)
    assert isinstance(document, Document)
    return [block.text for block in document.blocks[1:]], [
        each.error[:9] for each in failures if isinstance(each, Failure)
    ]


@pytest.mark.parametrize(
    ("cell", "asks", "found"),
    [
        ('<c r="B1"><f>1+1</f><v>2</v></c>', True, "a | 2"),
        ('<c r="B1" t="str"><f>""</f><v></v></c>', False, "a"),
        ('<c r="B1"><f t="shared" si="0"/></c>', False, None),
        ('<c r="B1"><f>1-1</f><v>0</v></c>', False, "a | 0"),
        ('<c r="B1"><f>1+1</f><v>0</v></c>', True, None),
        ('<c r="B1"><v>0</v></c>', True, "a | 0"),
        ("<c><f>1+1</f></c>", False, None),
        ('<c r="B1"><f>1+1</f><v>0.0</v></c>', True, None),
        ('<c r="B1" t="str"><f>A1</f><v></v></c>', True, None),
    ],
    ids=[
        *("value", "empty text", "shared", "zero", "zero of a program that does not calculate", "no formula"),
        *("no place", "zero of Apache POI", "text of a program that does not calculate"),
    ],
)
def test_formulas_with_and_without_values(tmp_path, cell, asks, found):
    first = '<c r="A1" t="inlineStr"><is><t>a</t></is></c>'
    blocks, said = formulas(first + cell, tmp_path, asks)
    assert (blocks, said) == (([found], []) if found else (["a"], ["1 cells h"]))


def test_numbers_as_shown_comments_and_hidden_rows(tmp_path):
    book = Workbook()
    sheet = book.active
    sheet.append(["share", 0.255, 1234.5])
    sheet["B1"].number_format, sheet["C1"].number_format = "0.0%", '#,##0.00 "€"'
    sheet.append(["merged", None, 3])
    sheet.merge_cells("A2:B2")
    sheet.row_dimensions[2].hidden = True
    sheet["A1"].comment = Comment("Ask the bank", "Accounts")
    texts = [block.text for block in only(saved(tmp_path, book)).blocks]
    assert texts == ["Sheet", "share | 25.5% | 1,234.50 €\nmerged |  | 3", "Ask the bank"]


def test_what_is_said_beside_the_cells_is_named(tmp_path):
    book = Workbook()
    sheet = book.active
    sheet["A1"] = "a"
    sheet.oddHeader.center.text, sheet.oddHeader.center.font = "Draft of May", "Arial,Bold"
    sheet.oddFooter.right.text = "&P"
    choice = DataValidation(type="list", formula1='"yes,no"', prompt="Choose with care")
    choice.add("B1")
    sheet.add_data_validation(choice)
    assert [(item.text, item.reason) for item in only(saved(tmp_path, book)).left_out] == [
        ("Choose with care yes, no", "is said to those who fill in a cell"),
        ("Draft of May", "stands at the head or foot of each page"),
    ]


def test_hidden_and_empty_sheets(tmp_path):
    book = Workbook()
    book.active.title = "Empty"
    for name, state in (("Hidden", "hidden"), ("Very", "veryHidden"), ("Shown", "visible")):
        sheet = book.create_sheet(name)
        sheet.append(["a", "b"])
        sheet.sheet_state = state
    book.properties.title, book.properties.creator = "Figures", "Accounts"
    document = only(saved(tmp_path, book))
    assert document.blocks == [Block("heading", "Shown", 2, 2), Block("table", "a | b", 0, 2)]
    hidden = "stands on a hidden sheet"
    assert document.left_out == [LeftOut(text, hidden) for text in ("Hidden", "a | b", "Very", "a | b")]
    assert (document.title, document.metadata["author"]) == ("Figures", "Accounts")


def test_more_sheets_than_the_limit(tmp_path):
    book = Workbook()
    for number in range(3):
        book.create_sheet(f"Sheet {number}").append(["a"])
    document, failure = read_xlsx(saved(tmp_path, book), Limits(pages=2))
    assert isinstance(document, Document) and document.blocks[0].text == "Sheet 0" and len(document.blocks) == 2
    assert isinstance(failure, Failure) and "4 sheets; the limit is 2" in failure.error


def test_stated_size_is_not_trusted(tmp_path):
    path = sheet_of([["a", "b"], ["c", "d"]], tmp_path)
    with zipfile.ZipFile(path) as file:
        xml = file.read("xl/worksheets/sheet1.xml")
    assert b'"A1:B2"' in xml
    path = changed(path, "xl/worksheets/sheet1.xml", xml.replace(b'"A1:B2"', b'"A1"'))
    assert only(path).blocks[1:] == [Block("table", "a | b\nc | d", 0, 1)]


def test_broken_sheet_costs_only_its_rest(tmp_path):
    book = Workbook()
    book.active.append(["first"])
    book.create_sheet("Second").append(["second"])
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    good = '<row r="1"><c r="A1" t="inlineStr"><is><t>good</t></is></c></row>'
    bad = '<row r="2"><c r="A2" t="s"><v>9999</v></c></row>'
    xml = f'<worksheet xmlns="{main}"><sheetData>{good}<row r="2"/>{bad}</sheetData></worksheet>'
    path = changed(saved(tmp_path, book), "xl/worksheets/sheet1.xml", xml.encode())
    document, failure = read_xlsx(path, SMALL)
    assert isinstance(document, Document)
    assert [block.text for block in document.blocks] == ["Sheet", "good", "Second", "second"]
    assert isinstance(failure, Failure) and failure.name == "Sheet"


def test_row_far_away(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "_LAST_ROW", 1000)
    path = sheet_of([["a"]], tmp_path)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    row = '<row r="{0}"><c r="A{0}" t="inlineStr"><is><t>far</t></is></c></row>'
    xml = f'<worksheet xmlns="{main}"><sheetData>{row.format(9_999_999_999)}</sheetData></worksheet>'
    assert only(changed(path, "xl/worksheets/sheet1.xml", xml.encode())).blocks == []


def test_encrypted_and_other_files(tmp_path):
    path = tmp_path / "file.xlsx"
    path.write_bytes(bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000))
    with pytest.raises(UnreadableError, match=r"save it as \.xlsx without a password"):
        list(read_xlsx(path, SMALL))
    for data in (b"", bytes(3000), b"a,b\n1,2\n"):
        path.write_bytes(data)
        with pytest.raises(UnreadableError):
            list(read_xlsx(path, SMALL))


def test_document_type(tmp_path):
    path = sheet_of([["a"]], tmp_path)
    bomb = b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet>&b;</worksheet>'
    with pytest.raises(UnreadableError, match="declares"):
        list(read_xlsx(changed(path, "xl/worksheets/sheet1.xml", bomb), SMALL))


def test_cut_off(tmp_path):
    data = sheet_of([["a", 1], ["b", 2]], tmp_path).read_bytes()
    path = tmp_path / "cut.xlsx"
    for size in [1, 100, *range(300, len(data), 700), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(UnreadableError):
            list(read_xlsx(path, SMALL))
    for at in range(0, len(data), 211):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(UnreadableError):
            assert list(read_xlsx(path, SMALL))


cells = st.one_of(st.none(), st.integers(-1000, 1000), st.text("ab |\n", max_size=4))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(cells, max_size=4), max_size=8))
def test_each_value_is_there_once(tmp_path, rows):
    found = " ".join(block.text for block in only(sheet_of(rows, tmp_path)).blocks[1:])
    words = sorted(word for word in found.replace("|", " ").split() if word)
    wanted = " ".join(str(cell) for row in rows for cell in row if cell is not None)
    assert words == sorted(wanted.replace("|", " ").split())
