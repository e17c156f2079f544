"""Grades that people give on the page: what is kept, what counts, and what becomes of them as labels."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats.grades import Grade, append_grade, read_grades, with_grades
from denizen.data.formats.grading_sheet import read_sheet, row_key
from denizen.data.formats.source import Source
from denizen.data.leaks import find_leaks
from denizen.data.passages import with_clusters
from denizen.data.tables import rows_table, with_column
from denizen.engine.errors import InputError


def row(**changed: Any) -> dict[str, Any]:
    return {"query": "How is gout treated?", "doc_id": "d1", "passage": "With rest.", "grade": 4, **changed}


def labels(source: Source) -> dict[tuple[str, str], int]:
    """Text of the query and id of the document to relevance."""
    text = {each["query_id"]: each["text"] for each in source.queries.to_pylist()}
    return {(text[each["query_id"]], each["doc_id"]): each["relevance"] for each in source.qrels.to_pylist()}


@pytest.fixture
def source() -> Source:
    """Two documents, of which the second is longer than a passage, and a question about the first."""
    corpus = [
        {"doc_id": "d1", "title": "", "text": "With rest.", "source": "s"},
        {"doc_id": "d2", "title": "", "text": "Lupus is rare. It is treated by a doctor.", "source": "s"},
    ]
    queries = [{"query_id": "q1", "text": "how is gout  TREATED?", "origin": "source"}]
    qrels = [("q1", "d1", 1)]
    return Source(rows_table("corpus", corpus), rows_table("queries", queries), rows_table("qrels", qrels), True, [])


def test_the_last_grade_of_a_pair_counts_and_one_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    for each in (row(grade=2), row(doc_id="d2"), row(query="how is  GOUT treated?", grade=3), row(doc_id="d3")):
        append_grade(path, each)
    append_grade(path, row(doc_id="d3", grade=None))
    assert [(each.doc_id, each.grade) for each in read_grades(path)] == [("d1", 3), ("d2", 4)]


def test_what_a_killed_process_has_left_costs_no_other_grade(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    append_grade(path, row())
    with path.open("ab") as file:
        file.write(b'{"query": "half a li')
    append_grade(path, row(doc_id="d2", query="Halbe Sätze \ud83d"))
    assert [each.doc_id for each in read_grades(path)] == ["d1", "d2"]
    assert len(path.read_bytes().splitlines()) == 3


def test_a_passage_that_has_but_a_title_is_a_grade_like_others(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    append_grade(path, row(passage="", title="Rest at home"))
    append_grade(path, row(doc_id="d2"))
    found = read_grades(path)
    assert [(each.doc_id, each.passage) for each in found] == [("d1", ""), ("d2", "With rest.")]
    # nothing stands in every document: the id alone does not say that it is still the same
    added = with_grades(source, found[:1]).documents.to_pylist()[2:]
    assert [(each["title"], each["text"]) for each in added] == [("Rest at home", "")]


def test_many_who_grade_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    threads = [
        threading.Thread(target=lambda at=at: [append_grade(path, row(doc_id=f"{at}-{n}")) for n in range(20)])
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_grades(path)) == 160


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"query": "x"}, "line 1: needs query, doc_id, and passage or title"),
        (row(grade=5), "line 1: the grade is 5; it is 1, 2, 3 or 4, or null"),
        (row(grade="4"), "the grade is '4'"),
        (row(grade=True), "the grade is True"),
        (row(passage=" "), "needs query, doc_id, and passage or title"),
    ],
)
def test_a_file_of_something_else_is_refused(line: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match=message):
        read_grades(path)
    with pytest.raises(InputError, match="does not exist"):
        read_grades(tmp_path / "none.jsonl")


def test_an_audit_reads_them_as_a_sheet(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    append_grade(path, row(query_id="q7", grade=2))
    append_grade(path, row(query_id="q7", grade=3))
    append_grade(path, row(query="a question of nobody's", query_id=None))
    sheet = read_sheet(path)
    assert sheet.grades == {row_key("q7", "d1"): 3, row_key("", "d1"): 4} and not sheet.problems


def grade(**changed: Any) -> Grade:
    return Grade(**row(**changed))


def test_grades_are_labels_of_the_question_that_is_there_and_of_new_ones(source: Source) -> None:
    new = grade(query="what  is lupus", doc_id="d2-0", parent_id="d2", passage="Lupus is rare.")
    found = with_grades(source, [grade(grade=1), new])
    # the same question in other letters is the same, and what people say of a pair counts
    assert labels(found) == {("how is gout  TREATED?", "d1"): 0, ("what is lupus", "d2"): 1}
    assert len(found.documents) == 2 and found.queries["split"].to_pylist() == [None, None]


def test_what_a_source_says_more_of_the_relevant_stays(source: Source) -> None:
    graded = replace(source, qrels=rows_table("qrels", [("q1", "d1", 3)]))
    assert labels(with_grades(graded, [grade()])) == {("how is gout  TREATED?", "d1"): 3}


def test_a_new_question_is_for_training_where_the_source_has_sides(source: Source) -> None:
    rows = [{**each, "split": "test"} for each in source.queries.to_pylist()]
    found = with_grades(replace(source, queries=rows_table("queries", rows)), [grade(), grade(query="what is lupus")])
    assert found.queries["split"].to_pylist() == ["test", "train"]


def test_a_graded_question_beside_the_test_does_not_pass_the_guard(source: Source) -> None:
    """By its words, or by the passage that answers it: it would be trained with what the test asks."""
    rows = [{**each, "split": "test"} for each in source.queries.to_pylist()]
    sided = replace(source, queries=rows_table("queries", rows))

    def leaks(*grades: Grade) -> list[str]:
        found = with_grades(sided, list(grades))
        # whole documents are passages of their own
        corpus = with_column(found.documents, "parent_id", found.documents["doc_id"].to_pylist())
        return [leak.what for leak in find_leaks(found.queries, found.qrels, with_clusters(corpus, 0.9), 0.9)]

    assert leaks(grade()) == leaks(grade(query="what is lupus", doc_id="d2", passage="Lupus is rare.")) == []
    assert leaks(grade(query="what helps me")) == ["relevant passage"]
    assert "near-duplicate query" in leaks(grade(query="How is gout treated", doc_id="d2", passage="Lupus is rare."))


def test_a_part_of_an_answer_says_neither_and_a_bad_passage_nothing_of_its_document(source: Source) -> None:
    rest = grade(grade=1, doc_id="d2-1", parent_id="d2", passage="It is treated by a doctor.")
    found = with_grades(source, [grade(grade=3), rest])
    assert labels(found) == labels(source) and found.queries.equals(source.queries)


def test_a_passage_is_found_by_what_is_written_where_ids_are_others(source: Source) -> None:
    elsewhere = grade(doc_id="x9", query="rest?")
    gone = grade(doc_id="d2", query="fever?", passage="Fever is treated with cold.")
    found = with_grades(source, [elsewhere, gone, replace(gone, query="cold?")])
    (added,) = found.documents.to_pylist()[2:]
    assert added["text"] == "Fever is treated with cold."
    assert labels(found) == {
        **labels(source),
        ("rest?", "d1"): 1,
        ("fever?", added["doc_id"]): 1,
        ("cold?", added["doc_id"]): 1,
    }
