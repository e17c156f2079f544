"""Merging models that are a base and adapters each: what comes out is that base and adapters, of the ranks' sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.engine.errors import InputError
from denizen.merging.methods import Merge
from denizen.retrievers.adapted import ADAPTER
from denizen.retrievers.loading import load_encoder
from denizen.training.adapters import attach, fold, save_adapters

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# a sum of products, rounded in another order
_CLOSE = 1e-4


def have_adapters(models: Sequence[Path], recipe: Merge) -> bool:
    """Whether a merge of models is a sum of adapters: each has some, and the method weighs task vectors as a whole."""
    return recipe.method in ("linear", "task_arithmetic") and all((model / ADAPTER).is_dir() for model in models)


def merge_adapters(base: Path, models: Sequence[Path], recipe: Merge, merged: SentenceTransformer, out: Path) -> None:
    """Writes the adapters that make a merge of their base.

    Args:
        base: What the adapters are of.
        models: The folders of models with adapters (`have_adapters`).
        recipe: How they are merged.
        merged: What their weights were merged to.
        out: The folder to write, which PEFT reads.

    Raises:
        InputError: When adapters do not fit the base, or on it do not make that merge: they are of another one.
    """
    adapted = attach(load_encoder(base), 1, models[0] / ADAPTER)
    names = ["default"]
    for number, folder in enumerate(models[1:], start=1):
        names.append(f"model-{number}")
        adapted.load_adapter(str(folder / ADAPTER), names[-1])
    # side by side: nothing is lost, as it would be by a sum of the factors
    adapted.add_weighted_adapter(names, list(recipe.weights), "merged", combination_type="cat")
    save_adapters(adapted, out, "merged")
    again = load_encoder(base)
    fold(again, out)
    states = again.state_dict(), merged.state_dict()
    far = max(float((states[0][name] - weights).abs().max()) for name, weights in states[1].items() if len(weights))
    if far > _CLOSE:
        raise InputError(
            f"the adapters of {', '.join(model.name for model in models)} are not of {base.name}: on it they differ "
            f"from the merge by {far:.2g}; give the base that they were trained on"
        )
