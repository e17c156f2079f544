import gzip
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.data.delimited import Dialect
from denizen.data.formats.rows import (
    BadRow,
    BadRows,
    as_text,
    delimited,
    json_array,
    json_lines,
    parquet_rows,
    require_content,
)
from denizen.engine.errors import InputError


def file_with(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "value, text",
    [
        *((missing, "") for missing in (None, float("nan"), Decimal("nan"), "")),
        *((word, word) for word in ("nan", "NaN", "None", "NA", "null", " ")),
        (1984, "1984"),
        (1984.0, "1984"),
        (0, "0"),
        (0.5, "0.5"),
        (date(2024, 2, 29), "2024-02-29"),
        *((no, None) for no in (True, False, ["a"], [], {"a": 1}, b"a")),
    ],
)
def test_a_missing_value_is_empty_a_word_for_it_stays_and_numbers_are_written(value, text):
    assert as_text(value) == text


def test_bad_rows_stop_the_run_with_their_number_places_and_the_remedy():
    bad = BadRows()
    bad.add("a.jsonl, line 3", "broken JSON", "{")
    bad.add("a.jsonl, line 9", "not UTF-8")
    with pytest.raises(InputError) as refused:
        bad.check()
    assert str(refused.value) == (
        "2 unusable row(s):\n  a.jsonl, line 3: broken JSON\n  a.jsonl, line 9: not UTF-8\n"
        "Mend them, or skip and count them with --skip-bad-rows."
    )


def test_only_the_first_five_bad_rows_are_shown_and_the_rest_counted():
    bad = BadRows()
    for line in range(1, 8):
        bad.add(f"line {line}", "broken")
    with pytest.raises(InputError, match="7 unusable row") as refused:
        bad.check()
    assert "line 5: broken\n  and 2 more\n" in str(refused.value)
    assert "line 6" not in str(refused.value)


def test_exactly_five_bad_rows_are_all_shown_and_none_is_left_over():
    bad = BadRows()
    for line in range(1, 6):
        bad.add(f"line {line}", "broken")
    with pytest.raises(InputError, match="line 5: broken\nMend"):
        bad.check()


def test_without_bad_rows_or_with_leave_to_skip_them_nothing_is_raised():
    BadRows().check()
    skipping = BadRows(skip=True)
    skipping.add("line 1", "broken", "x")
    skipping.check()
    assert skipping.rows == [BadRow("line 1", "broken", "x")]


def test_the_raw_text_of_a_bad_row_is_cut():
    bad = BadRows()
    bad.add("line 1", "broken", "x" * 10_000)
    assert bad.rows[0].raw == "x" * 500


@pytest.mark.parametrize("suffix, pack", [("", bytes), (".gz", gzip.compress)])
def test_json_lines_counts_lines_and_passes_over_blank_ones(tmp_path, suffix, pack):
    path = file_with(tmp_path, f"a.jsonl{suffix}", pack(b'\xef\xbb\xbf{"a": 1}\n\n  \r\n{"a": "\xc3\xa4"}'))
    bad = BadRows()
    assert list(json_lines(path, bad)) == [(f"{path.name}, line 1", {"a": 1}), (f"{path.name}, line 4", {"a": "ä"})]
    assert bad.rows == []


