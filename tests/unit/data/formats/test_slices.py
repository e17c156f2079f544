"""One source, cut by a column of its queries or its documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats.slices import read_slices
from denizen.engine.errors import InputError


def beir(folder: Path, passages: list[dict[str, Any]], queries: list[dict[str, Any]], links: list[str]) -> str:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = "".join(f"{link.replace(' ', chr(9))}\t1\n" for link in links)
    (folder / "qrels/train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return str(folder)


def passages(*domains: str) -> list[dict[str, Any]]:
    return [{"_id": f"d{at}", "text": f"text {at}", **({"domain": of} if of else {})} for at, of in enumerate(domains)]


def queries(*domains: str) -> list[dict[str, Any]]:
    return [{"_id": f"q{at}", "text": f"what {at}", **({"domain": of} if of else {})} for at, of in enumerate(domains)]


def ids(rows: Any, column: str) -> list[str]:
    return rows[column].to_pylist()


def test_queries_with_the_column_take_their_documents_and_those_that_no_query_names(tmp_path: Path) -> None:
    source = beir(tmp_path / "set", passages("", "", ""), queries("law", "health"), ["q0 d0", "q1 d1"])
    found = read_slices(source, "domain")
    assert list(found) == ["health", "law"]
    assert ids(found["law"].queries, "query_id") == ["q0"] and ids(found["law"].documents, "doc_id") == ["d0", "d2"]
    assert ids(found["health"].documents, "doc_id") == ["d1", "d2"] and ids(found["health"].qrels, "doc_id") == ["d1"]


def test_documents_with_the_column_say_where_their_queries_go(tmp_path: Path) -> None:
    source = beir(tmp_path / "set", passages("law", "health", "law"), queries("", ""), ["q0 d0", "q1 d1"])
    found = read_slices(source, "domain")
    assert ids(found["law"].documents, "doc_id") == ["d0", "d2"] and ids(found["law"].queries, "query_id") == ["q0"]
    assert ids(found["health"].documents, "doc_id") == ["d1"]


def test_metadata_can_hold_the_column(tmp_path: Path) -> None:
    asked = [{"_id": f"q{at}", "text": "x", "metadata": {"field": name}} for at, name in enumerate("ab")]
    source = beir(tmp_path / "set", passages("", ""), asked, ["q0 d0", "q1 d1"])
    assert list(read_slices(source, "field")) == ["a", "b"]


def test_rows_of_pairs_are_cut_by_any_column(tmp_path: Path) -> None:
    rows = [{"question": f"what {at}", "answer": f"that {at}", "kind": "ab"[at % 2]} for at in range(4)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_slices(str(path), "kind")
    assert {name: ids(each.queries, "text") for name, each in found.items()} == {
        "a": ["what 0", "what 2"],
        "b": ["what 1", "what 3"],
    }
    assert ids(found["a"].documents, "text") == ["that 0", "that 2"]


def test_a_source_without_the_column_is_one_slice_and_refused(tmp_path: Path) -> None:
    source = beir(tmp_path / "set", passages(""), queries(""), ["q0 d0"])
    with pytest.raises(InputError, match=r"has no column 'domain'.*--slices"):
        read_slices(source, "domain")


def test_a_query_without_a_slice_is_named_and_skipped_when_asked(tmp_path: Path) -> None:
    source = beir(tmp_path / "set", passages("", "", ""), queries("a", "b", ""), ["q0 d0", "q1 d1", "q2 d2"])
    with pytest.raises(InputError, match=r"query q2.*'domain' is empty"):
        read_slices(source, "domain")
    found = read_slices(source, "domain", skip_bad_rows=True)
    assert list(found) == ["a", "b"] and [row.place for row in found["a"].bad_rows] == ["query q2"]


def test_a_data_set_is_not_looked_into(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([{"question": "what", "answer": "that"}]).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(InputError, match="give a BEIR folder"):
        read_slices(str(tmp_path / "saved"), "domain")
