"""Training a cross-encoder on lists: a query, a passage that answers it, and some that do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import CrossEncoder, CrossEncoderTrainer
from sentence_transformers.cross_encoder import CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch import nn

from denizen.engine.errors import InputError
from denizen.retrievers.cross_encoder import start_cross_encoder
from denizen.training.batches import length_batches
from denizen.training.train import Pass
from denizen.training.trainer import Trainer, arguments, fit, make_ready, restore

# as bi-encoders of this size are trained here
LEARNING_RATE = 1e-4
WARMUP = 0.1
WEIGHT_DECAY = 0.01
# with its negatives a list is about as many texts as four examples of a bi-encoder
BATCH_SIZE = 8
# the head is new: one epoch over a few hundred queries is too short for it
EPOCHS = 2.0


@dataclass(frozen=True)
class AnswerList:
    """What a cross-encoder learns to rank.

    Attributes:
        query: A query.
        passages: Texts; the first one answers it, the others do not.
    """

    query: str
    passages: Sequence[str]


def steps(lists: int) -> int:
    """How many optimiser steps a training on some lists takes."""
    return max(1, math.ceil(EPOCHS * math.ceil(lists / BATCH_SIZE)))


def train(
    folder: Path,
    start: Path,
    lists: Sequence[AnswerList],
    config: Pass,
    scratch: Path,
    progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Trains a cross-encoder and saves it into `folder`, which plain `CrossEncoder(folder)` loads.

    The loss is the cross-entropy of the answer among its list (localised contrastive estimation, Gao et al., arXiv
    2101.08751): it compares passages for one query, which is what a second stage is asked, where a binary loss also
    asks for one threshold over all queries. Training goes on from the last whole checkpoint in `scratch`.

    Args:
        folder: Where to.
        start: A cross-encoder, or a bi-encoder, which gets a new head.
        lists: What to learn.
        config: Seed, arithmetic, dropout.
        scratch: Where checkpoints lie while it lasts.
        progress: Called with the number of steps that have just ended.

    Returns:
        Facts: lists, steps, and the loss along the way.

    Raises:
        InputError: When there is nothing to train on, or the start has no such model.
    """
    if len(lists) < 2:
        raise InputError(
            f"{len(lists)} list(s) of an answer and passages that are none could be made; a reranker needs at least 2. "
            "Add queries, or leave out --reranker"
        )
    model = start_cross_encoder(start, config.seed)
    own = make_ready(model, dropout=config.dropout)
    count = steps(len(lists))
    args = CrossEncoderTrainingArguments(
        **arguments(scratch / "checkpoints", count, config.seed, config.precision),
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        warmup_steps=WARMUP,
        weight_decay=WEIGHT_DECAY,
    )
    # the loss takes logarithms of what each passage of a list should have of its probability
    columns: dict[str, list[Any]] = {
        "query": [each.query for each in lists],
        "passages": [list(each.passages) for each in lists],
        "label": [[0.0] + [-math.inf] * (len(each.passages) - 1) for each in lists],
    }
    lengths = np.array([sum(map(len, each.passages)) for each in lists])
    losses = fit(
        _Trainer,
        model,
        ListNetLoss(model, activation_fn=nn.Identity(), mini_batch_size=-1),
        columns,
        lambda random: length_batches(lengths, BATCH_SIZE, random),
        args,
        progress,
    )
    _save(model, own, folder)
    return {"lists": len(lists), "steps": count, "loss": losses}


class _Trainer(Trainer, CrossEncoderTrainer):
    """That of cross-encoders."""


def _save(model: CrossEncoder, own: dict[str, Any], folder: Path) -> None:
    # a tokenizer is saved with the limits of its last call, and a training that goes on after its last step makes none
    model.preprocess([("", "")])
    restore(model, own)
    model.save_pretrained(str(folder), create_model_card=False)
