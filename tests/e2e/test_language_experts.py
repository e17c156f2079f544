"""The second half of `language` from given rows to the page: run again, changed, killed, with wrong input."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from denizen.api import language, plan_language
from denizen.engine.errors import ChangedError
from denizen.recipes.language_config import LanguageConfig
from tests.e2e.conftest import Command, Heard, Killer, assert_same, resumptions
from tests.html_page import Page
from tests.tiny_pair import tiny_pair

pytest.importorskip("trl", reason="training language models is an extra")

SETTINGS: dict[str, Any] = {"precision": "fp32", "max_length": 64, "batch_size": 8, "learning_rate": 3e-3}
SETTINGS |= {"epochs": 0.5, "instruction_prompts": 36, "max_new_tokens": 8, "lora_rank": 2}
SETTINGS |= {"expert_batch_size": 8, "expert_rank": 2, "expert_max_length": 256, "sft_epochs": 0.5, "dpo_epochs": 0.5}
SETTINGS |= {"task_tokens": 8, "asked_rows": 4, "request_tokens": 32, "bert_score_encoder": ""}
SYSTEMS = ["pretrained", "instruct", "residual", "multi-task", "experts-oracle", "experts-routed"]
SECTIONS = ["models", "differences", "instructions", "training", "tasks", "answers", "router", "safety", "settings"]
EXPERTS = ("structured", "answering", "multi-task")
# what is made from experts, in whichever order
FOLLOWS = [f"{kind}/{name}" for kind in ("experts", "answers", "safety") for name in EXPERTS]
FOLLOWS += ["experts/all-tasks", "router", "task-comparison"]

Run = tuple[Path, dict[str, Any], LanguageConfig]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty documents, forty questions with answers of which ten have a worse one, too, and forty texts with labels."""
    draw, folder = random.Random(3), tmp_path_factory.mktemp("files")
    words = ["rain", "wind", "snow", "cloud", "storm", "sun", "frost", "hail", "mist", "dew", "thunder", "fog", "ice"]

    def some(count: int) -> str:
        return " ".join(draw.choices(words, k=count))

    def write(name: str, rows: list[dict[str, str]]) -> None:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("docs.jsonl", [{"id": f"d{at}", "title": f"Day {at}", "text": f"{some(9)}. {some(7)}."} for at in range(40)])
    asked = [{"prompt": f"What of {some(5)} {at}?", "completion": some(12)} for at in range(30)]
    pairs = [{"prompt": f"Why {some(5)} {at}?", "chosen": some(9), "rejected": some(9)} for at in range(10)]
    write("asked.jsonl", asked)
    write("pairs.jsonl", pairs)
    write("sorted.jsonl", [{"text": f"{some(6)} {at}", "label": draw.choice(["wet", "dry"])} for at in range(40)])
    return folder


