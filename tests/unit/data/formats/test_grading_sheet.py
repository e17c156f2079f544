from __future__ import annotations

import codecs
import contextlib
import csv
import datetime
import io
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.data.formats import grading_sheet
from denizen.data.formats.grading_sheet import COLUMNS, GRADES, GradedSheet, SheetRow, read_sheet, row_key, write_sheet
from denizen.engine.errors import InputError

ROWS = [
    SheetRow("007", "1-2", "what is gout?", "Gout is an arthritis."),
    SheetRow("q2", "3E5", "fièvre; “chaude”", 'First line,\nsecond "line"\t; end'),
    SheetRow("q2", "TRUE", "fever", "Nothing here."),
]
KEYS = [row_key(row.query_id, row.doc_id) for row in ROWS]
SUFFIXES = [".csv", ".xlsx"]

nasty = st.text(st.sampled_from("=+-@'\"\t\r\n;,\x00\x1f\ud83d\uffff\u2028 ä_x000D😀1é"), max_size=12) | st.text(
    max_size=30
)
same_folder = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def grade_column(path: Path, grades: dict[str, object]) -> None:
    """Fills in grades by row key, as a person with Excel or an editor would."""
    if path.suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        for row in book["grades"].iter_rows(min_row=2):
            row[COLUMNS.index("grade")].value = grades.get(row[0].value)
        book.save(path)
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *records = csv.reader(file)
    for record in records:
        record[COLUMNS.index("grade")] = grades.get(record[0], "")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *records])


def sheet_file(tmp_path: Path, *records: list[object], name: str = "a.csv") -> Path:
    """A sheet with only the columns that are read back."""
    path = tmp_path / name
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for record in (["row", "grade"], *records):
            book.active.append(record)
        book.save(path)
    else:
        path.write_text("".join(f"{key},{grade}\n" for key, grade in (["row", "grade"], *records)), encoding="utf-8")
    return path


