from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from denizen.training.losses import (
    LOSSES,
    CachedInfoNCE,
    GradedBCE,
    InfoNCE,
    Listwise,
    LossInputs,
    Relevance,
    at_dims,
    graded_bce,
    info_nce,
    listwise,
)
from denizen.training.near_base import Kept, NearBase

ANCHORS = ["what is gout", "how is lupus treated", "causes of fever", "a child with pain", "dose of the drug"]
POSITIVES = [
    "gout is a pain of the toe",
    "lupus is treated with a drug",
    "fever",
    "child, pain and fever",
    "10 mg",
]
NEGATIVES = ["lupus", "causes of gout in a child", "the dose is 5", "what", "how are symptoms treated"]


def relevance_of(documents: list[list[int]], query: list[int], related: list[set[int]]) -> Relevance:
    return Relevance(
        np.array(documents, dtype=np.int64),
        np.array(query, dtype=np.int64),
        [frozenset(some) for some in related],
    )


def masked(relevance: Relevance, rows: list[int]) -> list[str]:
    """The mask as text, a letter a column: x is left out."""
    return ["".join("x" if cell else "." for cell in line) for line in relevance.mask(rows)]


@pytest.fixture(scope="module")
def loaded(tiny_encoder: Path) -> Iterator[SentenceTransformer]:
    """The tiny encoder without dropout, on one thread: more only wait for one another at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SentenceTransformer(str(tiny_encoder), device="cpu").eval()
    torch.set_num_threads(threads)


@pytest.fixture
def model(loaded: SentenceTransformer) -> SentenceTransformer:
    """The same without the gradients of an earlier test."""
    loaded.zero_grad()
    return loaded


def features(model: SentenceTransformer, *columns: list[str]) -> list[dict[str, torch.Tensor]]:
    return [model.preprocess(column) for column in columns]


def gradients(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_the_mask_leaves_out_what_is_related_and_what_comes_again() -> None:
    """Columns are the positives 0 1 0, then the negatives 2 3 1; the second 0 and the second 1 come again.

    Query 0 has nothing else related; query 1 also 2; query 2 also 1, and its own positive is the second 0.
    """
    relevance = relevance_of([[0, 2], [1, 3], [0, 1]], [0, 1, 2], [{0}, {1, 2}, {0, 1}])
    assert masked(relevance, [0, 1, 2]) == ["..x..x", "..xx.x", "xx...x"]


def test_the_mask_follows_the_rows_of_the_batch() -> None:
    """Row 2 stands first: columns are the positives 0 1, then the negatives 1 3."""
    relevance = relevance_of([[0, 2], [1, 3], [0, 1]], [0, 1, 2], [{0}, {1, 2}, {0, 1}])
    assert masked(relevance, [2, 1]) == [".xx.", "..x."]


def test_rows_of_one_query_do_not_see_each_others_positives_as_negatives() -> None:
    relevance = relevance_of([[0], [1], [2]], [0, 0, 1], [{0, 1}, {2}])
    assert masked(relevance, [0, 1, 2]) == [".x.", "x..", "..."]


def test_a_positive_that_fills_up_for_a_lacking_negative_is_left_out() -> None:
    relevance = relevance_of([[0, 0], [1, 2]], [0, 1], [{0}, {1}])
    assert masked(relevance, [0, 1]) == ["..x.", "..x."]


def test_nothing_is_masked_where_all_documents_differ_and_none_is_related() -> None:
    relevance = relevance_of([[0, 3], [1, 4], [2, 5]], [0, 1, 2], [{0}, {1}, {2}])
    assert not relevance.mask([0, 1, 2]).any()


@given(st.data(), st.integers(1, 6), st.integers(0, 2))
def test_every_document_counts_once_at_most_for_a_query_and_no_related_one_beside_the_positive(
    data, rows: int, negatives: int
) -> None:
    number = st.integers(0, 7)
    documents = data.draw(
        st.lists(st.lists(number, min_size=1 + negatives, max_size=1 + negatives), min_size=rows, max_size=rows)
    )
    query = data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    related = data.draw(st.lists(st.sets(number), min_size=4, max_size=4))
    for own, asked in zip(documents, query, strict=True):
        related[asked] |= {own[0]}
    mask = relevance_of(documents, query, related).mask(list(range(rows)))
    columns = [documents[row][place] for place in range(1 + negatives) for row in range(rows)]
    for row in range(rows):
        left = [column for column in range(len(columns)) if not mask[row, column]]
        assert row in left
        others = [columns[column] for column in left if column != row]
        assert len(others) == len(set(others))
        assert set(others) == set(columns) - related[query[row]]


def test_info_nce_has_the_value_derived_by_hand() -> None:
    """Queries (1, 0) and (0, 5), documents (3, 4) and (0, 2), t = .5.

    Cosines .6 and 0 for the first query: -log(e^1.2 / (e^1.2 + e^0)) = log(1 + e^-1.2) = .263282
    Cosines .8 and 1 for the second: -log(e^2 / (e^1.6 + e^2)) = log(1 + e^-.4) = .513015
    """
    queries, documents = torch.tensor([[1.0, 0.0], [0.0, 5.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    loss = info_nce(queries, documents, torch.zeros(2, 2, dtype=torch.bool), 0.5)
    assert loss.tolist() == pytest.approx([0.263282, 0.513015], abs=1e-6)


def test_masked_documents_are_out_of_the_sum() -> None:
    """As above with a third document (1, 0) of cosine 1 to the first query; masked, it changes nothing.

    Unmasked: log(1 + e^-1.2 + e^(2 - 1.2)) = log(3.526735) = 1.260373. All but the positive masked: 0.
    """
    queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    for mask, value in (([0, 0, 0], 1.260373), ([0, 0, 1], 0.263282), ([0, 1, 1], 0.0)):
        loss = info_nce(queries, documents, torch.tensor([mask], dtype=torch.bool), 0.5)
        assert loss.item() == pytest.approx(value, abs=1e-6)


def test_info_nce_computes_in_32_bits_whatever_comes_in() -> None:
    queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = info_nce(queries.bfloat16(), documents.bfloat16(), torch.zeros(1, 2, dtype=torch.bool), 0.05)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-20)), abs=1e-7)


def test_a_masked_false_negative_gets_no_gradient() -> None:
    random = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 4, generator=random)
    for mask, reached in ((False, True), (True, False)):
        documents = torch.randn(3, 4, generator=random).requires_grad_()
        left_out = torch.zeros(2, 3, dtype=torch.bool)
        left_out[:, 2] = mask
        info_nce(queries, documents, left_out, 0.05).mean().backward()
        assert bool(documents.grad[2].abs().sum() > 0) is reached
        assert documents.grad[:2].abs().sum() > 0
        assert torch.isfinite(documents.grad).all()


def test_info_nce_reads_the_rows_of_the_batch_from_the_labels(model: SentenceTransformer) -> None:
    """Rows 3 and 4 of the training set: the negative of row 4 is relevant to the query of row 3."""
    documents = [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    relevance = relevance_of(documents, [0, 1, 2, 3, 4], [{0}, {1}, {2}, {3, 9}, {4}])
    loss = InfoNCE(model, relevance, 0.05)(
        features(model, ANCHORS[3:], POSITIVES[3:], NEGATIVES[3:]), torch.tensor([3, 4])
    )
    with torch.no_grad():
        anchors = model.encode(ANCHORS[3:], convert_to_tensor=True)
        scores = anchors @ model.encode(POSITIVES[3:] + NEGATIVES[3:], convert_to_tensor=True).T / 0.05
    first = torch.logsumexp(scores[0, [0, 1, 2]], dim=0) - scores[0, 0]
    second = torch.logsumexp(scores[1], dim=0) - scores[1, 1]
    assert loss.item() == pytest.approx(((first + second) / 2).item(), rel=1e-4)


@pytest.mark.parametrize("mini_batch_size", [1, 2, 5, 16])
def test_the_cached_loss_has_the_value_and_the_gradients_of_the_plain_one(
    model: SentenceTransformer, mini_batch_size: int
) -> None:
    # query 1 also knows document 5 (the negative of row 0), and row 4 repeats the negative of row 2
    relevance = relevance_of([[0, 5], [1, 6], [2, 7], [3, 8], [4, 7]], [0, 1, 2, 3, 4], [{0}, {1, 5}, {2}, {3}, {4}])
    texts = (ANCHORS, POSITIVES, [*NEGATIVES[:4], NEGATIVES[2]])
    labels = torch.arange(5)
    plain = InfoNCE(model, relevance, 0.05)(features(model, *texts), labels)
    plain.backward()
    wanted = gradients(model)
    model.zero_grad()
    cached = CachedInfoNCE(model, relevance, 0.05, mini_batch_size)(features(model, *texts), labels)
    cached.backward()
    found = gradients(model)
    assert cached.item() == pytest.approx(plain.item(), rel=1e-5)
    assert found.keys() == wanted.keys() and len(found) > 20
    assert max(gradient.abs().max() for gradient in wanted.values()) > 1e-2
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_the_cached_loss_with_the_penalty_for_leaving_the_base_has_the_gradients_of_the_plain_one(
    model: SentenceTransformer,
) -> None:
    relevance = relevance_of([[at, 5 + at] for at in range(5)], [0, 1, 2, 3, 4], [{at} for at in range(5)])
    elsewhere = np.random.default_rng(0).normal(size=model.encode(POSITIVES).shape).astype(np.float32)
    kept = [Kept(POSITIVES, elsewhere, "")]
    found = []
    for loss, weight in ((InfoNCE, 8.0), (CachedInfoNCE, 8.0), (InfoNCE, 0.0)):
        model.zero_grad()
        torch.manual_seed(3)
        inner = loss(model, relevance, 0.05)
        NearBase(model, inner, kept, weight)(features(model, ANCHORS, POSITIVES, NEGATIVES), torch.arange(5)).backward()
        found.append(gradients(model))
    plain, cached, without = found
    for name, gradient in plain.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-3, atol=1e-4, msg=name)
    assert any((plain[name] - without[name]).abs().max() > 1e-2 for name in plain)


def test_the_cached_loss_without_gradients_has_the_same_value(model: SentenceTransformer) -> None:
    relevance = relevance_of([[at, 5 + at] for at in range(5)], [0, 1, 2, 3, 4], [{at} for at in range(5)])
    given_features = features(model, ANCHORS, POSITIVES, NEGATIVES)
    with torch.no_grad():
        plain = InfoNCE(model, relevance, 0.05)(given_features, torch.arange(5))
        cached = CachedInfoNCE(model, relevance, 0.05, 2)(given_features, torch.arange(5))
    assert cached.item() == pytest.approx(plain.item(), rel=1e-5)


def inputs_of(model: SentenceTransformer) -> LossInputs:
    relevance = relevance_of([[at, 5 + at] for at in range(5)], [0, 1, 2, 3, 4], [{at} for at in range(5)])
    return LossInputs(model, relevance, 0.2, 0.3, lambda: model, torch.tensor([[0.9, 0.5]] * 5))


def test_the_triplet_loss_is_over_cosine_distances_with_the_margin_of_the_settings(
    model: SentenceTransformer,
) -> None:
    """Mean of max(0, (1 - cos(a, p)) - (1 - cos(a, n)) + .3)."""
    loss = LOSSES["triplet"].make(inputs_of(model))(features(model, ANCHORS, POSITIVES, NEGATIVES), torch.arange(5))
    anchors, positives, negatives = (
        model.encode(texts, convert_to_tensor=True) for texts in (ANCHORS, POSITIVES, NEGATIVES)
    )
    wanted = torch.relu((anchors * negatives).sum(1) - (anchors * positives).sum(1) + 0.3).mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert loss.item() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_by_name_is_finite_and_reaches_the_model(model: SentenceTransformer, name: str) -> None:
    loss = LOSSES[name].make(inputs_of(model))(features(model, ANCHORS, POSITIVES, NEGATIVES), torch.arange(5))
    loss.backward()
    assert loss.ndim == 0 and math.isfinite(loss.item())
    assert sum(gradient.abs().sum() for gradient in gradients(model).values()) > 0


@pytest.mark.parametrize("name", ["infonce", "cached-infonce", "gist"])
def test_the_contrastive_losses_take_the_temperature_of_the_settings(model: SentenceTransformer, name: str) -> None:
    assert LOSSES[name].make(inputs_of(model)).temperature == 0.2


# gist is the library's, as what cuts it is
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"gist"}))
def test_at_several_dims_a_loss_is_the_mean_of_what_it_is_at_each(model: SentenceTransformer, name: str) -> None:
    def value(dims: tuple[int, ...]) -> float:
        given_features = features(model, ANCHORS, POSITIVES, NEGATIVES)
        loss = at_dims(model, LOSSES[name].make(inputs_of(model)), dims)
        return float(loss(given_features, torch.arange(5)).detach())

    whole, both = value(()), value((8,))
    with torch.no_grad():
        columns = [model.encode(texts, convert_to_tensor=True)[:, :8] for texts in (ANCHORS, POSITIVES, NEGATIVES)]
        cut = of_columns(name, columns)
    assert both == pytest.approx((whole + cut) / 2, rel=1e-4) and abs(cut - whole) > 1e-3


def of_columns(name: str, columns: list[torch.Tensor]) -> float:
    """A loss with the settings of `inputs_of`, of embeddings."""
    queries, positives, negatives = (torch.nn.functional.normalize(column, dim=1) for column in columns)
    near, far = (queries * positives).sum(1), (queries * negatives).sum(1)
    if name == "triplet":
        return float(torch.relu(far - near + 0.3).mean())
    if name == "margin-mse":
        return float((near - far - 0.4).square().mean())
    if LOSSES[name].lists:
        lists, own = torch.stack([near, far], dim=1) / 0.2, torch.eye(5, dtype=torch.bool)
        others = (queries @ torch.cat([positives, negatives]).T / 0.2)[~torch.cat([own, own], dim=1)].view(5, 8)
        values = torch.tensor([[0.9, 0.5]] * 5)
        if name == "listwise":
            # .5 is below .6 of .9: the negative of the list is one of the contrastive term, too
            beside = torch.logsumexp(torch.cat([lists, others], dim=1), dim=1) - lists[:, 0]
            wanted = (values / 0.3).softmax(dim=1)
            return float(((wanted * (wanted.log() - lists.log_softmax(dim=1))).sum(1) + 0.1 * beside).mean())
        targets = torch.cat([values, torch.zeros(5, 8)], dim=1)
        return least_bce(torch.cat([lists, others], dim=1), targets) / 5
    nothing = torch.zeros(5, 10, dtype=torch.bool)
    return float(info_nce(queries, torch.cat([positives, negatives]), nothing, 0.2).mean())


def least_bce(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """The least sum of binary cross-entropies over a common bias, by trying many."""
    biases = torch.linspace(-20, 20, 4001)[:, None, None]
    found = torch.nn.functional.softplus(scores + biases) - targets * (scores + biases)
    return float(found.sum(dim=(1, 2)).min())


def test_listwise_is_the_divergence_of_the_student_from_the_teacher() -> None:
    """Values .3 ln 3 and 0 are probabilities 3/4 and 1/4 to the teacher, and equal scores 1/2 and 1/2:
    .75 ln 1.5 + .25 ln .5 = .1308. A place where a list is shorter counts nothing, whatever stands there.
    """
    values = torch.tensor([[0.3 * math.log(3), 0.0, math.nan]])
    assert listwise(torch.tensor([[2.0, 2.0, 9.0]]), values).item() == pytest.approx(0.1308, abs=1e-4)
    # as the teacher has it: e^ln 3 to 1
    scores = torch.tensor([[math.log(3) - 5, -5.0, 9.0]], requires_grad=True)
    found = listwise(scores, values)
    assert found.item() == pytest.approx(0, abs=1e-6)
    found.sum().backward()
    assert scores.grad is not None and scores.grad.abs().max() < 1e-6


def test_the_contrastive_term_of_a_list_has_no_passage_that_the_teacher_values_above_three_fifths_of_its_best(
    model: SentenceTransformer,
) -> None:
    """Scores 2, 1, 1 with values 1, .7, .1, and 0 of the batch: ln(e^2 + e^1 + e^0) - 2 = .4076 counts a tenth."""
    loss = Listwise(model, relevance_of([], [], []), torch.zeros(0, 0), 0.05)
    lists, values = torch.tensor([[2.0, 1.0, 1.0]]), torch.tensor([[1.0, 0.7, 0.1]])
    found = loss.of_scores(lists, values, torch.tensor([[0.0, -math.inf]])) - listwise(lists, values)
    assert found.item() == pytest.approx(0.04076, abs=1e-5)


def test_graded_bce_is_taken_at_the_bias_that_is_best_for_the_batch() -> None:
    """Scores 1 and -1 of an answer and none: by symmetry no bias, 2 ln(1 + e^-1) = .6265. What is worth a half, at
    equal scores, has probability 1/2 at the best bias, 2 ln 2 = 1.3863, wherever the scores lie.
    """
    assert graded_bce(torch.tensor([[1.0, -1.0]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.6265, abs=1e-4)
    equal = torch.full((2, 1), 7.0), torch.full((2, 1), 0.5)
    assert graded_bce(*equal).sum().item() == pytest.approx(1.3863, abs=1e-4)


@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(0, 1)), min_size=2, max_size=8),
    st.floats(-30, 30),
)
def test_graded_bce_knows_no_common_shift_of_scores_and_has_the_gradient_of_its_minimum(
    pairs: list[tuple[float, float]], shift: float
) -> None:
    scores = torch.tensor([[score for score, _ in pairs]], requires_grad=True)
    values = torch.tensor([[value for _, value in pairs]])
    found = graded_bce(scores, values)
    assert graded_bce(scores + shift, values).item() == pytest.approx(found.item(), rel=1e-3, abs=1e-3)
    found.sum().backward()
    # at the best bias the residuals add up to nothing
    assert scores.grad is not None and abs(scores.grad.sum().item()) < 1e-3


def test_what_is_not_there_counts_nothing_in_graded_bce() -> None:
    scores = torch.tensor([[1.0, -1.0, 5.0, -math.inf]], requires_grad=True)
    found = graded_bce(scores, torch.tensor([[1.0, 0.0, math.nan, 0.0]]))
    assert found.item() == pytest.approx(0.6265, abs=1e-4)
    found.sum().backward()
    assert scores.grad is not None and scores.grad[0, 2:].tolist() == [0.0, 0.0] and scores.grad.isfinite().all()


def test_a_part_of_an_answer_is_pulled_up_less_than_an_answer_and_more_than_none() -> None:
    scores = torch.zeros((1, 3), requires_grad=True)
    graded_bce(scores, torch.tensor([[1.0, 2 / 3, 0.0]])).sum().backward()
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx([-4 / 9, -1 / 9, 5 / 9], abs=1e-5)


def test_what_stands_in_a_list_is_no_other_passage_of_the_batch() -> None:
    """Rows (0, 1) and (2, 0): passage 1 counts for the second row, and 2 for the first, wherever they stand."""
    relevance = relevance_of([[0, 1], [2, 0]], [0, 1], [{0}, {2}])
    masks = ["".join("x" if cell else "." for cell in line) for line in relevance.mask_beside_lists([0, 1])]
    # columns 0 2 | 1 0
    assert masks == ["x.xx", "xx.x"]


@pytest.mark.parametrize("kind", [Listwise, GradedBCE])
def test_shorter_lists_are_as_if_they_stood_alone(model: SentenceTransformer, kind: type[Listwise | GradedBCE]) -> None:
    """A row that lacks a passage repeats its positive there, which counts nothing."""
    whole = relevance_of([[at, 5 + at] for at in range(5)], [0, 1, 2, 3, 4], [{at} for at in range(5)])
    filled = relevance_of([[at, 5 + at, at] for at in range(5)], [0, 1, 2, 3, 4], [{at} for at in range(5)])
    values = torch.tensor([[0.9, 0.5, math.nan]] * 5)
    with torch.no_grad():
        given_features = features(model, ANCHORS, POSITIVES, NEGATIVES)
        alone = kind(model, whole, values[:, :2], 0.1)(given_features, torch.arange(5))
        given_features = features(model, ANCHORS, POSITIVES, NEGATIVES, POSITIVES)
        found = kind(model, filled, values, 0.1)(given_features, torch.arange(5))
    assert found.item() == pytest.approx(alone.item(), rel=1e-5)


def test_dims_that_a_model_has_not_are_left_out_and_all_of_them_are_its_loss_itself(model: SentenceTransformer) -> None:
    loss = LOSSES["infonce"].make(inputs_of(model))
    assert at_dims(model, loss, ()) is at_dims(model, loss, (32, 100)) is loss
    assert at_dims(model, loss, (100, 8, 16)).matryoshka_dims == (32, 16, 8)
    # what a model is usually cut to is not all that it has
    with model.truncate_embeddings(8):
        assert at_dims(model, loss, (8,)).matryoshka_dims == (32, 8)


def test_the_penalty_compares_what_the_base_has_of_an_embedding(model: SentenceTransformer) -> None:
    own = model.encode(POSITIVES)
    elsewhere = own.copy()
    elsewhere[:, 8:] *= -1
    for vectors, low, high in ((own[:, :8], -1e-5, 1e-5), (elsewhere[:, :8], -1e-5, 1e-5), (elsewhere, 0.1, 2.0)):
        penalty = NearBase(model, LOSSES["infonce"].make(inputs_of(model)), [Kept(POSITIVES, vectors, "")], 1.0)
        assert low <= penalty.penalty().item() <= high
