"""ROUGE-L by hand, and as a measure: symmetric, within bounds, 1 for a text against itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.answering.rouge import _common, rouge_l, words

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        # in common "police the gunman" of 5 and 5 words in this order: 2 * 3 / 10
        ("police now kill the gunman", "police killed the big gunman", 0.6),
        # of the paper's second candidate one word of four stands in the order: 2 * 2 / 8
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("Rain, and SNOW.", "rain and snow", 1.0),
        ("rain", "snow", 0.0),
        ("", "snow", 0.0),
        ("", "", 0.0),
        # letters of any alphabet count, and where nobody writes spaces each of them alone: 2 * 2 / (2 + 3)
        ("Βροχή", "βροχή", 1.0),
        ("雨天", "下雨天", 0.8),
    ],
)
def test_rouge_l_by_hand(answer: str, reference: str, expected: float) -> None:
    assert rouge_l(answer, reference) == pytest.approx(expected)


def _table(one: list[str], other: list[str]) -> int:
    """The longest common subsequence as textbooks have it."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, wanted in enumerate(other, start=1):
            before, row[at] = row[at], before + 1 if word == wanted else max(row[at], row[at - 1])
    return row[-1]


@given(WORDS, WORDS)
def test_the_subsequence_is_that_of_the_table(one: list[str], other: list[str]) -> None:
    assert _common(one, other) == _common(other, one) == _table(one, other)


@given(st.text(max_size=40), st.text(max_size=40))
def test_it_is_a_share_and_whole_only_for_the_same_words(one: str, other: str) -> None:
    value = rouge_l(one, other)
    assert 0 <= value <= 1 and value == rouge_l(other, one)
    assert (value == 1) == (words(one) == words(other) != [])