@pytest.mark.parametrize(
    "line, problem",
    [
        (b'{"a": 1 2}', "broken JSON: Expecting ',' delimiter at column 9"),
        (b"nothing", "broken JSON: Expecting value at column 1"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b"[1, 2]", "is a JSON list, not an object"),
        (b'"text"', "is a JSON str, not an object"),
        (b"null", "is a JSON NoneType, not an object"),
    ],
)
def test_one_bad_json_line_is_noted_with_its_line_and_the_others_are_read(tmp_path, line, problem):
    path = file_with(tmp_path, "a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    bad = BadRows()
    assert [row for _, row in json_lines(path, bad)] == [{"a": 1}, {"a": 3}]
    assert [(row.place, row.problem) for row in bad.rows] == [("a.jsonl, line 2", problem)]
    assert bad.rows[0].raw


@pytest.mark.parametrize(
    "content",
    [
        b"plain text",
        gzip.compress(b'{"a": 1}\n' * 1000)[:-12],
        gzip.compress(b'{"a": 1}\n')[:10] + b"\xff" * 20,
        gzip.compress(b'{"a": 1}\n')[:-8] + b"\x00" * 8,
    ],
    ids=["no gzip", "truncated", "garbage inside", "wrong checksum"],
)
def test_a_broken_gzip_file_is_refused_naming_it(tmp_path, content):
    path = file_with(tmp_path, "a.jsonl.gz", content)
    with pytest.raises(InputError, match=r"a\.jsonl\.gz is not a readable gzip file"):
        list(json_lines(path, BadRows(skip=True)))


def test_a_json_array_counts_rows_and_notes_what_is_no_object(tmp_path):
    path = file_with(tmp_path, "a.json", b'\xef\xbb\xbf[{"a": 1}, 5, {"a": 3}]')
    bad = BadRows()
    assert list(json_array(path, bad)) == [("a.json, row 1", {"a": 1}), ("a.json, row 3", {"a": 3})]
    assert [(row.place, row.problem) for row in bad.rows] == [("a.json, row 2", "is a JSON int, not an object")]


def test_a_broken_json_array_is_refused_with_file_line_and_column(tmp_path):
    path = file_with(tmp_path, "a.json", '[{"a": 1},\n {"a" 2}]')
    with pytest.raises(InputError) as refused:
        list(json_array(path, BadRows()))
    assert str(refused.value) == f"{path}, line 2: broken JSON: Expecting ':' delimiter at column 7"


def test_a_json_object_in_place_of_an_array_is_refused(tmp_path):
    path = file_with(tmp_path, "a.json", '{"a": 1}')
    with pytest.raises(InputError, match="holds a JSON dict; it should be an array of objects"):
        list(json_array(path, BadRows()))


def test_a_whole_file_that_is_not_utf8_is_refused_with_the_line(tmp_path):
    path = file_with(tmp_path, "a.json", b"first\nsecond\ncaf\xe9\n")
    with pytest.raises(InputError) as refused:
        list(json_array(path, BadRows(skip=True)))
    assert str(refused.value) == f"{path}, line 3: not UTF-8 (byte 16); save it as UTF-8"


def test_delimited_reads_quotes_line_breaks_and_a_byte_order_mark(tmp_path):
    path = file_with(tmp_path, "a.csv", '\ufeff q , a \r\n"one, ""1""","x\ny"\r\n\r\n two ,z\r\n')
    bad = BadRows()
    assert list(delimited(path, bad)) == [
        ("a.csv, line 3", {"q": 'one, "1"', "a": "x\ny"}),
        ("a.csv, line 5", {"q": " two ", "a": "z"}),
    ]
    assert bad.rows == []


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_record_with_the_wrong_number_of_fields_is_noted_with_its_line(tmp_path, delimiter):
    lines = ["q,a", "1,2", "1", "1,2,3", "3,4"]
    path = file_with(tmp_path, "a.csv", "\n".join(lines).replace(",", delimiter))
    bad = BadRows()
    assert [row for _, row in delimited(path, bad)] == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]
    assert [(row.place, row.problem) for row in bad.rows] == [
        ("a.csv, line 3", "has 1 fields, the header has 2"),
        ("a.csv, line 4", "has 3 fields, the header has 2"),
    ]


def test_a_quote_that_is_not_closed_is_refused_with_file_and_line(tmp_path):
    path = file_with(tmp_path, "a.csv", 'q,a\n1,2\n"open,x\n3,4\n')
    bad = BadRows()
    assert [row for _, row in delimited(path, bad)] == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]
    with pytest.raises(InputError, match=r"a\.csv, line 3: opens a quote that is not closed"):
        bad.check()


def test_a_quote_that_is_shut_within_a_field_is_text(tmp_path):
    path = file_with(tmp_path, "a.csv", 'q,a\n1,2\n"shut"x,y\n')
    assert [row for _, row in delimited(path, BadRows())] == [{"q": "1", "a": "2"}, {"q": '"shut"x', "a": "y"}]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.text(st.sampled_from('ab,"\n\tä '), min_size=1, max_size=6)] * 2), max_size=6))
def test_what_the_csv_module_wrote_is_read_again(tmp_path, records):
    import csv

    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("q", "a"), *records])
    assert [tuple(row.values()) for _, row in delimited(path, BadRows())] == records


def test_parquet_rows_counts_rows(tmp_path):
    pq.write_table(pa.table({"a": [1, None]}), tmp_path / "a.parquet")
    assert list(parquet_rows(tmp_path / "a.parquet")) == [
        ("a.parquet, row 1", {"a": 1}),
        ("a.parquet, row 2", {"a": None}),
    ]


def test_a_file_that_is_no_parquet_is_refused_naming_it(tmp_path):
    path = file_with(tmp_path, "a.parquet", "question,answer\n")
    with pytest.raises(InputError, match=r"a\.parquet is not a readable Parquet file: "):
        list(parquet_rows(path))


