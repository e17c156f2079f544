"""What is held out together, by hand and by properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.artifacts import Corpus, Examples, Folds, Qrels, Queries
from denizen.data.tables import each, read_table, rows_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.measuring.crossfit import FOLDS, Folding, folds, in_folds, leave_out


def _stored(kind: Any, folder: Path, rows: Any) -> Any:
    path = folder / f"{kind.schema}.parquet"
    write_table(path, rows_table(kind.schema, rows))
    return kind.outside(path)


def _folds(folder: Path, answers: list[tuple[str, int]], documents: list[int]) -> dict[str, int]:
    """Fold of each query: the text and the passage of each query, the document of each passage."""
    corpus = [
        {"doc_id": f"d{at}", "text": f"passage {at}", "parent_id": f"p{of}", "cluster": at, "parent_cluster": of}
        for at, of in enumerate(documents)
    ]
    queries = [(f"q{at}", text, "", "dev" if at % 4 == 0 else "train") for at, (text, _) in enumerate(answers)]
    made = {
        "queries": _stored(Queries, folder, queries),
        "qrels": _stored(Qrels, folder, [(f"q{at}", f"d{of}", 1) for at, (_, of) in enumerate(answers)]),
        "corpus": _stored(Corpus, folder, corpus),
    }
    folds(folder, Folding(), Context(), **made)
    return dict(each(read_table(folder / "folds.parquet", "folds"), "query_id", "fold"))


WORDS = [f"word{at}" for at in range(40)]


@settings(max_examples=20)
@given(documents=st.lists(st.integers(0, 11), min_size=12, max_size=40))
def test_what_shares_a_document_is_held_out_together_and_folds_are_about_as_large(
    documents: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers = [(WORDS[at], at) for at in range(len(documents))]
    found = _folds(tmp_path_factory.mktemp("folds"), answers, documents)
    assert set(found) == {f"q{at}" for at in range(len(documents))} and set(found.values()) <= set(range(FOLDS))
    sizes = [documents.count(of) for of in set(documents)]
    if len(sizes) >= FOLDS and max(sizes) <= len(documents) / 3:
        for of in set(documents):
            assert len({found[f"q{at}"] for at, own in enumerate(documents) if own == of}) == 1
        counts = [list(found.values()).count(fold) for fold in range(FOLDS)]
        assert max(counts) - min(counts) <= max(sizes)


def test_questions_about_one_long_document_are_parted_by_passage_and_the_same_question_stays_together(
    tmp_path: Path,
) -> None:
    answers = [(WORDS[at // 2], at // 2) for at in range(60)]
    # two ask the same of different passages
    answers[0] = answers[59] = ("the very same question", 0)
    answers[59] = ("the very same question", 29)
    found = _folds(tmp_path, answers, [0] * 30)
    assert all(found[f"q{at}"] == found[f"q{at + 1}"] for at in range(2, 58, 2))
    assert found["q0"] == found["q59"] and set(found.values()) == set(range(FOLDS))


def test_only_what_is_large_is_parted(tmp_path: Path) -> None:
    # half of all ask about document 0, the others about ten more, three each
    documents = [0] * 30 + [1 + at // 3 for at in range(30)]
    found = _folds(tmp_path, [(f"word{at}", at) for at in range(60)], documents)
    assert len({found[f"q{at}"] for at in range(30)}) == FOLDS
    assert all(len({found[f"q{at}"] for at in range(first, first + 3)}) == 1 for first in range(30, 60, 3))


def test_the_rest_has_no_example_of_what_is_held_out(tmp_path: Path) -> None:
    rows = [{"query_id": f"q{at}", "positive_id": "d", "negative_ids": [], "round": 0} for at in range(10)]
    examples = _stored(Examples, tmp_path, rows)
    parted = _stored(Folds, tmp_path, [(f"q{at}", at % 5) for at in range(8)])
    (tmp_path / "out").mkdir()
    told = leave_out(tmp_path / "out", Params(), Context(), examples=examples, folds=parted, fold=Value(3))
    kept = read_table(tmp_path / "out/examples.parquet", "examples")["query_id"].to_pylist()
    assert kept == ["q0", "q1", "q2", "q4", "q5", "q6", "q7", "q8", "q9"] and told["examples"] == 9


def test_a_fold_without_queries_is_left_out(tmp_path: Path) -> None:
    queries = _stored(Queries, tmp_path, [("a", "a", "", "train"), ("b", "b", "", "dev"), ("c", "c", "", "test")])
    parted = _stored(Folds, tmp_path, [("a", 0), ("b", 3)])
    assert [(fold, [row["query_id"] for row in rows]) for fold, rows in in_folds(queries, parted)] == [
        (0, ["a"]),
        (3, ["b"]),
    ]
    assert isinstance(parted.table, pa.Table)
