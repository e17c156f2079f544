"""Several domains, from the command to the page: compared, run again, grown and shrunk, killed, with wrong input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from denizen.api import domains, experts
from denizen.engine.errors import ChangedError, InputError, LeakError
from denizen.engine.pipeline import records
from denizen.measuring.options import OPTIONS, ORACLE
from denizen.recipes.domains_config import DomainsConfig
from denizen.recipes.experts_config import ExpertsConfig
from denizen.reports.report import report
from denizen.retrievers.searchable import SearchableCorpus
from tests.e2e.conftest import Command, Heard, Killer, assert_same, flags
from tests.e2e.slices import rows, write
from tests.html_page import Page

pytest.importorskip("mergekit", reason="merging is an extra")

SETTINGS: dict[str, Any] = {"precision": "fp32", "backend": "torch", "learning_rate": 1e-3, "batch_size": 8}
SETTINGS |= {"epochs": 1.0, "expert_steps": 3, "dev_passages": 30, "merge_evaluations": 2}
NAMES = ("finance", "health", "law")
DEPLOYABLE = [name for name, option in OPTIONS.items() if option.deployable]

Run = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three domains of their own words."""
    folder = tmp_path_factory.mktemp("domains")
    return {name: str(write(folder / f"{name}.jsonl", rows(at, 50))) for at, name in enumerate(NAMES)}


def config_of(sources: dict[str, str], names: tuple[str, ...], model: Path, **changed: Any) -> DomainsConfig:
    return DomainsConfig([sources[name] for name in names], model=str(model), **{**SETTINGS, **changed})


@pytest.fixture(scope="session")
def two(sources: dict[str, str], tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two domains."""
    out = tmp_path_factory.mktemp("runs") / "two"
    return out, domains(config_of(sources, NAMES[:2], tiny_encoder), out)


def test_every_option_is_measured_on_one_corpus_of_all_domains(two: Run) -> None:
    out, found = two
    assert list(found["options"]) == list(OPTIONS) and list(found["domains"]) == ["finance", "health"]
    assert found["union"]["passages"] == sum(its["passages"] for its in found["domains"].values()) == 100
    for name, its in found["options"].items():
        for measure in ("nDCG@10", "MRR@5"):
            mean = its["means"][measure]
            by_domain = [of["means"][name][measure] for of in found["domains"].values()]
            assert mean["value"] == pytest.approx(sum(by_domain) / 2) and mean["low"] <= mean["value"] <= mean["high"]
            if name != "base":
                base = found["options"]["base"]["means"][measure]["value"]
                assert its["differences"][measure]["value"] == pytest.approx(mean["value"] - base)
            other = found["options"][its["other"]]["means"][measure]["value"]
            assert its["over_other"][measure]["value"] == pytest.approx(mean["value"] - other)
    assert json.loads((out / "metrics.json").read_text()) == found
    table = pd.read_json(out / "results.json")
    assert set(table["set"]) == {"mean over domains", "finance", "health"} and set(table["option"]) == set(OPTIONS)


def test_what_is_served_is_what_was_recommended_and_finds_what_was_measured(two: Run) -> None:
    out, found = two
    taken = found["recommended"]["taken"]
    assert taken in DEPLOYABLE
    searchable = SearchableCorpus.load(out)
    queries = pd.read_parquet(out / "union/queries.parquet")
    (first, *_) = queries[queries["split"] == "test"].itertuples()
    (best, *_) = searchable.search(first.text, 1)
    assert best.doc_id.partition("/")[0] in NAMES
    metrics = pd.read_parquet(out / f"test/{taken}/metrics.parquet")
    assert len(metrics) == 5 * found["queries"]


def test_run_again_in_whatever_order_it_does_nothing(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    again = domains(config_of(sources, NAMES[1::-1], tiny_encoder), out, progress=heard)
    assert heard.worked == []
    assert again == {**two[1], "config": again["config"], "retriever": again["retriever"]}