def test_a_missing_and_an_empty_file_are_refused_naming_them(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        require_content(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"empty\.csv is empty"):
        require_content(file_with(tmp_path, "empty.csv", ""))
    require_content(file_with(tmp_path, "full.csv", "x"))


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c", "\x1d"])
def test_a_line_separator_inside_a_field_does_not_end_the_record(tmp_path, mark):
    path = file_with(tmp_path, "a.csv", f"q,a\none,x{mark}y\n")
    assert [row for _, row in delimited(path, BadRows())] == [{"q": "one", "a": f"x{mark}y"}]


def test_a_long_field_is_read(tmp_path):
    path = file_with(tmp_path, "a.csv", "q,a\none," + "x" * 140_000 + "\n")
    assert [len(row["a"]) for _, row in delimited(path, BadRows())] == [140_000]


def test_quotes_in_tab_separated_text_are_text(tmp_path):
    path = file_with(tmp_path, "a.tsv", 'q\ta\n"Gout" is what?\tIt is\n')
    assert [row for _, row in delimited(path, BadRows())] == [{"q": '"Gout" is what?', "a": "It is"}]


@pytest.mark.parametrize("code", ["cp1252", "utf-16", "utf-8-sig"])
def test_delimited_text_as_excel_saves_it_is_decoded(tmp_path, code):
    path = file_with(tmp_path, "a.csv", "q;a\nZürich – où?;größer\n".encode(code))
    assert [row for _, row in delimited(path, BadRows())] == [{"q": "Zürich – où?", "a": "größer"}]


def test_a_character_that_cannot_be_decoded_is_refused_with_its_line(tmp_path):
    path = file_with(tmp_path, "a.csv", b"\xef\xbb\xbfa\n\xff\n")
    with pytest.raises(InputError, match=r"a\.csv, line 2: not utf-8, and not UTF-8; save it as UTF-8"):
        list(delimited(path, BadRows()))


def test_ids_of_qrels_keep_their_quotes_and_rhombs(tmp_path):
    path = file_with(tmp_path, "a.tsv", 'q\ta\n"x"\t1\n#y\n')
    bad = BadRows()
    assert [row for _, row in delimited(path, bad, Dialect("\t", quote=""))] == [{"q": '"x"', "a": "1"}]
    assert [row.place for row in bad.rows] == ["a.tsv, line 3"]


def test_a_parquet_file_with_damaged_pages_is_refused_naming_it(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [f"text {number}" for number in range(1000)]}), path)
    content = bytearray(path.read_bytes())
    content[100:120] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet is not a readable Parquet file"):
        list(parquet_rows(path))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000], ids=["number", "nesting"])
def test_a_json_line_with_an_endless_number_or_nesting_is_a_bad_row(tmp_path, value):
    path = file_with(tmp_path, "a.jsonl", '{"a": ' + value + '}\n{"a": 2}\n')
    bad = BadRows()
    assert [row for _, row in json_lines(path, bad)] == [{"a": 2}]
    assert [row.place for row in bad.rows] == ["a.jsonl, line 1"]


def test_a_json_line_that_is_cut_off_names_the_column_where_it_ends(tmp_path):
    bad = BadRows()
    assert list(json_lines(file_with(tmp_path, "a.jsonl", '{"a": 1\n'), bad)) == []
    assert bad.rows[0].problem == "broken JSON: Expecting ',' delimiter at column 8"


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000], ids=["number", "nesting"])
def test_a_json_array_with_an_endless_number_or_nesting_is_refused_naming_it(tmp_path, value):
    path = file_with(tmp_path, "a.json", "[" + value + "]")
    with pytest.raises(InputError, match=r"a\.json is nested too deeply, or holds a number of too many digits"):
        list(json_array(path, BadRows(skip=True)))


@pytest.mark.parametrize("read, name", [(json_array, "a.json"), (json_lines, "a.jsonl")])
@pytest.mark.parametrize("half", ['{"a": "cut \\ud83d"}', '"cut \\ud83d"'])
def test_half_a_surrogate_pair_is_a_bad_row_that_can_be_kept_as_text(tmp_path, read, name, half):
    text = f'{half}\n{{"a": "\\ud83d\\ude00"}}\n'
    bad = BadRows()
    path = file_with(tmp_path, name, text if read is json_lines else "[" + text.strip().replace("\n", ",") + "]")
    assert [row for _, row in read(path, bad)] == [{"a": "\U0001f600"}]
    assert len(bad.rows) == 1
    assert "1" in bad.rows[0].place
    assert "ud83d" in bad.rows[0].raw.encode("utf-8").decode()


def test_reading_leaves_the_limit_of_the_csv_module_as_it_was(tmp_path):
    import csv

    limit = csv.field_size_limit()
    list(delimited(file_with(tmp_path, "a.csv", "q,a\n1,2\n"), BadRows()))
    assert csv.field_size_limit() == limit


def test_text_that_is_not_utf8_in_a_parquet_file_is_refused_naming_it(tmp_path):
    damaged = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    pq.write_table(pa.table({"a": damaged}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet is not a readable Parquet file: .*utf-8"):
        list(parquet_rows(tmp_path / "a.parquet"))
