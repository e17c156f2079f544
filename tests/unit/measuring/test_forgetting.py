"""The arithmetic of forgetting, by hand; items are queries or anything else."""

from __future__ import annotations

import math

import pytest

from denizen.engine.errors import InputError
from denizen.measuring.forgetting import Change, by_role, change, met, reported, slack


def test_a_change_by_hand() -> None:
    """Differences -.2, 0 and .5: mean .1, variance (.09 + .01 + .16) / 2 = .13, error sqrt(.13 / 3) = .208167."""
    found = change("general", {"a": 0.5, "b": 1.0, "c": 0.25}, {"c": 0.75, "a": 0.3, "b": 1.0})
    assert found.role == "general"
    assert found.value == pytest.approx(0.1)
    assert found.error == pytest.approx(math.sqrt(0.13 / 3))


def test_log_likelihoods_of_texts_are_values_as_any_other() -> None:
    """-2 and -3 become -2.5 and -3.1: mean -.3, deviations .2 to both sides, error sqrt(.08 / 2) = .2."""
    found = change("general", {"text one": -2.0, "text two": -3.0}, {"text one": -2.5, "text two": -3.1})
    assert (found.value, found.error) == (pytest.approx(-0.3), pytest.approx(0.2))


def test_one_item_says_nothing_of_the_error() -> None:
    assert change("general", {"a": 0.5}, {"a": 0.25}) == Change("general", -0.25, 0.0)


@pytest.mark.parametrize(("before", "after"), [({}, {}), ({"a": 1.0}, {}), ({"a": 1.0}, {"b": 1.0})])
def test_other_items_or_none_are_refused(before: dict[str, float], after: dict[str, float]) -> None:
    with pytest.raises(InputError, match="values of the same items, at least one"):
        change("general", before, after)


def test_a_role_is_the_mean_of_its_probes() -> None:
    changes = [Change("neighbour", -0.1), Change("general", 0.02), Change("general", -0.01)]
    assert by_role(changes) == {"neighbour": -0.1, "general": pytest.approx(0.005)}
    assert by_role([]) == {}


def test_reports_say_the_same() -> None:
    probes = {
        name: {
            "role": role,
            "measure": measure,
            "differences": {"ungated": {measure: {"value": 9.0}}, "adapted": {measure: {"value": value}, "x": {}}},
        }
        for name, role, measure, value in (
            ("nq", "general", "nDCG@10", -0.02),
            ("wiki", "general", "-nll", 0.01),
            ("near", "neighbour", "nDCG@10", 0.3),
        )
    }
    assert reported(probes) == {"general": pytest.approx(-0.005), "neighbour": 0.3}
    assert reported(probes, "ungated") == {"general": 9.0, "neighbour": 9.0}


def test_slack_by_hand() -> None:
    """Two probes of a role: mean -.001, error sqrt(.002^2 + .002^2) / 2 = .001414; limit .005."""
    both = [Change("general", 0.001, 0.002), Change("general", -0.003, 0.002)]
    assert slack(both, 0.005) == pytest.approx(-0.001 + 0.005 - math.sqrt(8e-6) / 2)
    # an error above half of the limit leaves half of it
    assert slack([Change("general", -0.001, 0.02)], 0.005) == pytest.approx(0.0015)
    assert slack([Change("general", -0.003, 0.003)], 0.005) == pytest.approx(-0.0005)
    assert slack([Change("general", 0.0, 0.02)], 0.0) == 0
    assert slack([], 0.005) == math.inf


def test_the_worst_role_counts_and_another_one_does_not_make_up_for_it() -> None:
    changes = [Change("general", 0.5), Change("neighbour", -0.02)]
    assert slack(changes, 0.005) == slack(changes[::-1], 0.005) == pytest.approx(-0.015)
    assert slack(changes[:1], 0.005) == pytest.approx(0.505)


@pytest.mark.parametrize(
    ("means", "kept"),
    [
        ({"general": -0.005, "neighbour": 0.1}, True),
        ({"general": -0.0051, "neighbour": 0.1}, False),
        ({"general": 0.1, "neighbour": -0.0051}, False),
        ({"general": math.nan}, False),
        ({}, True),
    ],
)
def test_the_verdict_is_met_where_no_role_falls_by_more_than_the_limit(means: dict[str, float], kept: bool) -> None:
    assert met(means, 0.005) is kept
