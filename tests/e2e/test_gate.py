"""The forgetting gate: mended by a merge, kept without one, not met; and the commands gate and merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen import cli
from denizen.api import adapt
from denizen.cli.adapting import read_weights
from denizen.engine.errors import InputError
from denizen.merging import gate as gating
from denizen.recipes.gate import gate
from denizen.recipes.merge_models import merge_models
from denizen.retrievers.loading import load_encoder

from .conftest import gated_config, write_beir

Gated = tuple[Path, dict[str, Any]]
pytest.importorskip("mergekit", reason="merging is an extra")


@pytest.fixture
def copy(gated: Gated, tmp_path: Path) -> Path:
    """The finished run once more, to do its gate anew."""
    shutil.copytree(gated[0], tmp_path / "run")
    return tmp_path / "run"


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["denizen", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_a_merge_inside_the_limit_is_taken(gated: Gated, tiny_encoder: Path) -> None:
    out, report = gated
    found = report["gate"]
    base, student, *merges = found["points"]
    assert (base["name"], student["name"]) == ("base", f"round {report['best_round']}")
    assert not student["inside"] and student["domain"] > base["domain"]
    assert len(merges) <= 6 and all(point["merge"] for point in merges)
    (taken,) = (point for point in found["points"] if point["chosen"])
    assert taken["name"] == report["chosen"] and taken["inside"]
    assert taken["domain"] == max(point["domain"] for point in merges if point["inside"])
    assert all((point["domain"] is None) == (not point["inside"]) for point in merges)
    # the model is that merge, and no other
    weight = sum(taken["merge"]["weights"])
    folders = [out / f"round-{number - 1}/student" for number in taken["merge"]["rounds"]]
    if taken["merge"]["method"] == "linear":
        states = [load_encoder(folder).state_dict() for folder in (tiny_encoder, *folders)]
        merged = load_encoder(out / "model").state_dict()
        for name, values in merged.items():
            if values.is_floating_point():
                share = weight / len(folders)
                expected = (1 - weight) * states[0][name] + sum(share * state[name] for state in states[1:])
                np.testing.assert_allclose(values.numpy(), expected.numpy(), atol=1e-5)
    assert not (out / "gate/candidate").exists() and not (out / "gate/measured.json").exists()


def test_what_was_forgotten_is_measured_on_queries_that_did_not_decide(gated: Gated, forgettable: Path) -> None:
    _, report = gated
    (found,) = report["gate"]["sets"].values()
    assert set(found["means"]) == {"base", "adapted"}
    assert found["queries"] < 200
    change = found["means"]["adapted"]["nDCG@10"] - found["means"]["base"]["nDCG@10"]
    assert report["gate"]["change"]["general"] == pytest.approx(change)
    # a merge that was inside the limit on the queries that decide may be outside on these
    assert report["gate"]["met"] == (change >= -0.1)


def test_baselines_stand_beside_the_result(gated: Gated) -> None:
    _, report = gated
    for system in ("base", "bm25", "plain", "average", "ungated", "adapted", "hybrid"):
        assert 0 <= report[system]["MRR@5"] <= 1
    found = report["advantages"]["plain"]["MRR@5"]["value"]
    assert found == pytest.approx(report["adapted"]["MRR@5"] - report["plain"]["MRR@5"])


def test_seeds_are_repeated_from_the_same_corpus(gated: Gated) -> None:
    out, report = gated
    assert [found["seed"] for found in report["seeds"]] == [42, 43]
    assert report["seeds"][0]["adapted"] == report["adapted"]
    assert (out / "seed-43/round-1/student").is_dir() and not (out / "seed-43/corpus").exists()
    one, other = ((out / place / "round-0/student/model.safetensors").read_bytes() for place in ("", "seed-43"))
    assert one != other


def test_running_it_again_does_nothing(gated: Gated, pairs: Path, tiny_encoder: Path, forgettable: Path) -> None:
    out, report = gated
    before = {path: path.stat().st_mtime_ns for path in out.rglob("step.json")}
    again = adapt(gated_config(pairs, tiny_encoder, forgettable), out)
    assert again == report
    assert {path: path.stat().st_mtime_ns for path in out.rglob("step.json")} == before


def test_where_no_merge_is_inside_the_base_comes_back_with_exit_code_4(
    copy: Path,
    pairs: Path,
    tiny_encoder: Path,
    forgettable: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = gated_config(pairs, tiny_encoder, forgettable, merge_evaluations=1, forgetting_limit=0.0, seeds=1)
    report = adapt(config, copy, redo="gate")
    assert report["chosen"] == "base" and report["gate"]["met"] is False
    assert report["difference"]["MRR@5"]["value"] == 0
    assert "broke the limit on forgetting" in (copy / "model/README.md").read_text()
    assert _run(monkeypatch, "adapt", "--config", copy / "config.json", "--out", copy, "--quiet") == 4
    assert "the gate is not met" in capsys.readouterr().err


def test_a_student_inside_the_limit_is_taken_as_it_is(
    copy: Path, pairs: Path, tiny_encoder: Path, forgettable: Path
) -> None:
    config = gated_config(pairs, tiny_encoder, forgettable, forgetting_limit=0.9, seeds=1)
    report = adapt(config, copy, redo="gate")
    assert report["chosen"] == f"round {report['best_round']}" and report["gate"]["met"]
    assert "ungated" not in report
    weights = [(copy / step / "model.safetensors").read_bytes() for step in ("choice/model", "gate/model", "model")]
    assert weights[0] == weights[1] == weights[2]
    assert len(report["gate"]["points"]) == 2


def test_a_search_that_was_stopped_measures_no_merge_twice(
    copy: Path, pairs: Path, tiny_encoder: Path, forgettable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = gated_config(pairs, tiny_encoder, forgettable, seeds=1)
    expected = json.loads((copy / "gate/points.json").read_text())
    shutil.rmtree(copy / "gate")
    measured = []
    original = gating.merge

    def stopping(base: Path, models: object, recipe: Any) -> Any:
        if len(measured) == 2:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append(recipe)
        return original(base, models, recipe)  # type: ignore[arg-type]

    monkeypatch.setattr(gating, "merge", stopping)
    with pytest.raises(KeyboardInterrupt):
        adapt(config, copy)
    adapt(config, copy)
    assert json.loads((copy / "gate/points.json").read_text()) == expected
    merges = [point for point in expected if point["merge"]]
    # those that were left, and the one that was stopped once more
    assert len(measured) == 3 + len(merges) - 2


def test_a_gate_of_a_run_s_model_gives_the_run_s_own_figures(
    gated: Gated, tiny_encoder: Path, forgettable: Path, tmp_path: Path
) -> None:
    out, report = gated
    settings = {"general": [str(forgettable)], "forgetting_limit": 0.1, "backend": "torch", "precision": "fp32"}
    shutil.copytree(out / "model", tmp_path / "model")
    for model in (out / "model", tmp_path / "model"):
        found = gate(str(model), str(tiny_encoder), **settings)
        assert (found["seed"], found["seed_from"]) == (report["config"]["seed"], "run")
        assert found["change"] == pytest.approx(report["gate"]["change"]) and found["met"] == report["gate"]["met"]


def test_gate_and_merge_as_commands(
    gated: Gated,
    tiny_encoder: Path,
    forgettable: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _ = gated
    student = out / "round-1/student"
    sets = ("--general", forgettable, "--base", tiny_encoder)
    assert _run(monkeypatch, "gate", student, *sets, "--out", tmp_path / "gate", "--quiet") == 4
    error = capsys.readouterr().err
    assert "the gate is not met: nDCG@10 changes by general -" in error and "--forgetting-limit" in error
    assert json.loads((tmp_path / "gate/gate.json").read_text())["met"] is False
    assert _run(monkeypatch, "gate", student, *sets, "--forgetting-limit", "1") == 0
    assert "forgettable" in capsys.readouterr().out

    merged = tmp_path / "merged"
    assert _run(monkeypatch, "merge", student, "--base", tiny_encoder, "--weights", "0.25", "--out", merged) == 0
    card = (merged / "README.md").read_text()
    assert "method: linear" in card and str(tmp_path) not in card
    assert json.loads((merged / "merge.json").read_text())["weights"] == [0.25]
    load_encoder(merged)
    assert _run(monkeypatch, "merge", student, "--base", tiny_encoder, "--out", merged) == 2
    assert "is there already" in capsys.readouterr().err
    assert _run(monkeypatch, "merge", student, "--base", tiny_encoder, "--weights", "a", "--out", tmp_path / "x") == 2
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_measured_is_refused(tiny_encoder: Path, forgettable: Path, tmp_path: Path, pairs: Path) -> None:
    model = str(tiny_encoder)
    with pytest.raises(InputError, match="no set to measure on"):
        gate(model, model)
    with pytest.raises(InputError, match="no BEIR folder"):
        gate(model, model, general=[str(tmp_path)])
    shutil.copytree(forgettable, tmp_path / "forgettable")
    with pytest.raises(InputError, match="two of the sets are called forgettable"):
        gate(model, model, general=[str(forgettable)], neighbour=[str(tmp_path / "forgettable")])
    one = write_beir(tmp_path / "one", 1)
    with pytest.raises(InputError, match="at least 2 with different texts"):
        adapt(gated_config(pairs, tiny_encoder, one), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"0\.3,0\.2"):
        read_weights("half")
    with pytest.raises(InputError, match="is there already"):
        merge_models([model], tmp_path, base=model)
