from __future__ import annotations

import contextlib
import csv
import datetime
import gzip
import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.data import delimited
from denizen.ingest import records
from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.records import UniqueNames, read_delimited, read_json, read_jsonl, read_parquet, text_blocks

LIMITS = Limits(unpacked_mb=4)
READERS = [read_json, read_jsonl, read_delimited, read_parquet]


def written(tmp_path: Path, data: bytes | str, name: str = "file") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def split(found) -> tuple[list[Document], list[Failure]]:
    listed = list(found)
    documents = [each for each in listed if isinstance(each, Document)]
    failures = [each for each in listed if isinstance(each, Failure)]
    assert len(documents) + len(failures) == len(listed)
    return documents, failures


def texts(documents: list[Document]) -> list[str]:
    return ["\n".join(block.text for block in document.blocks) for document in documents]


def lines(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def digest(rendered: str) -> str:
    return hashlib.sha256(rendered.encode()).hexdigest()[:12]


def test_a_row(tmp_path):
    row = {
        "_id": 7,
        "Title": "Offer",
        "TEXT": "First  line\nsecond.\n \nNext.\r\n\r\nLast.",
        "domain": "sales",
        "year": 2024.0,
        "rate": 0.5,
        "open": True,
        "note": "x" * 190 + " and jo@example.org",
        "word": "x" * 300,
        "nothing": None,
        "nested": {"a": 1},
    }
    [document], failures = split(read_jsonl(written(tmp_path, lines(row)), LIMITS))
    assert failures == []
    assert document == Document(
        [Block("text", "First line second."), Block("text", "Next."), Block("text", "Last.")],
        name="7",
        title="Offer",
        domain="sales",
        metadata={"year": "2024", "rate": "0.5", "open": "True", "note": "x" * 190 + " and"},
    )


def test_which_column_is_the_text(tmp_path):
    rows = [
        {"body": "b", "content": "c"},
        {"text": "", "body": "b"},
        {"text": None},
        {"text": ["one", "two"]},
        {"text": {"a": "nested"}},
        {"question": "why", "answer": {"short": "so", "long": ["a", "b"]}},
    ]
    documents, _ = split(read_jsonl(written(tmp_path, lines(*rows)), LIMITS))
    wanted = ["c", "b", "", "one\ntwo", "text.a: nested", "question: why\nanswer.short: so\nanswer.long: a, b"]
    assert texts(documents) == wanted
    assert documents[0].metadata == {"body": "b"}
    assert documents[2].blocks == []
    assert documents[0].name == digest("body: b\ncontent: c")
    assert documents[5].name == digest("question: why\nanswer.short: so\nanswer.long: a, b")


def test_names_of_rows_stay_where_others_come_and_go(tmp_path):
    def names(*rows):
        return [document.name for document in split(read_jsonl(written(tmp_path, lines(*rows)), LIMITS))[0]]

    one, two, new = {"text": "a", "year": 1}, {"text": "a", "year": 2}, {"text": "b"}
    assert names(one, two) == [digest("text: a\nyear: 1"), digest("text: a\nyear: 2")]
    assert names(new, one, two)[1:] == names(one, two)
    assert names(one, one) == [names(one)[0], f"{names(one)[0]}~2"]


def test_an_id_may_be_repeated(tmp_path):
    data = "id,text\na,one\na,two\na~2,three\na,one\nb,four\n"
    documents, failures = split(read_delimited(written(tmp_path, data), LIMITS))
    assert failures == []
    assert [document.name for document in documents] == ["a", "a~2", "a~2~2", "a~3", "b"]
    assert texts(documents) == ["one", "two", "three", "one", "four"]


@given(st.lists(st.sampled_from(["a", "a~2", "a~3", "b"]), max_size=12))
def test_no_name_is_given_twice(names):
    unique = UniqueNames()
    found = [unique.unique(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(given == name or given.startswith(f"{name}~") for given, name in zip(found, names, strict=True))


def test_most_columns(tmp_path):
    row = {"text": "a", **{f"c{number:02}": number for number in range(30)}}
    [document], _ = split(read_jsonl(written(tmp_path, lines(row)), LIMITS))
    assert list(document.metadata) == [f"c{number:02}" for number in range(20)]


def test_bad_lines_cost_themselves(tmp_path):
    good = [json.dumps({"id": f"a{number}", "text": "x"}) for number in range(3)]
    data = "\n".join([good[0], '{"id": "b", ' + "z" * 300, "[1]", "", good[0], good[1], "[" * 100_000, good[2]])
    documents, failures = split(read_jsonl(written(tmp_path, data), LIMITS))
    assert [document.name for document in documents] == ["a0", "a0~2", "a1", "a2"]
    assert [failure.name for failure in failures] == ["line 2", "line 3", "line 7"]
    broken, kind, deep = failures
    assert broken.error.startswith("broken JSON") and broken.raw == '{"id": "b",'
    assert kind.error == "is a JSON list, not an object"
    assert "too deeply" in deep.error and deep.raw == ""


def test_line_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_LONGEST_LINE", 50)
    data = lines({"text": "a"}, {"text": "x" * 120}, {"text": "b"})
    documents, [failure] = split(read_jsonl(written(tmp_path, data), LIMITS))
    assert texts(documents) == ["a", "b"]
    assert (failure.name, failure.error) == ("line 2", "is too long")


def test_other_encodings_and_half_surrogates(tmp_path):
    data = (
        b"\xef\xbb\xbf" + b'{"text": "caf\xc3\xa9"}\n{"text": "caf\xe9"}\n{"text": "a\\ud800b", "title": "\\udfff"}\n'
    )
    documents, failures = split(read_jsonl(written(tmp_path, data), LIMITS))
    assert (texts(documents), failures) == (["café", "café", "a?b"], [])
    json.dumps([document.as_dict() for document in documents], ensure_ascii=False).encode()


def test_no_json_lines(tmp_path):
    found = read_jsonl(written(tmp_path, "words\n" * 5000), LIMITS)
    with pytest.raises(UnreadableError, match="none of the first 100 lines"):
        list(found)


@pytest.mark.parametrize(
    "data, wanted",
    [
        ([{"text": "a"}, {"text": "b"}], ["a", "b"]),
        ({"text": "a", "data": [{"text": "b"}]}, ["a"]),
        ({"count": 2, "documents": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ({"entries": [{"text": "a"}]}, ["a"]),
        ({"x": [{"k": 1}], "y": [{"k": [{"l": 2}]}]}, ["x.1.k: 1\ny.1.k.1.l: 2"]),
        (["a", "b"], ["a, b"]),
        ("a", ["a"]),
        ([], [""]),
        ({}, [""]),
    ],
)
def test_shapes_of_json(tmp_path, data, wanted):
    documents, failures = split(read_json(written(tmp_path, json.dumps(data)), LIMITS))
    assert (texts(documents), failures) == (wanted, [])


def test_array_with_other_things(tmp_path):
    documents, [failure] = split(read_json(written(tmp_path, '[{"text": "a"}, 3, {"text": "b"}]'), LIMITS))
    assert texts(documents) == ["a", "b"]
    assert (failure.name, failure.error, failure.raw) == ("row 2", "is a JSON int, not an object", "3")


@pytest.mark.parametrize(
    "data, why",
    [
        ("[" * 100_000, "too deeply"),
        ('{"a":' * 100_000, "too deeply"),
        ("9" * 5000, "too many digits"),
        ('[{"text": "a"}', "broken JSON"),
        ("", "broken JSON"),
        (bytes(4000), "broken JSON"),
    ],
)
def test_unreadable_json(tmp_path, data, why):
    with pytest.raises(UnreadableError, match=why):
        list(read_json(written(tmp_path, data), LIMITS))


def test_deep_but_valid_json(tmp_path):
    [document], _ = split(read_json(written(tmp_path, '{"a":' * 400 + "1" + "}" * 400), LIMITS))
    assert document.blocks[0].text == ".".join("a" * 400) + ": 1"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_delimiters(tmp_path, delimiter):
    rows = [["id", "text", "year"], ["a", "One, two; three|four", "2024"], ["b", "Five.", "2025"]]
    if delimiter == "\t":
        data = "\n".join("\t".join(row) for row in rows)
    else:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter).writerows(rows)
        data = buffer.getvalue()
    documents, failures = split(read_delimited(written(tmp_path, data), LIMITS))
    assert failures == []
    assert [(each.name, each.metadata) for each in documents] == [("a", {"year": "2024"}), ("b", {"year": "2025"})]
    assert texts(documents) == ["One, two; three|four", "Five."]


def test_rows_without_a_text_column(tmp_path):
    documents, _ = split(read_delimited(written(tmp_path, "part,price,\nbolt,3,x\nnut,,y\n"), LIMITS))
    assert texts(documents) == ["part: bolt\nprice: 3\ncolumn 3: x", "part: nut\ncolumn 3: y"]
    assert [len(document.blocks) for document in documents] == [1, 1]


def test_one_bad_row(tmp_path):
    data = 'id,text\na,"one\n\nand"\nb,two,extra\n\nc,three\nd,\x00\n'
    documents, failures = split(read_delimited(written(tmp_path, data), LIMITS))
    assert texts(documents) == ["one\nand", "two,extra", "three", ""]
    assert [(failure.name, failure.error) for failure in failures] == [
        ("line 5", "has 3 fields, the header has 2; it is kept"),
        ("line 8", "holds a NUL, which is left out; it is kept"),
    ]
    assert failures[0].raw.strip() == "b,two,extra"


def test_what_a_failure_shows_ends_before_a_word_that_is_cut(tmp_path):
    long = "x" * 182 + " jo@example.org " + "y" * 50
    data = f'id,text\na,b,{long}\nc,"{long}\n'
    _, failures = split(read_delimited(written(tmp_path, data), LIMITS))
    assert [failure.raw for failure in failures] == ["a,b," + "x" * 182, 'c,"' + "x" * 182 + " jo@example.org"]


def test_an_unclosed_quote_is_text_and_ends_with_its_line(tmp_path):
    data = 'id,text\na,one\nb,"two\n' + "".join(f"c{number},text\n" for number in range(50))
    documents, [failure] = split(read_delimited(written(tmp_path, data), LIMITS))
    assert [document.name for document in documents] == ["a", "b", *(f"c{number}" for number in range(50))]
    assert texts(documents)[1] == '"two'
    assert (failure.name, failure.raw) == ("line 3", 'b,"two\n')
    assert failure.error == "opens a quote that is not closed; it is kept"


def test_quote_that_is_closed_far_below(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_RECORD_LINES", 20)
    data = 'id,text\nb,"two\n' + "".join(f"c{number},text\n" for number in range(50)) + 'd,"end"\n'
    documents, [failure] = split(read_delimited(written(tmp_path, data), LIMITS))
    assert len(documents) == 52 and texts(documents)[-1] == "end"
    assert failure.name == "line 2"


def test_quotes_between_tabs_are_text(tmp_path):
    documents, failures = split(read_delimited(written(tmp_path, 'id\ttext\na\t"open\nb\ta "b" c\n'), LIMITS))
    assert (texts(documents), failures) == (['"open', 'a "b" c'], [])


def test_single_columns(tmp_path):
    named, _ = split(read_delimited(written(tmp_path, "text\nOne.\nTwo.\n"), LIMITS))
    bare, _ = split(read_delimited(written(tmp_path, "One.\nTwo.\n"), LIMITS))
    assert texts(named) == texts(bare) == ["One.", "Two."]


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings_of_csv(tmp_path, code):
    documents, failures = split(read_delimited(written(tmp_path, "id,text\na,café – thé\n".encode(code)), LIMITS))
    assert (texts(documents), failures, documents[0].name) == (["café – thé"], [], "a")


def test_long_fields_and_the_limit_of_the_csv_module(tmp_path):
    before = csv.field_size_limit()
    [document], _ = split(read_delimited(written(tmp_path, f"id,text\na,{'x' * 200_000}\n"), LIMITS))
    assert len(document.blocks[0].text) == 200_000
    assert csv.field_size_limit() == before


def test_zeros_are_no_text(tmp_path):
    for name, data in (("a", bytes(5000)), ("b", bytes(5000) + b"\n" + bytes(5000))):
        with pytest.raises(UnreadableError, match="is not text"):
            list(read_delimited(written(tmp_path, data, name), LIMITS))


word = st.text('aé一\u2028,"', max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.text('ab",\n ;', max_size=8), word), max_size=8))
def test_what_csv_writes_is_read(tmp_path, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("id", "text", "more"), *((f"i{n}", *row) for n, row in enumerate(rows))])
    documents, failures = split(read_delimited(written(tmp_path, buffer.getvalue()), LIMITS))
    assert failures == []
    assert [document.name for document in documents] == [f"i{number}" for number in range(len(rows))]
    assert [document.blocks for document in documents] == [text_blocks(text) for text, _ in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=60), st.text('a"\n,;\t{}[]:\x00\r', max_size=60).map(str.encode)))
