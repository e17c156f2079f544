"""Merged adapters are the merge of the models that they make; those of another base are found out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from denizen.engine.errors import InputError
from denizen.recipes.merge_models import merge_models
from denizen.retrievers.adapted import ADAPTER
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.adapters import attach, fold, of, save_adapters
from tests.tiny_models import tiny_llm

pytest.importorskip("mergekit", reason="merging is an extra")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A decoder and two experts of ranks 2 and 3."""
    folder = tmp_path_factory.mktemp("family")
    base = locate(str(tiny_llm(folder / "llm", "qwen3")))
    return [base, *(expert(base, folder / f"expert-{rank}", rank) for rank in (2, 3))]


def expert(base: Path, folder: Path, rank: int) -> Path:
    model = load_encoder(base)
    attach(model, rank)
    with torch.random.fork_rng():
        torch.manual_seed(rank)
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.05)
    adapted = of(model)
    assert adapted is not None
    save_adapters(adapted, folder / ADAPTER)
    made = load_encoder(base)
    fold(made, folder / ADAPTER)
    made.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize(("method", "weights"), [("linear", (0.3, 0.5)), ("task_arithmetic", (0.9, 0.4))])
def test_merged_as_adapters_and_as_weights_they_are_the_same(
    method: str, weights: tuple[float, ...], family: list[Path], tmp_path: Path
) -> None:
    base, *experts = family
    merge_models(
        [str(folder) for folder in experts], tmp_path / "merged", base=str(base), method=method, weights=weights
    )
    whole, again = load_encoder(tmp_path / "merged").state_dict(), load_encoder(base)
    fold(again, tmp_path / "merged" / ADAPTER)
    far = [float((weights - whole[name]).abs().max()) for name, weights in again.state_dict().items()]
    assert max(far) < 1e-4
    moved = [float((weights - whole[name]).abs().max()) for name, weights in load_encoder(base).state_dict().items()]
    assert max(moved) > 0.01


def test_other_methods_give_no_adapters(family: list[Path], tmp_path: Path) -> None:
    base, *experts = family
    merge_models([str(folder) for folder in experts], tmp_path / "merged", base=str(base), method="ties")
    assert not (tmp_path / "merged" / ADAPTER).exists()


def test_adapters_of_another_base_are_found_out(family: list[Path], tmp_path: Path) -> None:
    _, *experts = family
    with torch.random.fork_rng():
        other = load_encoder(locate(str(tiny_llm(tmp_path / "llm", "qwen3"))))
        torch.manual_seed(9)
        for weights in other.parameters():
            weights.data.add_(0.1 * torch.randn_like(weights))
    other.save_pretrained(str(tmp_path / "other"), create_model_card=False)
    with pytest.raises(InputError, match=r"expert-2, expert-3 are not of other: .* give the base that they"):
        merge_models([str(folder) for folder in experts], tmp_path / "merged", base=str(tmp_path / "other"))
    assert not (tmp_path / "merged").exists()
