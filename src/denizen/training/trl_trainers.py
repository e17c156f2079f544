"""TRL's trainers of language models with our batches and exact resumption; they call nobody and write no card."""

from __future__ import annotations

import contextlib
import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import transformers
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers.trainer_utils import SaveStrategy

from denizen.language_models.language_model import load_tokenizer
from denizen.training import trainer
from denizen.training.batches import EpochBatches, length_batches

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

_WEIGHT_DECAY = 0.01
_QUIET = "TQDM_DISABLE"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a training learns.

    Attributes:
        steps: Optimiser steps.
        batch_size: Rows of a batch.
        learning_rate: At its peak.
        warmup_steps: A share of the steps (below 1) or a number of steps.
        seed: Of the order of the rows, and of adapters at the beginning.
        precision: fp32 or bf16.
        checkpoints: Where they go.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: float
    seed: int
    precision: str
    checkpoints: Path


class Quiet(transformers.Trainer):
    """What is ours of each of them; mixed into one of the library's kinds.

    Attributes:
        lengths: Tokens of each row, by which rows share a batch.
    """

    lengths: np.ndarray[Any, np.dtype[np.int64]]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of rows of similar length, in an order that depends on seed and epoch alone."""
        data: Any = self.train_dataset
        size = self.args.per_device_train_batch_size
        batches = EpochBatches(data, size, self.args.seed, lambda random: length_batches(self.lengths, size, random))
        self.accelerator.even_batches = False
        loader: DataLoader[Any] = DataLoader(data, batch_sampler=batches, collate_fn=self.data_collator)
        found: DataLoader[Any] = self.accelerator.prepare(loader)
        return found

    def _send_telemetry(self) -> None:
        """Sends nothing."""

    def create_model_card(self, *arguments: object, **named: object) -> None:
        """Writes nothing: a checkpoint is read by nobody else."""


def supervised(
    model: PreTrainedModel | PeftModel,
    start: Path,
    rows: Mapping[str, list[list[int]]],
    schedule: Schedule,
    progress: Progress,
    adapters: LoraConfig | None = None,
) -> transformers.Trainer:
    """The one that learns to say tokens.

    Args:
        model: What is trained.
        start: The folder of its tokenizer.
        rows: Their input_ids, and labels, which are -100 where nothing is to be said.
        schedule: How.
        progress: Called with the number of steps that have just ended.
        adapters: Put on the model, which then stays as it is; None: it is trained as it is given.
    """
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Supervised(Quiet, SFTTrainer):
        """Ours first."""

    made = Supervised(
        model=model,
        args=SFTConfig(**_arguments(schedule), dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_dict(dict(rows)),
        processing_class=_padding(start),
        peft_config=adapters,
        callbacks=[trainer.Watch(progress)],
    )
    made.lengths = np.array([len(row) for row in rows["input_ids"]])
    made.remove_callback(transformers.PrinterCallback)
    return made


def preferring(
    model: PreTrainedModel | PeftModel,
    start: Path,
    pairs: Mapping[str, list[list[int]]],
    schedule: Schedule,
    progress: Progress,
    beta: float,
    adapters: LoraConfig | None = None,
) -> transformers.Trainer:
    """The one that learns which of two answers is better (DPO, arXiv 2305.18290).

    What it is held against is the model as it is before: its log-likelihoods are computed once, here.

    Args:
        model: What is trained.
        start: The folder of its tokenizer.
        pairs: Their prompt_ids, chosen_ids and rejected_ids.
        schedule: How.
        progress: Called with the number of steps that have just ended.
        beta: How close to the model before.
        adapters: As of `supervised`.
    """
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class Preferring(Quiet, DPOTrainer):
        """Ours first."""

        def _prepare_dataset(self, dataset: Dataset, *given: object) -> Dataset:
            """Leaves it: it is tokens already."""
            return dataset

    made = Preferring(
        model=model,
        args=DPOConfig(**_arguments(schedule), beta=beta, precompute_ref_log_probs=True),
        train_dataset=Dataset.from_dict(dict(pairs)),
        processing_class=_padding(start),
        peft_config=adapters,
        callbacks=[trainer.Watch(progress)],
    )
    sides = zip(pairs["prompt_ids"], pairs["chosen_ids"], pairs["rejected_ids"], strict=True)
    made.lengths = np.array([len(asked) + max(len(chosen), len(rejected)) for asked, chosen, rejected in sides])
    made.remove_callback(transformers.PrinterCallback)
    return made


def time_of_a_step(make: Callable[[Progress], transformers.Trainer]) -> float:
    """How many seconds an optimiser step of a trainer takes on this machine; it must have two steps.

    Args:
        make: Makes the trainer from what counts its steps.
    """
    ends = list[float]()
    with quiet():
        timed = make(lambda steps: ends.append(time.perf_counter()))
        # a checkpoint takes many times a step, and room that nobody has looked for
        timed.args.save_strategy = SaveStrategy.NO
        timed.train()
    del timed
    let_go()
    # the first one also reserves memory
    return ends[-1] - ends[-2]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps bars, and what libraries tell one another of names on their way out, from whoever trains a model."""
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if before is None:
            del os.environ[_QUIET]
        else:
            os.environ[_QUIET] = before


@contextlib.contextmanager
def answers_alone() -> Iterator[None]:
    """Has the library compute what a model says next for tokens of answers alone, as it does on GPUs.

    It leaves that out elsewhere for machines that compile each shape anew. Where what is asked is long and the
    vocabulary large, the rest is most of the work.
    """
    from trl.trainer import utils

    # it has no setting for that
    library: Any = utils
    own = library._use_triton
    library._use_triton = lambda device: True
    try:
        yield
    finally:
        library._use_triton = own


def let_go() -> None:
    """Frees what was trained and its optimiser, which hold one another, before as much is loaded again."""
    gc.collect()


def _arguments(schedule: Schedule) -> dict[str, Any]:
    return {
        **trainer.arguments(schedule.checkpoints, schedule.steps, schedule.seed, schedule.precision),
        "per_device_train_batch_size": schedule.batch_size,
        "learning_rate": schedule.learning_rate,
        "warmup_steps": schedule.warmup_steps,
        "weight_decay": _WEIGHT_DECAY,
        # memory is planned without it, and it costs a fifth of the time
        "gradient_checkpointing": False,
        # rows are as long as they should be
        "max_length": None,
    }


def _padding(start: Path) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of a model with a token to fill up rows with."""
    found = load_tokenizer(start)
    if found.pad_token is None:
        # padding is masked, so it may be any token
        found.pad_token = found.eos_token or found.convert_ids_to_tokens(0)
    return found
