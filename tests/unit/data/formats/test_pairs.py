import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from denizen.data.formats.pairs import COLUMNS, read_dataset, read_pairs
from denizen.engine.errors import InputError

PAIRS = [("What is gout?", "A disease of the joints."), ("What is \u00e4 rash?", "Red, itchy skin.")]


def rows_of(names=("question", "answer"), pairs=PAIRS):
    return [dict(zip(names, pair, strict=True)) for pair in pairs]


def json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def delimited(rows, delimiter):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue().to_pybytes()


WRITERS = {
    "pairs.json": lambda rows: json.dumps(rows).encode(),
    "pairs.jsonl": json_lines,
    "pairs.jsonl.gz": lambda rows: gzip.compress(json_lines(rows)),
    "pairs.csv": lambda rows: delimited(rows, ","),
    "pairs.tsv": lambda rows: delimited(rows, "\t"),
    "pairs.parquet": parquet,
    "PAIRS.CSV": lambda rows: delimited(rows, ","),
}


def file_with(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path, **arguments):
    with pytest.raises(InputError) as refused:
        read_pairs(path, **arguments)
    return str(refused.value)


def questions_and_answers(source):
    """Each query's text with the text of its relevant document, following the ids."""
    documents = dict(zip(*(source.documents[name].to_pylist() for name in ("doc_id", "text")), strict=True))
    queries = dict(zip(*(source.queries[name].to_pylist() for name in ("query_id", "text")), strict=True))
    return [(queries[row["query_id"]], documents[row["doc_id"]]) for row in source.qrels.to_pylist()]


@pytest.mark.parametrize("names", COLUMNS)
@pytest.mark.parametrize("file", sorted(WRITERS))
def test_pairs_are_read_from_every_kind_of_file_and_column_naming(tmp_path, file, names):
    source = read_pairs(file_with(tmp_path, file, WRITERS[file](rows_of(names))))
    assert questions_and_answers(source) == PAIRS
    assert source.documents["source"].to_pylist() == [file] * 2
    assert source.documents["title"].to_pylist() == ["", ""]
    assert source.qrels["relevance"].to_pylist() == [1, 1]
    assert source.queries["source_doc_id"].to_pylist() == source.qrels["doc_id"].to_pylist()
    assert source.queries["origin"].to_pylist() == ["source"] * 2
    assert source.splits == set()
    assert source.cut is True
    assert source.bad_rows == []


def judged(source):
    """Query text, title and text of the document, and relevance of each label."""
    documents = {row["doc_id"]: (row["title"], row["text"]) for row in source.documents.to_pylist()}
    queries = dict(zip(*(source.queries[name].to_pylist() for name in ("query_id", "text")), strict=True))
    return [(queries[row["query_id"]], *documents[row["doc_id"]], row["relevance"]) for row in source.qrels.to_pylist()]


def passage(text, title=""):
    return {"docid": text, "title": title, "text": text}


@pytest.mark.parametrize(
    "row",
    [
        {"anchor": "Q?", "positive": "A.", "negative": "B.", "negative_2": "C."},
        {"query": "Q?", "positive": "A.", "negative_1": "B.", "negative_2": "C.", "negative_3": None},
        {"query": "Q?", "positive": ["A."], "negative": ["B.", "C."]},
        {"anchor": "Q?", "positives": ["A."], "negatives": ["B.", "", "C.", None]},
        {"query": "Q?", "pos": ["A."], "neg": ["B.", "C."], "id": 7},
        {"question": "Q?", "answer": "A.", "hard_negatives": ["B.", "C."]},
        {
            "query_id": "9",
            "query": "Q?",
            "positive_passages": [passage("A.")],
            "negative_passages": [passage("B."), passage("C.")],
        },
        {"question": "Q?", "positive_ctxs": [passage("A.")], "negative_ctxs": ["B."], "hard_negative_ctxs": ["C."]},
        {"query": "Q?", "positive": "A.", "negatives": '["B.", "C."]'},
    ],
    ids=lambda row: ", ".join(row),
)
@pytest.mark.parametrize("file", ["pairs.jsonl", "pairs.parquet"])
def test_negatives_of_every_naming_are_documents_judged_irrelevant(tmp_path, file, row):
    source = read_pairs(file_with(tmp_path, file, WRITERS[file]([row])))
    assert judged(source) == [("Q?", "", "A.", 1), ("Q?", "", "B.", 0), ("Q?", "", "C.", 0)]
    assert source.queries["source_doc_id"].to_pylist() == ["d1"]
    assert source.columns_left_out == tuple(name for name in row if name in ("id", "query_id"))


