import gzip
import json
import re

import pytest

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.engine.errors import InputError

CORPUS = [
    {"_id": "d1", "title": "Gout", "text": "Gout hurts."},
    {"_id": "d2", "title": "", "text": "Lupus tires."},
    {"_id": "d3", "text": "Rest helps."},
]
QUERIES = [
    {"_id": "q1", "text": "what hurts"},
    {"_id": "q2", "text": "what tires"},
    {"_id": "q3", "text": "what helps"},
]
QRELS = {"train": [("q1", "d1", 1)], "test": [("q2", "d2", 1), ("q3", "d3", 2)]}


def lines(rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def beir(folder, corpus=CORPUS, queries=QUERIES, qrels=QRELS, suffix=""):
    """Writes a BEIR folder; a row given as text is written as it is."""
    pack = gzip.compress if suffix else bytes
    folder.mkdir(exist_ok=True)
    (folder / f"corpus.jsonl{suffix}").write_bytes(pack(lines(corpus)))
    (folder / f"queries.jsonl{suffix}").write_bytes(pack(lines(queries)))
    (folder / "qrels").mkdir(exist_ok=True)
    for split, rows in qrels.items():
        text = "".join("\t".join(map(str, row)) + "\n" for row in [("query-id", "corpus-id", "score"), *rows])
        (folder / "qrels" / f"{split}.tsv").write_text(text)
    return folder


def by_id(rows, key):
    return {row[key]: row for row in rows.to_pylist()}


def links(source):
    return [tuple(row.values()) for row in source.qrels.to_pylist()]


def splits(source):
    return dict(zip(source.queries["query_id"].to_pylist(), source.queries["split"].to_pylist(), strict=True))


def refusal(folder, **arguments):
    with pytest.raises(InputError) as refused:
        read_beir(folder, **arguments)
    return str(refused.value)


def one_bad_row(folder, place, problem):
    """Checks that the folder is refused for one row, and read without it when it may be skipped."""
    assert refusal(folder) == (
        f"1 unusable row(s):\n  {place}: {problem}\nMend them, or skip and count them with --skip-bad-rows."
    )
    source = read_beir(folder, skip_bad_rows=True)
    assert [(row.place, row.problem) for row in source.bad_rows] == [(place, problem)]
    return source


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_is_read_whole_plain_or_packed(tmp_path, suffix):
    folder = beir(tmp_path / "medical", suffix=suffix)
    assert is_beir_folder(folder)
    source = read_beir(folder)
    assert source.documents["doc_id"].to_pylist() == ["d1", "d2", "d3"]
    assert source.documents["title"].to_pylist() == ["Gout", "", ""]
    assert source.documents["text"].to_pylist() == ["Gout hurts.", "Lupus tires.", "Rest helps."]
    assert source.documents["source"].to_pylist() == ["medical"] * 3
    assert source.documents["parent_id"].to_pylist() == [None] * 3
    assert {row["query_id"]: row["text"] for row in source.queries.to_pylist()} == {
        "q1": "what hurts",
        "q2": "what tires",
        "q3": "what helps",
    }
    assert source.queries["origin"].to_pylist() == ["source"] * 3
    assert sorted(links(source)) == [("q1", "d1", 1), ("q2", "d2", 1), ("q3", "d3", 2)]
    assert splits(source) == {"q1": "train", "q2": "test", "q3": "test"}
    assert source.splits == {"train", "test"}
    assert source.cut is False
    assert source.bad_rows == []


@pytest.mark.parametrize(
    "stem, split",
    [
        ("train", "train"),
        ("dev", "dev"),
        ("valid", "dev"),
        ("validation", "dev"),
        ("test", "test"),
        ("all", None),
    ],
)
def test_published_split_names_become_ours_and_one_file_of_another_name_is_no_split(tmp_path, stem, split):
    source = read_beir(beir(tmp_path / "b", qrels={stem: [("q1", "d1", 1)]}))
    assert splits(source) == {"q1": split}


def test_files_of_other_names_do_not_count_beside_those_of_the_splits(tmp_path):
    qrels = {"train": [("q1", "d1", 1)], "unsupervised": [("q2", "d2", 1)]}
    source = read_beir(beir(tmp_path / "b", qrels=qrels))
    assert splits(source) == {"q1": "train"}
    assert source.parts_left_out == ("unsupervised.tsv",)


def test_one_file_can_be_asked_for_by_its_name(tmp_path):
    folder = beir(tmp_path / "b", qrels={"train": [("q1", "d1", 1)], "human": [("q1", "d2", 1)]})
    assert links(read_beir(folder, split="human")) == [("q1", "d2", 1)]
    with pytest.raises(InputError, match=re.escape("has no dev.tsv; it has ['human.tsv', 'train.tsv']")):
        read_beir(folder, split="dev")


def test_an_empty_id_is_a_bad_row(tmp_path):
    with pytest.raises(InputError, match="line 4: needs '_id' and 'text'"):
        read_beir(beir(tmp_path / "b", [*CORPUS, {"_id": " ", "text": "nameless"}]))


def test_queries_without_a_label_are_left_out(tmp_path):
    assert splits(read_beir(beir(tmp_path / "b", qrels={"test": [("q2", "d2", 1)]}))) == {"q2": "test"}


def test_a_judged_irrelevant_document_stays_a_label_of_zero(tmp_path):
    source = read_beir(beir(tmp_path / "b", qrels={"test": [("q1", "d1", 1), ("q1", "d2", 0), ("q1", "d3", -1)]}))
    assert links(source) == [("q1", "d1", 1), ("q1", "d2", 0), ("q1", "d3", -1)]


def test_grades_written_with_a_point_are_whole_numbers(tmp_path):
    assert links(read_beir(beir(tmp_path / "b", qrels={"test": [("q1", "d1", "2.0")]}))) == [("q1", "d1", 2)]


def test_a_query_in_two_splits_stands_in_both_under_two_ids(tmp_path):
    qrels = {"test": [("q1", "d1", 1)], "train": [("q1", "d2", 1), ("q1", "d3", 1), ("q2", "d2", 1)]}
    source = read_beir(beir(tmp_path / "b", qrels=qrels))
    assert splits(source) == {"q1": "test", "q1@train": "train", "q2": "train"}
    assert links(source) == [("q1", "d1", 1), ("q1@train", "d2", 1), ("q1@train", "d3", 1), ("q2", "d2", 1)]
    rows = by_id(source.queries, "query_id")
    assert rows["q1@train"]["text"] == rows["q1"]["text"] == "what hurts"


def test_ids_that_are_numbers_are_read_as_text(tmp_path):
    corpus, queries = [{"_id": 7, "text": "seven"}], [{"_id": 1, "text": "one"}]
    assert links(read_beir(beir(tmp_path / "b", corpus, queries, {"test": [("1", "7", 1)]}))) == [("1", "7", 1)]


def test_a_document_with_only_a_title_is_a_document(tmp_path):
    source = read_beir(beir(tmp_path / "b", [*CORPUS, {"_id": "d4", "title": "Rabies", "text": ""}]))
    assert by_id(source.documents, "doc_id")["d4"]["title"] == "Rabies"


def test_a_folder_without_a_corpus_is_no_beir_folder(tmp_path):
    folder = beir(tmp_path / "b")
    (folder / "corpus.jsonl").unlink()
    assert not is_beir_folder(folder)
    assert not is_beir_folder(folder / "queries.jsonl")
    assert not is_beir_folder(tmp_path / "none")


@pytest.mark.parametrize("name", ["corpus", "queries"])
def test_a_missing_file_is_refused_naming_it(tmp_path, name):
    folder = beir(tmp_path / "b")
    (folder / f"{name}.jsonl").unlink()
    assert f"{folder} has no {name}.jsonl or {name}.jsonl.gz" in refusal(folder)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"])
def test_an_empty_file_is_refused_naming_it_even_when_rows_may_be_skipped(tmp_path, name):
    folder = beir(tmp_path / "b")
    (folder / name).write_bytes(b"")
    assert refusal(folder, skip_bad_rows=True) == f"{folder / name} is empty"


def test_a_missing_title_is_empty_and_numbers_are_ids_as_their_labels_write_them(tmp_path):
    corpus = [
        {"_id": 1.0, "title": float("nan"), "text": "one"},
        {"_id": 2, "title": "NaN", "text": "two"},
        {"_id": "3", "title": 1984, "text": "three"},
    ]
    queries = [{"_id": 4.0, "text": "which?"}]
    source = read_beir(beir(tmp_path / "b", corpus, queries, {"test": [(4, 1, 1), (4, 2, 0)]}))
    assert [(row["doc_id"], row["title"]) for row in source.documents.to_pylist()] == [
        ("1", ""),
        ("2", "NaN"),
        ("3", "1984"),
    ]
    assert links(source) == [("4", "1", 1), ("4", "2", 0)]


@pytest.mark.parametrize("missing", [None, float("nan"), "", True, ["d9"]])
def test_a_document_and_a_query_without_an_id_are_refused_with_their_lines(tmp_path, missing):
    row = {"_id": missing, "text": "t"}
    message = refusal(beir(tmp_path / "b", [*CORPUS, row], [*QUERIES, row]))
    assert "corpus.jsonl, line 4: needs '_id'" in message and "queries.jsonl, line 4: needs '_id'" in message


@pytest.mark.parametrize("lines_", ["\n\n", '{"_id": "q1"}\n'])
def test_queries_without_any_usable_are_refused_naming_the_file(tmp_path, lines_):
    folder = beir(tmp_path / "b")
    (folder / "queries.jsonl").write_text(lines_)
    usable = "" if lines_ == "\n\n" else "usable "
    assert refusal(folder, skip_bad_rows=True) == f"{folder / 'queries.jsonl'} holds no {usable}query"


def test_a_corpus_of_blank_lines_is_refused(tmp_path):
    folder = beir(tmp_path / "b")
    (folder / "corpus.jsonl").write_text("\n\n")
    assert refusal(folder) == f"{folder / 'corpus.jsonl'} holds no document"


def test_a_missing_qrels_folder_is_refused_naming_it(tmp_path):
    folder = beir(tmp_path / "b", qrels={})
    (folder / "qrels").rmdir()
    assert f"{folder / 'qrels'} has no .tsv file" in refusal(folder)


def test_qrels_with_a_header_only_are_refused(tmp_path):
    folder = beir(tmp_path / "b", qrels={"test": []})
    assert f"{folder / 'qrels'} has no usable row in test.tsv" in refusal(folder)


def test_only_bad_rows_are_refused_even_when_they_may_be_skipped(tmp_path):
    folder = beir(tmp_path / "b", qrels={"test": [("q9", "d1", 1)]})
    assert f"{folder / 'qrels'} has no usable row" in refusal(folder, skip_bad_rows=True)


@pytest.mark.parametrize("name", ["corpus", "queries"])
def test_a_broken_gzip_file_is_refused_naming_it(tmp_path, name):
    folder = beir(tmp_path / "b", suffix=".gz")
    path = folder / f"{name}.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-10])
    assert refusal(folder, skip_bad_rows=True).startswith(f"{path} is not a readable gzip file: ")


@pytest.mark.parametrize(
    "row, problem",
    [
        ('{"_id": "d9", "text" 5}', "broken JSON: Expecting ':' delimiter at column 22"),
        ({"id": "d9", "text": "t"}, "needs '_id' and 'text'; it has ['id', 'text']"),
        ({"_id": "d9", "contents": "t"}, "needs '_id' and 'text'; it has ['_id', 'contents']"),
        ({"_id": "d1", "text": "again"}, "duplicate id 'd1'"),
        ({"_id": "d9", "title": " ", "text": "\n"}, "document 'd9' has no text"),
        ({"_id": "d9", "title": ["T"], "text": "t"}, "the title of document 'd9' is no text but a list"),
        ('["d9"]', "is a JSON list, not an object"),
    ],
)
def test_one_bad_document_is_refused_with_its_line_or_skipped_and_counted(tmp_path, row, problem):
    folder = beir(tmp_path / "b", [CORPUS[0], row, *CORPUS[1:]])
    source = one_bad_row(folder, "corpus.jsonl, line 2", problem)
    assert source.documents["text"].to_pylist() == [document["text"] for document in CORPUS]


@pytest.mark.parametrize(
    "row, problem",
    [
        ('{"_id": "q9" 5}', "broken JSON: Expecting ',' delimiter at column 14"),
        ({"_id": "q9", "query": "t"}, "needs '_id' and a 'text' that is not empty; it has ['_id', 'query']"),
        ({"_id": "q9", "text": "  "}, "needs '_id' and a 'text' that is not empty; it has ['_id', 'text']"),
        ({"_id": "q1", "text": "again"}, "duplicate id 'q1'"),
    ],
)
def test_one_bad_query_is_refused_with_its_line_or_skipped_and_counted(tmp_path, row, problem):
    source = one_bad_row(beir(tmp_path / "b", queries=[*QUERIES, row]), "queries.jsonl, line 4", problem)
    assert by_id(source.queries, "query_id")["q1"]["text"] == "what hurts"
    assert len(source.queries) == 3


def test_a_line_that_is_not_utf8_is_refused_with_its_line_or_skipped_and_counted(tmp_path):
    folder = beir(tmp_path / "b")
    with (folder / "corpus.jsonl").open("ab") as file:
        file.write(b'{"_id": "d9", "text": "caf\xe9"}\n')
    one_bad_row(folder, "corpus.jsonl, line 4", "not UTF-8 (byte 26)")


@pytest.mark.parametrize(
    "row, problem",
    [
        (("q9", "d1", 1), "query id 'q9' is not in queries.jsonl"),
        (("q1", "d9", 1), "document id 'd9' is not in the corpus"),
        (("q1", "d1", "yes"), "score 'yes' is not a number"),
        (("q1", "d1"), "has 2 fields, the header has 3"),
        (("q1", "0", "d1", 1), "has 4 fields, the header has 3"),
    ],
)
def test_one_bad_label_is_refused_with_its_line_or_skipped_and_counted(tmp_path, row, problem):
    folder = beir(tmp_path / "b", qrels={"test": [("q1", "d1", 1), row, ("q2", "d2", 1)]})
    with pytest.raises(InputError) as refused:
        read_beir(folder)
    assert "1 unusable row(s)" in str(refused.value)
    assert f"test.tsv, line 3: {problem}\n" in str(refused.value)
    source = read_beir(folder, skip_bad_rows=True)
    assert [row.problem for row in source.bad_rows] == [problem]
    assert links(source) == [("q1", "d1", 1), ("q2", "d2", 1)]


def test_qrels_without_the_right_columns_name_those_found(tmp_path):
    folder = beir(tmp_path / "b", qrels={"test": []})
    (folder / "qrels" / "test.tsv").write_text("qid\tdocid\trel\nq1\td1\t1\n")
    wanted = "has the columns ['qid', 'docid', 'rel']; a qrels file needs ['query-id', 'corpus-id', 'score']"
    assert f"test.tsv {wanted}" in refusal(folder)
    (folder / "qrels" / "test.tsv").write_text("qid\tdocid\trel\n")
    assert f"test.tsv {wanted}" in refusal(folder)


def test_a_label_of_a_skipped_document_is_skipped_and_counted_too(tmp_path):
    source = read_beir(beir(tmp_path / "b", [*CORPUS[:2], {"_id": "d3"}]), skip_bad_rows=True)
    assert [row.problem for row in source.bad_rows] == [
        "needs '_id' and 'text'; it has ['_id']",
        "document id 'd3' is not in the corpus",
    ]
    assert sorted(splits(source)) == ["q1", "q2"]


def test_bad_rows_of_all_files_are_reported_together(tmp_path):
    qrels = {"test": [("q1", "d1", 1), ("q9", "d1", 1)]}
    message = refusal(beir(tmp_path / "b", [*CORPUS, "{"], [*QUERIES, "{"], qrels))
    assert message.startswith("3 unusable row(s):\n  corpus.jsonl, line 4: ")
    assert "queries.jsonl, line 4: " in message
    assert "test.tsv, line 3: " in message


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "1e12", "2147483648"])
def test_a_score_that_is_no_grade_is_refused_with_its_line(tmp_path, score):
    folder = beir(tmp_path / "b", qrels={"test": [("q1", "d1", score)]})
    assert "test.tsv, line 2: score" in refusal(folder)


