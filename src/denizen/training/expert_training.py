"""What trainings of experts share: adapters over one model, rows of a length, and that answers still end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import GateError, InputError
from denizen.engine.settings import Seeded, setting
from denizen.language_models.stopping import STOPPING, count_ended
from denizen.retrievers.encoding import Arithmetic

if TYPE_CHECKING:
    from denizen.language_models.language_model import LanguageModel
    from denizen.training.trl_trainers import Schedule

# as the Trainer of a language model's maker warms up: a tenth (TRL's recipes, arXiv 2310.16944)
_WARMUP = 0.1
# a model that ends so many of ten answers knows how to
_KNOWS = 5


@dataclass(frozen=True)
class ExpertTraining(Arithmetic, Seeded):
    """How adapters over one language model are trained."""

    panel = "Experts"

    # as of the adapters of arXiv 2602.04731, on all linear layers
    expert_rank: int = setting(16, "Rank of an expert's low-rank adapters (LoRA).", least=1, most=4096)
    expert_batch_size: int = setting(8, "Rows, or pairs of answers, of a batch.", least=1, most=65536)
    # as rows of pretraining: a question with its passage and answer
    expert_max_length: int = setting(
        512,
        "Tokens of what is asked with its answer; what is asked is cut in its middle, an answer never.",
        least=64,
        most=1 << 17,
    )

    def steps(self, rows: int, epochs: float) -> int:
        """How many optimiser steps a training on some rows takes."""
        return max(1, math.ceil(epochs * math.ceil(rows / self.expert_batch_size)))

    def schedule(self, steps: int, learning_rate: float, checkpoints: Path) -> Schedule:
        """How a training learns."""
        from denizen.training.trl_trainers import Schedule

        return Schedule(steps, self.expert_batch_size, learning_rate, _WARMUP, self.seed, self.precision, checkpoints)

    def check_rows(self, rows: int, what: str) -> None:
        """Makes sure that there is something to train on.

        Args:
            rows: How many there are.
            what: What people call them.

        Raises:
            InputError: When they do not fill a batch.
        """
        if rows < self.expert_batch_size:
            raise InputError(
                f"there are {rows} {what} to train on, and a batch has {self.expert_batch_size}; add some, or lower "
                "expert_batch_size"
            )


def check_stopping(model: LanguageModel, before: str | None, after: str) -> dict[str, Any]:
    """Makes sure that a training has not unlearnt to end an answer: how many of ten short answers end.

    Args:
        model: With both adapters.
        before: The adapters before the training; None: there were none.
        after: Those that were trained.

    Returns:
        Facts: prompts, and how many answers end before and after.

    Raises:
        GateError: When the model ended at least half before and ends fewer than half as many after.
    """
    ended = dict[str, int]()
    for name, adapter in (("before", before), ("after", after)):
        with model.using(adapter):
            ended[name] = count_ended(model)
    if ended["before"] >= _KNOWS and 2 * ended["after"] < ended["before"]:
        raise GateError(
            f"after the training {ended['after']} of {len(STOPPING)} short answers end by themselves, before it were "
            f"{ended['before']}, and at least half as many must: it has unlearnt to end an answer; lower its learning "
            "rate or epochs, or see whether its answers end where they should"
        )
    return {"prompts": len(STOPPING), **ended}


def adapters_of(before: Path | None, after: Path) -> Mapping[str, Path]:
    """Names to folders of adapters, as `LanguageModel` takes them."""
    return {"after": after} if before is None else {"before": before, "after": after}