def test_documents_of_a_row_have_ids_and_titles_and_equal_ones_are_one(tmp_path):
    rows = [
        {"query": "One?", "pos": [passage("A.", "T"), "B."], "neg": ["C.", passage("A.", "Other"), "B."]},
        {"query": "Two?", "pos": ["C."], "neg": ["B."]},
    ]
    source = read_pairs(file_with(tmp_path, "p.json", json.dumps(rows)))
    assert source.documents["doc_id"].to_pylist() == ["d1", "d1.2", "n1", "n1.2"]
    # what is an answer and none, in one row, is one
    assert judged(source) == [
        ("One?", "T", "A.", 1),
        ("One?", "", "B.", 1),
        ("One?", "", "C.", 0),
        ("One?", "Other", "A.", 0),
        ("Two?", "", "C.", 1),
        ("Two?", "", "B.", 0),
    ]


@pytest.mark.parametrize(
    "more, problem",
    [
        ({"negatives": ["B.", 5]}, "'negatives' is empty or no text"),
        ({"negatives": "['B.']"}, "'negatives' is no list as JSON writes it"),
        ({"negative_passages": [{"docid": "1", "contents": "B."}]}, "'negative_passages' is empty or no text"),
        ({"negative": {"text": "B.", "title": ["T"]}}, "'negative' is empty or no text"),
        ({"positive": []}, "'positive' is empty or no text"),
        ({"positive": float("nan")}, "'positive' is empty or no text"),
        ({"query": float("nan")}, "'query' is empty or no text"),
    ],
)
def test_what_is_no_document_is_refused_by_the_name_of_its_column(tmp_path, more, problem):
    row = {"query": "Q?", "positive": "A.", **more}
    assert f"p.json, row 1: {problem}\n" in refusal(file_with(tmp_path, "p.json", json.dumps([row])))


@pytest.mark.parametrize("column, yes, no", [("label", 1, 0), ("score", 1.0, 0.0), ("label", True, False)])
@pytest.mark.parametrize("file", ["pairs.jsonl", "pairs.csv", "pairs.parquet"])
def test_rows_labelled_irrelevant_are_so_to_the_question_that_another_row_answers(tmp_path, file, column, yes, no):
    rows = [("Q?", "B.", no), ("q?", "A.", yes), ("Q?", "C.", no), ("Alone?", "A.", no), ("R?", "B.", yes)]
    named = [dict(zip(("question", "answer", column), row, strict=True)) for row in rows]
    source = read_pairs(file_with(tmp_path, file, WRITERS[file](named)))
    assert sorted(judged(source)) == [
        ("Alone?", "", "A.", 0),
        ("R?", "", "B.", 1),
        ("q?", "", "A.", 1),
        ("q?", "", "B.", 0),
        ("q?", "", "C.", 0),
    ]
    assert source.columns_left_out == ()


@pytest.mark.parametrize(
    "column, values, relevance",
    [
        ("relevance", [0, 3], [3, 0]),
        ("relevance", [0.5, 3], None),
        ("label", [0, 3], None),
        ("label", ["gout", "skin"], None),
        ("label", [0, None], None),
        ("score", [0.0, 0.7], None),
    ],
)
def test_grades_are_read_and_classes_and_margins_are_left_out_by_name(tmp_path, column, values, relevance):
    named = [{**row, column: value} for row, value in zip(rows_of(), values, strict=True)]
    source = read_pairs(file_with(tmp_path, "p.json", json.dumps(named)))
    assert source.qrels["relevance"].to_pylist() == (relevance or [1, 1])
    assert source.columns_left_out == (() if relevance else (column,))


@pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
@pytest.mark.parametrize("file", ["pairs.jsonl", "pairs.csv"])
def test_a_row_without_the_grade_that_others_have_is_unusable_and_makes_no_answer_of_grade_zero(
    tmp_path, file, missing
):
    rows = [("Q?", "A.", 1), ("Q?", "B.", 0), ("Q?", "C.", missing)]
    named = [dict(zip(("query", "positive", "relevance"), row, strict=True)) for row in rows]
    # a data frame writes a fraction that is missing as nothing
    named[2]["relevance"] = "" if file.endswith("csv") and missing != " " else missing
    path = file_with(tmp_path, file, WRITERS[file](named))
    assert f"{'line 4' if file.endswith('csv') else 'line 3'}: 'relevance' is empty, and other" in refusal(path)
    source = read_pairs(path, skip_bad_rows=True)
    assert judged(source) == [("Q?", "", "A.", 1), ("Q?", "", "B.", 0)]
    assert len(source.bad_rows) == 1 and source.columns_left_out == ()


def test_a_relevance_that_no_row_has_says_nothing_and_is_left_out_by_name(tmp_path):
    named = [{**row, "relevance": None} for row in rows_of()]
    source = read_pairs(file_with(tmp_path, "p.json", json.dumps(named)))
    assert source.qrels["relevance"].to_pylist() == [1, 1] and source.columns_left_out == ("relevance",)


@pytest.mark.parametrize("values", [[0, 1], [0.25, None], ["0", " "], [True, False], ["0", "-0.5"]])
@pytest.mark.parametrize("file", ["pairs.jsonl", "pairs.csv", "pairs.parquet"])
@pytest.mark.parametrize("column", ["negative", "neg", "hard_negatives"])
def test_a_column_of_numbers_holds_no_negatives_and_is_left_out_by_name(tmp_path, file, values, column):
    named = [{**row, column: value} for row, value in zip(rows_of(), values, strict=True)]
    source = read_pairs(file_with(tmp_path, file, WRITERS[file](named)))
    assert questions_and_answers(source) == PAIRS and len(source.documents) == 2
    assert source.columns_left_out == (column,)


def test_one_number_among_negatives_is_a_bad_row(tmp_path):
    named = [{**row, "negative": value} for row, value in zip(rows_of(), ["nan", 5], strict=True)]
    path = file_with(tmp_path, "p.json", json.dumps(named))
    assert "1 unusable row(s):\n  p.json, row 2: 'negative' is empty or no text" in refusal(path)
    assert judged(read_pairs(path, skip_bad_rows=True))[1][2:] == ("nan", 0)


def test_the_first_three_column_namings_are_the_documented_ones():
    assert COLUMNS[:3] == (("question", "answer"), ("query", "positive"), ("anchor", "positive"))


def test_question_and_answer_come_before_other_namings_and_more_columns_are_passed_over(tmp_path):
    row = {"anchor": "x", "positive": "y", "answer": "A.", "question": "Q?", "id": 3}
    assert questions_and_answers(read_pairs(file_with(tmp_path, "p.json", json.dumps([row])))) == [("Q?", "A.")]


def test_equal_answers_become_one_document_and_every_row_keeps_its_query(tmp_path):
    pairs = [("One?", "Same."), ("Two?", "Other."), ("Three?", " Same.\n"), ("One?", "Same.")]
    source = read_pairs(file_with(tmp_path, "p.jsonl", json_lines(rows_of(pairs=pairs))))
    assert source.documents["text"].to_pylist() == ["Same.", "Other."]
    assert len(set(source.documents["doc_id"].to_pylist())) == 2
    assert len(set(source.queries["query_id"].to_pylist())) == 4
    expected = [("One?", "Same."), ("Two?", "Other."), ("Three?", "Same."), ("One?", "Same.")]
    assert questions_and_answers(source) == expected


