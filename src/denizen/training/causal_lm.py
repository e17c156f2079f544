"""Training a causal language model on rows of tokens: TRL's trainer, with our batches and exact resumption."""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers.trainer_utils import SaveStrategy

from denizen.engine.errors import InputError
from denizen.language_models.language_model import load_causal_lm, load_tokenizer
from denizen.language_models.token_rows import token_rows
from denizen.training import trainer
from denizen.training.adapters import low_rank
from denizen.training.batches import EpochBatches, length_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl.trainer.sft_trainer import SFTTrainer

    from denizen.training.pretrain import Pretraining

Rows = Sequence[Sequence[int]]

_WEIGHT_DECAY = 0.01
_ADAPTER = "adapter"


def check_libraries(lora_rank: int) -> None:
    """Makes sure that what trains language models is installed.

    Raises:
        InputError: When it is not.
    """
    wanted = ["trl", *(["peft"] if lora_rank else [])]
    if missing := [name for name in wanted if importlib.util.find_spec(name) is None]:
        raise InputError(f"training a language model needs {' and '.join(missing)}: pip install 'denizen[language]'")


def training_rows(start: Path, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """The rows of tokens of some documents; each document ends with the token that ends texts."""
    return [row for of in token_rows(load_tokenizer(start), texts, max_length, end=True) for row in of]


def train(
    folder: Path,
    start: Path,
    rows: Rows,
    config: Pretraining,
    scratch: Path,
    progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Trains a model and saves it into `folder`, which plain `AutoModelForCausalLM.from_pretrained(folder)` loads.

    Training goes on from the last whole checkpoint in `scratch`. The loss is computed without the logits of a whole
    batch, which a large vocabulary makes the largest thing in memory. With a rank of adapters these alone are trained,
    and folded into the weights of `start` at the end.

    Args:
        folder: Where the model goes.
        start: The model to start from.
        rows: Token ids.
        config: How, with its learning rate.
        scratch: Where checkpoints live.
        progress: Called with the number of steps that have just ended.

    Returns:
        Facts: rows, tokens, steps, weights that were trained, learning rate, and the loss along the way.

    Raises:
        InputError: When a library is missing, or the loss becomes no number.
    """
    check_libraries(config.lora_rank)
    steps = config.steps(len(rows))
    model = load_causal_lm(start)
    # the trainer changes special tokens and caching in both
    own = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
    resume = trainer.last_checkpoint(scratch / "checkpoints")
    progress(int(resume.name.rpartition("-")[2]) if resume else 0)
    with _without_notices():
        fitted = _trainer(model, start, rows, config, scratch / "checkpoints", steps, progress)
        trained: Any = fitted.model
        learnt = sum(weights.numel() for weights in trained.parameters() if weights.requires_grad)
        losses = trainer.to_the_end(fitted, resume)
    if config.lora_rank:
        trained.save_pretrained(str(scratch / _ADAPTER))
    else:
        model.config, model.generation_config = own
        model.save_pretrained(folder)
    del fitted, trained, model
    _let_go()
    if config.lora_rank:
        _folded(load_causal_lm(start), scratch / _ADAPTER).save_pretrained(folder)
    load_tokenizer(start).save_pretrained(folder)
    tokens = sum(len(row) - 1 for row in rows)
    told = {"rows": len(rows), "tokens": tokens, "steps": steps, "learnt": learnt, "loss": losses}
    return {**told, "lora_rank": config.lora_rank, "learning_rate": config.learning_rate}


def seconds_of_a_step(start: Path, rows: Rows, config: Pretraining, scratch: Path) -> float:
    """How long an optimiser step on a batch of some rows takes on this machine.

    Args:
        start: The model.
        rows: At least a batch of them.
        config: How is trained.
        scratch: An empty folder.
    """
    batch, ends = list(rows)[: config.batch_size], list[float]()

    def ended(steps: int) -> None:
        ends.append(time.perf_counter())

    with _without_notices():
        timed = _trainer(load_causal_lm(start), start, batch, config, scratch, 2, ended)
        # a checkpoint takes many times a step, and room that nobody has looked for
        timed.args.save_strategy = SaveStrategy.NO
        timed.train()
    del timed
    _let_go()
    # the first one also reserves memory
    return ends[-1] - ends[-2]


def _trainer(
    model: PreTrainedModel,
    start: Path,
    rows: Rows,
    config: Pretraining,
    checkpoints: Path,
    steps: int,
    progress: Callable[[int], None],
) -> SFTTrainer:
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data = Dataset.from_dict({"input_ids": [list(row) for row in rows], "labels": [list(row) for row in rows]})

    class Quiet(SFTTrainer):
        """The library's trainer with our batches, which calls nobody and writes no card."""

        def get_train_dataloader(self) -> DataLoader[Any]:
            """Batches of rows of similar length, in an order that depends on seed and epoch alone."""
            lengths = np.array([len(row) for row in rows])
            batches = EpochBatches(
                data,
                config.batch_size,
                config.seed,
                lambda random: length_batches(lengths, config.batch_size, random),
            )
            self.accelerator.even_batches = False
            loader: DataLoader[Any] = DataLoader(
                data,
                batch_sampler=batches,
                collate_fn=self.data_collator,
            )
            found: DataLoader[Any] = self.accelerator.prepare(loader)
            return found

        def _send_telemetry(self) -> None:
            """Sends nothing."""

        def create_model_card(self, *arguments: object, **named: object) -> None:
            """Writes nothing: a checkpoint is read by nobody else."""

    tokenizer = load_tokenizer(start)
    if tokenizer.pad_token is None:
        # padding is masked, so it may be any token
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    args = SFTConfig(
        **trainer.arguments(checkpoints, steps, config.seed, config.precision),
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=_WEIGHT_DECAY,
        # memory is planned without it, and it costs a fifth of the time
        gradient_checkpointing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
    found = Quiet(
        model=model,
        args=args,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=low_rank(config.lora_rank) if config.lora_rank else None,
        callbacks=[trainer.Watch(progress)],
    )
    found.remove_callback(PrinterCallback)
    return found


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Keeps what libraries tell one another of names that are on their way out from whoever trains a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _let_go() -> None:
    """Frees what was trained and its optimiser, which hold one another, before as much is loaded again."""
    gc.collect()


def _folded(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The model with what its adapters have learnt added to its weights."""
    from peft import PeftModel

    found: PreTrainedModel = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return found
