"""What a run of `language` is going to take: tokens, operations, memory, disk, and hours on this machine."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.data.prepare import Unlabelled
from denizen.data.whole_documents import whole_documents
from denizen.engine.errors import InputError
from denizen.language_models.language_model import LanguageModel, load_tokenizer
from denizen.language_models.stopping import STOPPING
from denizen.language_models.token_rows import token_rows
from denizen.measuring.instruction_checks import INSTRUCTIONS
from denizen.measuring.perplexity import held_out
from denizen.recipes.language import BroughtModels
from denizen.recipes.language_config import LanguageConfig
from denizen.retrievers.backends import use_bf16
from denizen.training.causal_lm import seconds_of_a_step, training_rows
from denizen.training.footprint import Footprint, gpu_times, room_here
from denizen.training.pretrain import check_rows

_GB = 1e9
# as the trainer keeps them: two, while the next one is written
_CHECKPOINTS = 3
# prompts that are answered together, and tokens by which that is timed
_TIMED_PROMPTS, _TIMED_TOKENS = 16, 8


@dataclass(frozen=True)
class Speed:
    """How fast this machine is with the base.

    Attributes:
        training: Tokens a second; None where nothing is to be trained.
        reading: Tokens a second.
        answering: Seconds for one token of sixteen answers.
    """

    training: float | None
    reading: float
    answering: float


@dataclass(frozen=True)
class LanguagePlan:
    """What is left to be done.

    Attributes:
        size: Of the base, and of its training.
        rows: What one training reads.
        held_out: Rows of held-out documents.
        trainings: How many trainings.
        models: How many models are to be measured.
        residual: Whether the residual is to be added.
        config: The settings.
    """

    size: Footprint
    rows: Sequence[Sequence[int]]
    held_out: Sequence[Sequence[int]]
    trainings: int
    models: int
    residual: bool
    config: LanguageConfig

    @property
    def left(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.trainings or self.models or self.residual)

    @property
    def tokens(self) -> int:
        """Of one training, in all its epochs."""
        return round(self.config.pretraining.epochs * _predicted(self.rows))

    @property
    def steps(self) -> int:
        """Of one training."""
        return self.config.pretraining.steps(len(self.rows))

    @property
    def operations(self) -> float:
        """Of all trainings, in floating-point operations."""
        return self.trainings * self.size.flops(self.tokens)

    @property
    def memory(self) -> float:
        """Bytes at most: of a training step, or of the three models whose weights are added."""
        longest = max(map(len, self.rows))
        training = self.size.memory(self.config.batch_size * longest, longest) if self.trainings else 0.0
        return max(training, 3 * 4.0 * self.size.weights)

    @property
    def disk(self) -> float:
        """Bytes of checkpoints and of the models that are made, all weights in 32-bit floats."""
        checkpoint = 4.0 * self.size.learnt + 8.0 * self.size.learnt
        made = (self.trainings + self.residual) * 4.0 * self.size.weights
        return (_CHECKPOINTS * checkpoint if self.trainings else 0.0) + made

    def hours(self, speed: Speed) -> dict[str, float]:
        """What each part takes on this machine; of instructions at most."""
        reading = _predicted(self.held_out) / speed.reading
        batches = math.ceil((self.config.instruction_prompts + len(STOPPING)) / _TIMED_PROMPTS)
        answering = batches * self.config.max_new_tokens * speed.answering
        return {
            "pretraining": self.trainings * self.tokens / speed.training / 3600 if speed.training else 0.0,
            "perplexity": self.models * reading / 3600,
            "instructions": self.models * answering / 3600,
        }

    def as_dict(self, speed: Speed | None) -> dict[str, Any]:
        """The plan as JSON keeps it."""
        found = {name: getattr(self, name) for name in ("trainings", "models", "tokens", "steps", "operations")}
        found |= {"rows": len(self.rows), "held_out_tokens": _predicted(self.held_out)}
        found |= {"weights": self.size.weights, "learnt": self.size.learnt}
        found |= {"memory_bytes": round(self.memory), "disk_bytes": round(self.disk)}
        return {**found, "hours": self.hours(speed) if speed else None}


def language_plan(
    config: LanguageConfig, brought: BroughtModels, corpus: Unlabelled, pending: Collection[str]
) -> LanguagePlan:
    """The plan, from the corpus, which is there already, and the steps that are not; no weights are loaded.

    Args:
        config: The settings.
        brought: What the run is given.
        corpus: The passages and the side of each document.
        pending: Places of the steps that are to be done.

    Raises:
        InputError: When the corpus does not fill a batch, or nothing of it is left to measure on.
    """
    from transformers import AutoConfig

    start, tables = brought.base.path, (corpus.corpus.table, corpus.documents.table)
    rows = training_rows(start, list(whole_documents(*tables, "train").texts.values()), config.max_length)
    check_rows(rows, config.batch_size)
    held = held_out(corpus.corpus, corpus.documents).texts.values()
    measured = [row for of in token_rows(load_tokenizer(start), held, config.max_length, end=False) for row in of]
    return LanguagePlan(
        Footprint.of(AutoConfig.from_pretrained(start, local_files_only=True), config.lora_rank, head=True),
        rows,
        measured,
        sum(place.startswith("pretrained") for place in pending),
        sum(place.startswith("instructions/") for place in pending),
        "residual" in pending,
        config,
    )


def check_disk(needed: float, out: Path) -> None:
    """Makes sure that checkpoints and models have room, before hours are spent.

    Args:
        needed: Bytes that they take at most.
        out: The run's folder.

    Raises:
        InputError: When they have not.
    """
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f"checkpoints and models take {needed / _GB:.1f} GB at most, and {free / _GB:.1f} GB are free where "
            f"{out} is; free some, choose another --out, or train adapters (--lora-rank 16)"
        )


def check_memory(needed: float, name: str, remedy: str = "lower batch_size, train adapters (--lora-rank 16)") -> None:
    """Makes sure that training and adding fit into this machine, before weights are loaded.

    Args:
        needed: Bytes at most.
        name: What needs them.
        remedy: By which it would need less.

    Raises:
        InputError: When they do not.
    """
    room, where = room_here()
    if needed > room:
        raise InputError(
            f"{name} needs {needed / _GB:.1f} GB at most, and {where} has {room / _GB:.1f} GB; {remedy}, or take a "
            "smaller model or a larger machine"
        )


def measured_speed(plan: LanguagePlan, base: Path) -> Speed | None:
    """How fast this machine is, by a batch of each kind; None where the model does not fit or nothing is left to do."""
    if not plan.left or plan.memory > room_here()[0]:
        return None
    config, count = plan.config, min(len(plan.rows), plan.config.batch_size)
    # spread over the corpus, since documents of one kind stand together
    batch = [plan.rows[at * len(plan.rows) // count] for at in range(count)]
    tokens, training = _predicted(batch), None
    if plan.trainings:
        with tempfile.TemporaryDirectory() as scratch:
            params = config.pretraining.on_this_machine().meant()
            training = tokens / seconds_of_a_step(base, batch, params, Path(scratch))
    model = LanguageModel(base, use_bf16(config.precision))
    # the first ones also reserve memory
    model.log_likelihoods(batch[:1])
    reading = _seconds(lambda: model.log_likelihoods(batch))
    prompts = [each.prompt for each in INSTRUCTIONS[:_TIMED_PROMPTS]]
    answering = _seconds(lambda: model.answers(prompts, _TIMED_TOKENS)) / _TIMED_TOKENS
    return Speed(training, tokens / reading, answering)


def language_plan_lines(plan: LanguagePlan, speed: Speed | None, corpus: Unlabelled) -> list[str]:
    """The plan as people read it."""
    sides = ", ".join(f"{count:,} {side}" for side, count in corpus.facts["sides"].items())
    size, config = plan.size, plan.config
    learnt = f"{size.learnt / 1e6:,.1f} of {size.weights / 1e6:,.1f} million weights"
    gpus = gpu_times(plan.memory, plan.operations)
    times = f"; on a GPU about: {', '.join(gpus)}" if gpus else "; no single GPU here has that (lower batch_size)"
    lines = [
        f"plan  {corpus.facts['passages']:,} passages of {corpus.facts['documents']:,} documents: {sides}",
        f"      {plan.trainings} training(s) of {learnt}: {plan.tokens:,} tokens, {plan.steps:,} steps of "
        f"{config.batch_size} rows of at most {config.max_length} tokens",
        f"      {plan.operations:.2g} operations, at most {plan.memory / _GB:.1f} GB of memory and "
        f"{plan.disk / _GB:.1f} GB of disk{times}",
        f"      {plan.models} model(s) measured on {_predicted(plan.held_out):,} held-out tokens and "
        f"{config.instruction_prompts} instructions",
    ]
    room, where = room_here()
    if not plan.left:
        return [*lines, "      all of it is done"]
    if speed is None:
        return [*lines, f"      {where} has {room / _GB:.1f} GB, too little: nothing was timed"]
    hours = plan.hours(speed)
    parts = ", ".join(f"{_time(value)} {name}" for name, value in hours.items())
    trained = f"{speed.training:,.0f} tokens/s in training, " if speed.training else ""
    return [
        *lines,
        f"      about {_time(sum(hours.values()))} here: {parts} (at most)",
        f"      timed: {trained}{speed.reading:,.0f} tokens/s read, {_TIMED_PROMPTS / speed.answering:,.1f} written",
    ]


def _predicted(rows: Iterable[Sequence[int]]) -> int:
    """How many tokens of some rows are predicted."""
    return sum(len(row) - 1 for row in rows)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1.5 else f"{max(1, round(60 * hours))} min" if hours else "0 min"
