"""The guard among slices: what stands in one to be trained on and in another to be tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.data.guard import Guarded, guard
from denizen.data.passages import with_clusters
from denizen.data.prepare import Labelled, Splitting
from denizen.data.tables import read_table, rows_table, write_table
from denizen.engine.errors import InputError, LeakError
from denizen.engine.step import Context

_SIDES = ("train", "train", "dev", "test")


def slice_of(folder: Path, words: list[str], sides: tuple[str, ...] = _SIDES) -> Labelled:
    """A prepared slice: a question and an answer about each word."""
    folder.mkdir(parents=True)
    passages = [
        {"doc_id": f"d{at}", "title": "", "text": f"{word} {word}ium {word}ate", "parent_id": f"d{at}"}
        for at, word in enumerate(words)
    ]
    asked = [
        {"query_id": f"q{at}", "text": f"what of {word} here", "split": side}
        for at, (word, side) in enumerate(zip(words, sides, strict=True))
    ]
    write_table(folder / "corpus.parquet", with_clusters(rows_table("corpus", passages), 0.9))
    write_table(folder / "queries.parquet", rows_table("queries", asked))
    write_table(folder / "qrels.parquet", rows_table("qrels", [(f"q{at}", f"d{at}", 1) for at in range(len(words))]))
    return Labelled.outside(folder)


def guarded(out: Path, params: Splitting, **slices: Labelled) -> tuple[Guarded, dict]:
    out.mkdir()
    facts = guard(out, params, Context(), slices=slices)
    return Guarded.outside(out), facts


def test_slices_that_share_nothing_pass(tmp_path: Path) -> None:
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["ij", "kl", "mn", "op"])
    made, facts = guarded(tmp_path / "out", Splitting(), one=one, other=other)
    assert facts["leaks"] == facts["queries_dropped_as_leaks"] == 0
    assert facts["queries"] == {name: {"train": 2, "dev": 1, "test": 1} for name in ("one", "other")}
    assert made.queries("one").texts("test") == {"q3": "what of gh here"}


def test_what_is_tested_in_one_and_trained_on_in_another_stops_the_run(tmp_path: Path) -> None:
    # the test question of one is a training question of the other
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["gh", "kl", "mn", "op"])
    with pytest.raises(LeakError, match=r"one/q3.*other/q0|other/q0.*one/q3"):
        guarded(tmp_path / "out", Splitting(), one=one, other=other)


def test_the_same_passage_under_another_question_stops_it_too(tmp_path: Path) -> None:
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["gh", "kl", "mn", "op"])
    asked = other.queries.table.to_pylist()
    asked[0]["text"] = "something else entirely"
    write_table(tmp_path / "b/queries.parquet", rows_table("queries", asked))
    with pytest.raises(LeakError, match="near-duplicate passage"):
        guarded(tmp_path / "out", Splitting(), one=one, other=Labelled.outside(tmp_path / "b"))


def test_what_leaks_is_dropped_from_the_side_that_learns(tmp_path: Path) -> None:
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["gh", "kl", "mn", "op"])
    made, facts = guarded(tmp_path / "out", Splitting(drop_leaks=True), one=one, other=other)
    assert (facts["leaks"], facts["queries_dropped_as_leaks"]) == (0, 1)
    assert list(made.queries("one").texts("test")) == ["q3"]
    assert list(made.queries("other").texts("train")) == ["q1"]
    assert json.loads((tmp_path / "out/leaks.json").read_text())[0]["query_ids"] == ["one/q3", "other/q0"]


def test_a_slice_that_loses_all_that_it_could_learn_from_stops_it(tmp_path: Path) -> None:
    one = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"])
    other = slice_of(tmp_path / "b", ["gh", "mn", "op"], ("train", "dev", "test"))
    with pytest.raises(InputError, match="slice 'other' has no query left in train"):
        guarded(tmp_path / "out", Splitting(drop_leaks=True), one=one, other=other)


def test_leaks_that_are_allowed_are_counted(tmp_path: Path) -> None:
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["gh", "kl", "mn", "op"])
    _, facts = guarded(tmp_path / "out", Splitting(allow_leak=True), one=one, other=other)
    assert facts["leaks"] == 1


def test_a_slice_of_which_nothing_is_dropped_is_the_same_whatever_stands_beside_it(tmp_path: Path) -> None:
    one, other = slice_of(tmp_path / "a", ["ab", "cd", "ef", "gh"]), slice_of(tmp_path / "b", ["ij", "kl", "mn", "op"])
    third = slice_of(tmp_path / "c", ["op", "kk", "ll", "mm"])
    two, _ = guarded(tmp_path / "two", Splitting(drop_leaks=True), one=one, other=other)
    three, facts = guarded(tmp_path / "three", Splitting(drop_leaks=True), one=one, other=other, third=third)
    assert facts["queries_dropped_as_leaks"] == 1
    for name in ("one", "other"):
        assert two.queries(name).digest == three.queries(name).digest
    assert len(read_table(tmp_path / "three/third.parquet", "queries")) == 3
