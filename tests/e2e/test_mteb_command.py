"""`denizen mteb`: the figures of mteb alone, from a cache that the test writes; what is missing is named; resuming."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import InputError
from denizen.measuring import mteb_tasks
from denizen.measuring.mteb_model import MtebModel
from denizen.recipes.mteb import mteb
from tests.conftest import WORDS
from tests.e2e.conftest import Command, Heard, write_beir

library = pytest.importorskip("mteb", reason="mteb is an extra")
pytestmark = pytest.mark.parity

SCIFACT = ("mteb/scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9")
EXACT: dict[str, Any] = {"precision": "fp32", "backend": "torch"}
CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: qrels/train.jsonl}
  - {split: test, path: qrels/test.jsonl}
- config_name: corpus
  data_files:
  - {split: corpus, path: corpus.jsonl}
- config_name: queries
  data_files:
  - {split: queries, path: queries.jsonl}
---
"""


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write(folder: Path, seed: int = 7) -> None:
    """SciFact's files as the hub has them, with other texts: some with a title, one query without a relevant one."""
    random.seed(seed)
    passages = [random.sample(WORDS, 6) for _ in range(120)]
    asked = [" ".join(sorted(words[:2])) for words in passages[:60]]
    titles = [" ".join(random.sample(WORDS, at % 3)) for at in range(120)]
    rows = zip(titles, passages, strict=True)
    _lines(
        folder / "corpus.jsonl",
        [{"_id": f"d{at}", "title": title, "text": " ".join(words)} for at, (title, words) in enumerate(rows)],
    )
    _lines(folder / "queries.jsonl", [{"_id": f"q{at}", "text": text} for at, text in enumerate(asked)])
    for split, part in (("train", range(20)), ("test", range(20, 60))):
        links = [{"query-id": f"q{at}", "corpus-id": f"d{at}", "score": 1} for at in part]
        _lines(folder / "qrels" / f"{split}.jsonl", links)
    (folder / "README.md").write_text(CARD, encoding="utf-8")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What HF_HOME is after SciFact was downloaded."""
    folder = tmp_path_factory.mktemp("hf")
    name, revision = SCIFACT
    _write(folder / "hub" / f"datasets--{name.replace('/', '--')}" / "snapshots" / revision)
    return folder


def _tables(cache: Path, where: Path) -> None:
    """What `datasets` has made of SciFact in a cache, under the names that it has where it was fetched from the hub."""
    import datasets

    name, revision = SCIFACT
    files = where / "files" / "scifact"
    shutil.copytree(next((cache / "hub").glob("*/snapshots/*")), files)
    for config in ("default", "corpus", "queries"):
        datasets.load_dataset(str(files), config, cache_dir=str(where / "made"))
    for made in (where / "made" / "scifact").rglob("dataset_info.json"):
        version, config = made.parent.parent, made.parents[2]
        config_name = config.name.partition("-")[0]
        target = where / "datasets" / name.replace("/", "___") / config_name / version.name / revision
        shutil.copytree(made.parent, target)


def _alone(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """What mteb itself finds, by the tables that `datasets` finds by the name of the data set."""
    from sentence_transformers import SentenceTransformer

    _tables(cache, tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    result = library.evaluate(
        SentenceTransformer(str(model)), library.get_task("SciFact"), cache=None, show_progress_bar=False
    )
    ((scores,),) = result.task_results[0].scores.values()
    return dict(scores)


@pytest.fixture
def prompted(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A model with prompts for queries, for passages, and for one task."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_encoder))
    model.prompts = {
        "query": f"{WORDS[0]} {WORDS[1]}: ",
        "document": f"{WORDS[2]} {WORDS[3]}: ",
        "SciFact-query": f"{WORDS[4]} {WORDS[5]} {WORDS[6]}: ",
    }
    model.save_pretrained(str(tmp_path / "prompted"), create_model_card=False)
    return tmp_path / "prompted"


@pytest.mark.parametrize("with_prompts", [False, True])
def test_a_task_has_the_figure_that_mteb_alone_has(
    with_prompts: bool,
    tiny_encoder: Path,
    prompted: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = prompted if with_prompts else tiny_encoder
    theirs = _alone(model, cache, monkeypatch, tmp_path)
    out = tmp_path / "out"
    by_files = mteb(str(model), ["SciFact"], cache=str(cache), out=out, **EXACT)
    by_tables = mteb(str(model), ["SciFact"], cache=str(tmp_path), **EXACT)
    assert 0.05 < theirs["ndcg_at_10"] < 1
    for found in (by_files, by_tables):
        assert found["tasks"]["SciFact"]["nDCG@10"] == pytest.approx(theirs["ndcg_at_10"], abs=1e-3)
    task = by_files["tasks"]["SciFact"]
    known = {"query": f"{WORDS[4]} {WORDS[5]} {WORDS[6]}: ", "document": f"{WORDS[2]} {WORDS[3]}: "}
    assert task["prompts"] == (known if with_prompts else {"query": "", "document": ""})
    assert task["main_score"] == {"name": "ndcg_at_10", "value": task["nDCG@10"]}
    assert by_files["averages"]["medical"] == {"nDCG@10": task["nDCG@10"], "tasks": 1, "of": 7}
    # as mteb reads results
    (kept,) = library.ResultCache(out).load_results(models=[by_files["model"]["name"]], tasks=["SciFact"])
    assert kept.model_revision == by_files["model"]["digest"]
    assert kept.task_results[0].get_score() == pytest.approx(theirs["main_score"], abs=1e-3)
    assert kept.task_results[0].dataset_revision == SCIFACT[1]


def test_a_prompt_of_a_task_decides(
    prompted: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = mteb(str(prompted), ["SciFact"], cache=str(cache), **EXACT)
    monkeypatch.setattr(MtebModel, "_prompt", lambda self, metadata, kind: "")
    other = mteb(str(prompted), ["SciFact"], cache=str(cache), **EXACT)
    assert own["tasks"]["SciFact"]["nDCG@10"] != other["tasks"]["SciFact"]["nDCG@10"]


def test_what_is_not_cached_is_named_in_table_and_json(
    tiny_encoder: Path, cache: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "out"
    ended = command("mteb", tiny_encoder, "--cache", cache, "--out", out, "--precision", "fp32", "--quiet")
    assert ended.code == 0
    found = json.loads((out / "metrics.json").read_text())
    asked = [name for names in mteb_tasks.PAPER_TASKS.values() for name in names]
    assert list(found["tasks"]) == ["SciFact"] and set(found["missing"]) == set(asked) - {"SciFact"}
    why = "mteb/nfcorpus at revision ec0fa4fe99da2ff19ca1214b7966684033a58814 is not cached"
    assert found["missing"]["NFCorpus"] == why
    assert {group: (of["tasks"], of["of"]) for group, of in found["averages"].items()} == {
        "medical": (1, 7),
        "general": (0, 5),
        "all": (1, 12),
    }
    assert found["averages"]["general"]["nDCG@10"] is None
    shown = command("mteb", tiny_encoder, "--cache", cache, "--out", out, "--precision", "fp32").out
    assert f"missing: NFCorpus: {why}" in shown
    assert re.search(r"average, general +-   0 of 5\n", shown) and re.search(
        r"average, all +0\.\d{4}  1 of 12\n", shown
    )


def test_nothing_cached_is_wrong_input_with_the_remedy(tiny_encoder: Path, tmp_path: Path, command: Command) -> None:
    ended = command("mteb", tiny_encoder, "--cache", tmp_path, "--tasks", "SciFact")
    assert ended.code == 2
    assert "no task could be run" in ended.err and "--cache" in ended.err and "mteb/scifact at revision" in ended.err


def test_files_of_another_revision_are_not_taken(tiny_encoder: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "hf")
    snapshot = next((tmp_path / "hf/hub").glob("*/snapshots/*"))
    snapshot.rename(snapshot.with_name("0" * 40))
    with pytest.raises(InputError, match=r"no task could be run.*\n  SciFact: mteb/scifact at revision d56462d0"):
        mteb(str(tiny_encoder), ["SciFact"], cache=str(tmp_path / "hf"), **EXACT)


def test_half_a_download_is_missing_and_damaged_data_fail_without_costing_the_others(
    tiny_encoder: Path, cache: Path, tmp_path: Path, forgettable: Path
) -> None:
    for name in ("half", "damaged"):
        shutil.copytree(cache, tmp_path / name)
    next((tmp_path / "half/hub").glob("*/snapshots/*/queries.jsonl")).unlink()
    next((tmp_path / "damaged/hub").glob("*/snapshots/*/queries.jsonl")).write_text('{"_id": "q1", "te')
    asked = ["SciFact", str(forgettable)]
    half = mteb(str(tiny_encoder), asked, cache=str(tmp_path / "half"), **EXACT)
    assert list(half["missing"]) == ["SciFact"] and list(half["tasks"]) == ["forgettable"]
    damaged = mteb(str(tiny_encoder), asked, cache=str(tmp_path / "damaged"), **EXACT)
    assert list(damaged["failed"]) == ["SciFact"] and list(damaged["tasks"]) == ["forgettable"]
    assert "DatasetGenerationError" in damaged["failed"]["SciFact"]


def test_beir_folders_are_tasks(tiny_encoder: Path, forgettable: Path, tmp_path: Path, command: Command) -> None:
    from denizen.recipes.evaluate import evaluate

    other, out = write_beir(tmp_path / "numbers", 30), tmp_path / "out"
    given = ["--tasks", forgettable, "--tasks", other, "--out", out]
    ended = command("mteb", tiny_encoder, *given, "--precision", "fp32", "--backend", "torch", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert list(found["tasks"]) == ["forgettable", "numbers"] and found["averages"] == {}
    for folder in (forgettable, other):
        (means,) = evaluate([str(tiny_encoder)], folder, bm25=False, **EXACT)["means"].values()
        assert found["tasks"][folder.name]["nDCG@10"] == pytest.approx(means["nDCG@10"], abs=1e-4)
    assert json.loads((out / "metrics.json").read_text()) == found
    assert all((out / of["file"]).is_file() for of in found["tasks"].values())


def test_what_was_done_is_not_run_again(tiny_encoder: Path, forgettable: Path, tmp_path: Path) -> None:
    other, out = write_beir(tmp_path / "numbers", 30), tmp_path / "out"

    def run(*tasks: Path, **changed: Any) -> tuple[Heard, dict[str, Any]]:
        heard = Heard()
        return heard, mteb(str(tiny_encoder), [*map(str, tasks)], out=out, progress=heard, **{**EXACT, **changed})

    _, first = run(forgettable)
    heard, found = run(other)
    assert (heard.worked, heard.found) == (["numbers"], []) and list(found["tasks"]) == ["forgettable", "numbers"]
    heard, found = run(forgettable, other)
    assert (heard.worked, heard.found) == ([], ["forgettable", "numbers"])
    assert found["tasks"]["forgettable"] == first["tasks"]["forgettable"]
    # another label, another result
    with (other / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td2\t1\n")
    assert run(forgettable, other)[0].worked == ["numbers"]
    # what stands in metrics.json and has lost its file
    (out / found["tasks"]["forgettable"]["file"]).unlink()
    assert run(forgettable, other)[0].worked == ["forgettable"]
    # another arithmetic makes another result of both, also of what is not asked for
    heard, found = run(other, precision="auto", backend="auto")
    assert heard.worked == ["numbers"] and list(found["tasks"]) == ["numbers"]


def test_a_command_that_was_stopped_goes_on_with_what_it_lacks(
    tiny_encoder: Path, forgettable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, out = write_beir(tmp_path / "numbers", 30), tmp_path / "out"
    run, asked = MtebModel.run, [str(forgettable), str(other)]

    def stopped(self: MtebModel, task: Any) -> Any:
        if task.metadata.name == "DenizenNumbers":
            raise KeyboardInterrupt
        return run(self, task)

    monkeypatch.setattr(MtebModel, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        mteb(str(tiny_encoder), asked, out=out, **EXACT)
    monkeypatch.setattr(MtebModel, "run", run)
    heard = Heard()
    found = mteb(str(tiny_encoder), asked, out=out, progress=heard, **EXACT)
    assert (heard.worked, heard.found) == (["numbers"], ["forgettable"]) and len(found["tasks"]) == 2


def test_results_of_another_model_are_not_mixed(
    tiny_encoder: Path, prompted: Path, forgettable: Path, tmp_path: Path
) -> None:
    mteb(str(tiny_encoder), [str(forgettable)], out=tmp_path / "out", **EXACT)
    with pytest.raises(InputError, match=r"holds results of denizen/.*; use another --out"):
        mteb(str(prompted), [str(forgettable)], out=tmp_path / "out", **EXACT)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["SciFacts"], r"no task of mteb, and no folder: 'SciFacts' not found. Did you mean: 'SciFact'"),
        (["STS12"], "STS12 is a task of the kind STS; give one that retrieves texts"),
        (["SciFact", "SciFact"], "'SciFact' is given twice"),
        (["FOLDER/empty"], "empty is no BEIR folder"),
        (["FOLDER/without"], r"has no qrels/test.tsv; give one of \['dev'\] as split"),
        (["FOLDER/numbers", "FOLDER/Num-bers"], "'Num-bers' is given twice"),
    ],
)
def test_wrong_tasks_are_refused_before_anything_is_run(
    tasks: list[str], message: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("numbers", "Num-bers", "without"):
        write_beir(tmp_path / name, 5)
    (tmp_path / "without/qrels/test.tsv").rename(tmp_path / "without/qrels/dev.tsv")
    with pytest.raises(InputError, match=message):
        mteb(str(tiny_encoder), [name.replace("FOLDER", str(tmp_path)) for name in tasks], cache=str(tmp_path))


def test_a_model_that_is_no_bi_encoder_and_a_cache_that_is_not_there_are_refused(
    tiny_encoder: Path, forgettable: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "nothing").mkdir()
    ended = command("mteb", tmp_path / "nothing", "--tasks", forgettable)
    assert ended.code == 2 and "nothing" in ended.err
    ended = command("mteb", tiny_encoder, "--cache", tmp_path / "nowhere")
    assert ended.code == 2 and "is no folder" in ended.err


def test_an_empty_corpus_costs_its_row_and_alone_is_wrong_input(
    tiny_encoder: Path, forgettable: Path, tmp_path: Path
) -> None:
    folder = write_beir(tmp_path / "numbers", 5)
    (folder / "corpus.jsonl").write_text("")
    found = mteb(str(tiny_encoder), [str(folder), str(forgettable)], **EXACT)
    assert list(found["tasks"]) == ["forgettable"] and "InputError" in found["failed"]["numbers"]
    with pytest.raises(InputError, match="no task could be run:\n  numbers: InputError"):
        mteb(str(tiny_encoder), [str(folder)], **EXACT)
