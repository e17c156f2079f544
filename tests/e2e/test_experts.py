"""Experts of slices, from the command to the page: run again, grown, killed, with leaks, with wrong input."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from denizen.api import experts
from denizen.engine.errors import ChangedError, InputError
from denizen.engine.pipeline import records
from denizen.recipes.experts_config import ExpertsConfig
from denizen.reports.report import report
from tests.e2e.conftest import Command, Heard, Killer, assert_same, flags, resumptions
from tests.e2e.slices import rows, write
from tests.html_page import Page

pytest.importorskip("mergekit", reason="merging is an extra")

SETTINGS: dict[str, Any] = {"precision": "fp32", "backend": "torch", "learning_rate": 1e-3, "batch_size": 8}
SETTINGS |= {"epochs": 1.0, "expert_steps": 3, "dev_passages": 30, "merge_evaluations": 3}
NAMES = ("finance", "health", "law")

Run = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three slices of their own words."""
    folder = tmp_path_factory.mktemp("slices")
    return {name: str(write(folder / f"{name}.jsonl", rows(at, 50))) for at, name in enumerate(NAMES)}


def config_of(sources: dict[str, str], names: tuple[str, ...], model: Path, **changed: Any) -> ExpertsConfig:
    return ExpertsConfig([sources[name] for name in names], model=str(model), **{**SETTINGS, **changed})


