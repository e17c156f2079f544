"""`language` from the command to the page, on three architectures: run again, grown, killed, with wrong input."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from denizen.api import language, plan_language
from denizen.engine.errors import ChangedError, InputError
from denizen.measuring import perplexity
from denizen.recipes.language_config import LanguageConfig
from denizen.recipes.run_folder import read_config
from denizen.reports.report import report
from tests.e2e.conftest import Command, Heard, Killer, assert_same, resumptions
from tests.html_page import Page
from tests.tiny_pair import tiny_pair

pytest.importorskip("trl", reason="training language models is an extra")

SETTINGS: dict[str, Any] = {"precision": "fp32", "max_length": 64, "batch_size": 8, "learning_rate": 3e-3}
SETTINGS |= {"epochs": 0.5, "instruction_prompts": 36, "max_new_tokens": 8}
MODELS = ("base", "pretrained", "instruct", "residual")

Run = tuple[Path, dict[str, Any], LanguageConfig]


@pytest.fixture(scope="session")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty documents of a few sentences."""
    draw = random.Random(3)
    words = ["rain", "wind", "snow", "cloud", "storm", "sun", "frost", "hail", "mist", "dew", "thunder", "fog", "ice"]
    path = tmp_path_factory.mktemp("weather") / "weather.jsonl"
    with path.open("w") as file:
        for at in range(40):
            sentences = [" ".join(draw.choices(words, k=7)).capitalize() for _ in range(draw.randint(1, 5))]
            file.write(json.dumps({"id": f"d{at}", "title": f"Day {at}", "text": ". ".join(sentences)}) + "\n")
    return path


