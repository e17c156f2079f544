"""Answers of tiny models to rows: under an adapter, taken up where they were left, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from denizen.answering.answers import TaskAnswering, answer_tasks, answers_of
from denizen.data.artifacts import Adapter, Evaluation
from denizen.data.task_rows import TaskRow
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.language_models.language_model import LanguageModel
from denizen.retrievers.model_ref import outside_model
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair

from .rows import row, stored_rows

ROWS = [
    *(row(f"a{at:02}", asked="word " * (1 + at % 5), answer="rain and snow", split="test") for at in range(18)),
    row("c1", "classify", "fog", split="dev"),
    row("c2", "classify", "thunder", split="test"),
    row("t1", "summarize", "sun", split="train"),
]
SMALL = TaskAnswering(precision="fp32", task_tokens=24)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_pair(tmp_path_factory.mktemp("pair"))


def asked(folder: Path, model: Path, rows: list[TaskRow] = ROWS, **more: Any) -> tuple[dict[str, Any], Evaluation]:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    context, of = Context(scratch=folder / "scratch"), stored_rows(folder / "rows", rows)
    facts = answer_tasks(folder / "out", SMALL, context, model=outside_model(model), rows=of, **more)
    return facts, Evaluation.outside(folder / "out")


def test_every_row_of_dev_and_test_is_answered_in_its_place(pair: tuple[Path, Path], tmp_path: Path) -> None:
    facts, found = asked(tmp_path, pair[1])
    told = answers_of(found)
    assert list(told) == [each.row_id for each in ROWS if each.split != "train"]
    assert facts["rows"] == {"answer": 18, "classify": 2}
    model = LanguageModel(pair[1])
    for each in (ROWS[3], ROWS[18]):
        (likelihood, tokens), own = (
            model.reference_log_likelihoods([each.messages], [each.answer])[0],
            told[each.row_id],
        )
        assert (own.log_likelihood, own.tokens) == (pytest.approx(likelihood, abs=1e-4), tokens)
    # where a label is wanted, the limit is the longest label (tokens are bytes) and sixteen
    (alone,) = model.answers([ROWS[18].messages], len("thunder") + 16)
    assert (told["c1"].answer, told["c1"].ended) == (alone.text, alone.ended)
    (other,) = model.answers([ROWS[3].messages], 24)
    assert told["a03"].answer == other.text


def test_an_adapter_says_something_else_and_no_adapter_is_the_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    adapter = Adapter.outside(tiny_adapters(tmp_path / "adapter", pair[1], seed=3))
    _, plain = asked(tmp_path / "plain", pair[1])
    _, adapted = asked(tmp_path / "adapted", pair[1], adapter=adapter)
    one, other = answers_of(plain), answers_of(adapted)
    assert all(one[name].log_likelihood != other[name].log_likelihood for name in one)
    with LanguageModel(pair[1], adapters={"x": adapter.path}).using("x") as model:
        ((likelihood, _),) = model.reference_log_likelihoods([ROWS[0].messages], [ROWS[0].answer])
    assert other["a00"].log_likelihood == pytest.approx(likelihood, abs=1e-4)


def test_what_is_answered_is_not_asked_again(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = asked(tmp_path / "whole", pair[1])
    counts, answers = list[int](), LanguageModel.answers

    def stopped(self: LanguageModel, prompts: Any, most: int) -> Any:
        counts.append(len(prompts))
        if len(counts) == 2:
            raise KeyboardInterrupt
        return answers(self, prompts, most)

    monkeypatch.setattr(LanguageModel, "answers", stopped)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path / "stopped", pair[1])
    _, found = asked(tmp_path / "stopped", pair[1])
    # sixteen, those that were stopped, and then only what was left
    assert counts == [16, 2, 2, 2] and found.digest == whole.digest


def test_what_cannot_be_answered_is_known_before_anything_is(pair: tuple[Path, Path], tmp_path: Path) -> None:
    long = [*ROWS, row("long", asked="x" * 1010, split="test")]
    with pytest.raises(InputError, match=r"row long and its answer take 1,0\d\d tokens, and instruct reads 1,024; sho"):
        asked(tmp_path / "long", pair[1], long)
    assert not list((tmp_path / "long/scratch").iterdir())
    with pytest.raises(InputError, match="hold none of dev or test; add rows"):
        asked(tmp_path / "none", pair[1], [ROWS[-1]])
