"""Merging models of one ancestor: the arithmetic is the library's, the meaning of the weights is one for all methods.

Each method moves from the base towards the models by task vectors, model - base: at weight 0 it gives the base, and one
model at weight 1 is that model (with density 1, where there is one).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError, reason
from denizen.retrievers.loading import load_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# TIES keeps a fifth of each task vector by default (arXiv 2306.01708)
DENSITY = 0.5


@dataclass(frozen=True)
class Merge:
    """How models are merged.

    Attributes:
        method: A name in `METHODS`.
        weights: How far to go towards each model; what is left of 1 stays the base's.
        density: The share of a task vector that ties and dare_ties keep.
        seed: Of what dare_ties drops.
    """

    method: str
    weights: tuple[float, ...]
    density: float = DENSITY
    seed: int = 42

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON keeps it, without what the method does not use."""
        method = METHODS[self.method]
        used = {"method": True, "weights": method.weighted, "density": method.sparse, "seed": method.random}
        values = {**asdict(self), "weights": list(self.weights)}
        return {name: value for name, value in values.items() if used[name]}


@dataclass(frozen=True)
class Method:
    """A merge method.

    Attributes:
        parameters: mergekit's parameters for a recipe.
        least: The fewest models besides the base.
        most: The most; None: any number.
        weighted: Whether weights count.
        heaviest: What they may be in all.
        sparse: Whether density counts.
        random: Whether the seed counts.
    """

    parameters: Callable[[Merge], dict[str, Any]]
    least: int = 1
    most: int | None = None
    weighted: bool = True
    heaviest: float = 2.0
    sparse: bool = False
    random: bool = False


def _with_lambda(recipe: Merge) -> dict[str, Any]:
    # where signs agree mergekit divides by the weights, so how far to go is said by lambda
    total = sum(recipe.weights)
    shares = [weight / total if total else 1 / len(recipe.weights) for weight in recipe.weights]
    return {"weight": shares, "normalize": True, "lambda": total, "density": recipe.density}


# linear: model soups (arXiv 2203.05482); slerp (Shoemake 1985); task arithmetic (arXiv 2212.04089); TIES (arXiv
# 2306.01708); DARE (arXiv 2311.03099); model stock (arXiv 2403.19522)
METHODS: dict[str, Method] = {
    "linear": Method(
        lambda recipe: {"weight": [*recipe.weights, 1 - sum(recipe.weights)], "normalize": False}, heaviest=1.0
    ),
    "slerp": Method(lambda recipe: {"t": recipe.weights[0]}, most=1, heaviest=1.0),
    "task_arithmetic": Method(lambda recipe: {"weight": list(recipe.weights), "normalize": False}),
    "ties": Method(_with_lambda, sparse=True),
    "dare_ties": Method(_with_lambda, sparse=True, random=True),
    "model_stock": Method(lambda recipe: {}, least=2, weighted=False),
}


def merge(base: Path, models: Sequence[Path], recipe: Merge) -> SentenceTransformer:
    """Merges models with their base by `SentenceTransformer.merge`, which needs mergekit (the extra `merge`).

    Prompts, pooling and normalisation are those of the first model; all must have the same modules and vocabulary.

    Args:
        base: The model that the others were trained from.
        models: The others.
        recipe: How.

    Raises:
        InputError: When mergekit is missing, the recipe does not fit, or the models are of different make.
    """
    check_recipe(recipe, len(models))
    import torch
    from sentence_transformers import SentenceTransformer

    *loaded, ancestor = (load_encoder(folder) for folder in (*models, base))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        try:
            return SentenceTransformer.merge(
                [*loaded, ancestor],
                recipe.method,
                base_model=None if recipe.method == "linear" else ancestor,
                parameters=METHODS[recipe.method].parameters(recipe),
            )
        except ImportError:
            raise InputError("merging needs mergekit: pip install 'denizen[merge]'") from None
        except ValueError as error:
            raise InputError(
                f"{', '.join(folder.name for folder in models)} cannot be merged with {base.name}: {reason(error)}; "
                "all must be fine-tuned from that base"
            ) from error


def check_recipe(recipe: Merge, models: int) -> None:
    """Checks a recipe for a number of models before any of them is loaded.

    Raises:
        InputError: When the method is unknown, or takes other models or weights.
    """
    if recipe.method not in METHODS:
        raise InputError(f"merge method {recipe.method!r} is unknown; there are {', '.join(METHODS)}")
    method, weights, total = METHODS[recipe.method], list(recipe.weights), sum(recipe.weights)
    if models < method.least or models > (method.most or models):
        wanted = f"{method.least}" if method.most == method.least else f"at least {method.least}"
        raise InputError(f"{recipe.method} merges {wanted} model(s) with the base; {models} given")
    if not method.weighted:
        if weights:
            raise InputError(f"{recipe.method} finds its own distance from the models; leave the weights out")
        return
    if not all(math.isfinite(value) for value in (*weights, recipe.density)):
        raise InputError(f"weights {weights} and density {recipe.density} must be finite numbers")
    if len(weights) != models:
        raise InputError(f"{len(weights)} weights for {models} model(s); give one for each model")
    # thirds do not add up to exactly 1
    if min(weights) < 0 or total > method.heaviest + 1e-9:
        raise InputError(
            f"weights are {weights}, {total:g} in all; at most {method.heaviest:g} for {recipe.method} (what is left "
            "of 1 is the base's), and none may be below 0"
        )
    if method.sparse and not 0 < recipe.density <= 1:
        raise InputError(f"density is {recipe.density}; it must be above 0 and at most 1")


def check_base(base: Path) -> None:
    """Makes sure that a model can be merged, before students are trained from it.

    Raises:
        InputError: When mergekit is missing, or does not know the model's architecture.
    """
    merge(base, [base], Merge("linear", (0.5,)))


def is_available() -> bool:
    """Whether mergekit is installed."""
    return importlib.util.find_spec("mergekit") is not None
