"""Training losses by name. Ours but for GIST and what cuts embeddings (Matryoshka), which are the library's.

Known relevance travels with the batch as ids: the `label` of a training row is its number, and `Relevance` says
which of the batch's documents must not count as a negative of a query. Masking by equal text or by similarity
cannot do that: the passages of one answer differ, and dropout makes equal texts differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss, MatryoshkaLoss
from torch import Tensor, nn

from denizen.training.batch_embedding import embed_columns

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Relevance:
    """What is known about the rows of the training set.

    Attributes:
        documents: Shape (rows, 1 + negatives): the number of each row's positive and negative documents.
        query: Shape (rows,): the number of each row's query.
        related: Query number to the numbers of all documents that must not be its negatives (relevant ones, their
            near-duplicates, passages of the same parent).
    """

    documents: np.ndarray[Any, np.dtype[np.int64]]
    query: np.ndarray[Any, np.dtype[np.int64]]
    related: Sequence[frozenset[int]]

    def mask(self, rows: Sequence[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which documents of a batch must be left out for which query.

        Args:
            rows: The numbers of the batch's rows.

        Returns:
            Shape (len(rows), len(rows) * (1 + negatives)), columns ordered as all positives, then all first
                negatives, and so on. Besides what is related to the query, every repetition of a document is masked, so
            that each counts once; the row's own positive never is.
        """
        documents = self.documents[rows].T.reshape(-1)
        mask = np.zeros((len(rows), len(documents)), dtype=bool)
        columns: dict[int, list[int]] = {}
        for column, document in enumerate(documents.tolist()):
            columns.setdefault(document, []).append(column)
        mask[:, [column for same in columns.values() for column in same[1:]]] = True
        for position, query in enumerate(self.query[rows].tolist()):
            for document in self.related[query].intersection(columns):
                mask[position, columns[document]] = True
            mask[position, position] = False
        return mask


