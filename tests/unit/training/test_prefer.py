"""Training an expert on pairs of answers: from the model before, held against it, and resumed exactly."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from denizen.data.artifacts import Adapter
from denizen.data.task_rows import preferences
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.language_models.language_model import LanguageModel
from denizen.retrievers.model_ref import outside_model
from denizen.training import trainer
from denizen.training.prefer import PreferenceTuning, prefer
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import END
from tests.tiny_tasks import tiny_pairs, tiny_start

SETTINGS = PreferenceTuning(
    expert_batch_size=4, expert_rank=4, dpo_learning_rate=1e-3, dpo_epochs=2.0, precision="fp32", expert_max_length=64
)


class StoppedError(Exception):
    """In the place of a kill."""


@pytest.fixture(scope="module", params=("llama", "qwen3", "gemma3"))
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_start(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def warm(start: Path) -> Path:
    return tiny_adapters(start.parent / "warm", start, 3)


def preferred(
    folder: Path, start: Path, warm: Path | None = None, params: PreferenceTuning = SETTINGS, pairs: Any = None
) -> dict[str, Any]:
    scratch = folder.parent / f"{folder.name}.scratch"
    for each in (folder, scratch):
        each.mkdir(exist_ok=True)
    adapter: Any = Adapter(warm, "warm") if warm else None
    given = {"start": outside_model(start), "preferences": pairs or tiny_pairs(), "warm": adapter}
    return prefer(folder, params, Context(scratch=scratch), **given)


@pytest.mark.parametrize("warmed", [False, True])
def test_it_starts_at_the_model_before_learns_and_goes_on_where_it_was_stopped(
    start: Path, warm: Path, warmed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = warm if warmed else None
    facts = preferred(tmp_path / "whole", start, before)
    assert (facts["pairs"], facts["steps"], facts["cut"], facts["left_out"]) == (20, 10, 0, 0)
    # a model is as far from itself on both sides: the loss of the first batch is that of a coin
    assert facts["loss"][0] == [1, pytest.approx(math.log(2), abs=1e-4)]
    assert facts["loss"][-1][1] < math.log(2) - 0.05
    assert facts["dev"]["pairs"] == 4 and facts["dev"]["accuracy"] == 1 and facts["dev"]["margin"] > 0.05
    assert facts["mean_tokens"]["chosen"] == facts["mean_tokens"]["rejected"] - 1
    steps = iter(range(100))

    def stopped(self: Any, *given: object, **named: object) -> None:
        if next(steps) == 6:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Watch, "on_step_end", stopped)
        with pytest.raises(StoppedError):
            preferred(tmp_path / "cut", start, before)
    assert not list((tmp_path / "cut").iterdir()) and list((tmp_path / "cut.scratch").rglob("checkpoint-*"))
    assert preferred(tmp_path / "cut", start, before) == facts
    shutil.copytree(tmp_path / "whole.scratch", tmp_path / "again.scratch")
    assert preferred(tmp_path / "again", start, before) == facts
    for name in ("cut", "again"):
        ours, theirs = (load_file(tmp_path / each / "adapter_model.safetensors") for each in (name, "whole"))
        assert all(torch.equal(ours[each], theirs[each]) for each in theirs)


def test_what_is_saved_holds_the_adapters_that_went_on_learning(start: Path, warm: Path, tmp_path: Path) -> None:
    few = PreferenceTuning(**{**SETTINGS.as_dict(), "dpo_learning_rate": 1e-9, "dpo_epochs": 0.1})
    preferred(tmp_path / "out", start, warm, few)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert str(tmp_path) not in (tmp_path / "out/adapter_config.json").read_text()
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "out", warm))
    # hardly anything was learnt: they are the ones before, and of their rank
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_rewards_of_dev_pairs_by_hand(start: Path, warm: Path, tmp_path: Path) -> None:
    facts = preferred(tmp_path / "out", start, warm)
    tokenizer, gains = AutoTokenizer.from_pretrained(start), []
    both = LanguageModel(start, adapters={"before": warm, "after": tmp_path / "out"})
    likelier = {"before": 0, "after": 0}
    for pair in preferences(tiny_pairs().table, "dev"):
        asked = tokenizer(f"user: {pair.messages[0].content}{END}assistant: ")["input_ids"]
        said = [tokenizer(f"{answer}{END}")["input_ids"] for answer in (pair.chosen, pair.rejected)]
        ahead = {}
        for name in ("before", "after"):
            with both.using(name):
                values = both.log_likelihoods([[*asked, *answer] for answer in said], [len(asked)] * 2)
            ahead[name] = values[0] - values[1]
            likelier[name] += ahead[name] > 0
        gains.append(ahead["after"] - ahead["before"])
    assert facts["dev"] == {
        "pairs": 4,
        "likelier_before": likelier["before"] / 4,
        "likelier_after": likelier["after"] / 4,
        "accuracy": sum(gain > 0 for gain in gains) / 4,
        "margin": pytest.approx(0.1 * sum(gains) / 4, rel=1e-4),
    }


def test_wrong_input_is_told_before_anything_is_trained(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are 3 pairs of answers to train on, and a batch has 4; add some"):
        preferred(tmp_path / "out", start, pairs=tiny_pairs(train=3))
    with pytest.raises(InputError, match="holds no adapters as PEFT writes them"):
        preferred(tmp_path / "out", start, tmp_path)


def test_without_dev_pairs_nothing_is_said_of_them(start: Path, tmp_path: Path) -> None:
    few = PreferenceTuning(**{**SETTINGS.as_dict(), "dpo_epochs": 0.1})
    assert preferred(tmp_path / "out", start, params=few, pairs=tiny_pairs(dev=0))["dev"] is None