@pytest.fixture(scope="session")
def one(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished run, to be copied and changed."""
    folder = tmp_path_factory.mktemp("one")
    base, instruct = tiny_pair(folder)
    tasks = tuple(str(files / f"{name}.jsonl") for name in ("asked", "pairs", "sorted"))
    config = LanguageConfig(str(files / "docs.jsonl"), str(base), str(instruct), tasks=tasks, **SETTINGS)
    return folder / "run", language(config, folder / "run"), config


def test_experts_are_trained_routed_and_held_against_one_model_of_all_tasks(one: Run) -> None:
    out, found, _ = one
    experts = found["experts"]
    assert list(experts["training"]) == ["structured", "answering", "multi-task"]
    assert list(experts["comparison"]["systems"]) == SYSTEMS and experts["comparison"]["judge"] is None
    assert sum(its["rows"] for its in experts["rows"]["rows"]) == 80
    # pairs that were given are taken as they are
    ways = {its["way"] for its in experts["preferences"]["ways"]}
    assert "given" in ways and len(ways) > 1
    assert set(experts["safety"]) == {"instruct", "residual", "structured", "answering", "multi-task"}
    # of so few rows nothing is said to be kept
    said = " ".join(experts["comparison"]["sentences"])
    assert "it keeps within" not in said.replace("that it keeps within 2 points is not shown", "")
    page = Page((out / "report.html").read_text())
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS


def test_the_plan_is_what_the_run_then_does(one: Run, tmp_path: Path) -> None:
    out, found, config = one
    planned = plan_language(config, tmp_path / "run")
    trainings, trained = planned["experts"]["trainings"], found["experts"]["training"]
    assert list(trainings) == ["structured", "answering", "all-tasks", "multi-task"]
    assert trainings["structured"]["rows"] == trained["structured"]["rows"]
    assert trainings["structured"]["steps"] == trained["structured"]["steps"]
    # a pair of each row at most
    assert trainings["answering"]["rows"] >= trained["answering"]["pairs"] > 0
    assert planned["experts"]["llm_calls"] == {} and not planned["experts"]["exact"]
    assert any("experts: 4 training(s) (rows at most" in line for line in planned["lines"])
    done = plan_language(config, out)
    assert done["experts"]["trainings"] == {} and done["lines"][-1].strip() == "experts: all of it is done"


def test_run_again_it_does_nothing(one: Run) -> None:
    heard = Heard()
    found = language(one[2], one[0], progress=heard)
    assert found["experts"]["comparison"] == one[1]["experts"]["comparison"]
    assert heard.worked == [] and heard.said == []


@pytest.mark.slow
def test_with_another_setting_of_experts_only_what_follows_is_done(one: Run, tmp_path: Path) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(one[0], out)
    with pytest.raises(ChangedError, match=r"sft_epochs: 0\.5 -> 1\.0"):
        language(one[2].changed(sft_epochs=1.0), out)
    language(one[2].changed(sft_epochs=1.0), out, redo="experts", progress=heard)
    assert sorted(heard.worked) == sorted(FOLLOWS)
    (plan,) = (said for said in heard.said if said.startswith("plan "))
    assert "0 training(s) of" in plan and "experts: 4 training(s)\n" in plan


def test_one_family_of_tasks_has_one_expert_and_nothing_to_route(one: Run, files: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(one[0], out)
    config = one[2].changed(tasks=(str(files / "sorted.jsonl"),), measure_safety=False)
    with pytest.raises(ChangedError, match=r"tasks\.0: "):
        language(config, out)
    found = language(config, out, redo="tasks", progress=heard)["experts"]
    assert heard.worked[:2] == ["tasks", "experts/structured"] and heard.worked[-1] == "task-comparison"
    assert {place.partition("/")[0] for place in heard.worked} == {"tasks", "experts", "answers", "task-comparison"}
    assert list(found["training"]) == ["structured"]
    assert found["router"] is None and found["preferences"] is None and found["safety"] == {}
    ids = Page((out / "report.html").read_text()).ids
    assert "answers" in ids and "router" not in ids and "safety" not in ids


def test_wrong_input_is_told_before_anything_is_trained(
    one: Run, files: Path, command: Command, tmp_path: Path
) -> None:
    small = ["--max-length", "64", "--instruction-prompts", "36", "--batch-size", "8", "--bert-score-encoder", ""]
    models = ["--base", one[2].base, "--instruct", one[2].instruct, *small]
    sorted_rows, nameless, few = files / "sorted.jsonl", tmp_path / "labels.csv", tmp_path / "few.jsonl"
    nameless.write_text("name,description\nwet,of water\ndry,of none\n")
    few.write_text("".join(sorted_rows.read_text().splitlines(keepends=True)[:7]))
    shapeless = tmp_path / "shapeless.jsonl"
    shapeless.write_text('{"colour": "red"}\n')
    for arguments, why in (
        (["--tasks", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--judge", "J"], "judge is 'J', and no expert is made; give rows with --tasks, or --llm"),
        (["--labels", nameless], "labels is "),
        (["--tasks", sorted_rows, "--labels", nameless], "label"),
        (["--tasks", shapeless], "shapeless.jsonl"),
        (["--tasks", few], "experts/structured: there are 5 rows to train on, and a batch has 8; add some"),
    ):
        out = tmp_path / "no"
        ended = command("language", files / "docs.jsonl", *models, *arguments, "--out", out)
        assert (ended.code, ended.out) == (2, "") and why in ended.err, ended.err
        assert not (out / "pretrained").exists()
        shutil.rmtree(out, ignore_errors=True)


# where pairs are answered, experts are trained, requests are read and answers are given
MIDST = ["preferences@scratch:1", "experts/structured@step:2", "experts/multi-task@step:1"]
MIDST += ["answers/structured@scratch:1", "router@scratch:2", "task-comparison@record"]


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(one: Run, tmp_path: Path, killer: Killer) -> None:
    log = killer.run(one[2], tmp_path / "killed", *MIDST)
    assert_same(one[0], tmp_path / "killed")
    assert resumptions(log, "experts/structured") >= 1
