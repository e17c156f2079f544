"""Keeping a student near its base where it should not change: embedding distillation beside the training loss."""

from __future__ import annotations

import bisect
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


def first_tokens(model: SentenceTransformer, texts: Sequence[str], prompt: str, limit: int) -> list[str]:
    """Texts cut so that the model sees at most `limit` tokens of each with the prompt before it; 0: as they are."""
    if not limit:
        return list(texts)
    tokenizer = model.tokenizer
    cut = _at_offsets if tokenizer.is_fast else _by_trial
    return [cut(tokenizer, prompt + text, limit)[len(prompt) :] for text in texts]


def _at_offsets(tokenizer: Any, text: str, limit: int) -> str:
    room = limit - tokenizer.num_special_tokens_to_add()
    while room > 0:
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= room:
            return text
        # a character of several tokens goes whole; what is left may fall into other tokens, and more of them
        text = text[: min(offsets[room - 1][1], offsets[room][0], len(text) - 1)]
    return ""


def _by_trial(tokenizer: Any, text: str, limit: int) -> str:
    """The same for tokenizers written in Python, which do not say where a token stands."""

    def tokens(end: int) -> int:
        return len(tokenizer(text[:end])["input_ids"])

    end = bisect.bisect_right(range(len(text) + 1), limit, key=tokens) - 1
    return text[: max(0, end)]


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
        before = torch.cat(wanted).to(device)
        # of a model that cuts its embeddings, those of the base are cut
        near = nn.functional.cosine_similarity(embeddings[:, : before.shape[1]], before)
        return (1 - near).mean()
