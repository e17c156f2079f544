"""What all trainings share: batches by seed and epoch, whole checkpoints alone, and where they go on from.

Killed at any moment and started again, a training ends with the same weights: the order of the batches depends on the
seed and the epoch alone, and only checkpoints that were written to the end are trusted.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.trainer import BaseTrainer
from sentence_transformers.base.training_args import BaseTrainingArguments
from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from denizen.engine.errors import InputError
from denizen.retrievers.backends import use_bf16
from denizen.retrievers.cpu.attention import use_batched_attention
from denizen.training import adapters
from denizen.training.batches import EpochBatches

_CHECKPOINTS = 10
_COMPLETE = "complete"

Batches = Callable[[np.random.Generator], list[list[int]]]


class Trainer(BaseTrainer):
    """The library's trainer with our batches, without what it does for a card; mixed into one of its kinds."""

    make_batches: Batches

    def get_batch_sampler(  # type: ignore[override]
        self, dataset: Dataset, batch_size: int, **settings: object
    ) -> EpochBatches:
        """Batches in an order that depends on seed and epoch alone."""
        return EpochBatches(dataset, batch_size, self.args.seed, self.make_batches)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leaves the card to the end of the run; the library's own computes examples with the model here."""

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        """Writes the model of a checkpoint without a card, for which the library compiles a template each time."""
        folder = output_dir or str(self.args.output_dir)
        if adapted := adapters.of(self.model):
            adapters.save_state(adapted, Path(folder))
        else:
            self.model.save_pretrained(folder, create_model_card=False)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:  # type: ignore[override]
        """Reads the weights of a checkpoint."""
        if adapted := adapters.of(self.model):
            adapters.load_state(adapted, Path(checkpoint_path))
        else:
            super()._load_from_checkpoint(checkpoint_path)


def arguments(checkpoints: Path, steps: int, seed: int, precision: str) -> dict[str, Any]:
    """What the library's training arguments are in every training: AdamW, a checkpoint each tenth, exact losses."""
    return {
        "output_dir": str(checkpoints),
        "max_steps": steps,
        "optim": "adamw_torch_fused",
        "bf16": use_bf16(precision),
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
        "data_seed": seed,
        "save_strategy": "steps",
        "save_steps": max(1, math.ceil(steps / _CHECKPOINTS)),
        "save_total_limit": 2,
        "logging_steps": max(1, steps // 50),
        # else the trainer replaces nan by the mean loss so far, and a diverged training goes on unseen
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def fit(
    kind: type[Trainer],
    model: BaseModel,
    loss: nn.Module,
    columns: Mapping[str, list[Any]],
    batches: Batches,
    args: BaseTrainingArguments,
    progress: Callable[[int], None],
) -> list[list[float]]:
    """Trains to the last step, from the last whole checkpoint among those that are there.

    Args:
        kind: Which of the library's trainers.
        model: What is trained.
        loss: Its loss.
        columns: Of the examples.
        batches: Their order in an epoch.
        args: As of `arguments`; checkpoints lie in their `output_dir`.
        progress: Called with the number of steps that have just ended.

    Returns:
        Step and loss along the way.

    Raises:
        InputError: When the loss becomes no number.
    """
    resume = last_checkpoint(Path(str(args.output_dir)))
    progress(int(resume.name.rpartition("-")[2]) if resume else 0)
    data = Dataset.from_dict(dict(columns))
    trainer = kind(model=model, args=args, train_dataset=data, loss=loss, callbacks=[Watch(progress)])
    trainer.make_batches = batches
    trainer.remove_callback(PrinterCallback)
    return to_the_end(trainer, resume)


def to_the_end(trainer: transformers.Trainer, resume: Path | None) -> list[list[float]]:
    """Trains to the last step from a checkpoint, or from the beginning: step and loss along the way."""
    if resume and int(resume.name.rpartition("-")[2]) >= trainer.args.max_steps:
        # where an epoch is not at its end the library would take a step more, though none is left
        trainer._load_from_checkpoint(str(resume))
        trainer.state = TrainerState.load_from_json(str(resume / "trainer_state.json"))
    else:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return [[entry["step"], round(entry["loss"], 5)] for entry in trainer.state.log_history if "loss" in entry]


class Watch(TrainerCallback):
    """Reports steps, and marks a checkpoint once everything of it is on disk."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress = progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Reports a step."""
        self.progress(1)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Marks a checkpoint."""
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Stops a training that has diverged."""
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise InputError(
                f"the loss became {logs['loss']} at step {state.global_step} of {state.max_steps}; "
                f"lower learning_rate (now {args.learning_rate:g}) or use precision fp32"
            )


def last_checkpoint(checkpoints: Path) -> Path | None:
    """The last of the checkpoints that are whole; the others are removed."""
    for path in checkpoints.glob("checkpoint-*"):
        if not (path / _COMPLETE).is_file():
            shutil.rmtree(path)
    return max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def make_ready(model: BaseModel, *, dropout: bool) -> dict[str, Any]:
    """Sets what training changes of a model, and returns what to put back into its configuration before saving."""
    use_batched_attention(model)
    own = {name: getattr(_configuration(model), name) for name in _SET if hasattr(_configuration(model), name)}
    return own if dropout else {**own, **_switch_off_dropout(model)}


def restore(model: BaseModel, own: Mapping[str, Any]) -> None:
    """Puts back what training has changed of the configuration, and takes out what it has added."""
    for name in _SET:
        if name not in own and hasattr(_configuration(model), name):
            delattr(_configuration(model), name)
    _configure(model, own)


def _configure(model: BaseModel, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(_configuration(model), name, value)


def _switch_off_dropout(model: BaseModel) -> dict[str, float]:
    """Sets every dropout probability to 0 and returns those of the configuration, to be put back before saving."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    kept = {name: value for name in _DROPOUTS if (value := getattr(_configuration(model), name, None)) is not None}
    _configure(model, dict.fromkeys(kept, 0.0))
    return kept


def _configuration(model: BaseModel) -> object:
    return getattr(getattr(model[0], "auto_model", None), "config", None)


# the trainer sets them, and models whose configurations differ cannot be merged
_SET = ("bos_token_id", "eos_token_id", "pad_token_id", "use_cache")
_DROPOUTS = ("attention_probs_dropout_prob", "hidden_dropout_prob", "attention_dropout", "dropout")