@pytest.fixture(scope="session", params=("llama", pytest.param("qwen3", marks=pytest.mark.slow), "gemma3"))
def finished(request: pytest.FixtureRequest, weather: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    base, instruct = tiny_pair(folder, request.param)
    config = LanguageConfig(str(weather), str(base), str(instruct), **SETTINGS)
    return folder / "run", language(config, folder / "run"), config


def test_every_model_is_measured_and_plain_transformers_loads_the_last(finished: Run) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, found, _ = finished
    assert tuple(found["systems"]) == MODELS
    for its in found["systems"].values():
        assert its["perplexity"]["low"] <= its["perplexity"]["value"] <= its["perplexity"]["high"]
        assert 0 <= its["accuracy"]["value"] <= 1 and 0 <= its["stops"] <= 1 and len(its["kinds"]) == 36
    # a random model learns at least which letters there are, and keeps that with the residual
    bits = {name: its["bits_a_byte"]["value"] for name, its in found["systems"].items()}
    assert bits["pretrained"] < bits["base"] and bits["residual"] < bits["instruct"]
    apart = next(its for its in found["pairs"] if (its["model"], its["against"]) == ("residual", "instruct"))
    assert apart["bits_a_byte"]["value"] == pytest.approx(bits["residual"] - bits["instruct"])
    perplexities = [found["systems"][name]["perplexity"]["value"] for name in ("residual", "instruct")]
    assert apart["perplexity"]["value"] == pytest.approx(perplexities[0] / perplexities[1] - 1)
    # 36 prompts are too few to show that less than one in fifty is lost
    assert found["verdict"]["kept"] != "shown"
    model, tokenizer = (kind.from_pretrained(out / "residual") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert tokenizer.chat_template and model.generation_config.eos_token_id == [1, 258]
    assert len(pd.read_json(out / "results.json")) == 4 * 4 + 3 * 4


def test_the_page_and_the_plan(finished: Run, tmp_path: Path) -> None:
    out, found, config = finished
    assert report(out, tmp_path / "page.html").read_text() == (out / "report.html").read_text()
    page = Page((out / "report.html").read_text())
    assert page.ids == ["models", "differences", "instructions", "training", "settings"]
    # the measures that are explained are those of this page
    text = (out / "report.html").read_text()
    assert "among how many tokens, all alike" in text and "nDCG" not in text and "BM25" not in text
    planned = plan_language(config, out)
    assert (planned["trainings"], planned["models"], planned["operations"]) == (0, 0, 0)
    assert planned["tokens"] == round(0.5 * found["training"]["pretrained"]["tokens"])
    assert planned["steps"] == found["training"]["pretrained"]["steps"]
    assert planned["held_out_tokens"] == found["held_out"]["tokens"]
    assert planned["hours"] is None and planned["lines"][-1].strip() == "all of it is done"


@pytest.fixture(scope="session")
def one(weather: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished run, to be copied and changed."""
    folder = tmp_path_factory.mktemp("one")
    base, instruct = tiny_pair(folder)
    config = LanguageConfig(str(weather), str(base), str(instruct), lora_rank=2, **SETTINGS)
    return folder / "run", language(config, folder / "run"), config


def test_run_again_it_does_nothing_and_with_the_other_row_only_that(one: Run, tmp_path: Path) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(one[0], out)
    assert language(one[2], out, progress=heard)["systems"] == one[1]["systems"]
    assert heard.worked == [] and heard.said == []
    found = language(one[2].changed(also_pretrain_instruct=True), out, progress=heard)
    own = "pretrained-instruct"
    assert heard.worked == [own, f"perplexity/{own}", f"instructions/{own}", "comparison"]
    assert {name: found["systems"][name] for name in MODELS} == one[1]["systems"]
    assert ("residual", own) in {(its["model"], its["against"]) for its in found["pairs"]}
    with pytest.raises(ChangedError, match=r"scale: 1\.0 -> 0\.5"):
        language(one[2].changed(scale=0.5), out)
    for scale in (0.5, 0.5):
        heard = Heard()
        language(one[2].changed(scale=scale), out, redo="residual", progress=heard)
        assert heard.worked == ["residual", "perplexity/residual", "instructions/residual", "comparison"]
        # what is redone is planned, whether a setting is another or not, and no training is timed for it
        (plan,) = (said for said in heard.said if said.startswith("plan "))
        assert "0 training(s)" in plan and "1 model(s) measured" in plan and "in training" not in plan


def test_a_scale_that_dev_has_chosen_is_added_and_shown(one: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(one[0], out)
    with pytest.raises(ChangedError, match="search_scale: False -> True"):
        language(one[2].changed(search_scale=True), out)
    heard = Heard()
    found = language(one[2].changed(search_scale=True), out, redo="residual", progress=heard)
    assert heard.worked[:2] == ["scale", "residual"]
    searched = found["scale_search"]
    assert found["residual"]["scale"] == searched["scale"] and len(searched["tried"]) == 5
    page = (out / "report.html").read_text()
    assert "How much of the residual" in page and page.count("<td>taken</td>") == 1


# where training, adding and asking are in their midst, and all other ends of steps
MIDST = ["pretrained@step:2", "residual@open:2", "instructions/instruct@scratch:2"]
ENDS = ["corpus@record", "pretrained@step:2", "pretrained@open:1", "perplexity/base@record"]
ENDS += ["instructions/residual@rename", "comparison@record", "@open:3"]


@pytest.mark.parametrize(
    "points", [pytest.param(MIDST, id="midst"), pytest.param(ENDS, id="ends", marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
    one: Run, points: list[str], tmp_path: Path, killer: Killer
) -> None:
    log = killer.run(one[2], tmp_path / "killed", *points)
    assert_same(one[0], tmp_path / "killed")
    assert resumptions(log, "pretrained") >= 1


def test_the_command_and_what_it_refuses(one: Run, weather: Path, command: Command, tmp_path: Path) -> None:
    base, instruct = one[2].base, one[2].instruct
    small = ["--max-length", "64", "--instruction-prompts", "36", "--max-new-tokens", "8"]
    pair = ["--base", base, "--instruct", instruct]
    planned = command("language", weather, *pair, "--out", tmp_path / "run", "--plan", *small)
    assert planned.code == 0 and "tokens/s in training" in planned.out and "1 training(s) of" in planned.out
    assert not (tmp_path / "run/pretrained").exists()
    few = tmp_path / "few.jsonl"
    few.write_text("".join(weather.read_text().splitlines(keepends=True)[:6]))
    other, _ = tiny_pair(tmp_path / "other", "qwen3")
    for arguments, why in (
        ([weather, "--base", base], "there is none: give the instruct model of the base with --instruct, or rows"),
        ([weather, *pair, "--plan", "--redo", "residual"], "redoes nothing; give --plan or --redo"),
        ([*pair], "there is no source: give it as the argument"),
        (["nowhere", *pair], "'nowhere' does not exist"),
        ([weather, "--base", base, "--instruct", base], "base and instruct are one model"),
        ([weather, "--base", other, "--instruct", instruct], "model_type of the base base is qwen3"),
        ([few, *pair, "--batch-size", "64"], "of tokens, and a batch has 64; add documents"),
        ([weather, *pair, "--precision", "int8"], "precision is 'int8', in which no language model is trained"),
        ([weather, *pair, "--instruction-prompts", "3"], "instruction_prompts is 3; it must be between 36 and 240"),
    ):
        ended = command("language", *arguments, "--out", tmp_path / "no")
        assert (ended.code, ended.out) == (2, "") and why in ended.err, ended.err


def test_no_room_is_known_before_training(one: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=100_000))
    with pytest.raises(InputError, match=r"checkpoints and models take 0\.0 GB at most, and 0\.0 GB are free where"):
        language(one[2], tmp_path / "disk")
    monkeypatch.setattr("denizen.reports.language_plan.room_here", lambda: (1000.0, "this machine"))
    with pytest.raises(InputError, match=r"needs 0\.0 GB at most, and this machine has 0\.0 GB; lower batch_size"):
        language(one[2], tmp_path / "memory")
    assert "nothing was timed" in plan_language(one[2], tmp_path / "plan")["lines"][-1]


def test_nothing_is_trained_where_nothing_is_left_to_measure_on(
    one: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = perplexity.whole_documents
    monkeypatch.setattr(
        perplexity, "whole_documents", lambda *tables, **sides: replace(whole(*tables, **sides), texts={}, left_out=9)
    )
    with pytest.raises(InputError, match="all 9 held-out passages have a near-duplicate on the training side; add"):
        language(one[2], tmp_path / "run")
    assert not (tmp_path / "run/pretrained").exists()


def test_another_command_knows_whose_run_it_is(one: Run) -> None:
    with pytest.raises(InputError, match="holds a run of another command than adapt"):
        read_config(one[0])
