"""Training a causal language model on rows of tokens: TRL's trainer, with our batches and exact resumption."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError
from denizen.language_models.attached import folded
from denizen.language_models.language_model import load_causal_lm, load_tokenizer
from denizen.language_models.token_rows import token_rows
from denizen.training import trainer
from denizen.training.adapters import low_rank
from denizen.training.trl_trainers import Schedule, let_go, quiet, supervised, time_of_a_step

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from denizen.training.pretrain import Pretraining

Rows = Sequence[Sequence[int]]

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
    with quiet():
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
    let_go()
    if config.lora_rank:
        folded(load_causal_lm(start), scratch / _ADAPTER).save_pretrained(folder)
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
    batch = list(rows)[: config.batch_size]
    return time_of_a_step(lambda ended: _trainer(load_causal_lm(start), start, batch, config, scratch, 2, ended))


def _trainer(
    model: PreTrainedModel,
    start: Path,
    rows: Rows,
    config: Pretraining,
    checkpoints: Path,
    steps: int,
    progress: Callable[[int], None],
) -> Trainer:
    columns = {name: [list(row) for row in rows] for name in ("input_ids", "labels")}
    schedule = Schedule(
        steps,
        config.batch_size,
        config.learning_rate,
        config.warmup_steps,
        config.seed,
        config.precision,
        checkpoints,
    )
    adapters = low_rank(config.lora_rank) if config.lora_rank else None
    return supervised(model, start, columns, schedule, progress, adapters)
