"""Training an expert on rows of tasks: what is learnt, what is not, where it goes on from, and that it still stops."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer import utils

from denizen.data.task_rows import Message, task_rows, task_table
from denizen.engine.artifact import Value
from denizen.engine.errors import GateError, InputError
from denizen.engine.step import Context
from denizen.language_models.language_model import LanguageModel
from denizen.retrievers.model_ref import outside_model
from denizen.training import adapter_training, expert_training, trainer
from denizen.training.fine_tune import FineTuning, fine_tune
from tests.tiny_pair import END, tiny_pair
from tests.tiny_tasks import tiny_rows, tiny_start

SETTINGS = FineTuning(
    expert_batch_size=4, expert_rank=4, sft_learning_rate=1e-2, sft_epochs=2.0, precision="fp32", expert_max_length=64
)
BOTH = Value(["classify", "summarize"])


class StoppedError(Exception):
    """In the place of a kill."""


@pytest.fixture(scope="module", params=("llama", "qwen3", "gemma3"))
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_start(tmp_path_factory.mktemp(request.param), request.param)


def tuned(folder: Path, start: Path, params: FineTuning = SETTINGS, rows: Any = None, tasks: Value = BOTH) -> dict:
    scratch = folder.parent / f"{folder.name}.scratch"
    for each in (folder, scratch):
        each.mkdir(exist_ok=True)
    context = Context(scratch=scratch)
    return fine_tune(folder, params, context, start=outside_model(start), rows=rows or tiny_rows(), tasks=tasks)


def test_it_learns_answers_and_goes_on_where_it_was_stopped(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tuned(tmp_path / "whole", start)
    assert (facts["rows"], facts["steps"], facts["cut"], facts["left_out"]) == (20, 10, 0, 0)
    assert facts["dev"]["rows"] == 4 and facts["dev"]["after"] < facts["dev"]["before"] - 0.5
    assert facts["stops"]["prompts"] == 10
    steps = iter(range(100))

    def stopped(self: Any, *given: object, **named: object) -> None:
        if next(steps) == 6:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Watch, "on_step_end", stopped)
        with pytest.raises(StoppedError):
            tuned(tmp_path / "cut", start)
    assert not list((tmp_path / "cut").iterdir()) and list((tmp_path / "cut.scratch").rglob("checkpoint-*"))
    assert tuned(tmp_path / "cut", start) == facts
    # and once more after the last step
    shutil.copytree(tmp_path / "whole.scratch", tmp_path / "again.scratch")
    assert tuned(tmp_path / "again", start) == facts
    for name in ("cut", "again"):
        ours, theirs = (load_file(tmp_path / each / "adapter_model.safetensors") for each in (name, "whole"))
        assert all(torch.equal(ours[each], theirs[each]) for each in theirs)


def test_what_is_saved_is_adapters_that_plain_peft_loads(start: Path, tmp_path: Path) -> None:
    tuned(tmp_path / "out", start)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert str(tmp_path) not in (tmp_path / "out/adapter_config.json").read_text()
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["r"] == 4
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(start), tmp_path / "out")
    rows = [[5, 6, 7, 8], [9, 10, 11, 12]]
    wanted = plain(input_ids=torch.tensor(rows)).logits[:, :-1].log_softmax(2)
    wanted = wanted.gather(2, torch.tensor(rows)[:, 1:, None]).sum((1, 2)).tolist()
    with LanguageModel(start, adapters={"expert": tmp_path / "out"}).using("expert") as model:
        assert model.log_likelihoods(rows) == pytest.approx(wanted, rel=1e-5)
    assert LanguageModel(start).log_likelihoods(rows) != pytest.approx(wanted, rel=1e-3)


def test_only_answers_are_learnt_and_only_of_the_training_rows_of_its_tasks(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, list[list[int]]]] = []
    real = adapter_training.supervised

    def supervised(model: Any, folder: Path, rows: dict[str, list[list[int]]], *given: Any) -> Any:
        seen.append(rows)
        return real(model, folder, rows, *given)

    monkeypatch.setattr(adapter_training, "supervised", supervised)
    tuned(tmp_path / "out", start, tasks=Value(["summarize"]))
    tokenizer, (columns,) = AutoTokenizer.from_pretrained(start), seen
    wanted = [row for row in task_rows(tiny_rows().table, "train") if row.task == "summarize"]
    assert len(columns["labels"]) == len(wanted) == 10
    for ids, labels, row in zip(columns["input_ids"], columns["labels"], wanted, strict=True):
        asked = f"user: {row.messages[0].content}{END}assistant: "
        assert tokenizer.decode(ids) == f"{asked}{row.answer}{END}"
        # of its tokens, each a byte or what ends a turn
        before = len(tokenizer(asked)["input_ids"])
        assert labels[:before] == [-100] * before and labels[before:] == ids[before:]


def test_the_loss_is_that_of_answers_alone(start: Path, tmp_path: Path) -> None:
    """At the first step, that of a whole batch without training: the mean over the tokens of all answers."""
    one_batch = FineTuning(**{**SETTINGS.as_dict(), "expert_batch_size": 20, "sft_epochs": 1.0})
    facts = tuned(tmp_path / "out", start, one_batch)
    rows, tokenizer = task_rows(tiny_rows().table, "train"), AutoTokenizer.from_pretrained(start)
    whole = [
        tokenizer(f"user: {row.messages[0].content}{END}assistant: {row.answer}{END}")["input_ids"] for row in rows
    ]
    lengths = [len(tokenizer(f"{row.answer}{END}")["input_ids"]) for row in rows]
    starts = [len(row) - length for row, length in zip(whole, lengths, strict=True)]
    likelihood = sum(LanguageModel(start).log_likelihoods(whole, starts))
    assert facts["loss"][0] == [1, pytest.approx(-likelihood / sum(lengths), abs=2e-5)]
    assert facts["answer_tokens"] == sum(lengths) and facts["tokens"] == sum(map(len, whole))


def test_a_model_that_no_longer_ends_its_answers_is_refused(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(expert_training, "count_ended", lambda model: counts.pop(0))
    for before, after in ((5, 3), (10, 5), (4, 0), (6, 9)):
        counts[:] = [before, after]
        assert tuned(tmp_path / "out", start)["stops"] == {"prompts": 10, "before": before, "after": after}
    for before, after in ((5, 2), (10, 4)):
        counts[:] = [before, after]
        with pytest.raises(GateError, match=rf"{after} of 10 short answers end .* before it were {before}, .* lower"):
            tuned(tmp_path / "out", start)


def test_wrong_input_is_told_before_anything_is_trained(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are 3 rows of classify and summarize to train on, and a batch has 4"):
        tuned(tmp_path / "out", start, rows=tiny_rows(train=3))
    base = tiny_pair(tmp_path / "pair")[0]
    with pytest.raises(InputError, match="the tokenizer of base has no chat template"):
        tuned(tmp_path / "out", base)
    assert not list((tmp_path / "out.scratch").iterdir())


def test_long_rows_are_counted(start: Path, tmp_path: Path) -> None:
    short = FineTuning(**{**SETTINGS.as_dict(), "expert_max_length": 64, "expert_batch_size": 1, "sft_epochs": 0.1})
    rows = task_rows(tiny_rows(train=2, dev=0).table)
    given = [
        rows[0],
        replace(rows[1], messages=(Message("user", "x" * 200),)),
        replace(rows[1], row_id="long", answer="y" * 80),
    ]
    facts = tuned(tmp_path / "out", start, short, rows=SimpleNamespace(table=task_table(given)))
    assert (facts["rows"], facts["cut"], facts["left_out"], facts["dev"]) == (2, 1, 1, None)


def test_what_is_said_next_is_computed_for_answers_alone(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for what is asked, which is most of a row; afterwards the library is as it was."""
    counted: list[int] = []
    real, before = utils._ChunkedLogProbFunction, utils._use_triton

    def apply(hidden: torch.Tensor, *given: Any) -> Any:
        counted.append(len(hidden))
        return real.apply(hidden, *given)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", SimpleNamespace(apply=apply))
    one_batch = FineTuning(**{**SETTINGS.as_dict(), "expert_batch_size": 20, "sft_epochs": 1.0})
    assert counted == [tuned(tmp_path / "out", start, one_batch)["answer_tokens"]]
    assert utils._use_triton is before
