"""What a training of an expert takes, beside what the step then says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.data.task_rows import preferences, task_rows
from denizen.engine.errors import InputError
from denizen.training.expert_plan import (
    expert_plan_line,
    fine_tuning_plan,
    fine_tuning_seconds,
    preference_plan,
    preference_seconds,
)
from denizen.training.fine_tune import FineTuning
from denizen.training.prefer import PreferenceTuning
from tests.tiny_pair import tiny_pair
from tests.tiny_tasks import tiny_pairs, tiny_rows, tiny_start
from tests.unit.training.test_fine_tune import tuned
from tests.unit.training.test_prefer import preferred

SETTINGS = {"expert_batch_size": 4, "expert_rank": 4, "expert_max_length": 64, "precision": "fp32"}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_start(tmp_path_factory.mktemp("start"))


def test_a_plan_is_what_the_step_then_does(start: Path, tmp_path: Path) -> None:
    sft, dpo = FineTuning(sft_epochs=2.0, **SETTINGS), PreferenceTuning(dpo_epochs=1.0, **SETTINGS)
    plan, facts = fine_tuning_plan(start, sft, task_rows(tiny_rows().table, "train")), tuned(tmp_path / "a", start, sft)
    assert (plan.rows, plan.steps, plan.size.learnt) == (facts["rows"], facts["steps"], facts["learnt"])
    assert plan.tokens == 2 * facts["tokens"] and plan.together == 4
    plan = preference_plan(start, dpo, preferences(tiny_pairs().table, "train"))
    facts = preferred(tmp_path / "b", start, params=dpo)
    assert (plan.rows, plan.steps, plan.size.learnt) == (facts["pairs"], facts["steps"], facts["learnt"])
    assert plan.tokens == round(1.5 * facts["tokens"]) and plan.together == 8
    # "user: what is number 19?", the end of the turn, "assistant: go away 19", and its end
    assert plan.longest == 24 + 1 + 21 + 1


def test_by_hand(start: Path) -> None:
    """Of a model of two layers with 64 hidden numbers, four heads and 259 tokens."""
    plan = fine_tuning_plan(start, FineTuning(sft_epochs=3.0, **SETTINGS), 10)
    assert (plan.rows, plan.longest, plan.tokens, plan.steps, plan.vocabulary) == (10, 64, 1920, 9, 259)
    step = plan.size.memory(4 * 64, 64)
    assert plan.memory == step + 4 * 4 * (4 * 64) * 259
    assert plan.disk == 40 * plan.size.learnt
    both = preference_plan(start, PreferenceTuning(dpo_epochs=1.0, **SETTINGS), 10)
    assert both.tokens == 1920 and both.memory == plan.size.memory(8 * 64, 64) + 4 * 4 * (8 * 64) * 259
    told = plan.as_dict(8.0)
    assert told["hours"] == 0.02 and plan.as_dict()["hours"] is None
    line = expert_plan_line("structured", plan, 20.0)
    assert line.startswith("structured: 10 rows of at most 64 tokens, 1,920 tokens in 9 steps; 0.0 of 0.")
    assert "GB of disk, about 3 min here; on a GPU about: L4 (24 GB) 1 min" in line


def test_what_cannot_be_trained_is_told(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are 3 pairs of answers to train on, and a batch has 4"):
        preference_plan(start, PreferenceTuning(**SETTINGS), 3)
    with pytest.raises(InputError, match="has no chat template"):
        fine_tuning_plan(tiny_pair(tmp_path)[0], FineTuning(**SETTINGS), task_rows(tiny_rows().table, "train"))


def test_a_step_is_timed(start: Path) -> None:
    sft, dpo = FineTuning(**SETTINGS), PreferenceTuning(**SETTINGS)
    assert 0 < fine_tuning_seconds(start, sft, task_rows(tiny_rows().table, "train")) < 60
    assert 0 < preference_seconds(start, dpo, preferences(tiny_pairs().table, "train")) < 60
