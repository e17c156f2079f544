"""Training adapters over one language model, on answers or on pairs of answers, with exact resumption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import transformers

from denizen.language_models.attached import attached
from denizen.language_models.language_model import load_causal_lm
from denizen.training import trainer
from denizen.training.adapters import low_rank, save_adapters
from denizen.training.answered_rows import AnsweredRow
from denizen.training.trl_trainers import (
    Progress,
    Schedule,
    answers_alone,
    let_go,
    preferring,
    quiet,
    supervised,
    time_of_a_step,
)

_IGNORED = -100


def train_on_answers(
    folder: Path, start: Path, rows: Sequence[AnsweredRow], schedule: Schedule, rank: int, progress: Progress
) -> dict[str, Any]:
    """Trains adapters to give answers, by the likelihood of their tokens alone, and saves them into `folder`.

    Training goes on from the last whole checkpoint.

    Args:
        folder: Where the adapters go, as PEFT reads them over the model in `start`.
        start: The model, which stays as it is.
        rows: What is asked, with one answer each.
        schedule: How.
        rank: Of the adapters.
        progress: Called with the number of steps that have just ended.

    Returns:
        Facts: steps, weights that were trained, learning rate, and the loss along the way.

    Raises:
        InputError: When the loss becomes no number.
    """
    return _trained(folder, schedule, progress, lambda: on_answers(start, rows, schedule, rank, progress))


def train_on_pairs(
    folder: Path,
    start: tuple[Path, Path | None],
    pairs: Sequence[AnsweredRow],
    schedule: Schedule,
    rank: int,
    beta: float,
    progress: Progress,
) -> dict[str, Any]:
    """Trains adapters to prefer the first answer of each pair (DPO), and saves them into `folder`.

    What they are held against is the model before: `start`, with its adapters where there are some.

    Args:
        folder: Where the adapters go, as PEFT reads them over the model.
        start: The model, which stays as it is, and adapters of it that go on learning; None: new ones.
        pairs: What is asked, with the better answer and the other one.
        schedule: How.
        rank: Of new adapters.
        beta: How close to the model before.
        progress: Called with the number of steps that have just ended.

    Returns:
        Facts as of `train_on_answers`.

    Raises:
        InputError: When the loss becomes no number, or the adapters are of another model.
    """
    return _trained(folder, schedule, progress, lambda: on_pairs(start, pairs, schedule, rank, beta, progress))


def on_answers(
    start: Path, rows: Sequence[AnsweredRow], schedule: Schedule, rank: int, progress: Progress
) -> transformers.Trainer:
    """The trainer of `train_on_answers`."""
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for row in rows:
        answer = row.answers[0]
        columns["input_ids"].append([*row.asked, *answer])
        columns["labels"].append([*[_IGNORED] * len(row.asked), *answer])
    return supervised(load_causal_lm(start), start, columns, schedule, progress, low_rank(rank))


def on_pairs(
    start: tuple[Path, Path | None],
    pairs: Sequence[AnsweredRow],
    schedule: Schedule,
    rank: int,
    beta: float,
    progress: Progress,
) -> transformers.Trainer:
    """The trainer of `train_on_pairs`."""
    folder, warm = start
    columns = {
        "prompt_ids": [pair.asked for pair in pairs],
        "chosen_ids": [pair.answers[0] for pair in pairs],
        "rejected_ids": [pair.answers[1] for pair in pairs],
    }
    model = load_causal_lm(folder)
    if warm is None:
        return preferring(model, folder, columns, schedule, progress, beta, low_rank(rank))
    # the trainer takes a copy of adapters that are there for what they are held against
    learning = attached(model, {"default": warm}, learn=True)
    return preferring(learning, folder, columns, schedule, progress, beta)


def seconds_of_a_step(make: Callable[[Progress], transformers.Trainer]) -> float:
    """How long a step of a trainer takes on this machine; it must have two."""
    with answers_alone():
        return time_of_a_step(make)


def _trained(
    folder: Path, schedule: Schedule, progress: Progress, make: Callable[[], transformers.Trainer]
) -> dict[str, Any]:
    resume = trainer.last_checkpoint(schedule.checkpoints)
    progress(int(resume.name.rpartition("-")[2]) if resume else 0)
    with quiet(), answers_alone():
        fitted = make()
        adapted: Any = fitted.model
        learnt = sum(weights.numel() for weights in adapted.parameters() if weights.requires_grad)
        losses = trainer.to_the_end(fitted, resume)
    save_adapters(adapted, folder)
    del fitted, adapted
    let_go()
    return {"steps": schedule.steps, "learnt": learnt, "loss": losses, "learning_rate": schedule.learning_rate}