def test_a_score_between_two_grades_is_not_cut_to_zero_silently(tmp_path):
    folder = beir(tmp_path / "b", qrels={"test": [("q1", "d1", "0.5")]})
    assert "test.tsv, line 2: score '0.5' is not a whole number" in refusal(folder)


def test_a_query_with_an_at_sign_in_two_splits_keeps_its_text(tmp_path):
    queries = [{"_id": "a@b", "text": "mine"}, {"_id": "a", "text": "of another"}]
    qrels = {"test": [("a@b", "d1", 1)], "train": [("a@b", "d2", 1)]}
    source = read_beir(beir(tmp_path / "b", queries=queries, qrels=qrels))
    assert source.queries["text"].to_pylist() == ["mine", "mine"]


def test_the_second_id_of_a_query_never_is_that_of_another(tmp_path):
    queries = [{"_id": "a", "text": "mine"}, {"_id": "a@train", "text": "of another"}]
    qrels = {"test": [("a", "d1", 1)], "train": [("a", "d2", 1), ("a@train", "d3", 1)]}
    source = read_beir(beir(tmp_path / "b", queries=queries, qrels=qrels))
    assert sorted(source.queries["text"].to_pylist()) == ["mine", "mine", "of another"]


def test_a_repeated_label_is_kept_once_with_the_highest_relevance(tmp_path):
    folder = beir(tmp_path / "b", qrels={"test": [("q1", "d1", 1), ("q2", "d2", 1), ("q1", "d1", 2), ("q1", "d1", 0)]})
    assert links(read_beir(folder)) == [("q1", "d1", 2), ("q2", "d2", 1)]


