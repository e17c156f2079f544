"""Labels, F1 over them by hand and against scikit-learn, and differences with their chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from denizen.answering.classification import Labels, label_f1, label_f1_difference


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card_arrival", "card_arrival"),
        (" Card arrival.\n", "card_arrival"),
        ('"CARD-ARRIVAL"', "card_arrival"),
        ("card_arrival because it is late", None),
        ("lost card", None),
        ("", None),
        ("...", None),
        # these two differ by a mark alone
        ("A+", "A+"),
        ("a", "A"),
        ("A!", None),
    ],
)
def test_an_answer_is_a_label_or_none(answer: str, label: str | None) -> None:
    assert Labels(("card_arrival", "A", "A+", "\N{SNOWFLAKE}")).of(answer) == label


def test_a_label_of_signs_alone_is_one() -> None:
    assert Labels(("\N{SNOWFLAKE}", "rain")).of(" \N{SNOWFLAKE}") == "\N{SNOWFLAKE}"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("\u0939\u093e\u0901.", "\u0939\u093e\u0901"),
        # Hindi "be", which differs from "yes" by vowel signs alone
        ("\u0939\u094b", None),
        # both are pictures with the sign that asks for colour
        ("\u2600\ufe0f", None),
    ],
)
def test_signs_on_letters_tell_words_apart(answer: str, label: str | None) -> None:
    assert Labels(("\u0939\u093e\u0901", "\u2744\ufe0f")).of(answer) == label


@pytest.mark.parametrize("answer", ["US", "us"])
def test_labels_that_differ_in_case_alone_are_two(answer: str) -> None:
    assert Labels(("US", "us")).of(f" {answer}\n") == answer


def test_f1_by_hand() -> None:
    """Rain: 1 right of 2 said and 2 wanted, F1 1/2. Snow: 1 right of 1 said and 2 wanted, F1 2/3. Nobody wants fog."""
    said, wanted = ["rain", "rain", "snow", None], ["rain", "snow", "snow", "rain"]
    assert label_f1(said, wanted) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert label_f1(["fog", *said[1:]], wanted) == pytest.approx((0 + 2 / 3) / 2)


LABELS = st.sampled_from(["rain", "snow", "fog"])


@given(st.lists(st.tuples(LABELS | st.just("none"), LABELS), min_size=1, max_size=30))
def test_f1_is_that_of_scikit_learn_over_the_labels_that_are_wanted(pairs: list[tuple[str, str]]) -> None:
    said, wanted = [one for one, _ in pairs], [other for _, other in pairs]
    expected = f1_score(wanted, said, labels=sorted(set(wanted)), average="macro", zero_division=0)
    found = label_f1([None if one == "none" else one for one in said], wanted)
    assert found == pytest.approx(expected)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_rows_does_not_matter_for_the_value(order: list[int]) -> None:
    wanted = ["rain", "snow", "fog"] * 4
    said = [*wanted[:6], *["rain"] * 6]
    moved = label_f1_difference([said[at] for at in order], None, [wanted[at] for at in order], order)
    assert moved.value == pytest.approx(label_f1(said, wanted))
    assert moved.low <= moved.value <= moved.high


def test_a_difference_is_that_of_the_two_and_chance_by_groups() -> None:
    wanted = ["rain", "snow"] * 20
    right, wrong = list(wanted), ["rain"] * 40
    found = label_f1_difference(right, wrong, wanted, range(40))
    # all rain: F1 of rain 2 * 20 / 60, of snow 0
    assert found.value == pytest.approx(1 - (2 / 3) / 2) and found.low > 0 and found.p < 0.01
    # of one document there is nothing to tell chance by
    alone = label_f1_difference(right, wrong, wanted, [0] * 40)
    assert (alone.low, alone.value, alone.high) == pytest.approx((found.value,) * 3) and alone.p == 1
    back = label_f1_difference(wrong, right, wanted, range(40))
    assert back.value == pytest.approx(-found.value)
    assert label_f1_difference(right, right, wanted, range(40)) == type(found)(0, 0, 0, 1)


def test_swapping_within_groups_is_what_chance_means() -> None:
    """Two groups of one row each: swapped both or none the difference is as large, swapped one it is 0: p is a half."""
    found = label_f1_difference(["rain", "snow"], [None, None], ["rain", "snow"], [0, 1])
    assert found.value == 1 and found.p == pytest.approx(0.5, abs=0.03)
    assert np.isclose(found.low, 1) and np.isclose(found.high, 1)
