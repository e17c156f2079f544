"""The search by hand: a model that forgets in proportion to its weight, and limits in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from denizen.merging.search import Candidate, Point, recommended, search

STUDENT = Point("round 2", 0.9, {}, -0.05)


def _line(limit: float, seen: list[Candidate]):
    """The domain grows with the weight, what is forgotten too; inside up to a weight."""

    def measure(candidate: Candidate) -> Point:
        seen.append(candidate)
        weight = sum(candidate.recipe.weights)
        bonus = 0.01 if candidate.recipe.method == "slerp" else 0.0
        return Point(candidate.name, 0.5 + 0.4 * weight + bonus, {}, limit - weight)

    return measure


def test_halves_towards_the_limit_and_then_tries_the_other_methods_there() -> None:
    seen: list[Candidate] = []
    points = search(_line(0.7, seen), STUDENT, best=2, rounds=2, evaluations=9, seed=1)
    assert [candidate.name for candidate in seen] == [
        "linear 0.5 of round 2",
        "linear 0.75 of round 2",
        "linear 0.625 of round 2",
        "linear 0.6875 of round 2",
        "model_stock of rounds 1, 2",
        "linear 0.6875 of rounds 1, 2",
        "slerp 0.6875 of round 2",
        "ties 0.6875 of rounds 1, 2",
        "dare_ties 0.6875 of rounds 1, 2",
    ]
    best = recommended(points)
    assert best is not None and best.name == "slerp 0.6875 of round 2"


def test_a_student_inside_the_limits_needs_no_merge() -> None:
    seen: list[Candidate] = []
    assert search(_line(0.7, seen), Point("round 1", 0.9, {}, 0.0), 1, 1, 8, 1) == []
    assert seen == []


def test_where_nothing_is_inside_only_the_method_with_a_distance_of_its_own_is_tried() -> None:
    seen: list[Candidate] = []
    points = search(_line(-0.1, seen), STUDENT, best=1, rounds=2, evaluations=8, seed=1)
    assert [point.inside for point in points] == [False] * 5
    assert [candidate.recipe.method for candidate in seen] == ["linear"] * 4 + ["model_stock"]
    assert recommended(points) is None


@given(limit=st.floats(-0.2, 1.2), evaluations=st.integers(0, 12), rounds=st.integers(1, 4))
def test_never_measures_more_than_it_may_and_recommends_the_best_inside(
    limit: float, evaluations: int, rounds: int
) -> None:
    seen: list[Candidate] = []
    points = search(_line(limit, seen), STUDENT, best=rounds, rounds=rounds, evaluations=evaluations, seed=1)
    assert len(seen) == len(points) <= evaluations
    best = recommended(points)
    inside = [point for point in points if point.slack >= 0]
    assert (best is None) == (not inside)
    assert best is None or best.domain == max(point.domain for point in inside)
