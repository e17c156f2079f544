"""How the queries of a general set are parted: nothing decides that also measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from denizen.data.formats.source import Source
from denizen.data.tables import rows_table, table
from denizen.engine.errors import InputError
from denizen.measuring import retrieval_sets
from denizen.measuring.retrieval_sets import kept_texts, parts_of, read_parts


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


def test_train_and_dev_decide_or_are_kept_and_test_measures() -> None:
    parts = parts_of(_source(["train", "dev", "test", "test"]), "nq", "general", 42)
    assert {*parts.search.queries, *parts.kept} == {"q0", "q1"} and len(parts.search.queries) == 1
    assert set(parts.test.queries) == {"q2", "q3"}
    assert (parts.name, parts.role) == ("nq", "general")


@pytest.mark.parametrize("split", ["test", "train", None])
def test_what_has_one_part_alone_is_halved(split: str | None) -> None:
    parts = parts_of(_source([split] * 200), "nq", "general", 42)
    assert not parts.search.queries.keys() & parts.test.queries.keys()
    assert not parts.kept.keys() & {*parts.search.queries, *parts.test.queries}
    assert len(parts.search.queries) + len(parts.kept) + len(parts.test.queries) == 200
    assert 0 <= len(parts.search.queries) - len(parts.kept) <= 1
    assert 70 < len(parts.test.queries) < 130
    # which half is no matter of the seed: two runs measure on the same
    assert parts_of(_source([split] * 200), "nq", "general", 7).test.queries == parts.test.queries


def test_a_question_that_measures_does_not_decide_under_another_id() -> None:
    parts = parts_of(_source(["train", "train", "test"], ["same", "other", "same"]), "nq", "general", 42)
    assert set(parts.search.queries) == {"q1"}


def test_at_most_1000_queries_decide_and_2000_are_kept() -> None:
    parts = parts_of(_source(["train"] * 5300 + ["test"] * 700), "nq", "general", 42)
    assert (len(parts.search.queries), len(parts.kept), len(parts.test.queries)) == (1000, 2000, 700)


def test_what_training_keeps_is_asked_for_by_no_query_that_decides_or_measures() -> None:
    source = _source(["train"] * 40 + ["test"] * 40)
    # a passage that answers everything
    shared = rows_table("qrels", [{"query_id": f"q{at}", "doc_id": "d00000", "relevance": 1} for at in range(1, 80)])
    parts = parts_of(replace(source, qrels=pa.concat_tables([source.qrels, shared])), "nq", "general", 42)
    kept = kept_texts([parts])
    assert kept["query"] == list(parts.kept.values()) and len(kept["query"]) == 20
    assert kept["document"] == [f"passage d{int(name[1:]):05}" for name in parts.kept if name != "q0"]


def test_of_a_large_corpus_what_is_relevant_and_what_looks_so_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_sets, "_PASSAGES", 70)
    # each asks for one of the passages that answer nothing, too
    source = _source(["train"] * 30 + ["test"] * 30, [f"d{at + 500:05}" for at in range(60)], passages=1000)
    parts = parts_of(source, "nq", "general", 42)
    kept = parts.search.corpus["doc_id"].to_pylist()
    assert len(kept) == 70 and kept == sorted(kept) and kept == parts.test.corpus["doc_id"].to_pylist()
    asked = (*parts.search.queries, *parts.test.queries, *parts.kept)
    assert len(asked) == 60 and {f"d{int(name[1:]):05}" for name in asked} <= set(kept)


def test_narrowed_to_what_is_relevant_and_what_is_ranked_first() -> None:
    part = parts_of(_source(["train", "test"], passages=100), "nq", "general", 42).search
    rows = [{"query_id": "q0", "doc_id": f"d{at:05}", "score": -float(at)} for at in range(40, 100)]
    kept = part.narrowed([rows_table("run", rows)]).corpus["doc_id"].to_pylist()
    assert kept == ["d00000", *(f"d{at:05}" for at in range(40, 60))]


def test_the_digest_is_that_of_the_content_and_of_what_was_drawn() -> None:
    digests = [
        parts_of(_source(["train", "test"], texts), "nq", "general", seed).digest
        for texts, seed in ((["a", "b"], 42), (["a", "b"], 42), (["a", "c"], 42), (["a", "b"], 43))
    ]
    assert digests[0] == digests[1] and len(set(digests)) == 3


@pytest.mark.parametrize("source", [_source(["test"]), _source(["train", "test"], ["same", "same"])])
def test_too_few_queries_are_refused(source: Source) -> None:
    with pytest.raises(InputError, match="general set nq has"):
        parts_of(source, "nq", "general", 42)


def test_a_folder_has_one_role_and_a_name_that_is_free(tmp_path: Path) -> None:
    for name in ("one", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "corpus.jsonl").write_text("")
    one, test = (str(tmp_path / name) for name in ("one", "test"))
    with pytest.raises(InputError, match="two of the sets are called one"):
        read_parts([one], [one], 42)
    with pytest.raises(InputError, match="is called test"):
        read_parts([test], [], 42)