def test_a_document_with_half_an_emoji_is_refused_with_its_line(tmp_path):
    folder = beir(tmp_path / "b", [*CORPUS, '{"_id": "d9", "text": "cut \\ud83d"}'])
    assert "corpus.jsonl, line 4" in refusal(folder)


def test_passages_that_know_their_document_keep_it_with_their_place(tmp_path):
    """As `ingest` writes them; what is no place is none."""
    homes = [
        {"parent_id": "act", "start": 0, "end": 11},
        {"parent_id": "act", "start": -1, "end": "x"},
        {"parent_id": ["act"], "url": "u"},
    ]
    corpus = [{**row, "metadata": home} for row, home in zip(CORPUS, homes, strict=True)]
    rows = read_beir(beir(tmp_path / "data", corpus)).documents.to_pylist()
    assert [(row["parent_id"], row["start"], row["end"]) for row in rows] == [
        ("act", 0, 11),
        ("act", None, None),
        (None, None, None),
    ]


def test_dates_of_documents_and_queries_are_those_of_their_rows(tmp_path):
    corpus = [{**CORPUS[0], "metadata": {"date": "2026-01-01", "parent_id": "act"}}, *CORPUS[1:]]
    queries = [{**QUERIES[0], "timestamp": 1714521600}, *QUERIES[1:]]
    # what stands in two splits has a second id there
    source = read_beir(beir(tmp_path / "data", corpus, queries, {**QRELS, "dev": [("q1", "d1", 1)]}))
    assert source.document_dates == {"act": "2026-01-01"}
    assert source.query_dates == {"q1": "1714521600", "q1@train": "1714521600"}
