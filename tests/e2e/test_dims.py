"""A base that may be cut to fewer dimensions is recognised, trained for that, measured, gated, and so is shipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen.api import adapt
from denizen.engine.errors import InputError
from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig
from denizen.recipes.evaluate import evaluate
from denizen.retrievers.matryoshka import loss_record, promised

from .conftest import SETTINGS, Heard, write_beir

Finished = tuple[Path, dict[str, Any], list[str]]


@pytest.fixture(scope="module")
def base(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a card that promises 8 dimensions, and 16 as what is usual."""
    folder = tmp_path_factory.mktemp("promising") / "base"
    shutil.copytree(tiny_encoder, folder)
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**settings, "truncate_dim": 16}))
    (folder / "README.md").write_text(f"# Promising\n\n```json\n{loss_record((32, 16, 8))}\n```\n")
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, pairs: Path, forgettable: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out, heard = tmp_path_factory.mktemp("runs") / "dims", Heard()
    settings = {
        **SETTINGS,
        "rounds": 1,
        "general": (str(forgettable),),
        "merge_evaluations": 0,
        "forgetting_limit": 0.5,
    }
    return out, adapt(AdaptConfig(str(pairs), model=str(base), **settings), out, progress=heard), heard.said


def test_the_promise_is_said_in_the_plan_and_trained_for(finished: Finished) -> None:
    out, report, said = finished
    assert "trained to be cut to 32, 16, 8 dimensions, too, as the base's folder says" in "\n".join(said)
    assert records(out)["round-0/student"]["params"]["dims"] == "32,16,8"
    assert report["config"]["dims"] == ""
    assert report["dims"]["trained"] == [32, 16, 8]


def test_base_and_adapted_are_measured_and_gated_at_each_number(finished: Finished) -> None:
    _, report, _ = finished
    assert report["chosen"] == "round 1"
    # the folder cuts to 16 already
    assert list(report["dims"]["measured"]) == list(report["gate"]["dims"]) == ["16", "8"]
    sixteen = report["dims"]["measured"]["16"]
    for system in ("base", "adapted"):
        for measure in ("MRR@5", "nDCG@10", "Recall@100"):
            assert sixteen["means"][system][measure] == pytest.approx(report[system][measure])
    assert report["gate"]["dims"]["16"]["change"] == pytest.approx(report["gate"]["change"])
    eight = report["dims"]["measured"]["8"]["means"]
    assert eight["adapted"]["nDCG@10"] > eight["base"]["nDCG@10"]
    gate = report["gate"]["dims"]["8"]
    assert gate["met"] is (gate["change"]["general"] >= -0.5)


def test_what_is_shipped_keeps_the_promise(finished: Finished, base: Path) -> None:
    out, _, _ = finished
    for folder in (out / "model", out / "retriever/model"):
        settings = json.loads((folder / "config_sentence_transformers.json").read_text())
        assert settings["truncate_dim"] == 16
        assert SentenceTransformer(str(folder), device="cpu").encode(["gout"]).shape == (1, 16)
        short = SentenceTransformer(str(folder), device="cpu", truncate_dim=8)
        assert short.encode(["gout"]).shape == (1, 8)
    assert promised(out / "model") == promised(base)
    page, card = (out / "report.html").read_text(), (out / "model/README.md").read_text()
    assert "With embeddings cut to their first dimensions" in page
    assert "| dimensions | base MRR@5 | adapted |" in card and "truncate_dim=8" in card


def test_evaluate_shows_each_number_that_a_model_promises(
    finished: Finished, base: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    out, _, _ = finished
    data = write_beir(tmp_path / "beir", 20)
    report = evaluate([str(base), str(out / "model")], data, backend="torch", precision="fp32")
    assert list(report["dims"]) == ["16", "8"]
    assert report["dims"]["8"]["means"].keys() == report["means"].keys() - {"bm25"}
    assert "dims" not in evaluate([str(tiny_encoder)], data, backend="torch", precision="fp32")


def test_more_dims_than_the_base_has_are_refused(pairs: Path, base: Path, tmp_path: Path) -> None:
    config = AdaptConfig(str(pairs), model=str(base), dims="64,8", **SETTINGS)
    with pytest.raises(InputError, match=r"dims 64 is more than the 32 dimensions of .*; give 32 or less"):
        adapt(config, tmp_path / "run")
    with pytest.raises(InputError, match="dims is '32;8'; it must be numbers above 0"):
        AdaptConfig(str(pairs), dims="32;8")
