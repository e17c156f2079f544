"""The best passages by their best rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.exports.rows import best_passages

OWNERS = ["a", "a", "a", "b", "c"]
# by row
SCORES = [0.9, 0.8, 0.7, 0.5, 0.5]


def nearest(asked: list[int]):
    """Rows by falling score, and which numbers of them were asked for."""

    def find(wanted: int) -> Sequence[tuple[int, float]]:
        asked.append(wanted)
        return [(row, SCORES[row]) for row in range(len(SCORES))][:wanted]

    return find


def test_more_rows_are_asked_for_until_there_are_enough_passages() -> None:
    """For 1 of 3 passages 2 * 1 * 5 / 3 = 3.3 rows are asked for, 4; for 2 of them 7, which is all 5."""
    asked: list[int] = []
    assert best_passages(nearest(asked), OWNERS, 3, 1) == [("a", 0.9)] and asked == [4]
    assert best_passages(nearest(asked), OWNERS, 3, 2) == [("a", 0.9), ("b", 0.5)] and asked == [4, 5]


def test_a_passage_with_many_rows_does_not_keep_others_out() -> None:
    """Of 10 passages the first has 91 of 100 rows: 20 rows are all its own, 40 and 80, too, and 100 are all."""
    owners, asked = ["a"] * 91 + list("bcdefghij"), list[int]()

    def find(wanted: int) -> Sequence[tuple[int, float]]:
        asked.append(wanted)
        return [(row, -float(row)) for row in range(100)][:wanted]

    assert best_passages(find, owners, 10, 2)[1] == ("b", -91.0)
    assert asked == [40, 80, 100]


@pytest.mark.parametrize("depth", [3, 10])
def test_what_scores_alike_is_in_the_order_of_ids(depth: int) -> None:
    assert best_passages(nearest([]), OWNERS, 3, depth) == [("a", 0.9), ("b", 0.5), ("c", 0.5)]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), min_size=1, max_size=40), st.integers(1, 8))
def test_it_is_what_all_rows_would_say(rows: list[tuple[str, int]], depth: int) -> None:
    owners, scores = (
        [name for name, _ in rows],
        np.asarray([float(score) + at / 100 for at, (_, score) in enumerate(rows)]),
    )
    order = np.argsort(-scores)

    def find(wanted: int) -> Sequence[tuple[int, float]]:
        return [(int(row), float(scores[row])) for row in order[:wanted]]

    best = {name: max(float(scores[at]) for at, own in enumerate(owners) if own == name) for name in set(owners)}
    wanted = sorted(best.items(), key=lambda each: (-each[1], each[0]))[:depth]
    assert best_passages(find, owners, len(best), depth) == wanted
