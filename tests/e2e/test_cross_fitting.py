"""With few dev queries those of train decide, too, each asked of students that have not seen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from denizen.api import adapt
from denizen.data.tables import each, only, read_table
from denizen.measuring import students
from denizen.measuring.students import proven
from denizen.merging import gate as gating
from denizen.merging.soup import mean
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.loading import load_encoder

from .conftest import SETTINGS, Killer, assert_same, gated_config

CROSS_FITTED = {**SETTINGS, "rounds": 1, "epochs": 1.0, "cross_fitting": True}


@pytest.fixture(scope="module")
def crossfitted(pairs: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("runs") / "crossfitted"
    return out, adapt(AdaptConfig(str(pairs), model=str(tiny_encoder), **CROSS_FITTED), out)


def test_every_query_is_asked_of_a_student_that_was_not_trained_on_it(crossfitted: tuple[Path, Any]) -> None:
    out, report = crossfitted
    queries = read_table(out / "corpus/queries.parquet", "queries")
    asked = set(only(queries, "split", ("train", "dev"))["query_id"].to_pylist())
    fold_of = dict(each(read_table(out / "crossfit/folds/folds.parquet", "folds"), "query_id", "fold"))
    assert set(fold_of) == asked and set(fold_of.values()) == set(range(5))
    whole = read_table(out / "round-0/examples/examples.parquet", "examples")
    for fold in range(5):
        examples = read_table(out / f"crossfit/round-0/fold-{fold}/examples/examples.parquet", "examples")
        used = set(examples["query_id"].to_pylist())
        assert not any(fold_of[name] == fold for name in used)
        assert used == {name for name in whole["query_id"].to_pylist() if fold_of[name] != fold}
    found = read_table(out / "crossfit/round-0/held_out/run.parquet", "run")
    assert set(found["query_id"].to_pylist()) == asked
    decided = report["decided"]
    assert decided["round"]["queries"] == decided["fusion"]["queries"] == len(asked)
    assert decided["round"]["by"] == "cross-fitting" and not decided["round"]["must_prove"]


def test_what_is_shipped_is_named_with_its_own_figures(crossfitted: tuple[Path, Any]) -> None:
    _, report = crossfitted
    shipped = report["shipped"]
    row = "hybrid" if shipped["name"] == "hybrid" else "adapted"
    assert shipped["means"] == report[row] and shipped["difference"] == report["differences"][row]
    assert shipped["difference_bm25"]["MRR@5"]["value"] == pytest.approx(report[row]["MRR@5"] - report["bm25"]["MRR@5"])
    assert (shipped["name"] == "hybrid") == report["decided"]["fusion"]["taken"]


def test_killed_in_its_folds_a_run_ends_as_if_it_had_not_been(
    crossfitted: tuple[Path, Any], pairs: Path, tiny_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **CROSS_FITTED)
    places = ("crossfit/folds", "crossfit/round-0/fold-2/student", "crossfit/round-0/held_out", "fusion")
    killer.run(config, tmp_path / "killed", *(f"{place}@record" for place in places))
    assert_same(crossfitted[0], tmp_path / "killed")


def test_what_is_shipped_is_the_mean_of_the_student_and_those_of_its_folds(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = lambda values, groups: (len(values) - 1, proven(values, groups)[1])  # noqa: E731
    monkeypatch.setattr(students, "_highest", last)
    out = tmp_path / "run"
    report = adapt(AdaptConfig(str(pairs), model=str(tiny_encoder), **CROSS_FITTED), out)
    assert report["soup"] == 6 and report["chosen"] == "round 1"
    folders = [out / "round-0/student", *(out / f"crossfit/round-0/fold-{fold}/student" for fold in range(5))]
    wanted = mean(folders).state_dict()
    found = load_encoder(out / "model").state_dict()
    assert all(torch.allclose(found[name], weights) for name, weights in wanted.items())
    whole = load_encoder(folders[0]).state_dict()
    assert not all(torch.allclose(found[name], weights) for name, weights in whole.items())
    assert "the mean of the weights of 6 students" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_merge_is_decided_by_the_merges_of_the_folds(
    pairs: Path, tiny_encoder: Path, forgettable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the mean of so small models forgets too little for a merge to be looked for
    monkeypatch.setattr("denizen.merging.soup.mean", lambda folders: load_encoder(folders[0]))
    # nothing that so small a model learns holds for queries that it has not seen
    for module, rule in ((students, "_highest"), (gating, "proven")):
        monkeypatch.setattr(module, rule, lambda values, groups: (len(values) - 1, proven(values, groups)[1]))
    pytest.importorskip("mergekit", reason="merging is an extra")
    settings = {"cross_fitting": True, "seeds": 1, "baselines": False}
    report = adapt(gated_config(pairs, tiny_encoder, forgettable, **settings), tmp_path / "run")
    points = json.loads((tmp_path / "run/gate/points.json").read_text())
    measured = [point for point in points if point["merge"] and point["domain"] is not None]
    assert measured and all(point["inside"] for point in measured)
    found = read_table(tmp_path / "run/gate/run.parquet", "run")
    assert len(set(found["query_id"].to_pylist())) == report["decided"]["round"]["queries"]
