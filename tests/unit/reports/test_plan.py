"""The plan of a run with a teacher, of a corpus made by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Model
from denizen.data.prepare import Unlabelled
from denizen.data.tables import rows_table, write_table
from denizen.engine.progress import Silent
from denizen.engine.step import Context
from denizen.recipes.config import AdaptConfig
from denizen.reports import plan
from denizen.reports.plan import plan_lines
from denizen.retrievers.matryoshka import loss_record

# 80 queries for train, 10 each for dev and test, half of them likely kept; a train query has 3 passages graded a round
SETTINGS: dict[str, Any] = {"passages": 80, "dev_share": 0.1, "test_share": 0.1, "round_trip": 0}
SETTINGS |= {"persona_queries": 0.0, "styles": "question", "graded_top": 1, "mine_within": "corpus", "rounds": 1}


def _plan(folder: Path, count: int = 100, **changed: Any) -> str:
    settings = {"teacher": "llm", "llm": "tiny", "prices": "0/0", **SETTINGS, **changed}
    rows = [{"doc_id": str(at), "text": "a text", "parent_id": str(at), "domain": ""} for at in range(count)]
    write_table(folder / "corpus.parquet", rows_table("corpus", rows))
    sides = [{"parent_id": row["parent_id"], "domain": "", "split": "train"} for row in rows]
    write_table(folder / "documents.parquet", rows_table("documents", sides))
    source = replace(Unlabelled.outside(folder), facts={"documents": count})
    return "\n".join(plan_lines(AdaptConfig("documents", **settings), source, Model(folder, ""), [], Context(Silent())))


def test_the_test_has_four_systems_graded(tmp_path: Path) -> None:
    # train 80 * 3, dev 10 * 5 before the round and after it, test 10 * 20, or half; the judge on trial 30 * 2
    assert "about 330, at most 600 grades in 1 round(s) and the test by llm, 330 to 600 calls" in _plan(tmp_path)


def test_half_of_the_questions_are_likely_asked_for_twice_and_at_most_all(tmp_path: Path) -> None:
    assert "about 150, at most 200 calls write about 50 queries" in _plan(tmp_path)


def test_of_each_negative_one_call_writes_and_one_grades(tmp_path: Path) -> None:
    # of the 80 training queries that are written, half are kept, or all
    text = _plan(tmp_path, synthetic_negatives=50)
    assert "about 190, at most 250 calls write about 50 queries and 40 to 50 hard negatives" in text
    assert "about 370, at most 650 grades in 1 round(s) and the test by llm, 370 to 650 calls" in text
    assert "hard negatives" not in _plan(tmp_path)


def test_what_costs_nothing_has_no_money_and_a_file_says_who_serves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "slots", lambda: 3)
    (tmp_path / "teacher.gguf").write_text("GGUF")
    file = {"llm": str(tmp_path / "teacher.gguf"), "prices": ""}
    served = r"; no money\n      teacher\.gguf@[0-9a-f]{12} is served here by llama\.cpp, 3 call"
    assert re.search(served, _plan(tmp_path, **file)) and str(tmp_path) not in _plan(tmp_path, **file)
    assert "llama.cpp, 2 call" in _plan(tmp_path, **file, concurrency=2)
    at_endpoint = _plan(tmp_path, prices="1/2")
    assert "at 1/2 a million" in at_endpoint and "served here" not in at_endpoint
    assert "; price unknown" in _plan(tmp_path, prices="", allow_unpriced=True)


def test_that_few_dev_queries_are_cross_fitted_is_said_and_that_it_asks_for_no_grades(tmp_path: Path) -> None:
    said = (
        "about 5 dev queries are few, so train decides, too: the rounds are trained 5 times more, each on 4 of 5 parts"
    )
    text = _plan(tmp_path)
    assert said in text and "asks for no grades" in text.splitlines()[-1]
    assert text.splitlines()[:-1] == _plan(tmp_path, cross_fitting=False).splitlines()


@pytest.mark.parametrize(("dev", "few"), [(499, True), (500, False)])
def test_from_five_hundred_dev_queries_on_nothing_is_cross_fitted(dev: int, few: bool, tmp_path: Path) -> None:
    # dev in proportion to train: .3 of the documents to .4; half of the queries are kept
    text = _plan(tmp_path, 4000, passages=round(2 * dev * 0.4 / 0.3), dev_share=0.3, test_share=0.3)
    assert (f"about {dev} dev queries are few" in text) is few and ("are few" in text) is few


def test_to_what_embeddings_may_be_cut_is_said_with_how_that_is_known(tmp_path: Path) -> None:
    assert "dimensions" not in _plan(tmp_path)
    assert "trained to be cut to 16, 8 dimensions, too, as was asked for" in _plan(tmp_path, dims="8,16")
    (tmp_path / "README.md").write_text("---\ntags:\n- loss:Matryoshka2dLoss\n---\n")
    named, layers = _plan(tmp_path).splitlines()[-2:]
    assert "names Matryoshka2dLoss and no dimensions: give --dims" in named
    assert "by its first layers, as its card says: that is not kept" in layers
    (tmp_path / "README.md").write_text(f"```json\n{loss_record((8, 16))}\n```\n")
    assert _plan(tmp_path).endswith("trained to be cut to 16, 8 dimensions, too, as the base's folder says")
    assert _plan(tmp_path, dims="4").endswith("to 4 dimensions, too, as was asked for")
