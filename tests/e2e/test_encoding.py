"""Where embeddings are kept and what computes them, over whole runs and evaluations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen import cli
from denizen.api import adapt
from denizen.engine.errors import InputError
from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig
from denizen.recipes.evaluate import evaluate
from denizen.retrievers import backends, encoder
from denizen.training import bi_encoder

from .conftest import SETTINGS, Command, Heard, Killer, assert_same, write_beir

Short = tuple[Path, AdaptConfig]
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


def test_runs_that_share_a_store_embed_and_train_once_and_each_stands_on_its_own(
    short: Short, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    store, one, two = (tmp_path / name for name in ("store", "one", "two"))
    config = short[1].changed(store=str(store))
    adapt(config, one)
    first = len(counted)
    monkeypatch.setattr(bi_encoder, "train", lambda *inputs: pytest.fail("trained again"))
    heard = Heard()
    adapt(config, two, progress=heard)
    # another machine may embed by something else, so that is asked anew, of the store; what is delivered is its own
    assert heard.worked == [
        "reading/embeddings",
        *(f"round-{number}/embeddings" for number in range(3)),
        "model",
        "retriever",
    ]
    assert first > 200 and len(counted) == first
    assert [record["fingerprint"] for record in records(two).values()] == [
        record["fingerprint"] for record in records(one).values()
    ]
    assert_same(one, two)
    assert not (one / "embeddings").exists() and not list(store.rglob("*.partial"))

    shutil.rmtree(store)
    assert SentenceTransformer(str(two / "model")).encode(["what is gout"]).shape == (1, 32)
    assert command("report", two, "--out", tmp_path / "page.html").code == 0
    heard = Heard()
    adapt(config, two, progress=heard)
    assert not heard.worked
    # nor does one hang on the other
    shutil.rmtree(one)
    heard = Heard()
    adapt(config, two, progress=heard)
    assert not heard.worked


def test_a_run_takes_up_what_another_one_has_finished_for_it_and_leaves_nothing_of_its_own(
    short: Short, tmp_path: Path, killer: Killer
) -> None:
    config, student = short[1].changed(store=str(tmp_path / "store")), "round-0/student"
    killer.run(config, tmp_path / "one", f"{student}@step:2", finish=False)
    assert list((tmp_path / "one/round-0").glob(".student.*.scratch"))
    killer.run(config, tmp_path / "two")
    assert not killer.run(config, tmp_path / "one")
    assert_same(tmp_path / "two", tmp_path / "one")


def test_what_a_run_was_killed_over_while_it_shared_it_is_shared_by_the_next(
    short: Short, tmp_path: Path, killer: Killer
) -> None:
    config, student = short[1].changed(store=str(tmp_path / "store"), rounds=1), "round-0/student"
    # in its place, and not yet in the store
    killer.run(config, tmp_path / "one", f"{student}@placed", finish=False)
    fingerprint = records(tmp_path / "one")[student]["fingerprint"]
    assert not (tmp_path / "store/steps" / fingerprint).exists()
    killer.run(config, tmp_path / "one", "test@record", finish=False)
    assert (tmp_path / "store/steps" / fingerprint / "model.safetensors").is_file()
    assert killer.run(config, tmp_path / "two") == []


def test_where_embeddings_are_kept_and_memory_may_change_when_a_run_goes_on(
    short: Short, tmp_path: Path, counted: list[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short[0], run)
    report = json.loads((run / "metrics.json").read_text())
    shutil.rmtree(run / "embeddings")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "test")
    heard = Heard()
    again = adapt(short[1].changed(store=str(tmp_path / "other"), memory_mb=64), run, progress=heard)
    assert "test" in heard.worked and counted
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
