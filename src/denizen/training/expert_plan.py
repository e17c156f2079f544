"""What the trainings of experts take before any of it is done: tokens, operations, memory, disk, and time here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.data.task_rows import Preference, TaskRow
from denizen.language_models.conversations import answer_end
from denizen.language_models.language_model import load_tokenizer
from denizen.training.adapter_training import on_answers, on_pairs, seconds_of_a_step
from denizen.training.answered_rows import AnsweredRow, preference_tokens, task_row_tokens
from denizen.training.fine_tune import FineTuning
from denizen.training.footprint import Footprint, gpu_times
from denizen.training.prefer import PreferenceTuning

_GB = 1e9
# as the trainer keeps them: two, while the next one is written
_CHECKPOINTS = 3
# of what is said next, TRL computes so many tokens by so many words of the vocabulary at a time
_TILE = 4096, 32768
# the tile, what is made of it, and what goes back
_TILES = 4


@dataclass(frozen=True)
class ExpertPlan:
    """What one training of adapters takes.

    Attributes:
        size: Of the model, and of its training.
        vocabulary: Its tokens.
        rows: How many rows, or pairs, there are; what is too long is not counted.
        longest: Tokens of the longest.
        together: Texts of a batch: two of each pair.
        tokens: What is read in all epochs, and before them of pairs, whose likelihoods are computed once.
        steps: Optimiser steps.
    """

    size: Footprint
    vocabulary: int
    rows: int
    longest: int
    together: int
    tokens: int
    steps: int

    @property
    def operations(self) -> float:
        """In floating-point operations, at most: what is asked needs fewer."""
        return self.size.flops(self.tokens)

    @property
    def memory(self) -> float:
        """Bytes of a step at most: weights in 32-bit floats, adapters, activations, and the logits of a tile."""
        batch = self.together * self.longest
        tile = min(batch, _TILE[0]) * min(self.vocabulary, _TILE[1])
        return self.size.memory(batch, self.longest) + 4.0 * _TILES * tile

    @property
    def disk(self) -> float:
        """Bytes of checkpoints, with both moments of AdamW, and of the adapters that are made."""
        return _CHECKPOINTS * 12.0 * self.size.learnt + 4.0 * self.size.learnt

    def as_dict(self, seconds: float | None = None) -> dict[str, Any]:
        """The plan as JSON keeps it, with the hours that it takes here where a step was timed."""
        found = {name: getattr(self, name) for name in ("rows", "longest", "tokens", "steps", "operations")}
        found |= {"learnt": self.size.learnt, "memory_bytes": round(self.memory), "disk_bytes": round(self.disk)}
        return {**found, "hours": None if seconds is None else self.steps * seconds / 3600}


def fine_tuning_plan(start: Path, params: FineTuning, rows: Sequence[TaskRow] | int) -> ExpertPlan:
    """The plan of `fine_tune`; no weights are loaded.

    Args:
        start: The model.
        params: The settings.
        rows: Those that are trained on, or how many, each of which is then taken as long as it may be.

    Raises:
        InputError: When there are fewer than a batch, or the chat template cannot tell an answer from what is asked.
    """
    if isinstance(rows, int):
        lengths, tokens = [params.expert_max_length] * rows, rows * params.expert_max_length
    else:
        read = _task_rows(start, params, rows)
        lengths, tokens = [row.length for row in read], sum(row.tokens for row in read)
    params.check_rows(len(lengths), "rows")
    read_in_all = round(tokens * params.sft_epochs)
    return _plan(start, params, lengths, 1, read_in_all, params.steps(len(lengths), params.sft_epochs))


def preference_plan(start: Path, params: PreferenceTuning, pairs: Sequence[Preference] | int) -> ExpertPlan:
    """The plan of `prefer`; arguments as above."""
    if isinstance(pairs, int):
        lengths, tokens = [params.expert_max_length] * pairs, 2 * pairs * params.expert_max_length
    else:
        read = _pairs(start, params, pairs)
        lengths, tokens = [pair.length for pair in read], sum(pair.tokens for pair in read)
    params.check_rows(len(lengths), "pairs of answers")
    # likelihoods before are computed forwards alone, half the work of a step
    read_in_all = round(tokens * (params.dpo_epochs + 0.5))
    return _plan(start, params, lengths, 2, read_in_all, params.steps(len(lengths), params.dpo_epochs))


def fine_tuning_seconds(start: Path, params: FineTuning, rows: Sequence[TaskRow]) -> float:
    """How long a step of `fine_tune` takes on this machine, by a batch of its rows."""
    batch = _spread(_task_rows(start, params, rows), params.expert_batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        schedule = params.schedule(2, params.sft_learning_rate, Path(scratch))
        return seconds_of_a_step(lambda ended: on_answers(start, batch, schedule, params.expert_rank, ended))


def preference_seconds(start: Path, params: PreferenceTuning, pairs: Sequence[Preference]) -> float:
    """How long a step of `prefer` takes on this machine, by a batch of its pairs."""
    batch = _spread(_pairs(start, params, pairs), params.expert_batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        schedule = params.schedule(2, params.dpo_learning_rate, Path(scratch))
        return seconds_of_a_step(
            lambda ended: on_pairs((start, None), batch, schedule, params.expert_rank, params.dpo_beta, ended)
        )


def expert_plan_line(name: str, plan: ExpertPlan, seconds: float | None = None) -> str:
    """The plan as people read it.

    Args:
        name: Of the expert.
        plan: What it takes.
        seconds: Of a step on this machine; None: none was timed.
    """
    gpus = gpu_times(plan.memory, plan.operations)
    times = f"; on a GPU about: {', '.join(gpus)}" if gpus else "; no single GPU here has that"
    here = f", about {max(1, round(plan.steps * seconds / 60)):,} min here" if seconds is not None else ""
    return (
        f"{name}: {plan.rows:,} rows of at most {plan.longest:,} tokens, {plan.tokens:,} tokens in {plan.steps:,} "
        f"steps; {plan.size.learnt / 1e6:,.1f} of {plan.size.weights / 1e6:,.1f} million weights, at most "
        f"{plan.memory / _GB:.1f} GB of memory and {plan.disk / _GB:.1f} GB of disk{here}{times}"
    )


def _plan(
    start: Path, params: FineTuning | PreferenceTuning, lengths: Sequence[int], sides: int, tokens: int, steps: int
) -> ExpertPlan:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(start, local_files_only=True)
    return ExpertPlan(
        Footprint.of(config, params.expert_rank, head=True),
        config.get_text_config().vocab_size,
        len(lengths),
        max(lengths),
        sides * params.expert_batch_size,
        tokens,
        steps,
    )


def _task_rows(start: Path, params: FineTuning, rows: Sequence[TaskRow]) -> list[AnsweredRow]:
    tokenizer = load_tokenizer(start)
    return task_row_tokens(tokenizer, rows, answer_end(tokenizer, start.name), params.expert_max_length)


def _pairs(start: Path, params: PreferenceTuning, pairs: Sequence[Preference]) -> list[AnsweredRow]:
    tokenizer = load_tokenizer(start)
    return preference_tokens(tokenizer, pairs, answer_end(tokenizer, start.name), params.expert_max_length)


def _spread(rows: Sequence[AnsweredRow], count: int) -> list[AnsweredRow]:
    """So many of the rows, from all over them: those of one kind stand together."""
    return [rows[at * len(rows) // count] for at in range(count)]
