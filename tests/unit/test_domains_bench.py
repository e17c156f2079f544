"""What bench/domains_compare.py makes of results of several seeds."""

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
    return importlib.import_module("domains_compare")


def of_seed(seed: int, mean: float, fall: float) -> dict[str, Any]:
    """Two domains and two options; the second is an oracle at .7."""
    options = {
        "routed": {"called": "routed", "means": {"nDCG@10": {"value": mean}}, "seconds_to_add": 90.0},
        "oracle": {"called": "oracle", "means": {"nDCG@10": {"value": 0.7}}, "seconds_to_add": None},
    }
    domains = {
        name: {
            "means": {option: {"nDCG@10": mean} for option in options},
            "own": {"routed": {"nDCG@10": {"value": apart, "low": apart - 0.01, "high": apart + 0.01, "p": 0.01}}},
        }
        for name, apart in (("law", 0.0), ("tax", fall))
    }
    said = {"taken": "routed", "told": fall == 0, "samples": ["routed"] * 3 + ["base"] * 2, "fall_limit": 0.02}
    told = {"setting": "near", "base": "minilm", "seed": seed, "recommended": said}
    return {**told, "options": options, "domains": domains, "seconds_alone": {"law": 50.0, "tax": 70.0}}


def test_the_table_is_the_mean_of_seeds_with_their_gap_to_oracle_routing(bench: ModuleType) -> None:
    """.4 and .6 are .5 with a standard deviation of .141, .2 below the oracle; 90 s are 30 more than 60 alone."""
    text = bench.table([of_seed(42, 0.4, 0.0), of_seed(43, 0.6, -0.05)])
    assert "near, minilm, 2 seed(s)" in text and "0.500 ± 0.141" in text and "-0.200" in text
    first, second = (line for line in text.splitlines() if "  seed 4" in line)
    assert "seed 42: routed (told: 3 of 5 samples); below their own expert: no domain" in first
    assert "seed 43: routed (cannot be told: 3 of 5 samples); below their own expert: tax" in second
    assert "takes +30 s beyond its own training" in first


def test_parts_are_named_by_setting_base_and_seed(bench: ModuleType) -> None:
    (part,) = bench.chosen_of(bench.PARTS, ["far/minilm/43"])
    assert part.name == "domains/far-minilm-43"
    assert set(bench.SETTINGS["near"]) == {
        *("cfpb_regs", "obliqa", "policyqa", "insurance_dupq", "financial_qa_10k", "tatqa")
    }