def test_white_space_in_a_question_is_made_one_space(tmp_path):
    source = read_pairs(file_with(tmp_path, "p.json", json.dumps(rows_of(pairs=[("  What\n is \t it? ", "A.")]))))
    assert source.queries["text"].to_pylist() == ["What is it?"]


@pytest.mark.parametrize("file", sorted(WRITERS))
def test_an_empty_file_is_refused_naming_it(tmp_path, file):
    path = file_with(tmp_path, file, b"")
    assert refusal(path, skip_bad_rows=True) == f"{path} is empty"


@pytest.mark.parametrize(
    "file, content",
    [("p.json", "[]"), ("p.jsonl", "\n"), ("p.csv", "question,answer\n"), ("p.jsonl.gz", gzip.compress(b"", mtime=0))],
)
def test_a_file_without_rows_is_refused(tmp_path, file, content):
    assert refusal(file_with(tmp_path, file, content)) == f"{file} holds no usable row"


def test_a_file_of_bad_rows_only_is_refused_even_when_they_may_be_skipped(tmp_path):
    path = file_with(tmp_path, "p.jsonl", json_lines(rows_of(pairs=[("", "A."), ("Q?", " ")])))
    assert refusal(path, skip_bad_rows=True) == "p.jsonl holds no usable row"


@pytest.mark.parametrize("name", ["p.txt", "p", "p.csv.gz", "p.xlsx"])
def test_an_unknown_kind_of_file_is_refused_naming_the_known_ones(tmp_path, name):
    path = file_with(tmp_path, name, "question,answer\nQ?,A.\n")
    assert refusal(path) == (f"{path} is of an unknown kind; rows come as .json, .jsonl[.gz], .csv, .tsv or .parquet")


@pytest.mark.parametrize("file", sorted(WRITERS))
def test_missing_columns_are_refused_naming_those_found_and_those_needed(tmp_path, file):
    path = file_with(tmp_path, file, WRITERS[file](rows_of(("question", "reply"))))
    assert refusal(path) == (
        f"{file} has the columns ['question', 'reply']; pairs need question/answer, query/positive, anchor/positive, "
        "query/answer, query/positives, anchor/positives, query/pos, query/positive_passages, question/positive_ctxs, "
        "query/passage, question/passage, "
        "and documents without questions a --teacher"
    )


@pytest.mark.parametrize("file, start", [("p.json", "\\[3]"), ("p.jsonl", "\\[3]")])
def test_a_broken_json_file_is_refused_with_file_and_line(tmp_path, file, start):
    good = json.dumps(rows_of()[0])
    content = f"[{good},\n{{]" if file == "p.json" else f"{good}\n{{]\n"
    message = refusal(file_with(tmp_path, file, content))
    assert f"{file}, line 2: broken JSON: Expecting property name enclosed in double quotes at column 2" in message


def test_a_broken_gzip_file_is_refused_naming_it(tmp_path):
    path = file_with(tmp_path, "p.jsonl.gz", gzip.compress(json_lines(rows_of()))[:-9])
    assert refusal(path, skip_bad_rows=True).startswith(f"{path} is not a readable gzip file: ")


