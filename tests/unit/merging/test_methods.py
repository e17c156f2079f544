"""Merging by properties: weight 0 is the base, weight 1 the model, and the arithmetic in between by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from denizen.engine.errors import InputError
from denizen.merging.methods import METHODS, Merge, check_recipe, merge
from denizen.retrievers.loading import load_encoder

pytest.importorskip("mergekit", reason="merging is an extra")

TEXTS = ["what is gout", "the dose of a drug for a child", "fever and pain 12"]


@pytest.fixture(scope="module")
def family(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base and two models near it, with prompts of their own."""
    import torch

    folders = [tiny_encoder]
    for seed in (1, 2):
        model = load_encoder(tiny_encoder)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(torch.randn(weights.shape, generator=random) * 0.02)
        model.prompts = {"query": "ask: ", "document": "told: "}
        folder = tmp_path_factory.mktemp("family") / f"model-{seed}"
        model.save_pretrained(str(folder), create_model_card=False)
        folders.append(folder)
    return folders[0], folders[1], folders[2]


def _vectors(model: object) -> np.ndarray:
    return model.encode(TEXTS, normalize_embeddings=False)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("method", [name for name, found in METHODS.items() if found.weighted])
def test_weight_0_is_the_base_and_weight_1_is_the_model(method: str, family: tuple[Path, Path, Path]) -> None:
    base, model, _ = family
    for weight, same in ((0.0, base), (1.0, model)):
        merged = merge(base, [model], Merge(method, (weight,), density=1.0))
        np.testing.assert_allclose(_vectors(merged), _vectors(load_encoder(same)), atol=1e-5)
    half = _vectors(merge(base, [model], Merge(method, (0.5,), density=1.0)))
    assert np.abs(half - _vectors(load_encoder(base))).max() > 1e-3
    assert np.abs(half - _vectors(load_encoder(model))).max() > 1e-3


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_two_models_are_weighted_as_said_and_the_rest_is_the_base(method: str, family: tuple[Path, Path, Path]) -> None:
    base, one, two = family
    weights = [load_encoder(folder).state_dict() for folder in (base, one, two)]
    merged = merge(base, [one, two], Merge(method, (0.2, 0.3))).state_dict()
    for name, values in merged.items():
        if values.is_floating_point():
            expected = 0.5 * weights[0][name] + 0.2 * weights[1][name] + 0.3 * weights[2][name]
            np.testing.assert_allclose(values.numpy(), expected.numpy(), atol=1e-6)


def test_ties_by_hand(tiny_encoder: Path, tmp_path: Path) -> None:
    """Task vectors (4, -1, 2, 0) and (1, 3, -2, 0) at density .5 keep (4, 0, 2, 0) and (0, 3, -2, 0).

    The elected signs are +, +, tie, none. Where one model alone is left its own entry counts whole: (4, 3, ?, 0), times
    lambda .5; at the tie the sum of the entries is 0 and mergekit takes the positive sign: 2.
    """
    import torch

    folders = []
    for number, change in enumerate(((4.0, -1.0, 2.0, 0.0), (1.0, 3.0, -2.0, 0.0))):
        model = load_encoder(tiny_encoder)
        bias = model[0].auto_model.pooler.dense.bias
        with torch.no_grad():
            bias[:4] = bias[:4] + torch.tensor(change)
            # 28 more entries of a task vector that are 0: the largest half of 32 includes all of the first four
        folders.append(tmp_path / f"m{number}")
        model.save_pretrained(str(folders[-1]), create_model_card=False)
    merged = merge(tiny_encoder, folders, Merge("ties", (0.25, 0.25), density=2 / 32))
    before = load_encoder(tiny_encoder)[0].auto_model.pooler.dense.bias
    after = merged[0].auto_model.pooler.dense.bias
    np.testing.assert_allclose((after - before)[:4].detach().numpy(), [2.0, 1.5, 1.0, 0.0], atol=1e-6)
    assert float((after - before)[4:].abs().max()) < 1e-6


