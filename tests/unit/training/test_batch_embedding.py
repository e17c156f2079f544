from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from denizen.training.batch_embedding import embed_columns, length_groups
from tests.tiny_models import tiny_model

COLUMNS = (
    ["what is gout", "how is lupus treated", "fever"],
    ["gout is a pain of the toe", "lupus is treated with a drug " * 4, "fever"],
    ["lupus", "gout is a pain of the toe", "lupus"],
)


@pytest.fixture(scope="module")
def model(tiny_encoder: Path) -> Iterator[SentenceTransformer]:
    """The tiny encoder without dropout, on one thread: more only wait for one another at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SentenceTransformer(str(tiny_encoder), device="cpu").eval()
    torch.set_num_threads(threads)


def preprocessed(model: SentenceTransformer) -> list[dict[str, Any]]:
    return [model.preprocess(column) for column in COLUMNS]


def test_embeddings_and_gradients_are_those_of_each_column_by_itself(model: SentenceTransformer) -> None:
    found = []
    plain = [model(features)["sentence_embedding"] for features in preprocessed(model)]
    for columns in (plain, embed_columns(model, preprocessed(model))):
        model.zero_grad()
        weight = torch.arange(9.0).reshape(9, 1)
        (torch.cat(columns) * weight).square().sum().backward()
        gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        found.append((torch.cat(columns).detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert found[0][1].keys() == found[1][1].keys() and len(found[0][1]) > 10
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """One whose texts are padded on the left."""
    return SentenceTransformer(str(tiny_model(tmp_path_factory.mktemp("qwen3"), "qwen3")), device="cpu").eval()


def test_a_decoder_that_is_padded_on_the_left_gives_what_it_gives_by_itself(decoder: SentenceTransformer) -> None:
    with torch.inference_mode():
        plain = [decoder(features)["sentence_embedding"] for features in preprocessed(decoder)]
        for one, other in zip(plain, embed_columns(decoder, preprocessed(decoder)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["model", "decoder"])
def test_each_distinct_text_is_computed_once(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = request.getfixturevalue(which), []
    forward = model.forward

    def watched(features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        seen.append(features["input_ids"])
        return forward(features, **kwargs)

    monkeypatch.setattr(model, "forward", watched)
    embed_columns(model, preprocessed(model))
    assert sum(len(ids) for ids in seen) == len({text for column in COLUMNS for text in column}) == 6


def test_columns_that_the_model_treats_differently_are_not_mixed(model: SentenceTransformer) -> None:
    columns = [model.preprocess(COLUMNS[0]), {**model.preprocess(COLUMNS[1]), "task": "document"}]
    plain = [model(dict(features))["sentence_embedding"] for features in columns]
    for one, other in zip(plain, embed_columns(model, columns), strict=True):
        assert torch.equal(one, other)


def test_a_group_ends_when_padding_has_cost_as_much_as_another_group() -> None:
    """100 + 90 waste 10; 50 more would waste 60 in all."""
    assert length_groups([50, 100, 90, 49], most=1000, cost=59) == [[1, 2], [0, 3]]
    assert length_groups([50, 100, 90, 49], most=1000, cost=111) == [[1, 2, 0, 3]]
    assert length_groups([50, 100, 90, 49], most=200, cost=1000) == [[1, 2], [0, 3]]


@given(lengths=st.lists(st.integers(1, 300)), most=st.integers(1, 1000), cost=st.integers(0, 500))
def test_groups_hold_every_text_once_within_the_limits(lengths: list[int], most: int, cost: int) -> None:
    groups = length_groups(lengths, most=most, cost=cost)
    assert sorted(at for group in groups for at in group) == list(range(len(lengths)))
    for group in groups:
        longest = lengths[group[0]]
        assert all(lengths[one] >= lengths[other] for one, other in itertools.pairwise(group))
        assert len(group) == 1 or len(group) * longest <= most
        assert sum(longest - lengths[at] for at in group) <= cost
