"""A whole run on a tiny encoder: what it writes, that it is done once, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen import cli
from denizen.api import adapt
from denizen.data.tables import SCHEMAS, read_table, relevant
from denizen.engine.errors import InputError, LeakError
from denizen.recipes.config import WITHOUT_EFFECT, AdaptConfig
from denizen.recipes.evaluate import evaluate
from denizen.reports.card import model_card
from denizen.retrievers.searchable import SearchableCorpus as Retriever
from denizen.retrievers.windows import Reading, Windowed

from .conftest import SETTINGS, Heard, flags, write_beir

MEASURES = ["MRR@5", "Recall@5", "DCG@5", "nDCG@10", "Recall@100"]
Finished = tuple[Path, dict[str, Any]]
BASE_STAYS = "No round beat the base: this is the unchanged base model."


def test_metrics_json_has_the_documented_keys(finished: Finished) -> None:
    out, report = finished
    written = json.loads((out / "metrics.json").read_text())
    assert written == json.loads(json.dumps(report))
    for system in ("base", "bm25", "adapted"):
        assert list(written[system]) == MEASURES
    for measure in MEASURES:
        found = written["difference"][measure]
        assert set(found) == {"value", "low", "high", "p"}
        assert found["value"] == pytest.approx(written["adapted"][measure] - written["base"][measure])
        assert found["low"] <= found["value"] <= found["high"]
        assert 0 < found["p"] <= 1
    assert written["queries"] == written["data"]["queries"]["test"] == 24
    assert written["warning"] is None


def test_training_on_the_words_of_the_domain_helps(finished: Finished) -> None:
    _, report = finished
    assert report["adapted"]["nDCG@10"] > report["base"]["nDCG@10"]
    assert report["best_round"] > 0


def test_where_no_round_beats_the_base_the_card_and_the_last_line_say_so(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = finished
    unchanged = {**report, "best_round": 0, "chosen": "base"}
    card, of_base = model_card(report, WITHOUT_EFFECT), model_card(unchanged, WITHOUT_EFFECT)
    assert "adapted with Denizen" in card and BASE_STAYS not in card
    assert "adapted with Denizen" not in of_base and BASE_STAYS in of_base
    monkeypatch.setattr("denizen.api.adapt", lambda *arguments, **settings: unchanged)
    monkeypatch.setattr("sys.argv", ["denizen", "adapt", "x", "--out", "y"])
    with pytest.raises(SystemExit):
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-4], lines[-1]) == (BASE_STAYS, f"model: {report['model']}")


def test_the_card_names_every_setting_and_no_path(finished: Finished, pairs: Path, tiny_encoder: Path) -> None:
    _, report = finished
    card = model_card(report, WITHOUT_EFFECT)
    for name in set(report["config"]) - {
        "source",
        "model",
        "from_run",
        "grades",
        "guide",
        "cross_encoder",
        "reranker_model",
        "query_log",
        "general",
        "neighbour",
        *WITHOUT_EFFECT,
    }:
        assert f"{name}: {report['config'][name]}" in card
    assert str(pairs.parent) not in card and str(tiny_encoder.parent) not in card


def test_a_model_that_cannot_be_used_is_known_before_the_corpus_is_read(
    pairs: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    shutil.copytree(tiny_encoder, tmp_path / "broken")
    (tmp_path / "broken/model.safetensors").write_bytes(b"not weights")
    words = SentenceTransformer(modules=[BoW(["gout", "fever"])], device="cpu")
    words.save_pretrained(str(tmp_path / "words"), create_model_card=False)
    for name, why in (("broken", "model.safetensors is damaged"), ("words", "no weights that can be trained")):
        with pytest.raises(InputError, match=why):
            adapt(AdaptConfig(str(pairs), model=str(tmp_path / name), **SETTINGS), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_the_model_loads_with_plain_sentence_transformers(finished: Finished) -> None:
    from sentence_transformers import SentenceTransformer

    out, report = finished
    model = SentenceTransformer(str(out / "model"))
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"]
    assert model.max_seq_length == 64
    card = (out / "model" / "README.md").read_text()
    assert f"{report['difference']['MRR@5']['value']:+.3f}" in card
    assert "24 held-out test queries" in card
    assert not list((out / "model").glob("*.bin"))


def test_the_model_gives_the_test_metrics_that_were_reported(finished: Finished) -> None:
    from sentence_transformers import SentenceTransformer

    out, report = finished
    model = SentenceTransformer(str(out / "model"))
    corpus = read_table(out / "corpus/corpus.parquet", "corpus").to_pylist()
    queries = read_table(out / "corpus/queries.parquet", "queries").to_pylist()
    known = relevant(read_table(out / "corpus/qrels.parquet", "qrels"))
    test = [row for row in queries if row["split"] == "test"]
    scores = model.encode([row["text"] for row in test]) @ model.encode([row["text"] for row in corpus]).T
    reciprocal = []
    for row, values in zip(test, scores, strict=True):
        ranked = [corpus[at]["doc_id"] for at in np.argsort(-values, kind="stable")[:5]]
        ranks = [rank for rank, doc_id in enumerate(ranked, start=1) if doc_id in known[row["query_id"]]]
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
    assert report["adapted"]["MRR@5"] == pytest.approx(np.mean(reciprocal), abs=1e-6)


def test_every_table_of_the_run_has_its_schema(finished: Finished) -> None:
    out, _ = finished
    seen = set()
    for path in out.rglob("*.parquet"):
        name = path.stem.split("_")[-1].split(".")[-1]
        assert read_table(path, name).num_rows >= 0
        seen.add(name)
    # the others belong to runs without labels, to cross-fitting, to reading by windows, and to language models
    unlabelled = {"judgments", "documents", "dropped_queries", "files", "texts", "dropped_texts"}
    unlabelled |= {"folds", "windows", "task_rows", "preferences"}
    assert set(SCHEMAS) - seen == unlabelled


def test_no_query_of_dev_or_test_is_ever_mined_or_trained_on(finished: Finished) -> None:
    out, _ = finished
    queries = read_table(out / "corpus/queries.parquet", "queries").to_pylist()
    train = {row["query_id"] for row in queries if row["split"] == "train"}
    test = {row["query_id"] for row in queries if row["split"] == "test"}
    for number in range(2):
        for name in ("candidates", "examples"):
            rows = read_table(out / f"round-{number}/{name}/{name}.parquet", name)
            assert set(rows["query_id"].to_pylist()) <= train
    for number in range(3):
        run = read_table(out / f"round-{number}/run/run.parquet", "run")
        assert not set(run["query_id"].to_pylist()) & test


def test_later_rounds_keep_the_examples_of_earlier_ones(finished: Finished) -> None:
    out, _ = finished
    first, second = (
        read_table(out / f"round-{number}/examples/examples.parquet", "examples").to_pylist() for number in range(2)
    )
    assert second[: len(first)] == first
    assert {row["round"] for row in second[len(first) :]} == {1}


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "gold-triplet", "easy_negative_ranks": "16-20", "hard_positive_ranks": "6-20"},
        {"loss": "cached-infonce", "negatives": 2},
        {"loss": "gist"},
        {"loss": "infonce", "negatives": 0, "positives": 0},
        {"loss": "infonce", "positive_ceiling": 0.95, "dropout": True, "max_tokens": 16},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_loss_trains(settings: dict[str, Any], pairs: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    small = {"model": str(tiny_encoder), **SETTINGS}
    report = adapt(AdaptConfig(str(pairs), **{**small, "rounds": 1, "epochs": 0.2, **settings}), tmp_path / "run")
    facts = json.loads((tmp_path / "run/round-0/student/step.json").read_text())["facts"]
    assert facts["steps"] >= 1
    assert all(np.isfinite(loss) for _, loss in facts["loss"])
    assert report["queries"] == 24


def test_prompts_reach_mining_training_evaluation_and_the_saved_model(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_encoder))
    model.prompts = {"query": "ask: ", "document": "read: "}
    model.save_pretrained(str(tmp_path / "prompted"), create_model_card=False)
    seen: list[str] = []
    original = SentenceTransformer.preprocess

    def spy(self: SentenceTransformer, inputs: list[str], prompt: str | None = None, **kwargs: Any) -> Any:
        # an empty text is not read for what is in it
        seen.extend([prompt or ""] if any(inputs) else [])
        return original(self, inputs, prompt=prompt, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "preprocess", spy)
    settings = {**SETTINGS, "rounds": 1, "epochs": 0.2, "model": str(tmp_path / "prompted"), "backend": "torch"}
    adapt(AdaptConfig(str(pairs), **settings), tmp_path / "run")
    assert set(seen) == {"ask: ", "read: "}
    assert SentenceTransformer(str(tmp_path / "run/model")).prompts == {"query": "ask: ", "document": "read: "}


def test_a_leaking_source_stops_the_run_and_leaves_nothing(pairs: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    rows = pairs.read_text().splitlines()
    leaking = tmp_path / "pairs.jsonl"
    leaking.write_text("\n".join(rows + rows) + "\n")
    settings = {**SETTINGS, "rounds": 1, "epochs": 0.1, "split": "random", "model": str(tiny_encoder)}
    with pytest.raises(LeakError, match="stand on both sides"):
        adapt(AdaptConfig(str(leaking), **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    report = adapt(AdaptConfig(str(leaking), **settings, allow_leak=True), tmp_path / "run")
    assert "leak" in report["warning"]
    assert "leak" in (tmp_path / "run/model/README.md").read_text()


def test_a_folder_that_is_no_run_is_left_alone(pairs: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and was not made by denizen"):
        adapt(AdaptConfig(str(pairs), model=str(tiny_encoder)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_line_ends_with_the_table_and_the_path(
    pairs: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    options = {**SETTINGS, "rounds": 1, "epochs": 0.2, "model": str(tiny_encoder), "out": str(tmp_path / "run")}
    words = flags(options)
    monkeypatch.setattr("sys.argv", ["denizen", "adapt", str(pairs), *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("The hybrid of ") and " is shipped: on 24 held-out questions MRR@5 rises" in lines[0]
    assert re.split(r" {2,}", lines[1].strip()) == [
        "measure",
        "base",
        "BM25",
        "adapted",
        "adapted + BM25",
        "adapted + BM25 - base",
        "95 % interval",
        "p",
    ]
    assert [line.split()[0] for line in lines[2:7]] == MEASURES
    assert lines[-1] == f"adapted model: {tmp_path / 'run' / 'model'}"
    assert "plan  120 passages of 120 documents" in printed.err
    for step in ("corpus", "round-0/embeddings", "round-0/student", "test", "model", "retriever"):
        assert any(line.startswith(step) for line in printed.err.splitlines()), step


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    yield small
    # lazily: a run has memory-mapped files there
    subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_disk_that_is_really_full_is_a_clear_error_and_the_run_continues(
    pairs: Path, tiny_encoder: Path, small_disk: Path
) -> None:
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **{**SETTINGS, "rounds": 1, "epochs": 0.2})
    with pytest.raises(InputError, match="no space is left"):
        adapt(config, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert adapt(config, small_disk / "run")["queries"] == 24


def test_evaluate_on_a_full_disk_says_so(tiny_encoder: Path, tmp_path: Path, small_disk: Path) -> None:
    beir = write_beir(tmp_path / "beir", 120)
    (small_disk / "filler").write_bytes(bytes((1 << 20) - 16384))
    with pytest.raises(InputError, match="no space is left"):
        evaluate([str(tiny_encoder)], beir, out=small_disk / "results")


def test_what_is_read_by_windows_is_trained_measured_shipped_and_searched_so(
    pairs: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    heard = Heard()
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), windows="4/2", **{**SETTINGS, "rounds": 1})
    report = adapt(config, tmp_path / "run", progress=heard)
    longer = {"tokens": 62, "share": 0.0, "queries": 0.0}
    assert report["reading"] == {"reading": {"window": 4, "stride": 2}, "by": "setting", "longer": longer}
    assert report["shipped"]["reading"] == "windows of 4 tokens by 2"
    # the base as people use it, and as it is read here
    assert report["base"] != report["base-windows"] and set(report["base-hybrid"]) == set(MEASURES)
    found = Retriever.load(tmp_path / "run")
    rows = next((tmp_path / "run/retriever/corpus").rglob("windows.parquet"))
    assert read_table(rows, "windows").num_rows > len(found.corpus)
    model = found.retriever if found.retriever.kind == "windows" else found.retriever.parts[1]
    assert isinstance(model, Windowed) and model.reading == Reading(4, 2)
    assert len(found.search("gout", top_k=3)) == 3
    # another reading is another run
    with pytest.raises(InputError, match="windows"):
        adapt(AdaptConfig(str(pairs), model=str(tiny_encoder), **{**SETTINGS, "rounds": 1}), tmp_path / "run")
