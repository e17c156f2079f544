"""Rows in any dialect; what is expected is the table that the text was written from."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.delimited import Dialect, Row, delimited_rows

TABLE = [
    ["id", "title", "text"],
    ["1", 'What is "gout"?', "An arthritis; it hurts, mostly\nat night | and by day."],
    ["2", "Lupus", "A disease of 1,50 faces."],
    ["3", "Fever", "C:\\new is a folder.\tHigh, and dangerous for a child."],
]


def read(text: str, *known: str, name: str = "text") -> list[Row]:
    return list(delimited_rows(io.StringIO(text, newline=""), known or ("id", "text"), name))


def table(rows: list[Row]) -> list[list[str]]:
    """The header and the rows that have values."""
    kept = [row for row in rows if row.values]
    return [list(kept[0].values), *(list(row.values.values()) for row in kept)] if kept else []


def problems(rows: list[Row]) -> list[tuple[int, str]]:
    return [(row.first, row.problem) for row in rows if row.problem]


def written(rows: list[list[str]], **options: object) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **options).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x01"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "\ufeff"])
def test_tables_as_programs_write_them(delimiter: str, quoting: int, end: str, first: str) -> None:
    # csv does not quote a line feed where lines end otherwise
    quoting = csv.QUOTE_ALL if end == "\r" else quoting
    rows = read(first + written(TABLE, delimiter=delimiter, quoting=quoting, lineterminator=end))
    assert table(rows) == TABLE and problems(rows) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":"])
@pytest.mark.parametrize("line", ["sep={}", '"sep={}"', "SEP={}"])
def test_the_line_of_excel_names_the_delimiter(delimiter: str, line: str) -> None:
    rows = read("\ufeff" + line.format(delimiter) + "\r\n" + written(TABLE, delimiter=delimiter))
    assert table(rows) == TABLE and problems(rows) == []
    assert rows[0].first == 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_quotes_with_a_backslash_before_them(delimiter: str) -> None:
    lines = [delimiter.join(f'"{each.replace(chr(34), chr(92) + chr(34))}"' for each in row) for row in TABLE[:3]]
    assert table(read("\n".join(lines))) == TABLE[:3]


def test_single_quotes() -> None:
    text = "'id','title','text'\n'1','Gout, again','One, two'\n'2','Lupus','It''s a disease'\n"
    assert table(read(text)) == [
        ["id", "title", "text"],
        ["1", "Gout, again", "One, two"],
        ["2", "Lupus", "It's a disease"],
    ]


@pytest.mark.parametrize("count", [1, 2, 30])
def test_commas_of_decimals_and_of_prose_are_text(count: int) -> None:
    rows = [[f"Was kostet Teil {n}?", f"Teil {n} kostet {n},50 Euro, Porto inklusive."] for n in range(count)]
    text = "\n".join(["question;answer", *map(";".join, rows)])
    assert table(read(text)) == [["question", "answer"], *rows]


def test_without_a_header_the_longest_texts_are_the_text() -> None:
    rows = [[str(n), f"Teil {n} kostet {n},50 Euro, Porto inklusive."] for n in range(5)]
    found = read("\n".join(map(";".join, rows)))
    assert [row.values for row in found] == [{"column 1": number, "text": text} for number, text in rows]
    decimals = read("bolt;1,50\nnut;2,30\nscrew;0,75\n")
    assert next(row.values for row in decimals) == {"column 1": "bolt", "column 2": "1,50"}


@pytest.mark.parametrize(
    "first, is_header",
    [
        ("part;price", True),
        ("Country;2019", True),
        ("It is said.;It is a part of the machine.;dear", True),
        ("3.5;It is a part of the machine.;dear", False),
        ("bolt;3", False),
        ("ID;It is said. Or not.", True),
        ("2024-03-01;rain", False),
        ("Is it dear? (1 to 5, 5 is dear);Rank.", True),
    ],
)
def test_a_header_is_neither_a_number_nor_a_sentence(first: str, is_header: bool) -> None:
    assert (
        len(read(first + "".join(f"\n{part}" + ";so" * (first.count(";") - 1) for part in ("nut;7", "screw;9")))) == 2
    ) is is_header


def test_labels_always_have_a_header() -> None:
    assert [row.values for row in read("What?;3\nnut;7\n", name="")] == [{"What?": "nut", "3": "7"}]


def test_a_row_of_another_length_is_kept_and_said() -> None:
    text = "id,text,year\n1,A long text about gout,2024\n2,Rain, snow, and hail,2025\n3,Short\n4,Four,2026,,\n"
    found = read(text)
    assert table(found)[1:] == [
        ["1", "A long text about gout", "2024"],
        ["2", "Rain, snow, and hail", "2025"],
        ["3", "Short", ""],
        ["4", "Four", "2026"],
    ]
    assert problems(found) == [(3, "has 5 fields, the header has 3"), (4, "has 2 fields, the header has 3")]


def test_a_tab_may_be_named_by_its_escape() -> None:
    rows = read("sep=\\t\r\n" + written(TABLE, delimiter="\t"))
    assert table(rows) == TABLE and problems(rows) == []


def test_blanks_between_a_delimiter_and_a_quote() -> None:
    found = read('"question", "answer"\n"What is a, b?", "It is, well, so."\n"And c?", "It is ""d""."\n')
    assert table(found) == [["question", "answer"], ["What is a, b?", "It is, well, so."], ["And c?", 'It is "d".']]
    assert problems(found) == []


def test_a_row_that_begins_with_a_rhomb_is_no_comment_where_it_has_several_fields() -> None:
    found = read("question,answer\n#1 why?,because, so\nb?,it is\n")
    assert table(found) == [["question", "answer"], ["#1 why?", "because, so"], ["b?", "it is"]]
    assert problems(found) == [(2, "has 3 fields, the header has 2")]


def test_comments_and_a_title_above_the_table_are_said() -> None:
    text = "Prices of 2024\n\n# from the office, by hand\nid,text,price\n1,bolt,3\n# later\n2,#nut,4\n"
    found = read(text)
    assert table(found) == [["id", "text", "price"], ["1", "bolt", "3"], ["2", "#nut", "4"]]
    assert problems(found) == [
        (1, "stands before the header, and is left out"),
        (3, "is a comment, and is left out"),
        (6, "is a comment, and is left out"),
    ]


def test_a_header_behind_a_rhomb_and_row_names_of_r() -> None:
    assert table(read("#id\ttext\n1\tone\n")) == [["id", "text"], ["1", "one"]]
    assert table(read('"title" "x"\n'.replace(" ", ",") + '"1","one","a"\n"2","two","b"\n')) == [
        ["column 1", "title", "x"],
        ["1", "one", "a"],
        ["2", "two", "b"],
    ]


def test_a_nul_is_left_out_and_said() -> None:
    found = read("id,text\n1,a\0b\n2,c\n")
    assert table(found)[1:] == [["1", "ab"], ["2", "c"]]
    assert problems(found) == [(2, "holds a NUL, which is left out")]


@pytest.mark.parametrize("rest", ["", '3,"three"\n', '3,"three, four"\n4,five\n'])
def test_a_quote_that_never_closes_ends_with_its_line(rest: str) -> None:
    found = read('id,text\n1,"one, two"\n2,"open\n' + rest)
    assert table(found)[1:3] == [["1", "one, two"], ["2", '"open']]
    assert len(table(found)) == 3 + rest.count("\n")
    assert problems(found) == [(3, "opens a quote that is not closed")]


def test_quotes_between_tabs_are_of_the_text_where_they_do_not_close() -> None:
    rows = [["id", "text"], ["1", '"Gout" is what?'], ["2", 'a 5" pipe'], ["3", '"open']]
    assert table(read("\n".join(map("\t".join, rows)))) == rows


def test_one_column() -> None:
    assert table(read("text\nOne, two.\nThree.\n")) == [["text"], ["One, two."], ["Three."]]
    assert [row.values for row in read("One; a, b.\nTwo, c, d; e.\nThree.\n")] == [
        {"text": "One; a, b."},
        {"text": "Two, c, d; e."},
        {"text": "Three."},
    ]


def test_a_given_dialect_is_kept_to() -> None:
    found = delimited_rows(io.StringIO('a;b\tc\n"x"\t1\n', newline=""), dialect=Dialect("\t", quote=""))
    assert [row.values for row in found] == [{"a;b": '"x"', "c": "1"}]


def test_nothing_is_no_row() -> None:
    for text in ("", "\n\n", "id,text\n", "sep=;\n"):
        assert table(read(text)) == []


cells = st.text(st.sampled_from("ab é\"';,|\t\n.1会"), max_size=8).map(lambda text: text.strip("'"))


@given(
    rows=st.lists(st.tuples(st.just("k"), cells, cells).map(list), max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(max_examples=150, deadline=None)
def test_rows_in_any_dialect_come_back(rows: list[list[str]], delimiter: str, quoting: int) -> None:
    whole = [["id", "title", "text"], *rows]
    found = read(written(whole, delimiter=delimiter, quoting=quoting))
    assert [list(row.values.values()) for row in found] == rows and problems(found) == []


@given(st.text(st.sampled_from("ab,;\t|\"'\\#\n\r\0 1=sep"), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_letter_of_any_text_is_lost(text: str) -> None:
    found = list(delimited_rows(io.StringIO(text, newline="")))
    names = list(next((row.values for row in found if row.values), {}))
    kept = "".join(row.raw if not row.values else "".join(row.values.values()) for row in found)
    said = text.removeprefix("\ufeff")
    if names and not said.lower().lstrip('"').startswith("sep="):
        # a second "a" is called "a 2"; what has no name has a number for one
        assert kept.count("b") + "".join(names).count("b") >= said.count("b")
