"""Keeping a student near its base where it should not change: embedding distillation beside the training loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from denizen.training.batch_embedding import embed_columns

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_Vectors = np.ndarray[Any, np.dtype[np.float32]]

# texts of each kind in a step: a tenth more tokens to train on
_TEXTS = 8


@dataclass(frozen=True)
class Kept:
    """Texts whose embeddings should stay what they were.

    Attributes:
        texts: Queries or passages.
        vectors: Shape (len(texts), dim): their embeddings by the base.
        prompt: What the model wants before them.
    """

    texts: Sequence[str]
    vectors: _Vectors
    prompt: str


def first_tokens(model: SentenceTransformer, texts: Sequence[str], limit: int) -> list[str]:
    """Texts cut to what a training that sees `limit` tokens sees of them; 0: as they are."""
    tokenizer = model.tokenizer
    # tokenizers written in Python do not say where a token stands
    if not limit or not texts or not tokenizer.is_fast:
        return list(texts)
    found = tokenizer(list(texts), truncation=True, max_length=limit, return_offsets_mapping=True)
    ends = (max((end for _, end in offsets), default=0) for offsets in found["offset_mapping"])
    return [text[:end] for text, end in zip(texts, ends, strict=True)]


class NearBase(nn.Module):
    """A training loss plus `weight` times the mean of 1 - cos(student(x), base(x)) over a draw of the kept texts.

    The draw comes from torch's random state, which checkpoints hold: a resumed training draws the same.
    """

    def __init__(self, model: SentenceTransformer, loss: nn.Module, kept: Sequence[Kept], weight: float) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.weight = weight
        self._kept = [part for part in kept if part.texts]

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of a batch with its penalty."""
        loss: Tensor = self.loss(sentence_features, labels)
        return loss + self.weight * self.penalty()

    def penalty(self) -> Tensor:
        """The mean distance of a draw of the kept texts from where the base has them."""
        columns, wanted = [], []
        device = next(self.model.parameters()).device
        for part in self._kept:
            rows = torch.randint(len(part.texts), (_TEXTS,)).tolist()
            features = self.model.preprocess([part.texts[row] for row in rows], prompt=part.prompt or None)
            columns.append(batch_to_device(features, device))
            wanted.append(torch.from_numpy(np.asarray(part.vectors[rows], dtype=np.float32)))
        embeddings = torch.cat(embed_columns(self.model, columns)).float()
        near = nn.functional.cosine_similarity(embeddings, torch.cat(wanted).to(device))
        return (1 - near).mean()
