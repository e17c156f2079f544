"""A source beside the run that it goes on from: its sides, its leaks, and what its model has not learnt from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.formats.source import Source
from denizen.data.leaks import find_leaks, without_leaks
from denizen.data.prepare import Given, Splitting, prepare
from denizen.data.tables import each, read_table, rows_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import LeakError
from denizen.engine.progress import Silent
from denizen.engine.step import Context
from tests.unit.data.linked_queries import Tables, linked_queries

# 24 topics that share no word, so that nothing but what a test makes equal is alike
TOPICS = [f"{one}{two}" for one in ("gout", "lupus", "fever", "pain", "rash", "cough") for two in ("a", "b", "c", "d")]
OLD = {at: "test" if at < 4 else "dev" if at < 8 else "train" for at in range(16)}

# question, answer and side of each row
Rows = list[tuple[str, str, str | None]]


def question(at: int) -> str:
    return f"{TOPICS[at]} helped by?"


def answer(at: int) -> str:
    return f"{TOPICS[at][::-1]} treats x{TOPICS[at]} soon"


def source_of(rows: Rows) -> Source:
    """Rows are numbered from their place: the same text has another id in another source."""
    ids = [f"{at:02}" for at in range(len(rows))]
    passages = [{"doc_id": f"d{at}", "text": text} for at, (_, text, _) in zip(ids, rows, strict=True)]
    queries = [{"query_id": f"q{at}", "text": of, "split": side} for at, (of, _, side) in zip(ids, rows, strict=True)]
    links = [{"query_id": f"q{at}", "doc_id": f"d{at}", "relevance": 1} for at in ids]
    tables = rows_table("corpus", passages), rows_table("queries", queries), rows_table("qrels", links)
    return Source(*tables, cut=True, bad_rows=[])


def made(folder: Path, rows: Rows, earlier: Mapping[str, Artifact] | None = None, **settings: Any) -> dict[str, Any]:
    folder.mkdir()
    context = Context(Silent(), resources={Given: Given(lambda: source_of(rows), {})})
    facts: dict[str, Any] = prepare(folder, Splitting.of(settings), context, source={}, earlier=earlier)
    return facts


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, Artifact]:
    """The tables of a run whose topics 0 to 3 are its test, 4 to 7 its dev."""
    made(tmp_path / "earlier", [(question(at), answer(at), side) for at, side in OLD.items()])
    names = ("corpus", "queries", "qrels")
    return {name: Artifact.outside(tmp_path / f"earlier/{name}.parquet") for name in names}


def sides(folder: Path, name: str = "queries") -> dict[str, str]:
    return dict(each(read_table(folder / f"{name}.parquet", "queries"), "text", "split"))


def test_queries_stand_where_they_stood_and_new_ones_are_dealt_out(
    earlier: dict[str, Artifact], tmp_path: Path
) -> None:
    rows: Rows = [(question(at), answer(at), None) for at in reversed(range(24))]
    facts = made(tmp_path / "next", rows, earlier, test_share=0.25, dev_share=0.125)
    found = sides(tmp_path / "next")
    assert {at: found[question(at)] for at in OLD} == OLD
    # of 8 new ones a quarter and an eighth
    new = [found[question(at)] for at in range(16, 24)]
    assert (new.count("test"), new.count("dev"), new.count("train")) == (2, 1, 5)
    assert facts["as_in_the_earlier_run"] == {"train": 8, "dev": 4, "test": 4}
    # what the earlier model was trained on can tell nothing about it
    learnt = {question(at) for at, side in OLD.items() if side == "train"}
    assert sides(tmp_path / "next", "unlearnt").keys() == found.keys() - learnt
    assert facts["unlearnt"] == {"train": 5, "dev": 5, "test": 6}


def test_a_new_question_about_an_earlier_passage_stands_with_it(earlier: dict[str, Artifact], tmp_path: Path) -> None:
    rows: Rows = [(question(at), answer(at), None) for at in range(24)]
    rows += [("who is well after it", answer(0), None), ("which one is quick", answer(9), None)]
    made(tmp_path / "next", rows, earlier)
    found = sides(tmp_path / "next")
    assert (found["who is well after it"], found["which one is quick"]) == ("test", "train")


CROSSING: dict[str, tuple[tuple[str, str, str], str]] = {
    "an old test question": ((question(0), answer(20), "train"), "test and train"),
    "the passage of one": (("who is well after it", answer(1), "train"), "test and train"),
    "an old test question, in dev": ((question(0), answer(20), "dev"), "dev and test"),
    "an old dev question": ((question(5), answer(20), "train"), "dev and train"),
    # what was learnt cannot be unlearnt
    "an old training question in the test": ((question(9), answer(20), "test"), "test and train"),
}


@pytest.mark.parametrize("name", CROSSING)
def test_what_crosses_the_sides_of_the_earlier_run_is_refused_or_dropped(
    name: str, earlier: dict[str, Artifact], tmp_path: Path
) -> None:
    row, where = CROSSING[name]
    # none of the earlier queries is in the source itself
    sides_of = {16: "train", 17: "train", 18: "dev", 19: "test"}
    rows: Rows = [(question(at), answer(at), side) for at, side in sides_of.items()]
    with pytest.raises(LeakError, match=f"1 thing.*\n.*in {where}: earlier:q"):
        made(tmp_path / "refused", [*rows, row], earlier)
    made(tmp_path / "allowed", [*rows, row], earlier, allow_leak=True)
    facts = made(tmp_path / "dropped", [*rows, row], earlier, drop_leaks=True)
    assert facts["queries_dropped_as_leaks"] == 1
    assert sides(tmp_path / "dropped") == {question(at): side for at, side in sides_of.items()}
    (leak,) = json.loads((tmp_path / "dropped/leaks.json").read_text())
    assert any(query_id.startswith("earlier:") for query_id in leak["query_ids"])
    # the passages of the earlier run stay out of the corpus
    assert len(read_table(tmp_path / "dropped/corpus.parquet", "corpus")) == facts["passages"] == 5


def test_a_dev_part_that_is_cut_from_train_has_the_earlier_one_and_nothing_that_was_learnt(
    earlier: dict[str, Artifact], tmp_path: Path
) -> None:
    rows: Rows = [(question(at), answer(at), "test" if at < 4 else "train") for at in range(24)]
    made(tmp_path / "next", rows, earlier)
    found = sides(tmp_path / "next")
    assert {at: found[question(at)] for at in OLD} == OLD
    assert [found[question(at)] for at in range(16, 24)].count("dev") == 1


def test_a_run_that_goes_on_from_none_knows_nothing_of_it(tmp_path: Path) -> None:
    facts = made(tmp_path / "alone", [(question(at), answer(at), side) for at, side in OLD.items()])
    assert not {"unlearnt", "as_in_the_earlier_run"} & facts.keys()
    assert not (tmp_path / "alone/unlearnt.parquet").exists()


@given(linked_queries(("train", "dev", "test")), st.data())
def test_dropping_keeps_what_is_fixed_and_leaves_no_leak_of_anything_else(tables: Tables, data: st.DataObject) -> None:
    queries, qrels, corpus = tables
    ids = queries["query_id"].to_pylist()
    fixed = data.draw(st.sets(st.sampled_from(ids)))
    kept, _ = without_leaks(queries, qrels, corpus, 0.9, fixed)
    assert fixed <= set(kept["query_id"].to_pylist())
    assert find_leaks(kept, qrels, corpus, 0.9, fixed) == []
