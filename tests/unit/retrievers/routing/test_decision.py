"""Where queries go, and what decides on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.retrievers.routing.decision import Route, RoutingCosts, Thresholds, choose_thresholds, decide

DOMAINS = ("finance", "law", "medicine")


def test_one_domain_two_domains_or_none() -> None:
    """.8 alone; .45 with .4, which is surer than .45; .3 with .1, whose .3 is below .5."""
    found = decide(
        np.asarray([[0.1, 0.8, 0.0], [0.4, 0.15, 0.45], [0.3, 0.0, 0.1]]), DOMAINS, Thresholds(0.5, second_from=0.25)
    )
    assert [route.domains for route in found] == [("law",), ("medicine", "finance"), ()]
    assert [route.confidence for route in found] == pytest.approx([0.8, 0.85, 0.3])


def test_a_row_of_zeros_goes_to_the_general_model_as_soon_as_anything_is_asked_for() -> None:
    assert decide(np.zeros((1, 3)), DOMAINS, Thresholds(0.05, 1.0)) == [Route((), 0.0)]


def test_of_equal_domains_the_first_by_name_is_taken() -> None:
    (route,) = decide(np.asarray([[0.2, 0.4, 0.4]]), DOMAINS, Thresholds(0.0, 1.0))
    assert route.domains == ("law",)


CHOW = Thresholds(abstain_below=0.5, second_from=0.25)


def test_a_few_queries_of_dev_change_nothing_of_what_follows_from_the_costs() -> None:
    """Two queries at .4 were right: never to abstain would have cost 0 and not .5 each, which two queries do not prove
    against a third that was wrong."""
    of = np.asarray([[0.4, 0.0, 0.0]] * 3)
    assert choose_thresholds(of, DOMAINS, ["finance", "finance", "law"], RoutingCosts()) == CHOW


def test_a_hundred_queries_do() -> None:
    """At .4 nine in ten are right: routing costs .1, abstaining .5; 2 * sqrt(.09 / 100) = .06 is less than the gain."""
    of = np.asarray([[0.4, 0.0, 0.0]] * 100)
    found = choose_thresholds(of, DOMAINS, ["finance"] * 90 + ["law"] * 10, RoutingCosts())
    assert found.abstain_below <= 0.4


def test_what_is_never_right_is_abstained_from() -> None:
    """At .7 all are wrong, at .9 all right: abstaining up to .7 saves .5 of each of a hundred queries."""
    of = np.asarray([[0.9, 0.0, 0.0]] * 100 + [[0.7, 0.0, 0.0]] * 100)
    found = choose_thresholds(of, DOMAINS, ["finance"] * 100 + ["law"] * 100, RoutingCosts())
    assert 0.7 < found.abstain_below <= 0.9


def test_two_domains_pay_where_the_second_is_right_as_often() -> None:
    """(.6, .2): the second is right in half of them: two cost .25 each, one .5 on average."""
    of = np.asarray([[0.6, 0.2, 0.0]] * 100)
    found = choose_thresholds(of, DOMAINS, ["finance", "law"] * 50, RoutingCosts())
    assert found.second_from <= 0.2


def test_queries_of_no_domain_are_right_to_be_abstained_from() -> None:
    of = np.asarray([[0.9, 0.0, 0.0]] * 50 + [[0.7, 0.0, 0.0]] * 50)
    found = choose_thresholds(of, DOMAINS, ["finance"] * 50 + [""] * 50, RoutingCosts())
    assert 0.7 < found.abstain_below <= 0.9


def test_the_costs_decide() -> None:
    of = np.asarray([[0.6, 0.4, 0.0]])
    found = choose_thresholds(of, DOMAINS, ["finance"], RoutingCosts(abstain_cost=0.1, second_cost=0.5))
    assert found == Thresholds(0.9, 0.5)


def test_without_dev_queries_there_is_nothing_to_choose_on() -> None:
    with pytest.raises(InputError, match="no dev queries"):
        choose_thresholds(np.zeros((0, 3)), DOMAINS, [], RoutingCosts())


@given(seed=st.integers(0, 1000), least=st.floats(0, 1), second=st.floats(0, 1))
def test_routes_name_each_domain_once_and_are_as_sure_as_is_asked_for(seed: int, least: float, second: float) -> None:
    of = np.random.default_rng(seed).dirichlet([0.5] * 4, 20)[:, :3]
    for route in decide(of, DOMAINS, Thresholds(least, second)):
        assert len(set(route.domains)) == len(route.domains) <= 2
        assert not route.domains or route.confidence >= least
