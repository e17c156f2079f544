"""The command export on a finished run: what it says and writes, what it refuses, how it goes on, and its clients."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sentence_transformers import SentenceTransformer

from denizen.data.tables import read_table, with_column, write_table
from denizen.engine.files import file_digest
from denizen.exports import export as recipe
from denizen.exports import semantic_router
from denizen.exports.kinds import KINDS
from tests.e2e.conftest import Command, write_beir
from tests.e2e.serving import server

# its folder and its metrics
Finished = tuple[Path, dict[str, Any]]
Router = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(autouse=True)
def plain_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling a model for a faster backend takes longer than all that is embedded here."""
    monkeypatch.setattr("denizen.serve.live_encoder.candidates", lambda backend, precision: ["torch-fp32"])


def exported(command: Command, run: Path, kind: str, out: Path, *more: object) -> dict[str, Any]:
    ended = command("export", run, "--to", kind, "--out", out, "--quiet", "--json", *more)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_an_export_is_measured_on_the_test_of_the_run(command: Command, finished: Finished, tmp_path: Path) -> None:
    run, metrics = finished
    report = exported(command, run, "binary", tmp_path / "out", "--force")
    assert report == json.loads((tmp_path / "out/export.json").read_text())
    for measure in ("nDCG@10", "MRR@5"):
        assert report["means"]["evaluated"][measure] == pytest.approx(metrics["adapted"][measure], abs=1e-6)
        change = report["means"]["export"][measure] - report["means"]["evaluated"][measure]
        assert report["difference"][measure]["value"] == pytest.approx(change)
    assert report["queries"] == metrics["queries"] and report["passages"] == 120
    assert report["milliseconds"].keys() == {"evaluated", "export"} and report["bytes"]["export"] > 0
    # whoever asks needs to know how
    assert report["model"]["pooling"] == "mean" and report["model"]["dimensions"] == 32
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == {*report["files"], "export.json"} and "README.md" in there
    assert all(file_digest(tmp_path / "out" / name) == digest for name, digest in report["files"].items())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert str(run) not in "".join((tmp_path / "out" / name).read_text() for name in ("README.md", "export.json"))


def test_what_people_read(command: Command, finished: Finished, tmp_path: Path) -> None:
    ended = command("export", finished[0], "--to", "hub-folder", "--out", tmp_path / "out", "--quiet")
    assert ended.code == 0 and ended.out == ""
    lines = command("export", finished[0], "--to", "hub-folder", "--out", tmp_path / "out").out.splitlines()
    assert lines[0].split() == ["as", "evaluated", "hub-folder", "difference"]
    assert lines[1].startswith("nDCG@10") and "+0.0000 [+0.0000, +0.0000]" in lines[1]
    assert f"{finished[1]['queries']} test queries" in lines[5] and lines[-1] == (tmp_path / "out").as_posix()
    # the card of the run's model is what a hub shows
    assert (tmp_path / "out/README.md").read_bytes() == (finished[0] / "model/README.md").read_bytes()