def test_model_stock_of_equal_models_is_that_model_and_of_opposite_ones_the_base(
    family: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base, model, _ = family
    shutil.copytree(model, tmp_path / "copy")
    merged = merge(base, [model, tmp_path / "copy"], Merge("model_stock", ()))
    np.testing.assert_allclose(_vectors(merged), _vectors(load_encoder(model)), atol=1e-4)
    import torch

    opposite, origin = load_encoder(model), load_encoder(base).state_dict()
    with torch.no_grad():
        for name, weights in opposite.named_parameters():
            weights.copy_(2 * origin[name] - weights)
    opposite.save_pretrained(str(tmp_path / "opposite"), create_model_card=False)
    merged = merge(base, [model, tmp_path / "opposite"], Merge("model_stock", ()))
    np.testing.assert_allclose(_vectors(merged), _vectors(load_encoder(base)), atol=1e-4)


def test_dare_drops_by_the_seed_and_leaves_the_random_state_alone(family: tuple[Path, Path, Path]) -> None:
    import torch

    base, model, _ = family
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (
        _vectors(merge(base, [model], Merge("dare_ties", (1.0,), density=0.5, seed=seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), wanted)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_prompts_pooling_and_normalisation_are_kept(family: tuple[Path, Path, Path], tmp_path: Path) -> None:
    base, model, _ = family
    merged = merge(base, [model], Merge("task_arithmetic", (0.5,)))
    merged.save_pretrained(str(tmp_path / "merged"), create_model_card=False)
    loaded = load_encoder(tmp_path / "merged")
    assert [type(module).__name__ for module in loaded] == ["Transformer", "Pooling", "Normalize"]
    assert loaded[1].pooling_mode == "mean"
    assert loaded.prompts["query"] == "ask: "
    np.testing.assert_allclose(np.linalg.norm(loaded.encode(TEXTS), axis=1), 1.0, atol=1e-6)


def test_models_of_another_make_are_refused_by_name(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    other = SentenceTransformer(
        modules=[Transformer(str(tiny_encoder)), Pooling(32, pooling_mode="cls"), Normalize()], device="cpu"
    )
    other.save_pretrained(str(tmp_path / "cls"), create_model_card=False)
    with pytest.raises(InputError, match=r"cls cannot be merged with model.*different configuration"):
        merge(tiny_encoder, [tmp_path / "cls"], Merge("linear", (0.5,)))


@pytest.mark.parametrize(
    ("recipe", "models", "message"),
    [
        (Merge("soup", (1.0,)), 1, "'soup' is unknown; there are linear, slerp"),
        (Merge("slerp", (0.5, 0.5)), 2, "slerp merges 1 model"),
        (Merge("model_stock", ()), 1, "at least 2 model"),
        (Merge("linear", (0.5,)), 2, "1 weights for 2 model"),
        (Merge("linear", (0.7, 0.7)), 2, "1.4 in all; at most 1"),
        (Merge("task_arithmetic", (-0.1,)), 1, "none may be below 0"),
        (Merge("linear", (float("nan"),)), 1, "must be finite numbers"),
        (Merge("ties", (0.5,), density=float("nan")), 1, "must be finite numbers"),
        (Merge("model_stock", (0.5, 0.5)), 2, "leave the weights out"),
        (Merge("ties", (3.0,)), 1, "at most 2"),
        (Merge("ties", (0.5,), density=0.0), 1, "density is 0.0"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(recipe: Merge, models: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_recipe(recipe, models)


def test_a_recipe_says_only_what_its_method_uses() -> None:
    assert Merge("linear", (0.5,)).as_dict() == {"method": "linear", "weights": [0.5]}
    assert Merge("model_stock", ()).as_dict() == {"method": "model_stock"}
    assert Merge("dare_ties", (0.5,)).as_dict() == {
        "method": "dare_ties",
        "weights": [0.5],
        "density": 0.5,
        "seed": 42,
    }
