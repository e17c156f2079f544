"""`evaluate` and `gate` take any retriever: models, BM25, and what is made of several."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.measuring import probes, retrieval_sets
from denizen.recipes import evaluate as recipe
from denizen.recipes.evaluate import evaluate
from denizen.recipes.gate import gate
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.search import fuse
from tests.e2e.conftest import Heard, write_beir


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Twenty questions and their passages."""
    return write_beir(tmp_path / "beir", 20)


@pytest.fixture
def hybrid(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The folder of a saved hybrid of BM25 and the tiny encoder."""
    model = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store"))
    Hybrid((BM25(), model), constant=5).save(tmp_path / "hybrid")
    return tmp_path / "hybrid"


def spied(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[dict[str, pa.Table]]:
    """The runs of every evaluation."""
    seen: list[dict[str, pa.Table]] = []
    real = module.write_evaluation
    monkeypatch.setattr(
        module, "write_evaluation", lambda out, runs, *rest: seen.append(runs) or real(out, runs, *rest)
    )
    return seen


def test_a_saved_hybrid_beside_its_parts_is_their_fusion(
    hybrid: Path, tiny_encoder: Path, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied(monkeypatch, recipe)
    report = evaluate([str(tiny_encoder), str(hybrid)], beir, out=tmp_path / "out")
    (runs,) = seen
    name = tiny_encoder.parent.name
    assert list(runs) == list(report["means"]) == [name, "hybrid", "bm25"]
    assert runs["hybrid"] == fuse([runs["bm25"], runs[name]], 100, 5)
    assert report["backends"] == {name: "torch-fp32", "hybrid": "torch-fp32"}
    assert report["analyser"] == "English, stemmed"
    # alone, and its model by itself, they find the same
    evaluate([str(hybrid), str(hybrid / "model")], beir, bm25=False)
    assert seen[1]["hybrid"] == runs["hybrid"] and list(seen[1].values())[1] == runs[name]
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == report
    written = {path.name for path in (tmp_path / "out").iterdir()}
    files = {f"{system}.{kind}" for system in runs for kind in ("trec", "metrics.parquet")}
    assert written == {*files, "metrics.json", "qrels.trec"}


def test_a_hybrid_is_gated_against_its_model(
    hybrid: Path, tiny_encoder: Path, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied(monkeypatch, probes)
    report = gate(str(hybrid), str(tiny_encoder), general=[str(beir)], out=tmp_path / "gate")
    (runs,) = seen
    asked, passages = set(runs["base"]["query_id"].to_pylist()), report["sets"]["beir"]["passages"]
    assert 0 < len(asked) < 20 and passages == 20
    assert set(runs["adapted"]["query_id"].to_pylist()) == asked
    means = {name: found["nDCG@10"] for name, found in report["sets"]["beir"]["means"].items()}
    # the words of these questions are those of their passages
    assert means["adapted"] > means["base"] and report["met"]
    assert report["change"] == {"general": pytest.approx(means["adapted"] - means["base"])}
    assert report["models"]["base"] == model_digest(tiny_encoder) != report["models"]["adapted"]
    assert json.loads((tmp_path / "gate/gate.json").read_text()) == report
    keys = {"schema", "met", "limit", "measure", "change", "seed", "seed_from", "sets", "models", "versions"}
    assert set(report) == keys and report["measure"] == "nDCG@10"
    backwards = gate(str(tiny_encoder), str(hybrid), neighbour=[str(beir)])
    assert backwards["change"] == {"neighbour": pytest.approx(-report["change"]["general"])} and not backwards["met"]


def test_a_gate_draws_as_the_run_of_its_model_did(
    tiny_encoder: Path, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the folder that it lies in, else by its card, which a copy of it keeps; what is given comes first."""
    run, copy, sets = tmp_path / "run", tmp_path / "copy", {"general": [str(beir)]}
    shutil.copytree(tiny_encoder, run / "seed-8/round-0/student")
    (run / "corpus").mkdir()
    write_json(run / "config.json", {"seed": 7})
    write_json(run / "corpus/step.json", {})
    shutil.copytree(tiny_encoder, copy)
    (copy / "README.md").write_text("adapted with Denizen 1\n\n## Settings\n\n```yaml\nrounds: 2\nseed: 9\n```\n")
    # of a large set a part is searched; half of its questions are asked
    monkeypatch.setattr(retrieval_sets, "_PASSAGES", 15)
    seen = spied(monkeypatch, probes)
    for model, given, seed, told in (
        (run / "seed-8/round-0/student", None, 7, "run"),
        (copy, None, 9, "run"),
        (tiny_encoder, None, 42, "default"),
        (copy, 0, 0, "given"),
    ):
        report = gate(str(model), str(tiny_encoder), seed=given, **sets, out=tmp_path / "gate")
        assert (report["seed"], report["seed_from"]) == (seed, told)
        assert json.loads((tmp_path / "gate/gate.json").read_text()) == report
        (part,) = retrieval_sets.read_parts(sets["general"], (), seed)
        assert set(seen.pop()["base"]["doc_id"].to_pylist()) == set(part.test.corpus["doc_id"].to_pylist())
    with pytest.raises(InputError, match="seed is -1; it must be between 0"):
        gate(str(tiny_encoder), str(tiny_encoder), seed=-1, **sets)


def test_what_cannot_be_written_or_read_is_said_before_any_work(
    tiny_encoder: Path, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "read_beir", lambda *given: pytest.fail("the corpus was read"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "metrics.json").write_text('{"schema": 1}')
    with pytest.raises(InputError, match="holds no evaluation of denizen"):
        evaluate([str(tiny_encoder)], beir, out=other)
    with pytest.raises(InputError, match="backend is 'tensorflow'; it must be one of"):
        evaluate([str(tiny_encoder)], beir, backend="tensorflow")
    with pytest.raises(InputError, match="backend torch has no int8"):
        gate(str(tiny_encoder), str(tiny_encoder), general=[str(beir)], backend="torch", precision="int8")


def test_a_split_without_answers_is_refused(tiny_encoder: Path, beir: Path) -> None:
    (beir / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t0\n")
    with pytest.raises(InputError, match=r"split 'dev' of .*beir has no .*: none of 1 labels of 1 queries is above 0"):
        evaluate([str(tiny_encoder)], beir, split="dev")


def test_judged_queries_without_an_answer_are_counted_and_told(tiny_encoder: Path, beir: Path) -> None:
    rows = ["q1\td1\t1", "q1\td2\t0", "q2\td1\t0", "q3\td1\t-1"]
    (beir / "qrels/some.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
    heard = Heard()
    report = evaluate([str(tiny_encoder)], beir, split="some", bm25=False, progress=heard)
    assert (report["queries"], report["queries_without_relevant"]) == (1, 2)
    assert "2 of 3 judged queries left out: no relevant document" in heard.said
