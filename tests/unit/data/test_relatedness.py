"""What must never be a query's negative, by identity and by what a teacher has said."""

from __future__ import annotations

from denizen.data.relatedness import not_negatives, related_passages
from denizen.data.tables import rows_table

# a document of three passages, a copy of its second passage elsewhere, and one that has nothing to do with them
CORPUS = rows_table(
    "corpus",
    [
        {"doc_id": doc_id, "text": doc_id, "parent_id": parent, "parent_cluster": home, "cluster": cluster}
        for doc_id, parent, home, cluster in (
            ("a1", "a", 0, 0),
            ("a2", "a", 0, 1),
            ("a3", "a", 0, 2),
            ("b1", "b", 1, 1),
            ("c1", "c", 2, 3),
        )
    ],
)
QRELS = rows_table(
    "qrels",
    [
        {"query_id": "q", "doc_id": "a2", "relevance": 1},
        {"query_id": "q", "doc_id": "c1", "relevance": 0},
        {"query_id": "r", "doc_id": "c1", "relevance": 1},
    ],
)


def test_the_document_and_the_copies_of_what_is_relevant_are_related() -> None:
    assert related_passages(QRELS, CORPUS, ["q"]) == {"q": frozenset({"a1", "a2", "a3", "b1"})}


def test_where_nobody_has_looked_what_is_related_is_no_negative() -> None:
    assert not_negatives(QRELS, None, CORPUS, ["q", "r"]) == {
        "q": frozenset({"a1", "a2", "a3", "b1"}),
        "r": frozenset({"c1"}),
    }


def test_what_was_graded_low_may_be_a_negative_whatever_its_document_and_a_partial_answer_never() -> None:
    grades = {"a1": 2, "a2": 4, "c1": 3, "a3": 1}
    judged = rows_table(
        "judgments",
        [{"query_id": "q", "doc_id": name, "teacher": "t", "grade": grade} for name, grade in grades.items()],
    )
    # s has no answer at all
    assert not_negatives(QRELS, judged, CORPUS, ["q", "s"]) == {
        "q": frozenset({"a2", "b1", "c1"}),
        "s": frozenset(),
    }


def test_scores_say_nothing_of_it() -> None:
    scored = rows_table("judgments", [{"query_id": "q", "doc_id": "a1", "teacher": "t", "score": 0.1}])
    assert not_negatives(QRELS, scored, CORPUS, ["q"])["q"] == frozenset({"a1", "a2", "a3", "b1"})
