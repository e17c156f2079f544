"""Next month: a run that goes on from a finished one, with more labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.data.tables import each, folded, read_table
from denizen.engine.errors import InputError
from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.model_ref import outside_model
from tests.conftest import WORDS

from .conftest import SETTINGS, Command, Heard

pytest.importorskip("mergekit", reason="merging is an extra")
Finished = tuple[Path, dict[str, Any]]
Next = tuple[AdaptConfig, Path, dict[str, Any], Heard, list[tuple[str, str, int]]]
NEW = 24


def grown(pairs: Path, path: Path) -> Path:
    """The pairs of the finished run, last first, and new ones before them: no row has the number that it had."""
    new = [
        {
            "question": f"What is zu{at}vax mo{at}kel?",
            "answer": f"Zu{at}vax {WORDS[at % 20]} mo{at}kel quen{at} ti{at}bo.",
        }
        for at in range(NEW)
    ]
    old = [json.loads(line) for line in pairs.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in (*new, *reversed(old))))
    return path


@pytest.fixture(scope="module")
def onward(finished: Finished, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Next:
    """Settings, folder and report of a run that goes on, what it has told, and what each model has embedded."""
    folder = tmp_path_factory.mktemp("onward")
    settings = {**SETTINGS, "rounds": 1, "epochs": 1.0, "windows": "whole"}
    config = AdaptConfig(str(grown(pairs, folder / "grown.jsonl")), from_run=str(finished[0]), **settings)
    embedded: list[tuple[str, str, int]] = []
    original = Encoder.encode

    def counted(self: Encoder, texts: Any, kind: Any, *rest: Any) -> Any:
        embedded.append((self.digest, kind, self.lacking(texts, kind)))
        return original(self, texts, kind, *rest)

    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "encode", counted)
        report = adapt(config, folder / "next", progress=heard)
    return config, folder / "next", report, heard, embedded


def test_both_branches_are_trained_and_one_of_three_models_is_taken(onward: Next, finished: Finished) -> None:
    _, out, report, heard, _ = onward
    shipped, base = (outside_model(path).digest for path in (finished[0] / "model", Path(finished[1]["base_model"])))
    known = records(out)
    starts = {place: known[f"{place}/student"]["inputs"]["start"] for place in ("round-0", "anew/round-0")}
    assert starts == {"round-0": shipped, "anew/round-0": base} and shipped != base
    assert "taken" in heard.worked
    take = report["take"]
    assert take["branch"] in ("shipped", "further", "anew")
    assert take["model"] == (take["branch"] if report["gate"]["met"] else "shipped")
    # by dev, which is what decides here, and by nothing else
    decided = known["taken"]["facts"]["decided"]
    assert decided["called"] == ["shipped", "further", "anew"] and decided["by"] == "dev"
    best = max(range(3), key=decided["MRR@5"].__getitem__)
    assert decided["called"][best] == take["branch"]
    # what is in the folder is that model
    of = {"shipped": "base", "further": "further", "anew": "anew"}[take["branch"]]
    assert report["adapted"] == report[of]


def test_both_tests_have_all_three_models_with_intervals(onward: Next, finished: Finished) -> None:
    _, out, report, _, _ = onward
    earlier = report["gate"]["sets"]["earlier"]
    assert (earlier["role"], earlier["measure"]) == ("earlier", "MRR@5")
    assert earlier["queries"] == finished[1]["queries"]
    for means, differences in ((report, report["differences"]), (earlier["means"], earlier["differences"])):
        for name in ("further", "anew"):
            apart = differences[name]["MRR@5"]
            assert apart["value"] == pytest.approx(means[name]["MRR@5"] - means["base"]["MRR@5"])
            assert apart["low"] <= apart["value"] <= apart["high"] and 0 <= apart["p"] <= 1
    # what is shipped is what the finished run had measured, on the same questions and passages
    assert earlier["means"]["base"]["MRR@5"] == pytest.approx(finished[1]["adapted"]["MRR@5"], abs=1e-6)
    assert report["gate"]["met"] == (report["gate"]["change"]["earlier"] >= -0.005)
    page = (out / "report.html").read_text()
    assert "Which model to take" in page and "trained anew" in page
    card = (out / "model/README.md").read_text()
    assert report["take"]["why"] in page and report["take"]["why"] in card and str(finished[0]) not in card


def test_no_side_of_the_finished_run_is_crossed(onward: Next, finished: Finished) -> None:
    _, out, report, _, _ = onward
    before, now = (
        {
            folded(text): split
            for text, split in each(read_table(run / "corpus/queries.parquet", "queries"), "text", "split")
        }
        for run in (finished[0], out)
    )
    assert before.items() <= now.items() and len(now) == len(before) + NEW
    trained = {
        row["query_id"] for row in read_table(out / "anew/round-0/examples/examples.parquet", "examples").to_pylist()
    }
    texts = dict(each(read_table(out / "corpus/queries.parquet", "queries"), "query_id", "text"))
    assert trained and not {before.get(folded(texts[name])) for name in trained} & {"test", "dev"}
    assert sum(report["data"]["as_in_the_earlier_run"].values()) == len(before)


def test_no_text_is_embedded_again_by_a_model_of_the_finished_run(onward: Next, finished: Finished) -> None:
    *_, heard, embedded = onward
    shipped, base = (outside_model(path).digest for path in (finished[0] / "model", Path(finished[1]["base_model"])))
    for model in (shipped, base):
        passages = sum(count for digest, kind, count in embedded if (digest, kind) == (model, "document"))
        queries = sum(count for digest, kind, count in embedded if (digest, kind) == (model, "query"))
        assert passages == NEW and 0 < queries <= NEW
    total = 120 + NEW
    told = f"of {total} passages {NEW} are encoded anew by the model that it ships, {NEW} by its base"
    assert any(told in said for said in heard.said)
    # the finished run is as it was
    assert {path.name for path in (finished[0] / "embeddings").iterdir()} >= {shipped, base}


def test_the_same_command_again_does_nothing(onward: Next) -> None:
    config, out, report, _, _ = onward
    heard = Heard()
    assert json.loads(json.dumps(adapt(config, out, progress=heard))) == json.loads(json.dumps(report))
    assert heard.worked == []


def test_an_earlier_test_question_in_the_training_part_is_refused_with_exit_code_3(
    finished: Finished, tmp_path: Path, command: Command
) -> None:
    queries = read_table(finished[0] / "corpus/queries.parquet", "queries").to_pylist()
    stolen = next(row["text"] for row in queries if row["split"] == "test")
    source = tmp_path / "source"
    (source / "qrels").mkdir(parents=True)
    asked = {f"q{at}": f"about zu{at}vax mo{at}kel" for at in range(9)} | {"q9": stolen}
    passages = {f"d{at}": f"ti{at}bo quen{at} {WORDS[at]}" for at in range(10)}
    for name, rows in (("queries", asked), ("corpus", passages)):
        lines = (json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in rows.items())
        (source / f"{name}.jsonl").write_text("".join(lines))
    for side, numbers in (("train", (0, 1, 2, 3, 9)), ("dev", (4, 5)), ("test", (6, 7, 8))):
        links = "".join(f"q{at}\td{at}\t1\n" for at in numbers)
        (source / f"qrels/{side}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{links}")
    ended = command("adapt", source, "--from", finished[0], "--out", tmp_path / "next", "--quiet", "--backend", "torch")
    assert ended.code == 3 and "query in test and train: earlier:q" in ended.err
    assert stolen[:40] in ended.err


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"from_run": "nowhere"}, "nowhere holds no run of denizen"),
        ({"from_run": "RUN", "model": "other"}, "model is other, and .* was made from .*; leave it out"),
        ({"from_run": "OUT"}, "is the run to go on from; give a new folder"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(
    given: dict[str, str], refused: str, short: tuple[Path, AdaptConfig], pairs: Path, tmp_path: Path
) -> None:
    run = short[0]
    values = {name: str(run) if value in ("RUN", "OUT") else value for name, value in given.items()}
    out = run if given["from_run"] == "OUT" else tmp_path / "next"
    with pytest.raises(InputError, match=refused):
        adapt(AdaptConfig(str(pairs), **values), out)
    assert not (tmp_path / "next").exists()


def test_a_teacher_does_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from_run is 'run'; only runs with labels go on from another one"):
        AdaptConfig("documents", from_run="run", teacher="llm", llm="judge")
