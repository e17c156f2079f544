from __future__ import annotations

import math

import numpy as np
import pytest

from denizen.engine.errors import InputError
from denizen.llm.answer import Failure
from denizen.measuring.pooling import Drawing, Unit, View, compare, disagreement, moments, pooled_units


def test_a_unit_is_measured_by_the_first_answer_and_by_all() -> None:
    """Answers at ranks 2 and 3: RR 1/2, DCG 1/log2(3) + 1/log2(4)."""
    drawing = Drawing(["base", "adapted"])
    drawing.add(0, {"base": [False, False, False, False, False], "adapted": [False, True, True, False, False]})
    assert drawing.values["MRR@5"] == {"base": [0.0], "adapted": [0.5]}
    assert drawing.values["DCG@5"]["adapted"] == [pytest.approx(1 / math.log2(3) + 0.5)]


def test_the_standard_error_is_that_of_the_mean() -> None:
    """1, 2, 3: standard deviation 1, divided by the root of 3."""
    assert moments([1.0, 2.0, 3.0], [0, 1, 2]) == (2.0, pytest.approx(1 / math.sqrt(3)))


def test_values_of_one_query_count_as_one() -> None:
    """Each value twice over says no more than once; one query alone says nothing."""
    once = moments([1.0, 2.0, 3.0], [0, 1, 2])
    assert moments([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [0, 0, 1, 1, 2, 2]) == pytest.approx(once)
    assert moments([1.0, 2.0], [0, 0]) == (1.5, math.inf)


def test_drawing_is_sure_when_every_error_is_below_five_percent() -> None:
    """Half of n units right: the error is .5 / sqrt(n - 1), the mean .5: below 5 % from 402 units on."""
    drawing = Drawing(["base"])
    for at in range(400):
        drawing.add(at, {"base": [at % 2 == 0]})
    assert not drawing.sure
    for at in range(400, 404):
        drawing.add(at, {"base": [at % 2 == 0]})
    assert drawing.sure


def test_a_few_units_that_agree_are_not_sure() -> None:
    drawing = Drawing(["base"])
    for at in range(49):
        drawing.add(at, {"base": [True]})
    assert not drawing.sure
    drawing.add(49, {"base": [True]})
    assert drawing.sure


def test_the_summary_compares_with_the_first_model() -> None:
    drawing = Drawing(["base", "adapted"])
    for at in range(60):
        drawing.add(at, {"base": [False, True], "adapted": [at % 3 > 0, True]})
    found = drawing.summary()
    assert found["pairs"] == 60
    assert found["means"]["MRR@5"]["base"]["mean"] == 0.5
    assert found["differences"]["MRR@5"]["adapted"]["value"] == pytest.approx(2 / 3 + 1 / 6 - 0.5)
    assert "base" not in found["differences"]["MRR@5"]


def test_each_domain_has_the_figures_of_its_own_queries() -> None:
    """Of 60 queries every third is of another domain, where the model gains nothing and elsewhere a half."""
    drawing, apart = Drawing(["base", "adapted"]), Drawing(["base", "adapted"])
    for at in range(60):
        answers = {"base": [False, True], "adapted": [at % 3 > 0, True]}
        drawing.add(at, answers)
        if at % 3:
            apart.add(at, answers)
    found = drawing.by_domain(["10-Q" if at % 3 else "8-K" for at in range(60)])
    assert list(found) == ["10-Q", "8-K"] and found["10-Q"] == {**apart.summary(), "enough": False}
    assert (found["10-Q"]["pairs"], found["8-K"]["pairs"]) == (40, 20)
    gains = [found[name]["differences"]["MRR@5"]["adapted"]["value"] for name in found]
    assert gains == pytest.approx([0.5, 0.0])
    assert drawing.by_domain(["one"] * 60) == {}
    # fifty pairs are enough, unless they are of a few queries
    ten = ["10-Q" if at >= 10 else "8-K" for at in range(60)]
    assert drawing.by_domain(ten)["10-Q"]["enough"]
    drawing.queries = [at % 9 if at >= 10 else 9 for at in range(60)]
    assert not drawing.by_domain(["10-Q"] * 9 + ["8-K"])["10-Q"]["enough"]


def test_disagreement_is_the_larger_mean_distance_to_the_other_set() -> None:
    """Of one set both members are in the other (0); of the other one member is at distance 1 from all: 1/3."""
    x, y, z = np.eye(3, dtype=np.float32)
    assert disagreement(np.stack([x, y]), np.stack([x, y, z])) == pytest.approx(1 / 3)
    assert disagreement(np.stack([x, y]), np.stack([y, x])) == 0


def test_any_model_names_documents_and_every_model_ranks_within_them() -> None:
    """The best passage is 1 (of document a) for one model and 3 (of b) for the other; within a and b both are asked."""
    one = np.array([[0.2, 0.9, 0.1, 0.3, 0.8]], dtype=np.float32)
    other = np.array([[0.5, 0.4, 0.1, 0.9, 0.8]], dtype=np.float32)
    passages = np.zeros((5, 1), dtype=np.float32)
    views = {"one": View(one, passages), "other": View(other, passages)}
    units = pooled_units(views, ["a", "a", "c", "b", "b"], found_by=1)
    assert units == [Unit(0, {"one": [1, 0], "other": [0, 1]}), Unit(0, {"one": [4, 3], "other": [3, 4]})]
    assert units[0].pooled == [(0, 1), (0, 0)]
    # the second best of the first model is in b, too
    assert pooled_units({"one": views["one"]}, ["a", "a", "c", "b", "b"], found_by=2)[1].best == {"one": [4, 3]}


def test_at_most_five_passages_of_a_document_are_pooled_and_equal_ones_in_their_order() -> None:
    views = {"one": View(np.zeros((1, 7), dtype=np.float32), np.zeros((7, 1), dtype=np.float32))}
    assert pooled_units(views, ["a"] * 7, found_by=3) == [Unit(0, {"one": [0, 1, 2, 3, 4]})]


def _units(count: int) -> list[Unit]:
    """Query n has the passages 2n, which answers, and 2n + 1; the base ranks them wrong, the other model right."""
    return [Unit(at, {"base": [2 * at + 1, 2 * at], "adapted": [2 * at, 2 * at + 1]}) for at in range(count)]


def _base(count: int) -> View:
    return View(np.zeros((count, 2 * count), dtype=np.float32), np.eye(2 * count, dtype=np.float32))


def test_grading_ends_as_soon_as_the_figures_are_sure() -> None:
    """All units agree: 50 are the fewest that say something, and of 120 pairs no more are graded."""
    asked: list[tuple[int, int]] = []

    def judge(pairs):
        asked.extend(pairs)
        return [at % 2 == 0 for _, at in pairs]

    found = compare(_units(120), _base(120), judge, seed=1)
    assert found["random"]["ended"] == "every standard error is below 5 % of its mean"
    assert found["random"]["pairs"] == 50 and found["disagreeing"]["pairs"] == 30
    assert len(asked) == 2 * 80
    assert found["random"]["means"]["MRR@5"]["base"] == {"mean": 0.5, "standard_error": 0.0}
    assert found["random"]["differences"]["MRR@5"]["adapted"]["value"] == 0.5


def test_what_could_not_be_graded_is_unknown_and_no_wrong_answer() -> None:
    failure = Failure("key", "transport", "no reply", "")

    def judge(pairs):
        return [failure if at == 6 else at % 2 == 0 for _, at in pairs]

    found = compare(_units(8), _base(8), judge, seed=1)["random"]
    assert (found["ended"], found["pairs"], found["not_wholly_graded"]) == ("all pairs were graded", 7, 1)
    assert found["means"]["MRR@5"]["adapted"]["mean"] == 1


def test_where_the_budget_ends_what_was_graded_counts_and_the_rest_has_not_failed() -> None:
    def judge(pairs):
        return [at % 2 == 0 if place < 7 else Failure("key", "budget", "", "") for place, (_, at) in enumerate(pairs)]

    found = compare([Unit(at, {"one": [2 * at, 2 * at + 1]}) for at in range(60)], _base(60), judge, seed=1)
    assert list(found) == ["random"]
    assert (found["random"]["ended"], found["random"]["pairs"]) == ("the budget ended", 3)
    assert found["random"]["not_wholly_graded"] == 0
    with pytest.raises(
        InputError, match=r"no .query, document. pair was graded as a whole \(0 failed\): the budget ended"
    ):
        compare(_units(2), _base(2), lambda pairs: [Failure("key", "budget", "", "")] * len(pairs), seed=1)


def test_the_quarter_where_models_disagree_and_an_answer_is_near_is_graded_apart() -> None:
    """Of eight units two: number 5, whose best passages differ and are the nearest, and number 2, the next in both."""
    same = [Unit(at, {"base": [at], "adapted": [at]}) for at in range(8)]
    units = [Unit(at, {"base": [at], "adapted": [at + 1]}) if at in (2, 5) else same[at] for at in range(8)]
    scores = np.zeros((8, 9), dtype=np.float32)
    scores[2, 2], scores[5, 5] = 0.5, 0.9
    asked: list[list[tuple[int, int]]] = []

    def judge(pairs):
        asked.append(list(pairs))
        return [True] * len(pairs)

    found = compare(units, View(scores, np.eye(9, dtype=np.float32)), judge, seed=3)
    assert sorted(asked[1]) == [(2, 2), (2, 3), (5, 5), (5, 6)]
    assert "optimistic" in found["disagreeing"]["note"]
