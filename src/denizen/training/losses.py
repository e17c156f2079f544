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

    def mask_beside_lists(self, rows: Sequence[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """As `mask`, where a row's own documents are compared by themselves: wherever these stand, they are left out.

        Args:
            rows: The numbers of the batch's rows.
        """
        documents = self.documents[rows]
        own: np.ndarray[Any, np.dtype[np.bool_]] = (documents[:, :, None] == documents.T.reshape(-1)).any(axis=1)
        return self.mask(rows) | own


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


class _Listed(nn.Module):
    """A loss over the lists of a batch, each a positive and its negatives with what a teacher says of them."""

    def __init__(self, model: SentenceTransformer, relevance: Relevance, values: Tensor, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.relevance = relevance
        self.values = values
        self.temperature = temperature

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of a batch; `labels` holds the rows' numbers."""
        queries, *columns = (
            nn.functional.normalize(column.float(), dim=1)
            for column in embed_columns(self.model, list(sentence_features))
        )
        lists = torch.stack([(queries * column).sum(dim=1) for column in columns], dim=1) / self.temperature
        others = queries @ torch.cat(columns).T / self.temperature
        mask = torch.from_numpy(self.relevance.mask_beside_lists(labels.tolist())).to(others.device)
        values = self.values.to(others.device)[labels]
        return self.of_scores(lists, values, others.masked_fill(mask, -torch.inf)).mean()

    def of_scores(self, lists: Tensor, values: Tensor, others: Tensor) -> Tensor:
        """The loss of each query.

        Args:
            lists: Cosines over the temperature of each query and its own passages, the positive first, shape (batch,
                1 + negatives).
            values: What the teacher says of these, in [0, 1]; nan where a list is shorter.
            others: The same of each query and the passages of the batch, -inf where one must not count.
        """
        raise NotImplementedError


# CADET's (Tamber et al., arXiv 2505.19274): of the teacher's values, the weight of the contrastive term, and from
# which share of the best value on a passage of the list is no negative of that term
_TEACHER_TEMPERATURE, _CONTRASTIVE, _TOO_GOOD = 0.3, 0.1, 0.6


class Listwise(_Listed):
    """KL divergence of the student's from the teacher's distribution over a list, with InfoNCE beside it (CADET).

    loss_i = sum_k p_ik (log p_ik - log q_ik) + .1 InfoNCE_i,  p_i = softmax(values_i / .3),  q_i = softmax(cos_i / t)

    The divergence is KL(p || q), as in sentence-transformers' DistillKLDivLoss: what the teacher holds for
    likely must be likely to the student. The term beside it has the positive of the list, its passages that the teacher
    values below .6 of its best, and all others of the batch, at the same t; the paper's .01 there is for a model that
    was trained with it.
    """

    def of_scores(self, lists: Tensor, values: Tensor, others: Tensor) -> Tensor:
        """Shape (batch,)."""
        return listwise(lists, values) + _CONTRASTIVE * _beside_lists(lists, values, others)


def listwise(lists: Tensor, values: Tensor) -> Tensor:
    """KL(teacher || student) over each list, one value a query.

    Args:
        lists: The student's scores, shape (batch, length).
        values: The teacher's, which a temperature of .3 divides; nan where a list is shorter.

    Returns:
        Shape (batch,).
    """
    absent = values.isnan()
    wanted = (values / _TEACHER_TEMPERATURE).masked_fill(absent, -torch.inf).log_softmax(dim=1)
    found = lists.masked_fill(absent, -torch.inf).log_softmax(dim=1)
    # before the product: 0 times infinity is no number, and has no gradient
    difference = (wanted - found).masked_fill(absent, 0.0)
    return (wanted.exp() * difference).sum(dim=1)


def _beside_lists(lists: Tensor, values: Tensor, others: Tensor) -> Tensor:
    good = values >= _TOO_GOOD * values.nan_to_num(-torch.inf).amax(dim=1, keepdim=True)
    good[:, 0] = False
    own = lists.masked_fill(good | values.isnan(), -torch.inf)
    return torch.logsumexp(torch.cat([own, others], dim=1), dim=1) - lists[:, 0]


# halvings of an interval of some hundred: as exact as 32-bit floats are
_HALVINGS = 32


class GradedBCE(_Listed):
    """Binary cross-entropy against graded relevance (BiXSE, Tsirigotis et al., arXiv 2508.06781).

    loss = 1/batch sum_ij BCE(sigmoid(cos_ij / t + b), r_ij): of a query's own passages r is the teacher's value, so
    that a part of an answer counts as a part; of others of the batch it is 0.

    The bias is not learnt but solved for: the b that is best for the batch, where the mean probability is the mean r.
    The gradient is that of the loss at its minimum over b, and a killed training has nothing more to go on from.
    """

    def of_scores(self, lists: Tensor, values: Tensor, others: Tensor) -> Tensor:
        """Shape (batch,)."""
        return graded_bce(torch.cat([lists, others], dim=1), torch.cat([values, torch.zeros_like(others)], dim=1))


def graded_bce(scores: Tensor, values: Tensor) -> Tensor:
    """Binary cross-entropy of scores at their best common bias, summed for each query.

    Args:
        scores: Shape (batch, columns); -inf where there is nothing to compare.
        values: Relevance in [0, 1], the same shape; nan where there is none.

    Returns:
        Shape (batch,).
    """
    there = scores.isfinite() & ~values.isnan()
    scores, values = scores.masked_fill(~there, 0.0), values.masked_fill(~there, 0.0)
    bias = _best_bias(scores.detach()[there], float(values.sum()))
    found = nn.functional.binary_cross_entropy_with_logits(scores + bias, values, reduction="none")
    return (found * there).sum(dim=1)


def _best_bias(scores: Tensor, wanted: float) -> Tensor:
    """The b at which the probabilities sigmoid(score + b) add up to what is wanted; all 0 or all 1 ends at a limit."""
    # at these every probability is one or nothing to a 32-bit float
    low, high = -scores.max() - 100, -scores.min() + 100
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = torch.sigmoid(scores.double() + middle).sum() > wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return (low + high) / 2


@dataclass(frozen=True)
class LossInputs:
    """All that any of the losses needs; each takes what concerns it."""

    model: SentenceTransformer
    relevance: Relevance
    temperature: float
    margin: float
    load_guide: Callable[[], SentenceTransformer]
    # shape (rows, 1 + negatives): what a teacher says of each row's positive and negatives; nan where a row is shorter
    values: Tensor = field(default_factory=lambda: torch.zeros((0, 0)))


@dataclass(frozen=True)
class Loss:
    """One of the losses.

    Attributes:
        make: Builds it.
        masks: Whether it masks by known relevance, so that a row may be filled up with what is masked.
        triplets: Whether it trains on triplets; else on rows of a query, a positive and negatives.
        lists: Whether it goes by what a teacher says of each passage of a row.
        gradient: About how large its gradient is beside that of InfoNCE at a temperature of .05, by which cosines are
            divided there; what is added to a loss counts by this much.
    """

    make: Callable[[LossInputs], nn.Module]
    masks: bool = False
    triplets: bool = False
    lists: bool = False
    gradient: float = 1.0


LOSSES: dict[str, Loss] = {
    "infonce": Loss(lambda given: InfoNCE(given.model, given.relevance, given.temperature), masks=True),
    "cached-infonce": Loss(lambda given: CachedInfoNCE(given.model, given.relevance, given.temperature), masks=True),
    "gist": Loss(lambda given: GISTEmbedLoss(given.model, given.load_guide(), temperature=given.temperature)),
    "margin-mse": Loss(lambda given: MarginMSE(given.model, given.values[:, :1] - given.values[:, 1:]), gradient=0.05),
    "listwise": Loss(
        lambda given: Listwise(given.model, given.relevance, given.values, given.temperature), masks=True, lists=True
    ),
    "graded-bce": Loss(
        lambda given: GradedBCE(given.model, given.relevance, given.values, given.temperature), masks=True, lists=True
    ),
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