def test_anything_is_read_or_refused(tmp_path, data):
    for read in READERS:
        with contextlib.suppress(UnreadableError):
            split(read(written(tmp_path, data), LIMITS))


@pytest.mark.parametrize("read, data", [(read_jsonl, lines({"text": "a"})), (read_delimited, "id,text\n1,a\n")])
def test_gzipped(tmp_path, read, data):
    path = written(tmp_path, gzip.compress(data.encode()), "rows.gz")
    documents, failures = split(read(path, LIMITS))
    assert (texts(documents), failures) == (["a"], [])


def test_gzipped_json(tmp_path):
    assert len(list(read_json(written(tmp_path, gzip.compress(b'[{"text": "a"}]')), LIMITS))) == 1
    with pytest.raises(UnreadableError, match="unpacks to more than 4 MiB"):
        list(read_json(written(tmp_path, gzip.compress(b" " * (5 << 20))), LIMITS))


def test_gzip_bomb_and_cut_off_gzip(tmp_path):
    many = lines(*({"text": f"row {number} " + "x" * 100_000} for number in range(50)))
    documents, failures = split(read_jsonl(written(tmp_path, gzip.compress(many.encode())), LIMITS))
    assert 35 < len(documents) < 45
    assert [(failure.name, "4 MiB" in failure.error) for failure in failures] == [("", True)]
    few = gzip.compress("".join(f"{n},{n * 7919 % 1000}\n" for n in range(20_000)).encode())
    for size in (len(few) // 2, 30, 3):
        with pytest.raises(UnreadableError, match="broken gzip file"):
            list(read_delimited(written(tmp_path, few[:size]), LIMITS))
    documents, [failure] = split(read_jsonl(written(tmp_path, gzip.compress(many[:900_000].encode())[:-20]), LIMITS))
    assert len(documents) > 0 and "broken gzip file" in failure.error


def parquet(tmp_path: Path, columns: dict, **options) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet_with_nested_columns(tmp_path):
    columns = {
        "id": pa.array([1, 2, 1], pa.int64()),
        "text": ["One.", None, "Three."],
        "day": pa.array([datetime.date(2024, 3, 1)] * 3),
        "tags": [["a", "b"], [], None],
        "source": [{"page": 3}, {"page": 4}, None],
        "raw": [b"\xff", b"", None],
    }
    documents, failures = split(read_parquet(parquet(tmp_path, columns), LIMITS))
    assert (texts(documents), failures) == (["One.", "", "Three."], [])
    assert documents[0].metadata == {"day": "2024-03-01"}
    assert [document.name for document in documents] == ["1", "2", "1~2"]


def test_parquet_without_a_text_column(tmp_path):
    columns = {"claim": ["a"], "evidence": [[{"page": 3, "quote": "b"}]], "tags": [["c", "d"]]}
    [document], _ = split(read_parquet(parquet(tmp_path, columns), LIMITS))
    assert document.blocks[0].text == "claim: a\nevidence.1.page: 3\nevidence.1.quote: b\ntags: c, d"


def test_parquet_bytes_that_are_no_text(tmp_path):
    raw = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary())
    broken = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    documents, [failure] = split(read_parquet(parquet(tmp_path, {"text": broken}), LIMITS))
    assert texts(documents) == ["good", "fine"]
    assert failure.name == "row 2"


def test_parquet_with_a_broken_row_group(tmp_path):
    path = parquet(tmp_path, {"text": [f"text {n}" for n in range(40)]}, row_group_size=20, compression="gzip")
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start + 10 : start + 40] = bytes(30)
    path.write_bytes(data)
    documents, [failure] = split(read_parquet(path, LIMITS))
    assert texts(documents) == [f"text {n}" for n in range(20, 40)]
    assert failure.name == "rows 1 to 20"


def test_no_parquet(tmp_path):
    whole = parquet(tmp_path, {"text": ["a"]}).read_bytes()
    for data in (b"", bytes(3000), b"text", whole[:-5], whole[: len(whole) // 2], b"PAR1" + bytes(50) + b"PAR1"):
        with pytest.raises(UnreadableError, match="not a readable Parquet file"):
            list(read_parquet(written(tmp_path, data), LIMITS))