@pytest.mark.parametrize(
    "file, content, place, problem",
    [
        ("p.jsonl", b'{"question": "Q", \n', "line 3", "broken JSON: Expecting property name enclosed in double"),
        ("p.jsonl", b'{"question": "caf\xe9", "answer": "A"}\n', "line 3", "not UTF-8 (byte 17)"),
        ("p.jsonl", b'"Q"\n', "line 3", "is a JSON str, not an object"),
        ("p.jsonl", b'{"question": null, "answer": "A"}\n', "line 3", "'question' is empty or no text"),
        ("p.jsonl", b'{"question": "Q", "answer": 5}\n', "line 3", "'answer' is empty or no text"),
        ("p.jsonl", b'{"question": "Q"}\n', "line 3", "'answer' is empty or no text"),
        ("p.csv", b"Q\r\n", "line 4", "has 1 fields, the header has 2"),
        ("p.csv", b"Q,A,more\r\n", "line 4", "has 3 fields, the header has 2"),
        ("p.csv", b" ,A\r\n", "line 4", "'question' is empty or no text"),
        ("p.tsv", b"Q\tA\tmore\r\n", "line 4", "has 3 fields, the header has 2"),
    ],
)
def test_one_bad_row_among_many_is_refused_with_its_line_or_skipped_and_counted(
    tmp_path, file, content, place, problem
):
    good = WRITERS[f"pairs{file[1:]}"]
    after = good(rows_of(pairs=[("After?", "It goes on.")]))
    after = after if file == "p.jsonl" else after.partition(b"\n")[2]
    path = file_with(tmp_path, file, good(rows_of()) + content + after)
    message = refusal(path)
    assert message.startswith(f"1 unusable row(s):\n  {file}, {place}: {problem}")
    assert message.endswith("--skip-bad-rows.")
    source = read_pairs(path, skip_bad_rows=True)
    assert questions_and_answers(source) == [*PAIRS, ("After?", "It goes on.")]
    assert [(row.place, row.problem.startswith(problem)) for row in source.bad_rows] == [(f"{file}, {place}", True)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("code", ["utf-8-sig", "cp1252", "utf-16"])
def test_pairs_as_excel_saves_them_in_any_country(tmp_path, delimiter, code):
    pairs = [(f"Was kostet Gerät {n}?", f"Gerät {n} kostet {n},50 Euro, Porto inklusive.") for n in range(9)]
    quoted = (f'{q}{delimiter}"{a}"' if delimiter in a else f"{q}{delimiter}{a}" for q, a in pairs)
    path = file_with(tmp_path, "p.csv", "\r\n".join([f"question{delimiter}answer", *quoted]).encode(code))
    assert questions_and_answers(read_pairs(path)) == pairs


def test_queries_and_passages_by_semicolons_below_the_line_that_names_them(tmp_path):
    path = file_with(tmp_path, "p.csv", "\ufeffsep=;\r\nquery;passage\r\nWas kostet es?;3,50 Euro, immer.\r\n".encode())
    assert questions_and_answers(read_pairs(path)) == [("Was kostet es?", "3,50 Euro, immer.")]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Keeps what `datasets` prepares out of the user's cache, and the bars out of the output."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()


def test_a_saved_dataset_is_read_without_splits(tmp_path, own_cache):
    own_cache.Dataset.from_list(rows_of(("anchor", "positive"))).save_to_disk(tmp_path / "saved")
    source = read_dataset(str(tmp_path / "saved"))
    assert questions_and_answers(source) == PAIRS
    assert source.queries["split"].to_pylist() == [None, None]
    assert source.documents["source"].to_pylist() == ["saved", "saved"]


def test_a_saved_dataset_dict_keeps_its_splits_under_our_names(tmp_path, own_cache):
    parts = {
        name: own_cache.Dataset.from_list(rows_of(pairs=[(f"{name}?", "Same." if name != "test" else "Other.")]))
        for name in ("train", "validation", "test", "extra")
    }
    own_cache.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = read_dataset(str(tmp_path / "saved"))
    found = dict(zip(source.queries["text"].to_pylist(), source.queries["split"].to_pylist(), strict=True))
    assert found == {"train?": "train", "validation?": "dev", "test?": "test", "extra?": None}
    assert source.parts_left_out == ("extra",)
    assert source.documents["text"].to_pylist() == ["Same.", "Other."]


def test_a_saved_dataset_dict_of_one_part_has_no_splits(tmp_path, own_cache):
    own_cache.DatasetDict({"train": own_cache.Dataset.from_list(rows_of())}).save_to_disk(tmp_path / "saved")
    assert read_dataset(str(tmp_path / "saved")).splits == set()


def test_a_folder_of_parquet_files_is_read_with_its_splits(tmp_path, own_cache):
    folder = tmp_path / "folder"
    folder.mkdir()
    file_with(folder, "train.parquet", parquet(rows_of()))
    file_with(folder, "test.parquet", parquet(rows_of(pairs=[("Last?", "The last.")])))
    source = read_dataset(str(folder))
    assert sorted(questions_and_answers(source)) == sorted([*PAIRS, ("Last?", "The last.")])
    splits = dict(zip(source.queries["text"].to_pylist(), source.queries["split"].to_pylist(), strict=True))
    assert splits == {PAIRS[0][0]: "train", PAIRS[1][0]: "train", "Last?": "test"}


def test_one_bad_row_of_a_dataset_is_refused_with_its_part_or_skipped_and_counted(tmp_path, own_cache):
    rows = rows_of(pairs=[PAIRS[0], ("No answer?", None), PAIRS[1]])
    parts = {"train": own_cache.Dataset.from_list(rows), "test": own_cache.Dataset.from_list(rows_of())}
    own_cache.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match=r"1 unusable row\(s\):\n  train, row 2: 'answer' is empty or no text"):
        read_dataset(str(tmp_path / "saved"))
    source = read_dataset(str(tmp_path / "saved"), skip_bad_rows=True)
    assert [row.place for row in source.bad_rows] == ["train, row 2"]
    assert questions_and_answers(source) == [*PAIRS, *PAIRS]


