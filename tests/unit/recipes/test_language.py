"""The settings of `language`, and the calls that a run would make: what each setting changes, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Model
from denizen.data.prepare import Given
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.pipeline import Pipeline
from denizen.recipes.language import BroughtModels, language
from denizen.recipes.language_config import LANGUAGE_SETTINGS, LANGUAGE_WITHOUT_EFFECT, LanguageConfig
from denizen.recipes.language_experts import BroughtTasks

ROWS = ("base", "pretrained", "instruct", "residual")
MEASURED = {f"{kind}/{name}" for kind in ("perplexity", "instructions") for name in ROWS}
CORPUS = {"corpus", "pretrained", "residual", *(f"perplexity/{name}" for name in ROWS), "comparison"}
CORPUS |= {"instructions/pretrained", "instructions/residual"}
TRAINED = CORPUS - {"corpus", "perplexity/base", "perplexity/instruct"}
# name of a setting to another value and the steps that it changes
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "also_pretrain_instruct": (True, {"comparison"}),
    "seed": (7, CORPUS),
    "dev_share": (0.2, CORPUS),
    "test_share": (0.3, CORPUS),
    "near_duplicate": (0.85, CORPUS),
    "passage_chars": (500, CORPUS),
    "skip_bad_rows": (True, CORPUS),
    "split": ("time", CORPUS),
    "max_length": (128, TRAINED | {"perplexity/base", "perplexity/instruct"}),
    "precision": ("bf16", TRAINED | MEASURED),
    "learning_rate": (1e-3, TRAINED),
    "lora_rank": (8, TRAINED),
    "epochs": (2.0, TRAINED),
    "batch_size": (16, TRAINED),
    "warmup_steps": (5.0, TRAINED),
    "search_scale": (
        True,
        {"residual", "perplexity/residual", "comparison", *(f"instructions/{name}" for name in ROWS)},
    ),
    "scale": (0.5, {"residual", "perplexity/residual", "instructions/residual", "comparison"}),
    "instruction_prompts": (48, {"comparison", *(f"instructions/{name}" for name in ROWS)}),
    "max_new_tokens": (50, {"comparison", *(f"instructions/{name}" for name in ROWS)}),
}


def of_experts(*names: str) -> set[str]:
    """An expert's training, answers and refusals, and all that holds experts against one another."""
    own = {f"{kind}/{name}" for kind in ("experts", "answers", "safety") for name in names}
    return {*own, "router", "judged", "task-comparison"}


# of a run with tasks, a teacher and a judge
FINE_TUNED = of_experts("structured", "multi-task") | {"experts/all-tasks"}
PREFERRED = of_experts("answering", "multi-task")
ANSWERED = {f"answers/{name}" for name in ("pretrained", "instruct", "residual")}
ANSWERED |= {f"answers/{name}" for name in ("structured", "answering", "multi-task")}
PAIRS = PREFERRED | {"preferences"}
TASK_ROWS = {"tasks", *PAIRS, *FINE_TUNED, *ANSWERED}
ASKED: dict[str, Any] = {"tasks": ("rows.jsonl",), "llm": "T", "judge": "J", "endpoint": "http://x/v1"}
ASKED |= {"prices": "3/4"}
EXPERT_CHANGES: dict[str, tuple[Any, set[str]]] = {
    "warm_up": (True, of_experts("answering")),
    # what is not asked for is gone, and changes nothing of the rest
    "measure_safety": (False, set()),
    "llm": ("U", TASK_ROWS),
    "written_questions": (30, TASK_ROWS),
    "written_summaries": (30, TASK_ROWS),
    "written_labels": (30, TASK_ROWS),
    "made_pairs": (30, PAIRS),
    "expert_rank": (4, FINE_TUNED | PREFERRED),
    "expert_batch_size": (4, FINE_TUNED | PREFERRED),
    "expert_max_length": (128, FINE_TUNED | PREFERRED),
    "sft_learning_rate": (1e-3, FINE_TUNED),
    "sft_epochs": (1.0, FINE_TUNED),
    "dpo_learning_rate": (1e-3, PREFERRED),
    "dpo_epochs": (1.0, PREFERRED),
    "dpo_beta": (0.2, PREFERRED),
    "request_tokens": (64, {"router", "judged", "task-comparison"}),
    "asked_rows": (50, {"router", "judged", "task-comparison"}),
    "task_tokens": (32, ANSWERED | {"judged", "task-comparison"}),
    "bert_score_layer": (2, {"task-comparison"}),
    "judge": ("K", {"judged", "task-comparison"}),
    "judged_rows": (20, {"judged", "task-comparison"}),
}
WITHOUT_EFFECT: dict[str, Any] = {
    "judge_endpoint": "http://y/v1",
    "judge_prices": "1/2",
    "endpoint": "http://y/v1",
    "prices": "1/2",
    "allow_unpriced": True,
    "budget_calls": 9,
    "budget_tokens": 9,
    "budget_money": 9.0,
    "concurrency": 1,
    "timeout": 9.0,
    "thinking_tokens": 9,
    "replies": "replies.sqlite",
    "min_coverage": 0.5,
}
# what they name is read before the run, and comes into it by what it holds
NAMED = {"source", "base", "instruct", "instruct_rows", "tasks", "labels", "bert_score_encoder"}


