"""What bench/experts.py draws of a set, and how it tells results of several seeds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("experts")


def test_a_part_of_a_set_has_its_sides_and_no_passage_on_two(bench: ModuleType) -> None:
    """Of 20 passages 12, 3 and 5 may be relevant to training, dev and test; two queries share each passage."""
    few_labels = importlib.import_module("few_labels")
    links: dict[str, Any] = {"train": {}, "dev": {}, "test": {}}
    for at in range(120):
        side = ("train", "train", "dev", "test")[at // 2 % 4]
        links[side][f"q{at}"] = {f"p{at // 2}": 1}
    # one that dev shares with the training side
    links["dev"]["q0b"] = {"p0": 1}
    passages = {f"p{at}": {"_id": f"p{at}", "title": "", "text": f"text {at}"} for at in range(100)}
    queries = {name: {"_id": name, "text": f"what {name}"} for of_side in links.values() for name in of_side}
    found = bench.part_of(few_labels.Labelled(passages, queries, links), 20)
    asked = {side: {doc for known in of.values() for doc in known} for side, of in found.links.items()}
    assert {side: len(docs) for side, docs in asked.items()} == {"train": 12, "dev": 3, "test": 5}
    assert len(found.passages) == 20 == len(set().union(*asked.values()))
    assert {side: len(of) for side, of in found.links.items()} == {"train": 24, "dev": 6, "test": 10}
    named = bench.named(found, "set")
    assert all(name.startswith("set-") and row["_id"] == name for name, row in named.passages.items())
    assert {doc for of in named.links.values() for known in of.values() for doc in known} <= set(named.passages)


def test_the_table_is_the_mean_of_seeds_with_their_spread(bench: ModuleType) -> None:
    """.4 and .6 are .5 with a standard deviation of .141."""

    def of_seed(seed: int, mean: float) -> dict[str, Any]:
        one = {"value": 0.01, "low": -0.02, "high": 0.03, "p": 0.5}
        systems = {
            name: {"means": {"nDCG@10": {"value": mean}}, "advantages": {"nDCG@10": one}}
            for name in ("base", "expert-law", "random", "all", "uniform", "merged")
        }
        slices = {"law": {"means": {name: {"nDCG@10": mean} for name in systems}}}
        merge, shipped = {"called": "linear of law 1"}, {"name": "all"}
        told = {"base": "minilm", "seed": seed, "best_expert": "law", "merge": merge, "shipped": shipped}
        return {**told, "systems": systems, "slices": slices}

    text = bench.table([of_seed(42, 0.4), of_seed(43, 0.6)])
    assert "0.500 ± 0.141" in text and "minilm, 2 seed(s)" in text
    assert text.count("merged - one model, all data") == 2 and "+0.010 [-0.020, +0.030]" in text


def test_a_part_that_there_is_not_is_named(bench: ModuleType) -> None:
    assert [part.name for part in bench.chosen_of(bench.PARTS, ["minilm/42", "minilm/42"])] == ["experts/minilm-42"]
    with pytest.raises(SystemExit, match="unknown parts"):
        bench.chosen_of(bench.PARTS, ["minilm/1"])