def test_a_dataset_with_other_columns_is_refused_naming_those_found(tmp_path, own_cache):
    own_cache.Dataset.from_list(rows_of(("text", "label"))).save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match=r"saved has the columns \['label', 'text'\]; pairs need question/answer"):
        read_dataset(str(tmp_path / "saved"))


def test_a_folder_without_data_files_is_refused_naming_it(tmp_path, own_cache):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty' is neither a file or folder here nor a data set .*: \S+"):
        read_dataset(str(tmp_path / "empty"))


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError, ValueError, RuntimeError])
def test_a_dataset_that_cannot_be_loaded_is_refused_with_the_first_line_of_the_reason(monkeypatch, own_cache, error):
    def failing(name):
        raise error(f"{name} is out of reach\nand more")

    monkeypatch.setattr(own_cache, "load_dataset", failing)
    with pytest.raises(InputError) as refused:
        read_dataset("owner/name")
    assert str(refused.value) == (
        "'owner/name' is neither a file or folder here nor a data set that could be loaded: owner/name is out of reach"
    )


def test_a_folder_with_a_broken_file_is_refused_naming_it(tmp_path, own_cache):
    folder = tmp_path / "folder"
    folder.mkdir()
    file_with(folder, "train.csv", 'question,answer\nQ?,A.\n"never closed\n')
    with pytest.raises(InputError, match="folder"):
        read_dataset(str(folder))


def test_a_dataset_that_cannot_be_loaded_without_a_reason_is_refused(monkeypatch, own_cache):
    def failing(name):
        raise ValueError

    monkeypatch.setattr(own_cache, "load_dataset", failing)
    with pytest.raises(InputError, match="owner/name"):
        read_dataset("owner/name")


def test_a_first_row_without_the_columns_is_skipped_and_counted(tmp_path):
    path = file_with(tmp_path, "p.jsonl", json_lines([{"question": "Q?"}, *rows_of()]))
    source = read_pairs(path, skip_bad_rows=True)
    assert questions_and_answers(source) == PAIRS
    assert [row.place for row in source.bad_rows] == ["p.jsonl, line 1"]


def test_a_packed_file_in_capitals_is_unpacked(tmp_path):
    path = file_with(tmp_path, "PAIRS.JSONL.GZ", gzip.compress(json_lines(rows_of())))
    assert questions_and_answers(read_pairs(path)) == PAIRS