def info_nce(queries: Tensor, documents: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """InfoNCE over cosine similarities (van den Oord et al. 2018, eq. 4), one value a query.

    loss_i = -log( exp(s_ii / t) / sum_j not masked exp(s_ij / t) )

    Args:
        queries: Shape (batch, dim).
        documents: Shape (columns, dim); the positive of query i is row i.
        mask: Shape (batch, columns), true where a document must not count for a query.
        temperature: t.

    Returns:
        Shape (batch,).
    """
    scores = nn.functional.normalize(queries.float(), dim=1) @ nn.functional.normalize(documents.float(), dim=1).T
    scores = (scores / temperature).masked_fill(mask, -torch.inf)
    return torch.logsumexp(scores, dim=1) - scores.diagonal()


class InfoNCE(nn.Module):
    """InfoNCE with in-batch and mined negatives, masked by known relevance."""

    def __init__(self, model: SentenceTransformer, relevance: Relevance, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.relevance = relevance
        self.temperature = temperature

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of a batch; `labels` holds the rows' numbers."""
        return self.mean(embed_columns(self.model, list(sentence_features)), labels.tolist())

    def mean(self, columns: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        """The mean loss of rows by the embeddings of their columns, shape (rows, dim) each."""
        mask = torch.from_numpy(self.relevance.mask(rows)).to(columns[0].device)
        return info_nce(columns[0], torch.cat(list(columns[1:])), mask, self.temperature).mean()


class CachedInfoNCE(CachedLossMixin, InfoNCE):
    """The same loss by gradient caching (Gao et al. 2021): batches as large as wished in constant memory."""

    def __init__(
        self, model: SentenceTransformer, relevance: Relevance, temperature: float, mini_batch_size: int = 16
    ) -> None:
        super().__init__(model, relevance, temperature)
        self.mini_batch_size = mini_batch_size

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The mean loss of the whole batch from the embeddings of its mini-batches."""
        loss = self.mean([torch.cat(parts) for parts in reps], labels.tolist() if labels is not None else [])
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            loss = loss.detach()
        return loss

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of a batch; its gradient reaches the model when `backward` is called on it."""
        result: Tensor = self.forward_cached(sentence_features, labels)
        return result


class Triplet(nn.Module):
    """The triplet loss over cosine distances, max(0, cos(q, n) - cos(q, p) + margin) (Schroff et al. 2015, eq. 3)."""

    def __init__(self, model: SentenceTransformer, margin: float) -> None:
        super().__init__()
        self.model = model
        self.margin = margin

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of a batch."""
        queries, positives, negatives = embed_columns(self.model, list(sentence_features))
        near = nn.functional.cosine_similarity(queries, positives)
        far = nn.functional.cosine_similarity(queries, negatives)
        return nn.functional.relu(far - near + self.margin).mean()


class MarginMSE(nn.Module):
    """The mean squared error between the teacher's margins and the student's (Hofstaetter et al. 2020, eq. 5; GPL).

    The student's scores are cosines, the teacher's lie in [0, 1].
    """

    def __init__(self, model: SentenceTransformer, margins: Tensor) -> None:
        super().__init__()
        self.model = model
        self.margins = margins

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of a batch; `labels` holds the rows' numbers."""
        queries, positives, *negatives = embed_columns(self.model, list(sentence_features))
        near = nn.functional.cosine_similarity(queries, positives)
        far = torch.stack([nn.functional.cosine_similarity(queries, column) for column in negatives], dim=1)
        wanted = self.margins.to(far.device)[labels]
        return nn.functional.mse_loss((near[:, None] - far).float(), wanted)


@dataclass(frozen=True)
class LossInputs:
    """All that any of the losses needs; each takes what concerns it."""

    model: SentenceTransformer
    relevance: Relevance
    temperature: float
    margin: float
    load_guide: Callable[[], SentenceTransformer]
    # shape (rows, negatives): by how much the teacher prefers each row's positive
    margins: Tensor = field(default_factory=lambda: torch.zeros((0, 0)))


@dataclass(frozen=True)
class Loss:
    """One of the losses.

    Attributes:
        make: Builds it.
        masks: Whether it masks by known relevance, so that a row may be filled up with what is masked.
        triplets: Whether it trains on triplets; else on rows of a query, a positive and negatives.
        gradient: About how large its gradient is beside that of InfoNCE at a temperature of .05, by which cosines are
            divided there; what is added to a loss counts by this much.
    """

    make: Callable[[LossInputs], nn.Module]
    masks: bool = False
    triplets: bool = False
    gradient: float = 1.0


LOSSES: dict[str, Loss] = {
    "infonce": Loss(lambda given: InfoNCE(given.model, given.relevance, given.temperature), masks=True),
    "cached-infonce": Loss(lambda given: CachedInfoNCE(given.model, given.relevance, given.temperature), masks=True),
    "gist": Loss(lambda given: GISTEmbedLoss(given.model, given.load_guide(), temperature=given.temperature)),
    "margin-mse": Loss(lambda given: MarginMSE(given.model, given.margins), gradient=0.05),
    "triplet": Loss(lambda given: Triplet(given.model, given.margin), triplets=True, gradient=0.05),
}


def at_dims(model: SentenceTransformer, loss: nn.Module, dims: Sequence[int]) -> nn.Module:
    """The mean of a loss over embeddings cut to their first dimensions (Kusupati et al. 2022, arXiv 2205.13147).

    Args:
        model: The bi-encoder.
        loss: One of its losses.
        dims: To how many they are cut. All of them count besides; what is more than these is left out.

    Returns:
        The loss itself where nothing is cut.
    """
    # the number of all, which the library asks for, too, whatever the model is usually cut to
    with model.truncate_embeddings(None):
        whole = model.get_embedding_dimension() or 0
        chosen = sorted({whole, *(dim for dim in dims if dim < whole)}, reverse=True)
        if len(chosen) == 1:
            return loss
        # a mean and not the library's sum: what is added to a loss then weighs as much as without
        return MatryoshkaLoss(model, loss, chosen, [1 / len(chosen)] * len(chosen))