def fingerprints(folder: Path, brought: BroughtModels | None = None, **settings: Any) -> Mapping[str, str]:
    """Place to fingerprint of every call of a run; nothing is done."""
    run = Pipeline(folder / "run", planning=True)
    config = LanguageConfig("docs", "B", "I", **{"precision": "fp32", **settings})
    language(run, config, brought or outside(folder))
    return {place: call.fingerprint for place, call in run.calls.items()}


def outside(folder: Path) -> BroughtModels:
    given = Given(lambda: pytest.fail("nothing is read"), {"docs.jsonl": "d" * 64})
    return BroughtModels(Model(folder / "base", "b" * 64), Model(folder / "instruct", "i" * 64), given)


def with_tasks(folder: Path) -> BroughtModels:
    rows, labels = Artifact(folder / "rows.jsonl", "r" * 64), Artifact(folder / "labels.csv", "l" * 64)
    return replace(outside(folder), tasks=BroughtTasks([rows], labels, Model(folder / "encoder", "e" * 64)))


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {place for place in before if before[place] != now[place]}


def test_a_run_pretrains_adds_and_measures_every_model(tmp_path: Path) -> None:
    places = list(fingerprints(tmp_path))
    assert places[:3] == ["corpus", "pretrained", "residual"] and places[-1] == "comparison"
    assert set(places[3:-1]) == MEASURED


def test_every_setting_changes_its_own_steps_and_no_other(tmp_path: Path) -> None:
    assert {*CHANGES, *EXPERT_CHANGES, *WITHOUT_EFFECT} == set(LANGUAGE_SETTINGS) - NAMED
    assert set(WITHOUT_EFFECT) == set(LANGUAGE_WITHOUT_EFFECT)
    before = fingerprints(tmp_path)
    for name, (value, steps) in CHANGES.items():
        assert changed(before, fingerprints(tmp_path, **{name: value})) == steps, name


def test_a_setting_of_experts_changes_its_own_steps_and_none_of_the_first_half(tmp_path: Path) -> None:
    brought = with_tasks(tmp_path)
    before = fingerprints(tmp_path, brought, **ASKED)
    for name, (value, steps) in EXPERT_CHANGES.items():
        now = fingerprints(tmp_path, brought, **{**ASKED, name: value})
        assert changed(before, {**before, **now}) == steps, name
        new, gone = set(now) - set(before), {place.partition("/")[0] for place in set(before) - set(now)}
        assert new == ({"experts/warm-up"} if name == "warm_up" else set()), name
        assert gone == ({"safety"} if name == "measure_safety" else set()), name
        assert not any(place in fingerprints(tmp_path) for place in steps)
    for name, value in WITHOUT_EFFECT.items():
        assert changed(before, fingerprints(tmp_path, brought, **{**ASKED, name: value})) == set(), name