@pytest.mark.parametrize("name", ["question", "answer"])
def test_a_text_with_half_an_emoji_is_refused_with_its_line(tmp_path, name):
    row = {"question": "Q?", "answer": "A.", name: "cut \ud83d"}
    assert "p.jsonl, line 1" in refusal(file_with(tmp_path, "p.jsonl", json_lines([row])))


def test_the_query_id_is_the_number_of_its_row(tmp_path):
    path = file_with(tmp_path, "my pairs 2.jsonl", json_lines(rows_of()[:1]) + b"{\n" + json_lines(rows_of()[1:]))
    assert read_pairs(path, skip_bad_rows=True).queries["query_id"].to_pylist() == ["q1", "q3"]


def test_a_document_has_the_number_of_the_first_row_with_its_answer(tmp_path):
    path = file_with(tmp_path, "p.csv", "question,answer\nOne?,Same.\nTwo?,\nThree?,Other.\nFour?,Same.\n")
    source = read_pairs(path, skip_bad_rows=True)
    assert source.queries["query_id"].to_pylist() == ["q2", "q4", "q5"]
    assert source.queries["source_doc_id"].to_pylist() == ["d2", "d4", "d2"]


def test_the_ids_of_a_dataset_with_splits_begin_with_the_split(tmp_path, own_cache):
    rows = rows_of(pairs=[PAIRS[0], ("Two?", PAIRS[0][1])])
    parts = {name: own_cache.Dataset.from_list(rows) for name in ("train", "validation")}
    own_cache.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = read_dataset(str(tmp_path / "saved"))
    assert source.queries["query_id"].to_pylist() == ["train-q1", "train-q2", "validation-q1", "validation-q2"]
    assert source.documents["doc_id"].to_pylist() == ["train-d1"]


def test_the_ids_of_a_dataset_of_one_part_are_those_of_a_file(tmp_path, own_cache):
    own_cache.DatasetDict({"train": own_cache.Dataset.from_list(rows_of())}).save_to_disk(tmp_path / "saved")
    assert read_dataset(str(tmp_path / "saved")).queries["query_id"].to_pylist() == ["q1", "q2"]


def test_the_date_of_a_pair_is_that_of_its_query(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(
        json_lines([{**row, "date": day} for row, day in zip(rows_of(), ("2026-01-02", None), strict=True)])
    )
    assert read_pairs(path).query_dates == {"q1": "2026-01-02"}


def test_columns_that_are_read_as_dates_are_not_named_as_left_out(tmp_path):
    days = [{"Filed": None, "date": "2026-01-02", "year": 2026}, {"Filed": "2026-03-04", "date": None, "year": 2026}]
    rows = [{**row, **day, "id": 1} for row, day in zip(rows_of(), days, strict=True)]
    source = read_pairs(file_with(tmp_path, "p.jsonl", json_lines(rows)))
    assert source.query_dates == {"q1": "2026-01-02", "q2": "2026-03-04"}
    # the year says nothing that a fuller date has not said
    assert source.columns_left_out == ("year", "id")
    rows = [{**row, "metadata": {"date": "2026-01-02"}} for row in rows_of()]
    assert read_pairs(file_with(tmp_path, "m.jsonl", json_lines(rows))).columns_left_out == ()


def test_a_query_has_the_date_of_the_row_that_it_comes_from_also_where_others_add_negatives(tmp_path):
    told = [("Q?", "Wrong.", 0, "2026-01-01"), ("Q?", "Right.", 1, "2026-02-02"), ("Other?", "No.", 0, "2026-03-03")]
    rows = [dict(zip(("query", "answer", "label", "date"), row, strict=True)) for row in told]
    source = read_pairs(file_with(tmp_path, "p.jsonl", json_lines(rows)))
    assert source.query_dates == {"q2": "2026-02-02", "q3": "2026-03-03"}
    assert source.columns_left_out == ()
