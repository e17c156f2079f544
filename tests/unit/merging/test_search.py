"""The search by hand: a model that forgets with the square of its weight, and limits in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.measuring.forgetting import Change
from denizen.merging.methods import Merge
from denizen.merging.search import Candidate, Point, recommended, search

LIMIT = 0.04


def _point(name: str, domain: float | None, change: float, candidate: Candidate | None = None) -> Point:
    values = None if domain is None else np.full(10, domain)
    return Point(name, values, {"general": Change("general", change)}, LIMIT, 10, candidate)


class Square:
    """What a merge forgets is `most` times the square of its weight; its gain grows with the weight up to `top`."""

    def __init__(self, most: float, top: float = 1.0) -> None:
        self.most, self.top = most, top
        self.seen: list[str] = []

    def measure(self, candidate: Candidate) -> Point:
        self.seen.append(candidate.name)
        weight = sum(candidate.recipe.weights)
        bonus = 0.01 if candidate.recipe.method == "slerp" else 0.0
        return _point(candidate.name, 0.5 + 0.4 * min(weight, self.top) + bonus, -self.most * weight**2, candidate)

    def search(self, best: int = 2, rounds: int = 2, evaluations: int = 9) -> list[Point]:
        student = _point(f"round {best}", 0.5 + 0.4 * self.top, -self.most)
        return search(self.measure, student, best, rounds, evaluations, 1, as_good_as(student))


def as_good_as(student: Point):
    return lambda point: (point.domain or 0.0) >= (student.domain or 0.0)


def test_the_next_weight_is_guessed_and_the_search_ends_where_the_student_is_no_better() -> None:
    # .9 of the limit is kept up to the square root of .036 / .0635, which is .753
    line = Square(0.0635, top=0.5)
    (point,) = line.search()
    assert point.name == "linear 0.75 of round 2" and point.inside
    assert recommended([point], None) is point


def test_where_the_student_is_better_than_the_merge_other_methods_are_tried_at_its_weight() -> None:
    line = Square(0.0635)
    points = line.search()
    assert line.seen == [
        "linear 0.75 of round 2",
        "model_stock of rounds 1, 2",
        "linear 0.75 of rounds 1, 2",
        "slerp 0.75 of round 2",
        "ties 0.75 of rounds 1, 2",
        "dare_ties 0.75 of rounds 1, 2",
    ]
    best = recommended(points, None)
    assert best is not None and best.name == "slerp 0.75 of round 2"


def test_a_guess_that_was_too_bold_is_taken_back() -> None:
    # the student itself seems harmless enough for 14/16, and every merge forgets ten times as much
    line = Square(0.41, top=0.1)
    student = _point("round 1", 0.9, -0.041)
    points = search(line.measure, student, 1, 1, 9, 1, as_good_as(student))
    weights = [point.candidate.recipe.weights[0] for point in points if point.candidate]
    # sqrt(.036 / .041) is .937, and sqrt(.036 / .41) is .296
    assert weights[:2] == [0.875, 0.25] and points[1].inside


def test_a_student_inside_the_limits_needs_no_merge() -> None:
    line = Square(0.02)
    assert line.search() == [] and line.seen == []


def test_where_nothing_is_inside_only_the_method_with_a_distance_of_its_own_is_tried_besides() -> None:
    def measure(candidate: Candidate) -> Point:
        return _point(candidate.name, None, -1.0, candidate)

    student = _point("round 1", 0.9, -1.0)
    points = search(measure, student, 1, 2, 9, 1, as_good_as(student))
    assert not any(point.inside for point in points)
    assert points[-1].name == "model_stock of rounds 1, 2" and len(points) <= 5
    assert recommended(points, None) is None


def test_with_few_queries_another_method_must_prove_itself_against_the_largest_weight() -> None:
    def candidate(method: str, weight: float) -> Candidate:
        return Candidate(Merge(method, (weight,)), (1,))

    points = [
        _point("half", 0.6, 0.0, candidate("linear", 0.5)),
        _point("more", 0.7, 0.0, candidate("linear", 0.75)),
        _point("slerp", 0.8, 0.0, candidate("slerp", 0.75)),
    ]
    asked: list[list[float]] = []

    def proven(values: list[np.ndarray]) -> int:
        asked.append([round(float(found.mean()), 6) for found in values])
        return 0

    best = recommended(points, proven)
    assert best is points[1] and asked == [[0.7, 0.8]]
    assert recommended(points, lambda values: 1) is points[2]


@given(most=st.floats(0.0, 2.0), top=st.floats(0.0, 1.0), evaluations=st.integers(0, 12), rounds=st.integers(1, 4))
def test_never_measures_more_than_it_may_nor_anything_twice(
    most: float, top: float, evaluations: int, rounds: int
) -> None:
    line = Square(most, top)
    points = line.search(rounds, rounds, evaluations)
    assert len(points) == len(line.seen) == len(set(line.seen)) <= evaluations
    best = recommended(points, None)
    inside = [point.domain for point in points if point.inside]
    assert (best is None) == (not inside)
    assert best is None or best.domain == pytest.approx(max(found or 0.0 for found in inside))
