"""The rule that recommends: the cheapest that is nearly the best, and takes from no domain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from denizen.measuring.recommending import Costs, OnDev, recommend

COUNT = 60
COSTS = {"base": Costs(100, trained=False), "joint": Costs(100, trained=True), "routed": Costs(300, trained=True)}


def on_dev(means: Mapping[str, Mapping[str, float]], own: Mapping[str, float]) -> OnDev:
    """Every query gets the mean: no difference is chance."""
    values = {name: {of: np.full(COUNT, value) for of, value in by.items()} for name, by in means.items()}
    return OnDev(
        values, {name: np.full(COUNT, value) for name, value in own.items()}, {name: range(COUNT) for name in own}
    )


def verdict(means: Mapping[str, tuple[float, float]], own: tuple[float, float] = (0.5, 0.5), tolerance: float = 0.01):
    by = {name: dict(zip("ab", pair, strict=True)) for name, pair in means.items()}
    return recommend(on_dev(by, dict(zip("ab", own, strict=True))), COSTS, tolerance, 0.02)


def test_the_best_is_taken_where_nothing_is_near() -> None:
    found = verdict({"base": (0.5, 0.5), "joint": (0.6, 0.6), "routed": (0.7, 0.7)})
    assert (found.taken, found.best, list(found.near)) == ("routed", "routed", ["routed"])


def test_what_is_cheaper_and_nearly_as_good_is_taken() -> None:
    found = verdict({"base": (0.5, 0.5), "joint": (0.692, 0.692), "routed": (0.7, 0.7)})
    assert (found.taken, found.best, list(found.near)) == ("joint", "routed", ["joint", "routed"])


def test_what_needs_no_training_comes_first_of_what_costs_the_same() -> None:
    assert verdict({"base": (0.693, 0.693), "joint": (0.699, 0.699), "routed": (0.7, 0.7)}).taken == "base"


def test_of_what_costs_the_same_the_mean_on_dev_within_the_tolerance_does_not_decide() -> None:
    """The worst of the three need not be trained anew for a new domain; of the other two the plainer comes first."""
    dev = on_dev({"joint": {"a": 0.695}, "joint-apart": {"a": 0.7}, "merged": {"a": 0.691}}, {"a": 0.7})
    costs = {name: Costs(100, trained=True, renewed=name != "merged") for name in dev.values}
    assert list(recommend(dev, costs, 0.01, 0.02).near) == ["merged", "joint", "joint-apart"]


def test_a_few_bytes_more_are_not_more() -> None:
    """The file of a base has buffers that those of models trained from it lack."""
    dev = on_dev({"base": {"a": 0.69}, "joint": {"a": 0.691}}, {"a": 0.69})
    costs = {"base": Costs(90_868_376, trained=False), "joint": Costs(90_864_192, trained=True)}
    assert recommend(dev, costs, 0.01, 0.02).taken == "base"
    # an adapter of two hundredths is more
    costs["base"] = Costs(92_700_000, trained=False)
    assert recommend(dev, costs, 0.01, 0.02).taken == "joint"


def test_an_option_by_which_a_domain_falls_is_passed_over() -> None:
    """Joint has the better mean, and .03 less than b's own expert in b."""
    found = verdict({"base": (0.2, 0.2), "joint": (0.73, 0.67), "routed": (0.7, 0.7)}, own=(0.7, 0.7))
    assert found.taken == "routed" and found.fallen == {"joint": ["b"]}


def test_an_option_by_which_a_domain_falls_below_the_base_is_passed_over() -> None:
    """The expert of b is no better than joint there, and the base is by .03."""
    means = {"base": (0.5, 0.7), "joint": (0.73, 0.67), "routed": (0.7, 0.695)}
    found = verdict(means, own=(0.7, 0.66))
    assert found.taken == "routed" and found.fallen == {"joint": ["b"]}


def test_a_fall_within_the_limit_is_none() -> None:
    assert verdict({"base": (0.2, 0.2), "joint": (0.719, 0.681), "routed": (0.7, 0.7)}, own=(0.7, 0.7)).taken == "joint"


def test_where_all_fall_the_best_is_taken_and_named_as_fallen() -> None:
    found = verdict({"base": (0.2, 0.2), "joint": (0.5, 0.5), "routed": (0.6, 0.6)}, own=(0.7, 0.7))
    assert found.taken == "routed" and found.fallen == {"routed": ["a", "b"]}


def test_a_fall_that_may_be_chance_is_none() -> None:
    """Of 60 queries 31 lose a point and 29 gain one: a mean of -.033, and nothing that is known."""
    own = {"a": np.zeros(COUNT), "b": np.zeros(COUNT)}
    noisy = np.asarray([-1.0] * 31 + [1.0] * 29)
    dev = OnDev({"joint": {"a": noisy, "b": np.zeros(COUNT)}}, own, {"a": range(COUNT), "b": range(COUNT)})
    assert dev.fallen("joint", 0.02) == []
    assert on_dev({"joint": {"a": -0.033, "b": 0.0}}, {"a": 0.0, "b": 0.0}).fallen("joint", 0.02) == ["a"]


def test_domains_weigh_the_same_however_many_queries_they_have() -> None:
    values = {"base": {"a": np.ones(1000), "b": np.zeros(10)}}
    dev = OnDev(values, {"a": np.ones(1000), "b": np.zeros(10)}, {"a": range(1000), "b": range(10)})
    assert dev.means() == {"base": pytest.approx(0.5)}


def test_a_sample_draws_whole_groups_within_their_domain() -> None:
    """Groups of two: a value that is drawn brings its other, and both stand for a group of their own each time."""
    values = {"a": np.arange(6.0), "b": np.arange(10.0, 14.0)}
    groups = {"a": [0, 0, 1, 1, 2, 2], "b": [7, 8, 8, 7]}
    drawn = OnDev({"base": values}, values, groups).sampled(np.random.default_rng(3))
    for name, its in drawn.values["base"].items():
        assert set(its.tolist()) <= set(values[name].tolist()) and len(its) == len(drawn.groups[name])
        together = {number: its[np.asarray(drawn.groups[name]) == number].tolist() for number in drawn.groups[name]}
        pairs = {"a": ([0, 1], [2, 3], [4, 5]), "b": ([10, 13], [11, 12])}[name]
        assert all(found in pairs for found in together.values())
        assert len(together) == len(pairs)
    assert drawn.own["a"].tolist() == drawn.values["base"]["a"].tolist()
