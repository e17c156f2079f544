from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    DistillKLDivLoss,
    MarginMSELoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    TripletDistanceMetric,
    TripletLoss,
)
from sentence_transformers.util import pairwise_cos_sim

from denizen.training.losses import CachedInfoNCE, InfoNCE, MarginMSE, Relevance, Triplet, at_dims, listwise

pytestmark = pytest.mark.parity

COLUMNS = (
    ["what is gout", "how is lupus treated", "causes of fever", "a child with pain"],
    ["gout is a pain of the toe", "lupus is treated with a drug", "fever", "child, pain and fever"],
    ["lupus", "causes of gout in a child", "the dose is 5", "what"],
    ["how are symptoms treated", "drug", "pain of a child", "fever and gout"],
)


@pytest.fixture(scope="module")
def model(tiny_encoder: Path) -> Iterator[SentenceTransformer]:
    """The tiny encoder without dropout, on one thread: more only wait for one another at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SentenceTransformer(str(tiny_encoder), device="cpu").eval()
    torch.set_num_threads(threads)


def nothing_masked(negatives: int) -> Relevance:
    """Four rows of different documents, each relevant to its own query alone."""
    return Relevance(
        documents=np.arange(4 * (1 + negatives)).reshape(1 + negatives, 4).T,
        query=np.arange(4),
        related=[frozenset([row]) for row in range(4)],
    )


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("negatives", [0, 1, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_info_nce_without_masking_equals_multiple_negatives_ranking_loss(
    model: SentenceTransformer, negatives: int, temperature: float, cached: bool
) -> None:
    relevance = nothing_masked(negatives)
    ours = CachedInfoNCE(model, relevance, temperature, 3) if cached else InfoNCE(model, relevance, temperature)
    theirs = MultipleNegativesRankingLoss(model, scale=1 / temperature)
    found = []
    for loss in (ours, theirs):
        model.zero_grad()
        value = loss([model.preprocess(column) for column in COLUMNS[: 2 + negatives]], torch.arange(4))
        value.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        found.append((value.item(), {name: gradient.clone() for name, gradient in gradients.items()}))
    (our_value, our_gradients), (their_value, their_gradients) = found
    assert our_value == pytest.approx(their_value, rel=1e-5)
    assert our_gradients.keys() == their_gradients.keys() and len(our_gradients) > 20
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_triplet_equals_the_librarys_triplet_loss_over_cosine_distances(
    model: SentenceTransformer, margin: float
) -> None:
    theirs = TripletLoss(model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=margin)
    values = []
    for loss in (Triplet(model, margin), theirs):
        model.zero_grad()
        value = loss([model.preprocess(column) for column in COLUMNS[:3]], torch.arange(4))
        value.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        values.append((value.item(), {name: gradient.clone() for name, gradient in gradients.items()}))
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-5)
    for name, gradient in values[1][1].items():
        torch.testing.assert_close(values[0][1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("negatives", [1, 2])
def test_margin_mse_equals_the_librarys_over_cosines(model: SentenceTransformer, negatives: int) -> None:
    margins = torch.rand((4, negatives), generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([2, 0, 3, 1])
    ours = MarginMSE(model, margins)
    theirs = MarginMSELoss(model, similarity_fct=pairwise_cos_sim)
    batch = [[column[at] for at in rows.tolist()] for column in COLUMNS[: 2 + negatives]]
    found = ours([model.preprocess(column) for column in batch], rows)
    labels = margins[rows] if negatives > 1 else margins[rows][:, 0]
    expected = theirs([model.preprocess(column) for column in batch], labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_divergence_over_lists_equals_the_librarys_over_cosines(model: SentenceTransformer) -> None:
    """The library multiplies by the square of its one temperature; here each side has its own."""
    values = torch.rand((4, 3), generator=torch.Generator().manual_seed(1))
    scale = lambda queries, documents: pairwise_cos_sim(queries, documents) / 0.05  # noqa: E731
    theirs = DistillKLDivLoss(model, similarity_fct=scale, temperature=1.0)
    with torch.no_grad():
        expected = theirs([model.preprocess(column) for column in COLUMNS], values / 0.3)
        queries, *columns = (model.encode(column, convert_to_tensor=True) for column in COLUMNS)
        found = listwise(torch.stack([pairwise_cos_sim(queries, column) for column in columns], dim=1) / 0.05, values)
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("cached", [False, True])
def test_a_loss_at_several_dims_is_the_librarys_matryoshka_loss_divided_by_their_number(
    model: SentenceTransformer, cached: bool
) -> None:
    relevance = nothing_masked(1)
    ours = CachedInfoNCE(model, relevance, 0.05, 3) if cached else InfoNCE(model, relevance, 0.05)
    theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model, scale=20.0), [32, 16, 4])
    found = []
    for loss in (at_dims(model, ours, (16, 4)), theirs):
        model.zero_grad()
        value = loss([model.preprocess(column) for column in COLUMNS[:3]], torch.arange(4))
        value.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        found.append((value.item(), {name: gradient.clone() for name, gradient in gradients.items()}))
    (our_value, our_gradients), (their_value, their_gradients) = found
    assert 3 * our_value == pytest.approx(their_value, rel=1e-5)
    assert our_gradients.keys() == their_gradients.keys() and len(our_gradients) > 20
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(3 * our_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
