from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from denizen.data.formats.documents import read_documents
from denizen.engine.errors import InputError


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_table_needs_a_text_and_may_have_an_id_a_title_and_a_domain(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "title": "T", "text": "one", "domain": "x"},
        {"id": "", "title": "", "text": "two", "domain": ""},
    ]
    path = tmp_path / f"documents{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        path.write_text("id,title,text,domain\na,T,one,x\n,,two,\n")
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text(f"[{', '.join(lines)}]" if suffix == ".json" else "\n".join(lines))
    found = [
        tuple(row[name] for name in ("doc_id", "title", "text", "domain"))
        for row in read_documents(str(path)).documents.to_pylist()
    ]
    assert found == [("a", "T", "one", "x"), ("d2", "", "two", "")]


def _as_json(frame: Any, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.jsonl", _as_json),
        ("d.json", lambda frame, path: frame.to_json(path, orient="records")),
        ("d.csv", lambda frame, path: frame.to_csv(path, index=False)),
        ("d.parquet", lambda frame, path: frame.to_parquet(path)),
    ],
)
def test_what_a_data_frame_has_not_is_empty_and_the_word_nan_stays(
    name: str, write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"title": ["nan", None, "NA"], "text": ["one", "two", "three"], "domain": [float("nan")] * 3})
    write(frame, tmp_path / name)
    rows = read_documents(str(tmp_path / name)).documents.to_pylist()
    assert [(row["doc_id"], row["title"], row["domain"]) for row in rows] == [
        ("d1", "nan", ""),
        ("d2", "", ""),
        ("d3", "NA", ""),
    ]


def test_numbers_are_texts_and_other_values_are_refused_by_the_name_of_their_column(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    # a column of whole numbers, one of which is missing, is written as fractions
    rows = [{"id": 7.0, "title": 1984}, {"id": float("nan"), "_id": "x"}, {"id": 8, "domain": 0}, {"doc_id": 2.5}]
    path.write_text("".join(json.dumps({**row, "text": "t"}) + "\n" for row in rows))
    found = read_documents(str(path)).documents.to_pylist()
    assert [(row["doc_id"], row["title"], row["domain"]) for row in found] == [
        ("7", "1984", ""),
        ("x", "", ""),
        ("8", "", "0"),
        ("2.5", "", ""),
    ]
    for column, value in (("id", [1]), ("id", True), ("title", ["T"]), ("domain", {"a": 1})):
        path.write_text(json.dumps({"text": "t", column: value}) + "\n")
        with pytest.raises(InputError, match=f"line 1: needs texts or numbers .*; its (doc_)?{column} is neither"):
            read_documents(str(path))


def test_a_beir_corpus_needs_no_queries_and_keeps_them_where_it_has_some(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "", "text": "one"}\n')
    assert read_documents(str(tmp_path)).documents["doc_id"].to_pylist() == ["d1"]
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "which?"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    assert read_documents(str(tmp_path)).queries["split"].to_pylist() == ["test"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "needs a 'text'"),
        ({"text": " "}, "needs a 'text'"),
        ({"id": "one", "text": "x"}, "duplicate id 'one'"),
    ],
)
def test_rows_without_text_or_with_a_second_id_are_refused(row: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"id": "one", "text": "first"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=message):
        read_documents(str(path))


@pytest.mark.parametrize("name", ["", "no/such/folder", "picture.png"])
def test_what_is_not_there_or_of_an_unknown_kind_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"does not exist|unknown kind"):
        read_documents(str(tmp_path / name) if name == "picture.png" else name)


def test_the_dates_of_documents_are_those_of_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "documents.csv"
    path.write_text("id,text,Filing Date\na,one,2026-01-02\n,two,2026-01-03\nc,three,\n")
    assert read_documents(str(path)).document_dates == {"a": "2026-01-02", "d2": "2026-01-03"}
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "one", "metadata": {"filed": "2026-01-04"}}\n')
    assert read_documents(str(tmp_path)).document_dates == {"d1": "2026-01-04"}


def test_a_beir_corpus_of_passages_that_know_their_document_is_not_cut_again(tmp_path: Path) -> None:
    rows = [
        {"_id": f"act-{at}", "text": "one", "metadata": {"parent_id": "act", "start": 4 * at, "end": 4 * at + 3}}
        for at in range(2)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_documents(str(tmp_path))
    assert not found.cut and found.documents["parent_id"].to_pylist() == ["act", "act"]
