"""What depends on each other is drawn together: by hand, and by how often a true null is rejected."""

from __future__ import annotations

import numpy as np

from denizen.data.tables import rows_table
from denizen.measuring.dependence import groups
from denizen.measuring.significance import paired_difference


def _corpus(documents: int, passages: int = 2, *, copies: bool = False):
    """Documents of some passages each; with copies every second document is a near-duplicate of the one before."""
    rows = []
    for number in range(documents):
        cluster = number - number % 2 if copies else number
        for part in range(passages):
            names = {"doc_id": f"d{number}-{part}", "text": "x", "parent_id": f"d{number}"}
            rows.append({**names, "cluster": passages * cluster + part, "parent_cluster": cluster})
    return rows_table("corpus", rows)


def _grouped(corpus, answers: dict[str, dict[str, int]]):
    rows = [(query_id, doc_id, grade) for query_id, of in answers.items() for doc_id, grade in of.items()]
    return groups(list(answers), rows_table("qrels", rows), corpus)


def test_questions_about_one_document_or_its_copy_stand_together() -> None:
    answers = {f"q{number}": {f"d{number}-0": 1} for number in range(22)}
    answers["again"] = {"d3-1": 1}
    found = _grouped(_corpus(22), answers)
    assert (found.by, found.count) == ("document", 22) and found.of["again"] == found.of["q3"] != found.of["q4"]
    found = _grouped(_corpus(22, copies=True), answers)
    assert (found.by, found.count) == ("document", 11) and found.of["q2"] == found.of["again"] != found.of["q4"]


def test_the_most_relevant_passage_counts() -> None:
    answers = {f"q{number}": {f"d{number}-0": 1} for number in range(12)}
    answers["several"] = {"d0-0": 1, "d7-0": 3, "d9-0": 1}
    found = _grouped(_corpus(12), answers)
    assert found.of["several"] == found.of["q7"]


def test_with_one_long_document_passages_group_and_where_nothing_is_shared_all_are_independent() -> None:
    answers = {f"q{number}": {f"d0-{number // 2}": 1} for number in range(30)}
    found = _grouped(_corpus(1, 15), answers)
    assert (found.by, found.count) == ("passage", 15) and found.of["q0"] == found.of["q1"]
    alone = _grouped(_corpus(15), {f"q{number}": {f"d{number}-0": 1} for number in range(15)})
    assert (alone.by, alone.count) == ("query", 15)


def test_a_table_that_was_never_clustered_is_grouped_by_its_documents() -> None:
    corpus = rows_table(
        "corpus", [{"doc_id": f"d{number}", "text": "x", "parent_id": f"d{number}"} for number in range(12)]
    )
    answers = {f"q{number}": {f"d{number % 12}": 1} for number in range(24)}
    found = _grouped(corpus, answers)
    assert (found.by, found.count) == ("document", 12) and found.of["q0"] == found.of["q12"]


def test_a_query_that_nothing_answers_stands_by_itself() -> None:
    answers: dict[str, dict[str, int]] = {f"q{number}": {"d0-0": 1} for number in range(3)}
    found = groups([*answers, "none"], _qrels(answers), _corpus(12))
    assert found.of["none"] not in [found.of[name] for name in answers]


def _qrels(answers):
    return rows_table("qrels", [(name, doc_id, grade) for name, of in answers.items() for doc_id, grade in of.items()])


def test_with_eight_dependent_questions_a_document_a_true_null_is_rejected_about_5_times_of_100() -> None:
    """The two systems differ from document to document, and on average not at all."""
    random, alone, together = np.random.default_rng(7), 0, 0
    of_document = np.repeat(np.arange(30), 8)
    for seed in range(150):
        delta = random.normal(size=30)[of_document] + random.normal(size=240) * 0.5
        alone += paired_difference(delta, np.zeros(240), seed).p < 0.05
        together += paired_difference(delta, np.zeros(240), seed, of_document.tolist()).p < 0.05
    # 150 trials at 5 %: 7.5, with a standard deviation of 2.7
    assert alone > 60 and together <= 16
