"""The calls that a run of experts would make: what an expert depends on, and what slices are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Model
from denizen.data.prepare import Given
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.pipeline import Pipeline
from denizen.engine.step import Call
from denizen.recipes.experts import BroughtSlices, experts
from denizen.recipes.experts_config import ExpertsConfig
from denizen.recipes.slices import given_slices
from denizen.training.generic_prompts import instructions


def fingerprints(folder: Path, names: str, **settings: Any) -> Mapping[str, str]:
    """Place to fingerprint of every call of a run."""
    return {place: call.fingerprint for place, call in calls(folder, names, **settings).items()}


def calls(folder: Path, names: str, **settings: Any) -> Mapping[str, Call[Any]]:
    """Place to call of a run with some slices, each known by its letter; nothing is done."""
    slices = {name: Given(lambda: pytest.fail("nothing is read"), {f"{name}.jsonl": name * 64}) for name in names}
    run = Pipeline(folder / "run", planning=True)
    config = ExpertsConfig([f"{name}.jsonl" for name in names], **{"precision": "fp32", **settings})
    experts(run, config, BroughtSlices(Model(folder / "base", "m" * 64), slices))
    return run.calls


def test_a_run_calls_steps_for_each_slice_then_baselines_merge_and_test(tmp_path: Path) -> None:
    places = list(fingerprints(tmp_path, "ab"))
    of_slice = ("corpus", "dev-part", "embeddings", "run", "candidates", "examples", "drawn")
    assert {f"slices/{name}/{step}" for name in "ab" for step in of_slice} <= set(places)
    assert places[-14:] == [
        "baselines/random",
        "baselines/all",
        "baselines/uniform",
        *(f"dev/{name}" for name in ("base", "expert-a", "expert-b", "random", "all", "uniform")),
        "merge",
        "choice",
        "test/a",
        "test/b",
        "comparison",
    ]


def test_the_search_comes_before_the_test_and_does_not_read_it(tmp_path: Path) -> None:
    places = list(fingerprints(tmp_path, "ab"))
    assert places.index("choice") < min(places.index(f"test/{name}") for name in "ab")


@pytest.mark.parametrize(
    ("name", "value", "untouched"),
    [
        ("search", "random", ("experts/", "baselines/", "dev/", "slices/")),
        ("merge_evaluations", 5, ("experts/", "baselines/", "dev/", "slices/")),
        ("dev_passages", 99, ("experts/", "baselines/")),
        ("learning_rate", 1e-5, ("slices/",)),
        ("generic_prompts", 5, ("slices/",)),
        ("store", "elsewhere", ("",)),
    ],
)
def test_a_setting_changes_its_own_steps_and_no_earlier_one(
    tmp_path: Path, name: str, value: Any, untouched: tuple[str, ...]
) -> None:
    before, now = fingerprints(tmp_path, "ab"), fingerprints(tmp_path, "ab", **{name: value})
    changed = {place for place in before if before[place] != now[place]}
    changed -= {f"slices/{each}/dev-part" for each in "ab"}
    assert not [place for place in changed if place.startswith(untouched)]
    assert bool(changed) == (name != "store")


def test_experts_and_baselines_are_trained_with_the_same_instructions(tmp_path: Path) -> None:
    without, now = (calls(tmp_path, "ab", generic_prompts=count) for count in (0, 3))
    trained = [place for place, call in now.items() if "generic" in call.described["inputs"]]
    assert trained == ["experts/a", "experts/b", "baselines/random", "baselines/all"]
    assert all(now[place].inputs["generic"] == Value(instructions(3)) for place in trained)
    assert not any("generic" in call.described["inputs"] for call in without.values())


def test_without_a_cap_nothing_is_drawn(tmp_path: Path) -> None:
    assert not [place for place in fingerprints(tmp_path, "ab", expert_steps=0) if place.endswith("drawn")]


def test_another_seed_reads_searches_and_guards_the_same(tmp_path: Path) -> None:
    found = fingerprints(tmp_path, "ab", seeds=2)
    again = [place for place in found if place.startswith("seed-43/")]
    assert "seed-43/experts/a" in again and "seed-43/merge" in again
    assert not [place for place in again if place.endswith(("corpus", "embeddings", "guard", "dev-part"))]
    assert found["seed-43/experts/a"] != found["experts/a"]


def pairs(path: Path, **columns: list[str]) -> str:
    rows = [{"question": f"what {at} {path.name}", "answer": f"that {at} {path.name}"} for at in range(4)]
    for name, values in columns.items():
        rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_slices_are_called_as_their_files_and_stand_in_that_order(tmp_path: Path) -> None:
    sources = [pairs(tmp_path / name) for name in ("law.jsonl", "health care.jsonl")]
    assert list(given_slices(ExpertsConfig(sources), tmp_path / "run")) == ["health-care", "law"]


def test_a_column_names_slices_and_each_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    source = pairs(tmp_path / "all.jsonl", domain=["law", "law", "health", "health"])
    found = given_slices(ExpertsConfig(source), tmp_path / "run")
    assert list(found) == ["health", "law"]
    grown = pairs(tmp_path / "all.jsonl", domain=["law", "law", "health", "tax"])
    again = given_slices(ExpertsConfig(grown), tmp_path / "run")
    assert list(again) == ["health", "law", "tax"]
    assert again["law"].digests == found["law"].digests != again["health"].digests


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("a/set.jsonl", "b/set.jsonl"), "would both be the slice 'set'"),
        (("Law.jsonl", "law.csv"), "would both be the slice 'law'"),
    ],
)
def test_slices_of_one_name_are_refused(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    sources = [pairs(tmp_path / name) for name in names]
    with pytest.raises(InputError, match=why):
        given_slices(ExpertsConfig(sources), tmp_path / "run")


def test_one_slice_is_no_slice(tmp_path: Path) -> None:
    source = pairs(tmp_path / "all.jsonl", domain=["law"] * 4)
    with pytest.raises(InputError, match=r"one slice only, 'law'.*denizen adapt"):
        given_slices(ExpertsConfig(source), tmp_path / "run")
