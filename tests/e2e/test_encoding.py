"""Where embeddings are kept and what computes them, over whole runs and evaluations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from denizen import cli
from denizen.api import adapt
from denizen.engine.errors import InputError
from denizen.recipes.config import AdaptConfig
from denizen.recipes.evaluate import evaluate
from denizen.retrievers import backends, encoder

from .conftest import SETTINGS, write_beir

SHORT = {**SETTINGS, "rounds": 1, "epochs": 0.2}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is embedded by a model and not taken from a store."""
    computed: list[str] = []
    real = encoder.encode
    # how fast it is is measured before each run, with texts that are not kept
    monkeypatch.setattr("denizen.reports.plan.encode", real)

    def spy(model: Any, found: list[str], *rest: Any) -> Any:
        computed.extend(found)
        return real(model, found, *rest)

    monkeypatch.setattr(encoder, "encode", spy)
    return computed


def test_two_runs_share_a_store_and_embed_what_they_have_in_common_once(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, counted: list[str]
) -> None:
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), store=str(tmp_path / "store"), **SHORT)
    adapt(config, tmp_path / "one")
    first = len(counted)
    adapt(config, tmp_path / "two")
    # the second trains to the same student, so that all its embeddings are there already
    assert first > 200 and len(counted) == first
    assert not (tmp_path / "one/embeddings").exists()


def test_where_embeddings_are_kept_and_memory_may_change_when_a_run_goes_on(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, counted: list[str]
) -> None:
    run = tmp_path / "run"
    report = adapt(AdaptConfig(str(pairs), model=str(tiny_encoder), **SHORT), run)
    before = len(counted)
    shutil.rmtree(run / "embeddings")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "test")
    moved = AdaptConfig(str(pairs), model=str(tiny_encoder), store=str(tmp_path / "other"), memory_mb=64, **SHORT)
    again = adapt(moved, run)
    assert len(counted) > before
    assert again["adapted"] == report["adapted"] and again["base"] == report["base"]


def test_a_run_goes_on_with_the_backend_that_it_began_with(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = {**SHORT, "precision": "bf16", "backend": "torch"}
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **settings)
    adapt(config, run)
    assert json.loads((run / "round-0/embeddings/encoder.json").read_text())["backend"] == "torch-bf16"
    shutil.rmtree(run / "test")
    shutil.rmtree(run / "embeddings")

    def gone(name: str, model: Any) -> backends.Backend:
        raise RuntimeError("no bf16 here")

    monkeypatch.setattr(backends, "make", gone)
    with pytest.raises(InputError, match=r"torch-bf16 was used before and cannot be used here .*no bf16 here"):
        adapt(config, run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "tensorflow"], "backend is 'tensorflow'; it must be one of"),
        (["--backend", "torch", "--precision", "int8"], "backend torch has no int8; it has bf16, fp32"),
        (["--store", "/proc/denizen-store"], "--store /proc/denizen-store cannot be used"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_a_backend_or_store_that_cannot_be_used_is_known_before_the_corpus_is_read(
    options: list[str],
    message: str,
    pairs: Path,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["denizen", "adapt", str(pairs), "--model", str(tiny_encoder), "--out", str(tmp_path / "run"), *options]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_evaluate_keeps_embeddings_where_it_is_told_to_and_nowhere_else(
    tiny_encoder: Path, tmp_path: Path, counted: list[str]
) -> None:
    beir = write_beir(tmp_path / "beir", 20)
    kept = str(tmp_path / "store")
    first = evaluate([str(tiny_encoder)], beir, store=kept, backend="torch", precision="fp32", bm25=False)
    assert len(counted) == 40
    again = evaluate([str(tiny_encoder)], beir, store=kept, backend="torch", precision="fp32", bm25=False)
    assert len(counted) == 40 and again == first
    assert evaluate([str(tiny_encoder)], beir, backend="torch", precision="fp32", bm25=False)["means"] == first["means"]
    assert len(counted) == 80
