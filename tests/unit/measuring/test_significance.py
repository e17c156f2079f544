from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from denizen.measuring import significance as paired
from denizen.measuring.significance import mean_differences, paired_difference


def test_identical_systems_differ_by_nothing() -> None:
    values = np.linspace(0, 1, 17)
    found = paired_difference(values, values)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_has_a_small_p_that_is_never_zero() -> None:
    base = np.linspace(0, 0.5, 60)
    found = paired_difference(base + 0.3, base)
    assert found.p == pytest.approx(1 / 10_001)
    assert found.low == pytest.approx(0.3) and found.high == pytest.approx(0.3)


def test_swapping_the_systems_flips_the_sign_and_keeps_p() -> None:
    random = np.random.default_rng(3)
    one, other = random.random(25), random.random(25)
    ahead, behind = paired_difference(one, other), paired_difference(other, one)
    assert behind.value == -ahead.value
    assert behind.p == ahead.p
    assert (behind.low, behind.high) == pytest.approx((-ahead.high, -ahead.low), abs=0.01)


@pytest.mark.parametrize("delta", [[0.5, 0.25, 0.1, -0.2, 0.3], [1.0, -1.0, 1.0, 0.0], [0.2, 0.2, 0.2]])
def test_p_is_that_of_enumerating_all_swaps_within_monte_carlo_error(delta: list[float]) -> None:
    """Exact: the share of the 2^n sign patterns whose mean is as large as the observed one; 3 x 0.2 gives 2/8."""
    signs = itertools.product((-1, 1), repeat=len(delta))
    sums = [abs(sum(sign * value for sign, value in zip(pattern, delta, strict=True))) for pattern in signs]
    exact = np.mean([value >= abs(sum(delta)) - 1e-9 for value in sums])
    found = paired_difference(np.array(delta), np.zeros(len(delta)), seed=5)
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000) + 1e-4)


def test_p_is_about_uniform_when_there_is_no_difference() -> None:
    p = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        p.append(paired_difference(random.normal(size=20), random.normal(size=20), seed).p)
    assert 0.3 < np.mean(np.array(p) < 0.5) < 0.7
    assert 0.02 < np.mean(np.array(p) < 0.2) < 0.4
    assert min(p) > 1 / 10_001


def test_the_interval_is_that_of_the_normal_approximation_for_many_queries() -> None:
    """A bootstrap 95 % interval of a mean is close to mean -+ 1.96 s / sqrt(n)."""
    delta = np.random.default_rng(0).normal(0.1, 1.0, 500)
    found = paired_difference(delta, np.zeros(500))
    half = 1.96 * delta.std() / math.sqrt(500)
    assert (found.low, found.high) == pytest.approx((delta.mean() - half, delta.mean() + half), abs=0.08 * half)


def test_the_same_seed_gives_the_same_numbers_and_the_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)
    one, other = random.random(31), random.random(31)
    first = paired_difference(one, other, seed=7)
    assert first == paired_difference(one, other, seed=7)
    monkeypatch.setattr(paired, "_CHUNK", 77)
    again = paired_difference(one, other, seed=7)
    assert again.p == pytest.approx(first.p, abs=0.02)
    assert (again.low, again.high) == pytest.approx((first.low, first.high), abs=0.01)


def test_values_of_one_group_are_drawn_together() -> None:
    """The same queries three times over are no more evidence than once."""
    random = np.random.default_rng(1)
    system, base = random.random(40), random.random(40)
    once = paired_difference(system, base)
    thrice = paired_difference(np.repeat(system, 3), np.repeat(base, 3), groups=np.repeat(np.arange(40), 3).tolist())
    assert thrice.value == pytest.approx(once.value)
    assert (thrice.low, thrice.high, thrice.p) == pytest.approx((once.low, once.high, once.p))
    careless = paired_difference(np.repeat(system, 3), np.repeat(base, 3))
    assert careless.high - careless.low < 0.7 * (once.high - once.low)


def test_the_mean_over_one_part_is_the_difference_there() -> None:
    random = np.random.default_rng(1)
    system, base, groups = random.random(40), random.random(40), random.integers(0, 12, 40).tolist()
    assert mean_differences([[(system, base)]], [groups], seed=4) == [paired_difference(system, base, 4, groups)]


def test_every_part_weighs_the_same_however_many_queries_it_has() -> None:
    """The mean of .4 over 5 queries and of 0 over 95 is .2, and not .02; constant gains have no width."""
    parts = [[(np.full(5, 0.4), np.zeros(5))], [(np.zeros(95), np.zeros(95))]]
    (found,) = mean_differences(parts, [[*range(5)], [*range(95)]])
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    # of 2^5 ways to swap, all one way and all the other are as large
    assert found.p == pytest.approx(2 / 32, abs=0.01)


def test_parts_are_drawn_by_themselves() -> None:
    """Two parts with constant gains of 0 and 1: drawn across them the mean would vary, within them it does not."""
    parts = [[(np.ones(10), np.zeros(10))], [(np.zeros(10), np.zeros(10))]]
    (found,) = mean_differences(parts, [[*range(10)]] * 2)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))


def test_several_comparisons_share_their_draws() -> None:
    random = np.random.default_rng(2)
    one, other, base = (random.random(20) for _ in range(3))
    both = mean_differences([[(one, base), (other, base)]], [[*range(20)]])
    alone = mean_differences([[(one, base)]], [[*range(20)]])[0]
    assert (both[0].low, both[0].high, both[0].p) == pytest.approx((alone.low, alone.high, alone.p))
    assert both[1].value == pytest.approx(float((other - base).mean()))
