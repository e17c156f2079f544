"""The step that trains a language model further on the texts of a corpus, and its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from denizen.data.artifacts import Corpus, Documents, Model
from denizen.data.whole_documents import whole_documents
from denizen.engine.errors import InputError
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.language_models.token_rows import RowLength
from denizen.retrievers.encoding import Arithmetic

# of all weights TRL's for fine-tuning, and of adapters the field's rule: five to ten times that
_WHOLE_RATE = 2e-5
_ADAPTERS_RATE = 1e-4


@dataclass(frozen=True)
class Pretraining(RowLength, Arithmetic, Seeded):
    """How a language model is trained further on a corpus."""

    panel = "Pretraining"

    learning_rate: float = setting(0.0, "Peak learning rate of AdamW; 0: 2e-5, of adapters 1e-4.", least=0, most=1)
    # low ranks learn less of a corpus than all weights do (arXiv 2405.09673)
    lora_rank: int = setting(
        0, "Train low-rank adapters (LoRA) of this rank instead of all weights; 0: all weights.", least=0, most=4096
    )
    epochs: float = setting(1.0, "How often the corpus is read.", least=0.001, most=1000)
    batch_size: int = setting(8, "Rows of a batch.", least=1, most=65536)
    warmup_steps: float = setting(
        0.1, "Warm-up: a share of the steps (below 1) or a number of steps.", least=0, most=1e9
    )

    def meant(self) -> Self:
        """The same with the learning rate that it means."""
        usual = _ADAPTERS_RATE if self.lora_rank else _WHOLE_RATE
        return replace(self, learning_rate=self.learning_rate or usual)

    def steps(self, rows: int) -> int:
        """How many optimiser steps a training on some rows takes."""
        return max(1, math.ceil(self.epochs * math.ceil(rows / self.batch_size)))


@step(version=1, makes=Model, name="pretrained")
def pretrain(
    out: Path, params: Pretraining, ctx: Context, *, start: Model, corpus: Corpus, documents: Documents
) -> dict[str, Any]:
    """Trains a language model further on the training side of a corpus, by the likelihood of each next token.

    Args:
        out: Where the model goes, whole: adapters are folded in.
        params: How.
        ctx: Its scratch folder holds checkpoints.
        start: The model to start from.
        corpus: The passages.
        documents: The side of each document.

    Raises:
        InputError: When the corpus has fewer rows than a batch, or a library is missing.
    """
    from denizen.training import causal_lm

    texts = whole_documents(corpus.table, documents.table, "train").texts
    rows = causal_lm.training_rows(start.path, list(texts.values()), params.max_length)
    check_rows(rows, params.batch_size)
    with ctx.progress.bar(params.steps(len(rows)), "steps") as advance:
        return causal_lm.train(out, start.path, rows, params.meant(), ctx.scratch, advance)


def check_rows(rows: Sequence[Sequence[int]], batch_size: int) -> None:
    """Makes sure that there is something to train on.

    Raises:
        InputError: When the rows do not fill a batch.
    """
    if len(rows) < batch_size:
        raise InputError(
            f"the training side of the corpus has {len(rows)} row(s) of tokens, and a batch has {batch_size}; add "
            "documents, or lower batch_size or max_length"
        )
