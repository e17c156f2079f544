"""How the queries of a general set are parted: nothing decides that also measures."""

from __future__ import annotations

import pytest

from denizen.core.errors import InputError
from denizen.core.formats import Source
from denizen.core.tables import rows_table, table
from denizen.recipes import retrieval_sets
from denizen.recipes.retrieval_sets import parts_of


def _source(splits: list[str | None], texts: list[str] | None = None, passages: int = 0) -> Source:
    count = len(splits)
    texts = texts or [f"question {at}" for at in range(count)]
    ids = [f"d{at:05}" for at in range(max(count, passages))]
    return Source(
        documents=table("corpus", {"doc_id": ids, "title": [""] * len(ids), "text": [f"passage {one}" for one in ids]}),
        queries=table("queries", {"query_id": [f"q{at}" for at in range(count)], "text": texts, "split": splits}),
        qrels=rows_table(
            "qrels", [{"query_id": f"q{at}", "doc_id": f"d{at:05}", "relevance": 1} for at in range(count)]
        ),
        cut=False,
        bad_rows=[],
    )


def test_train_and_dev_decide_and_test_measures() -> None:
    parts = parts_of(_source(["train", "dev", "test", "test"]), "nq", "general", 42)
    assert set(parts.search.queries) == {"q0", "q1"}
    assert set(parts.test.queries) == {"q2", "q3"}
    assert (parts.name, parts.role) == ("nq", "general")


@pytest.mark.parametrize("split", ["test", "train", None])
def test_what_has_one_part_alone_is_halved(split: str | None) -> None:
    parts = parts_of(_source([split] * 200), "nq", "general", 42)
    assert not parts.search.queries.keys() & parts.test.queries.keys()
    assert len(parts.search.queries) + len(parts.test.queries) == 200
    assert 70 < len(parts.test.queries) < 130
    # which half is no matter of the seed: two runs measure on the same
    assert parts_of(_source([split] * 200), "nq", "general", 7).test.queries == parts.test.queries


def test_a_question_that_measures_does_not_decide_under_another_id() -> None:
    parts = parts_of(_source(["train", "train", "test"], ["same", "other", "same"]), "nq", "general", 42)
    assert set(parts.search.queries) == {"q1"}


def test_at_most_500_queries_decide() -> None:
    parts = parts_of(_source(["train"] * 700 + ["test"] * 700), "nq", "general", 42)
    assert (len(parts.search.queries), len(parts.test.queries)) == (500, 700)


def test_a_large_corpus_keeps_what_is_relevant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_sets, "_PASSAGES", 50)
    parts = parts_of(_source(["train"] * 30 + ["test"] * 30, passages=1000), "nq", "general", 42)
    for part, own in ((parts.search, range(30)), (parts.test, range(30, 60))):
        kept = part.corpus["doc_id"].to_pylist()
        assert len(kept) == 50 and kept == sorted(kept)
        assert {f"d{at:05}" for at in own} <= set(kept)


def test_narrowed_to_what_is_relevant_and_what_is_ranked_first() -> None:
    part = parts_of(_source(["train", "test"], passages=100), "nq", "general", 42).search
    rows = [{"query_id": "q0", "doc_id": f"d{at:05}", "score": -float(at)} for at in range(40, 100)]
    kept = part.narrowed([rows_table("run", rows)]).corpus["doc_id"].to_pylist()
    assert kept == ["d00000", *(f"d{at:05}" for at in range(40, 60))]


def test_the_digest_is_that_of_the_content() -> None:
    one, same, other = (
        parts_of(_source(["train", "test"], texts), "nq", "general", 42).digest
        for texts in (["a", "b"], ["a", "b"], ["a", "c"])
    )
    assert one == same != other


@pytest.mark.parametrize("source", [_source(["test"]), _source(["train", "test"], ["same", "same"])])
def test_too_few_queries_are_refused(source: Source) -> None:
    with pytest.raises(InputError, match="general set nq has"):
        parts_of(source, "nq", "general", 42)
