"""Which merge of experts to measure next: on a lattice of weights, at random, or by CMA-ES.

Only measuring costs anything, so a search counts measurements. It does nothing with models itself; the same seed and
the same measurements give the same path.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from denizen.engine.errors import InputError
from denizen.merging.methods import DENSITY, METHODS, Merge

# slerp knows two models; all others any number
TRIED = ("linear", "task_arithmetic", "ties", "dare_ties", "slerp")
# how far all experts together are followed from the base at the centre: task vectors of different slices are nearly
# orthogonal, so their sum may go further than their mean (arXiv 2212.04089 takes .3 to .4 of each of eight)
_FAR = {"task_arithmetic": 1.5}
# the lattice's parts: thirds and quarters, or one for each of more experts
_PARTS = 4
# a search that proposes nothing new any more has ended
_PROPOSALS = 20
# of a weight between 0 and 1, the step in which CMA-ES begins
_SIGMA = 0.25

Proposals = Generator[Merge, float, None]


@dataclass(frozen=True)
class Tried:
    """A merge that was measured.

    Attributes:
        recipe: How; a weight for each expert.
        dev: What it gets on dev of each slice.
    """

    recipe: Merge
    dev: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean over slices."""
        return fmean(self.dev.values())

    def as_dict(self) -> dict[str, Any]:
        """The point as JSON keeps it."""
        return {**self.recipe.as_dict(), "dev": dict(self.dev), "mean": self.mean}


def search(
    measure: Callable[[Merge], Tried], means: Sequence[float], how: str, evaluations: int, seed: int
) -> list[Tried]:
    """Measures merges, each once.

    Args:
        measure: Merges and measures.
        means: Of each expert, what it gets on dev: among weights as even as each other, those that favour the better
            experts come first.
        how: "grid", "random" or "cma".
        evaluations: How many merges are measured at most.
        seed: Of all that is drawn.

    Returns:
        The points in the order in which they were measured.
    """
    proposals = {"grid": grid, "random": at_random, "cma": evolving}[how](means, seed)
    found: dict[Merge, Tried] = {}
    proposed = 0
    try:
        recipe = next(proposals)
        while proposed < _PROPOSALS * evaluations:
            proposed += 1
            if recipe not in found:
                if len(found) == evaluations:
                    break
                found[recipe] = measure(recipe)
            recipe = proposals.send(found[recipe].mean)
    except StopIteration:
        pass
    return list(found.values())


def methods_for(experts: int) -> list[str]:
    """What is tried for so many experts."""
    return [name for name in TRIED if experts == 2 or name != "slerp"]


def grid(means: Sequence[float], seed: int) -> Proposals:
    """Every method with all experts alike; then the rest of the lattice by the best method, the second best, ..."""
    ranked = yield from _centre(means, seed)
    for method in ranked:
        for shares in itertools.islice(lattice(means), 1, None):
            yield _fitted(method, shares, seed=seed)


def at_random(means: Sequence[float], seed: int) -> Proposals:
    """The mean of all; then methods, weights and densities at random.

    Weights are tenths from 0 to .9 and densities from .1 to .9, the grid of arXiv 2602.04731.
    """
    random, methods = np.random.default_rng(seed), methods_for(len(means))
    yield _fitted("linear", [1.0] * len(means), seed=seed)
    while True:
        method = methods[random.integers(len(methods))]
        weights = random.integers(0, 10, len(means)) / 10
        density = float(random.integers(1, 10) / 10)
        if weights.any():
            yield _scaled(method, weights.tolist(), density, seed)


def evolving(means: Sequence[float], seed: int) -> Proposals:
    """Every method with all experts alike; then CMA-ES over weights, and density, of the best one.

    A generation has as many points as is usual for so many weights (Hansen 2016), so that a small budget ends within
    the first few.

    Raises:
        InputError: When the package cma is not installed.
    """
    method, *_ = yield from _centre(means, seed)
    try:
        with warnings.catch_warnings():
            # that it cannot draw without matplotlib is nobody's concern here
            warnings.simplefilter("ignore")
            import cma
    except ImportError:
        raise InputError("search cma needs the package cma: pip install 'denizen[experts]'") from None
    sparse = METHODS[method].sparse
    start = [_FAR.get(method, 1.0) / len(means)] * len(means) + [DENSITY] * sparse
    random = np.random.default_rng(seed)
    # its own draws: others use numpy's global ones while a point is measured
    drawn = {"seed": np.nan, "randn": lambda *shape: random.standard_normal(shape)}
    options = {**drawn, "bounds": [[0.0] * len(start), [1.0] * len(start)], "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(start, _SIGMA, options)
    while not strategy.stop():
        asked = strategy.ask()
        values = []
        for point in asked:
            weights, density = list(point[: len(means)]), float(point[-1]) if sparse else DENSITY
            values.append(-(yield _scaled(method, weights, max(density, 0.05), seed)))
        strategy.tell(asked, values)


def lattice(means: Sequence[float]) -> Iterator[tuple[float, ...]]:
    """Shares of experts that add up to 1, from all alike to the most uneven.

    They are multiples of one part, a quarter or less; from one layer to the next one part more is taken from an expert
    and given to another. Within a layer those come first by which better experts have more. A single expert is none.

    Args:
        means: Of each expert, how good it is.
    """
    experts = len(means)
    parts = experts * -(-_PARTS // experts)
    layer = {(parts // experts,) * experts}
    seen = set(layer)
    while layer:
        kept = [shares for shares in layer if max(shares) < parts]
        for shares in sorted(kept, key=lambda shares: (-_worth(shares, means), shares)):
            yield tuple(share / parts for share in shares)
        layer = {moved for shares in kept for moved in _moved(shares)} - seen
        seen |= layer


def _worth(shares: Sequence[int], means: Sequence[float]) -> float:
    # rounded: the same sum in another order must not decide
    return round(sum(share * mean for share, mean in zip(shares, means, strict=True)), 9)


def _moved(shares: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for giver, taker in itertools.permutations(range(len(shares)), 2):
        if shares[giver]:
            yield tuple(share - (at == giver) + (at == taker) for at, share in enumerate(shares))


def _centre(means: Sequence[float], seed: int) -> Generator[Merge, float, list[str]]:
    """Every method with all experts alike; gives back the methods, best first."""
    found = {}
    for method in methods_for(len(means)):
        found[method] = yield _fitted(method, [1.0] * len(means), seed=seed)
    return sorted(found, key=lambda method: -found[method])


def _fitted(method: str, shares: Sequence[float], seed: int) -> Merge:
    """A recipe by shares of experts, as far from the base as is usual for the method."""
    total = sum(shares)
    return _scaled(method, [_FAR.get(method, 1.0) * share / total for share in shares], DENSITY, seed)


def _scaled(method: str, weights: Sequence[float], density: float, seed: int) -> Merge:
    """A recipe by weights, made smaller where they are more than the method takes; slerp's add up to 1."""
    of, total = METHODS[method], sum(weights)
    if not total:
        weights, total = [1.0] * len(weights), float(len(weights))
    if method == "slerp" or total > of.heaviest:
        weights = [weight * of.heaviest / total for weight in weights]
    # what a method does not read must not make two recipes of one
    return Merge(
        method,
        # downwards, for rounded thirds and sixths may add up to more than is allowed
        tuple(math.floor(float(weight) * 1e4 + 1e-6) / 1e4 for weight in weights),
        round(density, 2) if of.sparse else DENSITY,
        seed if of.random else Merge.seed,
    )