def test_a_loss_is_refused_and_taken_by_force_without_being_done_again(
    command: Command, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(recipe, "LIMIT", -1.0)
    ended = command("export", finished[0], "--to", "binary", "--out", out, "--quiet")
    assert ended.code == 4 and "at most may be lost; take another kind, or give --force" in ended.err
    assert "test queries" in ended.err and not out.exists()

    def never(*given: object) -> None:
        raise AssertionError("it was done before")

    monkeypatch.setattr("denizen.exports.binary.write", never)
    monkeypatch.setattr(recipe, "measure", never)
    report = exported(command, finished[0], "binary", out, "--force")
    assert report["forced"] and [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "taken by --force" in command("export", finished[0], "--to", "binary", "--out", out).out


def test_what_was_stopped_goes_on_and_what_is_done_is_not_done_again(
    command: Command, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", list[str]()
    write = KINDS["binary"].write

    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    def counted(self: object, *given: Any) -> None:
        written.append("binary")
        write(*given)

    monkeypatch.setattr(type(KINDS["binary"]), "write", counted)
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "measure", stopped)
        assert command("export", finished[0], "--to", "binary", "--out", out, "--force", "--quiet").code == 130
    assert not out.exists() and written == ["binary"]
    first = exported(command, finished[0], "binary", out, "--force")
    assert written == ["binary"]
    assert exported(command, finished[0], "binary", out) == first and written == ["binary"]
    # another kind has no business there
    ended = command("export", finished[0], "--to", "hub-folder", "--out", out, "--quiet")
    assert ended.code == 2 and "is not empty and holds no export of the same; give a new folder" in ended.err
    assert json.loads((out / "export.json").read_text()) == first


def test_half_of_an_export_is_not_taken_for_a_whole_one(
    command: Command, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def half(subject: object, folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("denizen.exports.binary.write", half)
        assert command("export", finished[0], "--to", "binary", "--out", out, "--force", "--quiet").code == 130
    assert not out.exists()
    assert "half" not in exported(command, finished[0], "binary", out, "--force")["files"]


def test_a_model_without_a_run(command: Command, tiny_encoder: Path, tmp_path: Path) -> None:
    report = exported(command, tiny_encoder, "hub-folder", tmp_path / "alone")
    assert "means" not in report and report["cosines"]["least"] > 0.9999
    ended = command("export", tiny_encoder, "--to", "hub-folder", "--out", tmp_path / "alone")
    assert "no queries, so nothing was measured; give a run, or --data" in ended.out
    write_beir(tmp_path / "data", 30)
    report = exported(command, tiny_encoder, "hub-folder", tmp_path / "measured", "--data", tmp_path / "data")
    assert report["queries"] > 0 and report["difference"]["nDCG@10"]["value"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["RUN", "--to", "coreml"], "there is no export to 'coreml'; there are onnx, openvino, int8"),
        (["RUN", "--to", "gguf"], "is a run without a language model (it has no folder residual)"),
        (["nowhere", "--to", "binary"], "'nowhere' is neither a folder nor a model"),
        (["MODEL", "--to", "binary"], "is a model without passages; give a run, or --data and a BEIR folder"),
        (["RUN", "--to", "binary", "--data", "nowhere"], "nowhere is no BEIR folder"),
        (["MODEL", "--to", "semantic-router"], "is no finished run of adapt or domains"),
        (["RUN", "--to", "semantic-router", "--data", "nowhere"], "nowhere is no BEIR folder"),
    ],
)
def test_wrong_input_is_refused_and_leaves_nothing(
    options: list[str], said: str, command: Command, finished: Finished, tiny_encoder: Path, tmp_path: Path
) -> None:
    given = [{"RUN": str(finished[0]), "MODEL": str(tiny_encoder)}.get(option, option) for option in options]
    ended = command("export", *given, "--out", tmp_path / "out", "--quiet")
    assert ended.code == 2 and said in ended.err, ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_an_export_stays_as_it_is(command: Command, finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    ended = command("export", finished[0], "--to", "binary", "--out", tmp_path / "out", "--force", "--quiet")
    assert ended.code == 2 and [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


@pytest.fixture
def router(command: Command, finished: Finished, tmp_path: Path) -> Router:
    """Exports a configuration, with queries of no domain; the report and the fragment."""

    def make(*more: object) -> tuple[dict[str, Any], dict[str, Any]]:
        report = exported(command, finished[0], "semantic-router", tmp_path / "router", *more)
        return report, yaml.safe_load((tmp_path / "router" / semantic_router.FRAGMENT).read_text())

    return make


def test_the_router_is_told_training_queries_and_a_threshold(
    router: Router, finished: Finished, tmp_path: Path
) -> None:
    write_beir(tmp_path / "strange", 40)
    report, fragment = router("--data", tmp_path / "strange")
    queries = pd.read_parquet(finished[0] / "corpus/queries.parquet")
    texts = {split: set(queries[queries["split"] == split]["text"]) for split in ("train", "dev", "test")}
    (rule,) = fragment["routing"]["signals"]["embeddings"]
    assert rule["name"] == finished[0].name and rule["aggregation_method"] == "max"
    assert len(rule["candidates"]) == 15 and set(rule["candidates"]) <= texts["train"] - texts["test"]
    of = report["domains"][rule["name"]]
    assert rule["threshold"] == of["threshold"] and -1 <= rule["threshold"] <= 1
    assert of["own"]["queries"] == len(texts["test"]) and of["others"]["queries"] > 0
    assert of["own"]["low"] <= of["own"]["value"] <= of["own"]["high"]
    readme = (tmp_path / "router/README.md").read_text()
    assert f"denizen serve {finished[0].name}=RUN --input-type query" in readme
    assert str(finished[0].parent) not in readme


def test_without_other_queries_it_is_said_that_nothing_is_known_of_them(
    command: Command, finished: Finished, tmp_path: Path
) -> None:
    ended = command("export", finished[0], "--to", "semantic-router", "--out", tmp_path / "out")
    assert ended.code == 0 and "not known" in ended.out
    assert "no other queries, so the threshold lets 95 % of its own through; give --data" in ended.out


def test_the_client_of_the_router_gets_what_it_expects(router: Router, finished: Finished, tmp_path: Path) -> None:
    """Its requests and its checks, as of its provider of embeddings: the path is appended to `base_url`, the body has
    model, input and dimensions and nothing else; the answer is one JSON value of at most 16 KiB and, for each vector,
    256 bytes and 32 for each number, with as many vectors as texts, each index once, each of the expected length,
    floats and no base64; a probe of one sentence comes first. Similarity is their plain product."""
    report, fragment = router()
    semantic = fragment["global"]["model_catalog"]["embeddings"]["semantic"]
    config, endpoint = semantic["embedding_config"], semantic["endpoint"]
    assert (config["backend"], config["model_type"]) == ("openai_compatible", "remote")
    assert config["target_dimension"] == endpoint["dimensions"] == 32 and "api_key_env" not in endpoint
    # another host, the rest as it is written
    path = endpoint["base_url"].partition("//")[2].partition("/")[2] + "/embeddings"
    (rule,) = fragment["routing"]["signals"]["embeddings"]
    served = f"{endpoint['model']}={finished[0]}"
    with server(tmp_path / "log", served, "--input-type", "query") as running, running.client() as client:

        def embed(texts: list[str]) -> np.ndarray[Any, Any]:
            body = {"model": endpoint["model"], "input": texts, "dimensions": endpoint["dimensions"]}
            answer = client.post(f"/{path}", json=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200, answer.text
            assert len(answer.content) <= (16 << 10) + len(texts) * (256 + 32 * config["target_dimension"])
            data = answer.json()["data"]
            assert not answer.json().get("error") and len(data) == len(texts)
            assert sorted(row["index"] for row in data) == list(range(len(texts)))
            rows = [row["embedding"] for row in sorted(data, key=lambda row: row["index"])]
            assert all(len(row) == config["target_dimension"] and all(type(x) is float for x in row) for row in rows)
            return np.asarray(rows, dtype=np.float32)

        assert embed(["probe"]).shape == (1, 32)
        candidates = embed(rule["candidates"])
        assert np.linalg.norm(candidates, axis=1) == pytest.approx(np.ones(15), abs=1e-5)
        queries = pd.read_parquet(finished[0] / "corpus/queries.parquet")
        asked = queries[queries["split"] == "test"]["text"].tolist()
        through = (embed(asked) @ candidates.T).max(axis=1) >= rule["threshold"]
        of = report["domains"][rule["name"]]["own"]
        # vectors of other batches differ in their last digits, and thresholds are written with four
        assert abs(through.mean() - of["value"]) <= 1 / of["queries"]


def test_a_run_of_several_domains_needs_one_model(command: Command, tmp_path: Path, finished: Finished) -> None:
    """What ships several models has no vectors that could be compared; it is said what to give instead."""
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    shipped = run / "retriever/retriever.json"
    shutil.copytree(run / "retriever/model", run / "retriever/model-2")
    shipped.write_text(json.dumps({"kind": "concatenated", "parts": ["model", "model-2"]}))
    ended = command("export", run, "--to", "binary", "--out", tmp_path / "out", "--quiet")
    assert ended.code == 2 and "a retriever of the kind concatenated with 2 models" in ended.err, ended.err


@pytest.fixture
def domains(finished: Finished, tmp_path: Path) -> Path:
    """A run of two domains that ships one model, made of the finished run: every second query is of the other."""
    run, folder = finished[0], tmp_path / "domains"
    shutil.copytree(run / "retriever", folder / "retriever")
    (folder / "union").mkdir()
    (folder / "metrics.json").write_text(json.dumps({"recipe": "domains"}))
    for name in ("queries", "qrels"):
        rows = read_table(run / f"corpus/{name}.parquet", name)
        if name == "queries":
            rows = with_column(rows, "domain", ["law" if at % 2 else "tax" for at in range(len(rows))])
        write_table(folder / f"union/{name}.parquet", rows)
    return folder


def test_a_run_of_domains_is_measured_on_the_test_of_all(
    command: Command, finished: Finished, domains: Path, tmp_path: Path
) -> None:
    report = exported(command, domains, "hub-folder", tmp_path / "out")
    assert report["queries"] == finished[1]["queries"]
    assert report["means"]["export"]["nDCG@10"] == pytest.approx(finished[1]["adapted"]["nDCG@10"], abs=1e-6)


def test_the_router_tells_domains_apart_as_well_as_it_is_said(command: Command, domains: Path, tmp_path: Path) -> None:
    """What lets through, and where queries go, counted anew from the fragment by vectors of sentence-transformers."""
    report = exported(command, domains, "semantic-router", tmp_path / "out")
    fragment = yaml.safe_load((tmp_path / "out" / semantic_router.FRAGMENT).read_text())
    rules = {rule["name"]: rule for rule in fragment["routing"]["signals"]["embeddings"]}
    assert rules.keys() == {"law", "tax"}
    queries = pd.read_parquet(domains / "union/queries.parquet")
    model = SentenceTransformer(str(domains / "retriever/model"), device="cpu")
    scores = {}
    for name, rule in rules.items():
        train = queries[(queries["domain"] == name) & (queries["split"] == "train")]["text"]
        assert set(rule["candidates"]) <= set(train)
        test = queries[queries["split"] == "test"]
        bank = model.encode_query(rule["candidates"])
        scores[name] = (model.encode_query(test["text"].tolist()) @ bank.T).max(axis=1)
        through, own = scores[name] >= rule["threshold"], (test["domain"] == name).to_numpy()
        said = report["domains"][name]
        assert (said["own"]["queries"], said["others"]["queries"]) == (own.sum(), (~own).sum())
        assert through[own].mean() == pytest.approx(said["own"]["value"], abs=1 / own.sum())
        assert through[~own].mean() == pytest.approx(said["others"]["value"], abs=1 / (~own).sum())
    outcomes = report["outcomes"]
    assert sum(outcomes[name]["value"] for name in ("right", "wrong", "none")) == pytest.approx(1)