@pytest.fixture(scope="session")
def two(sources: dict[str, str], tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two slices."""
    out = tmp_path_factory.mktemp("runs") / "two"
    return out, experts(config_of(sources, NAMES[:2], tiny_encoder), out)


def test_every_system_is_measured_on_every_slice(two: Run) -> None:
    out, found = two
    systems = ["base", "bm25", "expert-finance", "expert-health", "random", "all", "uniform", "merged"]
    assert list(found["systems"]) == systems and list(found["slices"]) == ["finance", "health"]
    for name, its in found["systems"].items():
        for measure in ("nDCG@10", "MRR@5"):
            mean = its["means"][measure]
            by_slice = [of["means"][name][measure] for of in found["slices"].values()]
            assert mean["value"] == pytest.approx(sum(by_slice) / 2) and mean["low"] <= mean["value"] <= mean["high"]
            if name != "base":
                apart = its["differences"][measure]
                assert apart["value"] == pytest.approx(
                    mean["value"] - found["systems"]["base"]["means"][measure]["value"]
                )
    assert json.loads((out / "metrics.json").read_text()) == found
    table = pd.read_json(out / "results.json")
    assert set(table["set"]) == {"mean over slices", "finance", "health"} and set(table["system"]) == set(systems)


def test_the_best_on_dev_is_shipped_and_the_path_is_kept(two: Run) -> None:
    out, found = two
    means = {name: sum(of.values()) / 2 for name, of in found["dev"].items()}
    assert means[found["shipped"]["name"]] == max(means.values())
    points = json.loads((out / "merge/points.json").read_text())
    assert points["experts"] == ["finance", "health"] and len(points["points"]) == found["merge"]["measured"] == 3
    assert max(point["mean"] for point in points["points"]) == pytest.approx(means["merged"])
    assert all(set(point["dev"]) == {"finance", "health"} for point in points["points"])
    # every merge but the one that is taken is gone
    assert [path.parent.relative_to(out).as_posix() for path in out.rglob("model.safetensors") if "merge" in str(path)]
    assert len(list((out / "merge").rglob("*.safetensors"))) == 1


def test_plain_sentence_transformers_loads_the_experts_and_what_is_shipped(two: Run) -> None:
    from sentence_transformers import SentenceTransformer

    out, found = two
    for folder in ("model", *found["experts"].values()):
        assert SentenceTransformer(str(out / folder)).encode(["what is that"]).shape == (1, 32)


def test_training_sees_as_many_examples_as_it_may(two: Run) -> None:
    """35 training questions a slice; 3 steps of 8 are 24 examples, of all data 48."""
    out, _ = two
    counts = {place: its["facts"]["rows"] for place, its in records(out).items() if "rows" in its["facts"]}
    assert counts == {
        "experts/finance": 24,
        "experts/health": 24,
        "baselines/random": 24,
        "baselines/all": 48,
    }


def test_run_again_in_whatever_order_it_does_nothing(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    again = experts(config_of(sources, NAMES[1::-1], tiny_encoder), out, progress=heard)
    assert heard.worked == []
    assert again == {**two[1], "config": again["config"], "model": again["model"]}


def test_another_slice_trains_one_expert_and_leaves_the_others(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    found = experts(config_of(sources, NAMES, tiny_encoder), out, progress=heard)
    assert [place for place in heard.worked if place.startswith(("slices/", "experts/"))] == [
        "slices/law/corpus",
        *(f"slices/law/{step}" for step in ("dev-part", "embeddings", "run", "candidates", "examples", "drawn")),
        "experts/law",
    ]
    assert {"baselines/all", "baselines/random", "merge", "test/finance", "comparison"} <= set(heard.worked)
    assert "      there already: experts/finance, experts/health" in "\n".join(heard.said)
    assert list(found["merge"]["weights"]) == list(NAMES)
    for name in NAMES[:2]:
        kept = Path(f"experts/{name}/model.safetensors")
        assert (out / kept).read_bytes() == (two[0] / kept).read_bytes()


def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    points = ["guard@open:1", "experts/health@step:2", "baselines/all@step:4", "merge@scratch:9", "merge@open:1"]
    points += ["choice@rename", "test/health@write:2", "comparison@record", "model@open:2", "@open:3"]
    log = killer.run(config_of(sources, NAMES[:2], tiny_encoder), tmp_path / "killed", *points)
    assert_same(two[0], tmp_path / "killed")
    assert resumptions(log, "experts/health") == 1


def test_a_part_can_be_done_anew(two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    config = config_of(sources, NAMES[:2], tiny_encoder, search="random", merge_evaluations=2)
    with pytest.raises(ChangedError, match=r"search: 'grid' -> 'random'"):
        experts(config, out)
    found = experts(config, out, redo="merge", progress=heard)
    assert found["merge"]["measured"] == 2
    assert not [place for place in heard.worked if place.startswith(("slices/", "experts/", "dev/"))]
    assert heard.worked[:2] == ["merge", "choice"]
    with pytest.raises(InputError, match="there is no step 'student'"):
        experts(config, out, redo="student")


def test_other_seeds_are_done_beside_the_first(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    config = config_of(sources, NAMES[:2], tiny_encoder, seeds=2, merge_evaluations=3)
    found = experts(config, out, progress=heard)
    assert all(place.startswith("seed-43/") or place == "model" for place in heard.worked)
    assert [its["seed"] for its in found["seeds"]] == [42, 43]
    assert "mean ± sd" in (out / "report.html").read_text()


def test_the_page_and_the_card_are_whole(two: Run, tmp_path: Path, command: Command) -> None:
    out, _ = two
    text = (out / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags and text.count("<svg") == 5
    assert {link[1:] for link in page.links if link != "data:,"} <= set(page.ids)
    card = (out / "model/README.md").read_text()
    for shown in (text, card):
        assert not re.search(r"\{\{|\}\}|\{%|None\b|nan\b|<no value>|TODO", shown)
        for name in ("finance", "health", "one model, all data", "uniform average"):
            assert name in shown
    assert report(out, tmp_path / "again.html").read_text() == text
    assert str(out) not in card


def test_what_one_slice_tests_and_another_trains_on_is_refused_with_exit_code_3(
    sources: dict[str, str], two: Run, tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    from denizen.data.tables import read_table

    asked = read_table(two[0] / "slices/finance/corpus/queries.parquet", "queries").to_pylist()
    tested = {row["text"] for row in asked if row["split"] == "test"}
    own = [json.loads(line) for line in Path(sources["finance"]).read_text().splitlines()]
    stolen = [row for row in own if row["question"] in tested]
    leaky = write(tmp_path / "leaky.jsonl", [*rows(9, 50), *stolen])
    given = [sources["finance"], leaky, "--out", tmp_path / "run", "--model", tiny_encoder, *flags(SETTINGS)]
    ended = command("experts", *given)
    assert ended.code == 3 and "finance/q" in ended.err and "leaky/q" in ended.err and "--drop-leaks" in ended.err
    assert not (tmp_path / "run/experts").exists()


def test_from_the_command_line_one_file_with_a_column_is_as_good_as_several(
    sources: dict[str, str], two: Run, tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    every = [
        {**json.loads(line), "kind": name}
        for name in NAMES[:2]
        for line in Path(sources[name]).read_text().splitlines()
    ]
    path = write(tmp_path / "all.jsonl", every)
    given = ["--slices", "kind", "--out", tmp_path / "run", "--model", tiny_encoder, *flags(SETTINGS)]
    ended = command("experts", path, *given)
    assert ended.code == 0, ended.err
    assert "merged is better by" in ended.out and "than one model, all data" in ended.out
    assert list(json.loads((tmp_path / "run/metrics.json").read_text())["slices"]) == ["finance", "health"]


def test_wrong_input_is_refused_with_exit_code_2(
    sources: dict[str, str], tiny_encoder: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    untested = write(tmp_path / "small.jsonl", rows(11, 2))

    def refused(*given: object) -> str:
        ended = command("experts", *given, "--out", tmp_path / "run", "--model", tiny_encoder, *flags(SETTINGS))
        assert ended.code == 2, ended.err
        assert not (tmp_path / "run/experts").exists()
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return ended.err

    assert "no column 'domain'" in refused(sources["law"])
    assert "would both be the slice 'law'" in refused(sources["law"], sources["law"])
    assert "slice 'small'" in refused(sources["law"], untested)
    assert "does not exist" in refused(sources["law"], tmp_path / "nothing.jsonl")
    monkeypatch.setattr("denizen.merging.methods.is_available", lambda: False)
    assert "pip install 'denizen[merge]'" in refused(sources["law"], sources["health"])
    monkeypatch.undo()
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "cma" else found(name, *rest))
    ended = command("experts", sources["law"], sources["health"], "--out", tmp_path / "run", "--search", "cma")
    assert ended.code == 2 and "pip install 'denizen[experts]'" in ended.err


def test_the_folder_of_another_command_is_left_alone(
    two: Run, sources: dict[str, str], tiny_encoder: Path, command: Command
) -> None:
    before = (two[0] / "config.json").read_bytes()
    ended = command("adapt", sources["law"], "--out", two[0], "--model", tiny_encoder)
    assert ended.code == 2 and "a run of another command" in ended.err
    assert (two[0] / "config.json").read_bytes() == before