def test_a_setting_of_the_first_half_changes_what_follows_from_it_in_the_second(tmp_path: Path) -> None:
    """Over another residual model all is new but the rows, and what is said without it; of another corpus the rows."""
    brought = with_tasks(tmp_path)
    before = fingerprints(tmp_path, brought, **ASKED)
    over_residual = FINE_TUNED | PAIRS | {"answers/residual", "safety/residual"}
    for name, (value, steps) in CHANGES.items():
        follows = set(steps)
        if "corpus" in steps:
            follows |= TASK_ROWS
        if "residual" in steps:
            follows |= over_residual
        if "pretrained" in steps:
            follows |= {"answers/pretrained"}
        if name == "precision":
            follows |= ANSWERED | {"safety/instruct"}
        if name == "max_new_tokens":
            # answers from which pairs are made are as long
            follows |= PAIRS
        now = fingerprints(tmp_path, brought, **{**ASKED, name: value})
        if name == "also_pretrain_instruct":
            follows |= {"judged", "task-comparison"}
        assert changed(before, {**before, **now}) == follows, name


def test_another_file_of_tasks_labels_or_encoder_changes_what_reads_it(tmp_path: Path) -> None:
    brought = with_tasks(tmp_path)
    assert brought.tasks is not None
    before = fingerprints(tmp_path, brought, **ASKED)
    more = [*brought.tasks.files, Artifact(tmp_path / "more.jsonl", "m" * 64)]
    other = Artifact(tmp_path / "other", "o" * 64)
    for changes, steps in (
        ({"files": more}, TASK_ROWS),
        ({"labels": other}, TASK_ROWS),
        ({"encoder": Model(tmp_path / "other", "o" * 64)}, {"task-comparison"}),
    ):
        now = fingerprints(tmp_path, replace(brought, tasks=replace(brought.tasks, **changes)), **ASKED)
        assert changed(before, now) == steps, changes


def test_another_base_or_instruct_model_changes_what_reads_it(tmp_path: Path) -> None:
    before, brought = fingerprints(tmp_path), outside(tmp_path)
    other = replace(brought, instruct=Model(tmp_path / "other", "o" * 64))
    own = {f"{kind}/{name}" for kind in ("perplexity", "instructions") for name in ("instruct", "residual")}
    assert changed(before, fingerprints(tmp_path, other)) == {*own, "residual", "comparison"}
    other = replace(brought, base=Model(tmp_path / "other", "o" * 64))
    left = {"corpus", "perplexity/instruct", "instructions/instruct"}
    assert changed(before, fingerprints(tmp_path, other)) == set(before) - left


def test_the_instruct_model_is_pretrained_as_the_base_is(tmp_path: Path) -> None:
    now = fingerprints(tmp_path, also_pretrain_instruct=True)
    assert set(now) - set(fingerprints(tmp_path)) == {
        "pretrained-instruct",
        "perplexity/pretrained-instruct",
        "instructions/pretrained-instruct",
    }


def test_settings_have_flat_names_and_come_back_from_what_is_kept() -> None:
    config = LanguageConfig("docs", "B", "I", scale=0.5, max_length=64, seed=3)
    assert (config.residual.scale, config.pretraining.max_length, config.reading.max_length) == (0.5, 64, 64)
    assert config.pretraining.seed == config.dividing.seed == 3
    assert LanguageConfig(**config.as_dict()) == config and set(config.as_dict()) == set(LANGUAGE_SETTINGS)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"precision": "int8"}, "no language model is trained here; give auto, fp32 or bf16"),
        ({"split": "random"}, "documents are divided: auto, document or time"),
        ({"scale": 3.0}, "scale is 3.0; it must be between 0 and 2"),
        ({"rounds": 1}, "unknown settings .'rounds'"),
        ({"max_length": 2}, "max_length is 2; it must be between 16"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        LanguageConfig("docs", "B", "I", **given)


def test_a_scale_is_searched_before_it_is_added(tmp_path: Path) -> None:
    places = fingerprints(tmp_path, search_scale=True)
    assert list(places)[:4] == ["corpus", "pretrained", "scale", "residual"]
    # what it was chosen by is no test, and how many of those there are changes nothing
    assert places["scale"] == fingerprints(tmp_path, search_scale=True, instruction_prompts=36)["scale"]
    assert places["scale"] != fingerprints(tmp_path, search_scale=True, max_new_tokens=50)["scale"]
    assert LanguageConfig("docs", "B", "I", search_scale=True).answering.instruction_prompts == 168
    with pytest.raises(InputError, match=r"scale is 0\.5 and search_scale is on, which chooses it"):
        LanguageConfig("docs", "B", "I", search_scale=True, scale=0.5)