def repacked(path: Path, part: str, change) -> None:
    """Changes one part of an .xlsx file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts[part])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


FIRST_SHEET, SECOND_SHEET = "xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_grades_come_back_by_row_key(tmp_path, suffix) -> None:
    path = tmp_path / f"sheet{suffix}"
    write_sheet(path, ROWS)
    assert read_sheet(path) == GradedSheet({}, 3, [])
    grade_column(path, {KEYS[0]: 4, KEYS[2]: 1})
    assert read_sheet(path) == GradedSheet({KEYS[0]: 4, KEYS[2]: 1}, 1, [])


@same_folder
@given(
    st.lists(st.tuples(nasty, nasty, nasty, nasty), min_size=1, max_size=5, unique_by=lambda row: row[:2]),
    st.sampled_from(SUFFIXES),
    st.data(),
)
def test_any_texts_and_ids_are_written_and_their_grades_come_back(tmp_path, texts, suffix, data) -> None:
    path = tmp_path / f"sheet{suffix}"
    path.unlink(missing_ok=True)
    rows = [SheetRow(*text) for text in texts]
    write_sheet(path, rows)
    grades = {row_key(row.query_id, row.doc_id): data.draw(st.sampled_from([1, 2, 3, 4, None])) for row in rows}
    given_grades = {key: grade for key, grade in grades.items() if grade}
    grade_column(path, given_grades)
    assert read_sheet(path) == GradedSheet(given_grades, len(rows) - len(given_grades), [])


@same_folder
@given(st.lists(st.tuples(nasty, nasty), min_size=2, max_size=2, unique=True))
def test_row_keys_are_letters_alone_and_differ(pairs) -> None:
    keys = [row_key(*pair) for pair in pairs]
    assert keys[0] != keys[1]
    assert all(len(key) == 12 and key.isascii() and key.islower() and not set(key) & set("aeiou") for key in keys)


def test_a_row_key_depends_on_where_one_id_ends_and_the_other_begins_and_stays_the_same() -> None:
    """The first 12 hexadecimal digits of SHA-256 of '["q1", "d1"]' (sha256sum), with b for 0, c for 1, ... t for f."""
    assert row_key("q1", "d1") == "dlklstsrprmt"
    assert row_key("a", "bc") != row_key("ab", "c")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_order_is_that_of_the_keys_whatever_order_the_pairs_came_in(tmp_path, suffix) -> None:
    for name, rows in (("one", ROWS), ("other", ROWS[::-1])):
        path = tmp_path / f"{name}{suffix}"
        write_sheet(path, rows)
        if suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                table = list(csv.reader(file))
        else:
            table = list(openpyxl.load_workbook(path)["grades"].values)
        assert [record[0] for record in table] == ["row", *sorted(KEYS)]


def test_the_csv_has_a_byte_order_mark_a_header_and_no_grades(tmp_path) -> None:
    write_sheet(tmp_path / "a.csv", ROWS[:1])
    assert (tmp_path / "a.csv").read_bytes() == codecs.BOM_UTF8 + (
        b"row,query,passage,grade,query_id,doc_id\r\n"
        + f"{KEYS[0]},what is gout?,Gout is an arthritis.,,007,1-2\r\n".encode()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_the_xlsx_shows_the_pairs_as_text_the_meaning_and_the_choice_of_grades(tmp_path) -> None:
    write_sheet(tmp_path / "a.xlsx", ROWS)
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    sheet, meaning = book["grades"], book["meaning"]
    assert [cell.value for cell in sheet[1]] == list(COLUMNS)
    first = next(row for row in sheet.iter_rows(min_row=2) if row[0].value == KEYS[0])
    assert [cell.value for cell in first] == [KEYS[0], "what is gout?", "Gout is an arthritis.", None, "007", "1-2"]
    assert [first[at].number_format for at in (0, 4, 5)] == ["@"] * 3
    assert first[2].alignment.wrap_text and sheet.freeze_panes == "A2"
    assert sheet.column_dimensions["C"].width > sheet.column_dimensions["A"].width
    (choice,) = sheet.data_validations.dataValidation
    assert (choice.type, choice.formula1, str(choice.sqref)) == ("list", '"1,2,3,4"', "D2:D4")
    assert choice.allow_blank and choice.showErrorMessage
    shown = dict(list(meaning.values)[1:5])
    assert shown == GRADES and list(GRADES) == [1, 2, 3, 4]


FORMULAS = ["=1+1", "+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1", "=HYPERLINK(1)"]


@pytest.mark.parametrize("text", [*FORMULAS, '"=1+1"'])
def test_no_cell_of_a_csv_begins_a_formula_whichever_separator_is_expected(tmp_path, text) -> None:
    rows = [SheetRow(text, text, text, f"{text};{text}; {text}\t{text}\n{text}")]
    write_sheet(tmp_path / "a.csv", rows)
    content = (tmp_path / "a.csv").read_text(encoding="utf-8-sig")
    for separator in ",;\t":
        for record in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
            assert not any(cell.strip().startswith(("=", "+", "-", "@", "＝")) for cell in record)
    assert read_sheet(tmp_path / "a.csv").empty == 1


@pytest.mark.parametrize("text", [*FORMULAS, "#N/A", "#REF!"])
def test_every_cell_of_an_xlsx_is_text(tmp_path, text) -> None:
    write_sheet(tmp_path / "a.xlsx", [SheetRow(text, text, text, text)])
    second = list(openpyxl.load_workbook(tmp_path / "a.xlsx")["grades"].rows)[1]
    cells = [cell for cell in second if cell.value is not None]
    assert [cell.value for cell in cells[1:]] == [text.strip()] * 4
    assert {cell.data_type for cell in cells} == {"s"}
    assert all(cell.quotePrefix for cell in cells[1:]) is not text.startswith("#")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cell_longer_than_excel_allows_is_cut_and_says_so(tmp_path, suffix) -> None:
    rows = [SheetRow("q1", "d1", "x" * 32_767, "😀" * 20_000), SheetRow("q1", "d2", "q", "y" * 32_768)]
    write_sheet(tmp_path / f"a{suffix}", rows)
    if suffix == ".csv":
        with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
            records = list(csv.reader(file))[1:]
    else:
        records = list(openpyxl.load_workbook(tmp_path / "a.xlsx")["grades"].values)[1:]
    by_doc = {record[5]: record for record in records}
    # two UTF-16 units each: 6 units for the mark, and no half character
    assert by_doc["d1"][2] == "😀" * 16_380 + " [cut]"
    assert by_doc["d1"][1] == "x" * 32_767
    assert by_doc["d2"][2] == "y" * 32_761 + " [cut]"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sheet_with_grades_or_remarks_is_never_overwritten_and_one_without_is(tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    write_sheet(path, ROWS)
    write_sheet(path, ROWS[:2])
    assert read_sheet(path).empty == 2
    for grade in (4, "unsure"):
        grade_column(path, {KEYS[0]: grade})
        before = path.read_bytes()
        with pytest.raises(InputError, match=r"holds 1 grade\(s\), which would be lost; move it"):
            write_sheet(path, ROWS)
        assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_no_grading_sheet_is_never_overwritten(tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("name,price\n")
    with pytest.raises(InputError, match="exists and is not an empty grading sheet"):
        write_sheet(path, ROWS)
    assert path.read_text() == "name,price\n"


def test_no_pairs_equal_pairs_and_unknown_kinds_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no pair to grade"):
        write_sheet(tmp_path / "a.csv", [])
    with pytest.raises(InputError, match=r"\('q2', 'TRUE'\).*give every pair once"):
        write_sheet(tmp_path / "a.csv", [*ROWS, ROWS[2]])
    with pytest.raises(InputError, match=r"written as \.csv or \.xlsx"):
        write_sheet(tmp_path / "a.ods", ROWS)
    with pytest.raises(InputError, match="cannot be written"):
        write_sheet(tmp_path / "nowhere" / "a.csv", ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sheet_that_cannot_be_written_to_its_end_leaves_nothing_behind(tmp_path, monkeypatch, suffix) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device; close it elsewhere"):
        write_sheet(tmp_path / f"a{suffix}", ROWS)
    assert list(tmp_path.iterdir()) == []


def test_without_openpyxl_the_remedy_is_named(tmp_path, monkeypatch) -> None:
    write_sheet(tmp_path / "a.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    for use in (lambda: write_sheet(tmp_path / "b.xlsx", ROWS), lambda: read_sheet(tmp_path / "a.xlsx")):
        with pytest.raises(InputError, match=r"pip install 'denizen\[xlsx\]'"):
            use()
    write_sheet(tmp_path / "b.csv", ROWS)


@pytest.mark.parametrize(
    "separator, encoding",
    [(";", "utf-8-sig"), (";", "utf-8"), (",", "utf-8"), (";", "cp1252"), ("\t", "utf-16"), (",", "utf-16-be")],
)
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".tsv"])
def test_text_is_read_as_excel_saves_it_with_ids_mangled(tmp_path, separator, encoding, suffix) -> None:
    """Excel makes a date of "1-2", 7 of "007" and 300000 of "3E5"; a German one writes 4,0 where it shows decimals."""
    content = io.StringIO()
    writer = csv.writer(content, delimiter=separator)
    writer.writerow(COLUMNS)
    writer.writerow([KEYS[0], "what is gout?", "Gout is", "4,0", "7", "01. Feb"])
    writer.writerow([KEYS[1], "fièvre; “chaude”", 'First line,\nsecond "line"\t; end', "2", "q2", "3,00E+05"])
    writer.writerow([KEYS[2], "fever", "Nothing here.", "", "q2", "WAHR"])
    path = tmp_path / f"a{suffix}"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + content.getvalue()).encode(encoding))
    assert read_sheet(path) == GradedSheet({KEYS[0]: 4, KEYS[1]: 2}, 1, [])


def test_a_byte_order_mark_before_another_code_page_does_not_hide_the_first_column(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(codecs.BOM_UTF8 + f"row,passage,grade\n{KEYS[0]},caf\xe9,3\n".encode("latin-1"))
    assert read_sheet(path).grades == {KEYS[0]: 3}


def test_columns_may_be_moved_renamed_in_case_and_added_and_short_rows_and_blank_ones_are_read(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"note, Grade ,ROW\n,4,{KEYS[0]}\n\n,,\nwell,,{KEYS[1]},more\nshort\n,x\n")
    assert read_sheet(path).grades == {KEYS[0]: 4}
    assert read_sheet(path).empty == 1
    # the number of the row in the spreadsheet, where the blank lines are rows too
    assert [(bad.place, bad.problem) for bad in read_sheet(path).problems] == [
        ("a.csv, row 7", "'' is no row key; restore the column 'row' as it was written")
    ]


@pytest.mark.parametrize("value", ["4", " 4 ", "4.0", "4.00", "\xa04"])
def test_what_reads_as_a_grade_is_one(tmp_path, value) -> None:
    for name in ("a.csv", "a.xlsx"):
        assert read_sheet(sheet_file(tmp_path, [KEYS[0], value], name=name)).grades == {KEYS[0]: 4}


@pytest.mark.parametrize("value", [4, 4.0])
def test_a_number_in_an_xlsx_is_a_grade(tmp_path, value) -> None:
    assert read_sheet(sheet_file(tmp_path, [KEYS[0], value], name="a.xlsx")).grades == {KEYS[0]: 4}


@pytest.mark.parametrize("value", ["0", "5", "-1", "3.5", "33", "x", "four", "4?", "4.", "true", "04", "٤"])
def test_anything_else_is_a_problem_with_its_row_and_no_grade(tmp_path, value) -> None:
    for name in ("a.csv", "a.xlsx"):
        sheet = read_sheet(sheet_file(tmp_path, [KEYS[1], 2], [KEYS[0], value], name=name))
        assert (sheet.grades, sheet.empty) == ({KEYS[1]: 2}, 0)
        assert [(bad.place, bad.problem) for bad in sheet.problems] == [
            (f"{name}, row 3", f"the grade is {value!r}; it is 1, 2, 3 or 4, or empty")
        ]


@pytest.mark.parametrize("value", [True, 3.5, datetime.date(2024, 1, 4)])
def test_other_kinds_of_cells_are_problems(tmp_path, value) -> None:
    sheet = read_sheet(sheet_file(tmp_path, [KEYS[0], value], name="a.xlsx"))
    assert sheet.grades == {} and len(sheet.problems) == 1


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_pair_with_different_grades_has_none_and_both_rows_are_named(tmp_path, name) -> None:
    records = [[KEYS[0], 4], [KEYS[1], 2], [KEYS[0], 1], [KEYS[1], 2], [KEYS[0], 4]]
    sheet = read_sheet(sheet_file(tmp_path, *records, name=name))
    assert sheet.grades == {KEYS[1]: 2}
    assert [(bad.place, bad.problem) for bad in sheet.problems] == [
        (f"{name}, row 4", f"the pair {KEYS[0]} has different grades (4 in row 2, 1 in row 4); keep one of them")
    ]


def test_a_damaged_row_key_is_a_problem_only_where_a_grade_would_be_lost(tmp_path) -> None:
    sheet = read_sheet(sheet_file(tmp_path, ["007", 4], ["7", ""], [KEYS[0].upper(), 1]))
    assert (sheet.grades, sheet.empty) == ({}, 1)
    assert [bad.place for bad in sheet.problems] == ["a.csv, row 2", "a.csv, row 4"]


@pytest.mark.parametrize("header, missing", [("row,query", "grade"), ("query;grade", "row"), ("a", "row', 'grade")])
def test_missing_columns_are_named(tmp_path, header, missing) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(InputError, match=rf"has no columns \['{missing}'\] in its first row"):
        read_sheet(tmp_path / "a.csv")
    book = openpyxl.Workbook()
    book.active.append(header.replace(";", ",").split(","))
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=rf"has no columns \['{missing}'\] in its first row"):
        read_sheet(tmp_path / "a.xlsx")


def test_missing_empty_unknown_and_broken_text_files_are_refused_naming_them(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        read_sheet(tmp_path / "none.csv")
    for name, content, message in [
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.ods", b"x", "save the sheet as .xlsx or .csv"),
        ("b.csv", f'row,grade\n{KEYS[0]},4\n{KEYS[1]},"3\n{KEYS[2]},2\n'.encode(), "broken CSV: unexpected end"),
        ("c.csv", codecs.BOM_UTF16_LE + b"r\0o", "broken UTF-16 at byte"),
        ("d.csv", b"\n\n", "has no columns"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_sheet(tmp_path / name)


def test_the_sheet_is_found_among_others_and_whatever_size_it_claims(tmp_path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, ROWS)
    grade_column(path, {KEYS[0]: 3})
    book = openpyxl.load_workbook(path)
    book.move_sheet("meaning", -1)
    book["grades"].title = "done by Ann"
    book.save(path)
    repacked(path, SECOND_SHEET, lambda xml: xml.replace(b'<dimension ref="A1:F4"', b'<dimension ref="A1"'))
    assert b'<dimension ref="A1"' in zipfile.ZipFile(path).read(SECOND_SHEET)
    assert read_sheet(path).grades == {KEYS[0]: 3}


BOMB = b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: BOMB + xml.replace(b"<t>grade<", b"<t>&b;<"),
        lambda xml: xml[: len(xml) // 2],
        lambda xml: xml.replace(b"sheetData>", b"sheet>", 1),
        lambda xml: b"",
        lambda xml: xml.replace(b'r="A2"', b'r="\xc3\xa4"'),
        lambda xml: xml.replace(b't="inlineStr"', b't="s"').replace(b"<is><t>", b"<v>").replace(b"</t></is>", b"</v>"),
    ],
    ids=["entities", "cut", "unbalanced", "nothing", "address", "no such string"],
)
def test_a_hostile_or_damaged_xlsx_is_refused_naming_it(tmp_path, change) -> None:
    path = sheet_file(tmp_path, [KEYS[0], 4], name="a.xlsx")
    repacked(path, FIRST_SHEET, change)
    with pytest.raises(InputError, match=r"a\.xlsx is not a readable .xlsx file: "):
        read_sheet(path)


@pytest.mark.parametrize("content", [b"row,grade\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 200])
def test_what_is_no_xlsx_at_all_is_refused_naming_it(tmp_path, content) -> None:
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.xlsx is not a readable .xlsx file: "):
        read_sheet(tmp_path / "a.xlsx")


def test_rows_and_columns_beyond_those_of_excel_are_not_waited_for(tmp_path) -> None:
    path = sheet_file(tmp_path, [KEYS[0], 4], [KEYS[1], 3], name="a.xlsx")
    repacked(path, FIRST_SHEET, lambda xml: xml.replace(b'<row r="3"', b'<row r="999999999999"'))
    assert read_sheet(path).grades == {KEYS[0]: 4}
    path = sheet_file(tmp_path, [KEYS[0], 4], [KEYS[1], 3], name="a.xlsx")
    repacked(path, FIRST_SHEET, lambda xml: xml.replace(b'r="B3"', b'r="XFD3"'))
    assert read_sheet(path) == GradedSheet({KEYS[0]: 4}, 1, [])


def test_a_file_that_is_or_unpacks_to_too_much_is_refused_with_the_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(grading_sheet, "_MOST_BYTES", 2**20)
    text, book = tmp_path / "a.csv", sheet_file(tmp_path, [KEYS[0], 4], name="a.xlsx")
    text.write_bytes(b"row,grade\n" + b" " * 2**20)
    repacked(book, FIRST_SHEET, lambda xml: xml + b" " * 3 * 2**20)
    assert book.stat().st_size < 2**20
    for path, size in ((text, 1), (book, 3)):
        with pytest.raises(InputError, match=rf"{path.name} holds {size} MiB; a grading sheet has at most 1 MiB"):
            read_sheet(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_are_read_or_refused_and_nothing_else(tmp_path, data) -> None:
    path = tmp_path / data.draw(st.sampled_from(["a.csv", "a.xlsx"]))
    if not (tmp_path / f"whole-{path.name}").exists():
        write_sheet(tmp_path / f"whole-{path.name}", ROWS)
    content = bytearray((tmp_path / f"whole-{path.name}").read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert set(read_sheet(path).grades.values()) <= set(GRADES)
