"""The search for a merge of experts: lattices by hand, and what holds whatever is measured."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.merging.expert_search import Tried, lattice, methods_for, search
from denizen.merging.methods import METHODS, Merge, check_recipe

_HOW = st.sampled_from(["grid", "random", "cma"])
_MEANS = st.lists(st.floats(0, 1), min_size=2, max_size=5)


class Landscape:
    """A mean that is best where the weights are near a point, and better by some methods."""

    def __init__(self, best: float = 0.4, methods: dict[str, float] | None = None) -> None:
        self.best, self.methods = best, methods or {}
        self.seen: list[Merge] = []

    def measure(self, recipe: Merge) -> Tried:
        self.seen.append(recipe)
        off = sum((weight - self.best) ** 2 for weight in recipe.weights)
        return Tried(recipe, {"a": self.methods.get(recipe.method, 0.0) - off, "b": -off})


def test_two_experts_share_quarters_and_the_better_one_comes_first() -> None:
    """Halves; then three quarters of the better one and of the other; whole ones are no merges."""
    assert list(lattice([0.2, 0.3])) == [(0.5, 0.5), (0.25, 0.75), (0.75, 0.25)]


def test_three_experts_share_sixths_from_the_middle_outwards() -> None:
    """6 is the least multiple of 3 from 4 on. One part moved: 6 ways. All but the three corners: 28 - 3."""
    found = list(lattice([0.3, 0.2, 0.1]))
    assert found[0] == (2 / 6, 2 / 6, 2 / 6)
    # 3 .3 + 2 .2 + 1 .1 is the most that one moved part can give
    assert found[1] == (3 / 6, 2 / 6, 1 / 6)
    assert {tuple(sorted(shares)) for shares in found[1:7]} == {(1 / 6, 2 / 6, 3 / 6)}
    assert len(found) == len(set(found)) == 28 - 3


def test_of_many_experts_one_part_is_one_of_them() -> None:
    first, second = itertools.islice(lattice([0.1 * at for at in range(8)]), 2)
    assert first == (1 / 8,) * 8
    assert second == (0, *(1 / 8,) * 6, 2 / 8)


def test_the_grid_tries_each_method_at_the_centre_and_goes_on_with_the_best() -> None:
    """Task arithmetic goes one and a half times as far: .75 each, and .375 and 1.125."""
    there = Landscape(methods={"task_arithmetic": 2.0})
    points = search(there.measure, [0.1, 0.2], "grid", 7, 1)
    assert [(point.recipe.method, point.recipe.weights) for point in points] == [
        ("linear", (0.5, 0.5)),
        ("task_arithmetic", (0.75, 0.75)),
        ("ties", (0.5, 0.5)),
        ("dare_ties", (0.5, 0.5)),
        ("slerp", (0.5, 0.5)),
        ("task_arithmetic", (0.375, 1.125)),
        ("task_arithmetic", (1.125, 0.375)),
    ]


def test_slerp_is_for_two_alone() -> None:
    assert "slerp" in methods_for(2) and "slerp" not in methods_for(3)


def test_the_mean_of_a_point_counts_each_slice_once() -> None:
    assert Tried(Merge("linear", (0.5, 0.5)), {"a": 0.2, "b": 0.6}).mean == pytest.approx(0.4)


def test_cma_finds_better_weights_than_the_centre() -> None:
    """At the centre each of three weights is a third, .2333 too much: a mean of -3 x .2333^2, which is -.163."""
    pytest.importorskip("cma", reason="cma is an extra")
    there = Landscape(best=0.1)
    points = search(there.measure, [0.1] * 3, "cma", 60, 3)
    assert len(points) == 60 and points[0].mean == pytest.approx(-0.163, abs=1e-3)
    assert max(point.mean for point in points) > -0.02


@given(how=_HOW, means=_MEANS, evaluations=st.integers(1, 25), seed=st.integers(0, 2**31))
def test_weights_are_within_bounds_and_nothing_is_measured_twice_or_too_often(
    how: str, means: list[float], evaluations: int, seed: int
) -> None:
    if how == "cma":
        pytest.importorskip("cma", reason="cma is an extra")
    there = Landscape()
    points = search(there.measure, means, how, evaluations, seed)
    assert 1 <= len(points) == len(there.seen) == len(set(there.seen)) <= evaluations
    for recipe in there.seen:
        assert len(recipe.weights) == len(means) and any(recipe.weights)
        if recipe.method == "slerp":
            assert sum(recipe.weights) == pytest.approx(1, abs=2e-4)
        else:
            check_recipe(recipe, len(means))
        assert METHODS[recipe.method].sparse or recipe.density == Merge.density


@given(how=_HOW, means=_MEANS, seed=st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_path(how: str, means: list[float], seed: int) -> None:
    if how == "cma":
        pytest.importorskip("cma", reason="cma is an extra")
    one, other = Landscape(), Landscape()
    search(one.measure, means, how, 12, seed)
    search(other.measure, means, how, 12, seed)
    assert one.seen == other.seen


def test_another_seed_gives_another_path() -> None:
    one, other = Landscape(), Landscape()
    search(one.measure, [0.1, 0.2], "random", 8, 1)
    search(other.measure, [0.1, 0.2], "random", 8, 2)
    assert one.seen[0] == other.seen[0] and one.seen[1:] != other.seen[1:]
