"""How worse answers are made, and that neither side of a pair is the longer one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.task_rows import Message, Preference, TaskRow
from denizen.tasks.balance import MOST_APART, balanced
from denizen.tasks.grounding import grounded_prompt
from denizen.tasks.rejected import Attempt, cut_off, dealt, overlap

LONG = "Records of this kind are kept for three years by the office that made them, and then they are destroyed. [1]"


def row(at: int, answer: str = LONG, passage: str | None = "own") -> TaskRow:
    text = f"passage {at}" if passage else None
    asked = grounded_prompt(f"What is {at}?", [text]) if text else f"What is {at}?"
    return TaskRow(f"r{at}", "answer", "train", f"d{at}", "given", (Message("user", asked),), answer, text)


def ways(rows: list[TaskRow]) -> list[Attempt]:
    return dealt(rows, np.random.default_rng(0))


def test_each_way_has_the_same_part_of_the_rows() -> None:
    found = ways([row(at) for at in range(12)])
    assert Counter(one.way for one in found) == {
        "no passage": 3,
        "wrong passage": 3,
        "cut off": 3,
        "own answer": 3,
    }
    for at, one in enumerate(found):
        own = f"passage {at}\n"
        said = one.messages[0].content if one.messages else ""
        if one.way == "no passage":
            assert said == f"What is {at}?"
        elif one.way == "wrong passage":
            assert own not in said and "<passage 1>\npassage " in said and said.endswith(f"What is {at}?")
        elif one.way == "own answer":
            assert one.messages == one.row.messages
        else:
            assert one.messages is None


def test_a_row_has_only_the_ways_that_fit_it() -> None:
    assert {one.way for one in ways([row(at, "Three years.", None) for at in range(4)])} == {"own answer"}
    assert {one.way for one in ways([row(at, LONG, None) for at in range(4)])} == {"own answer", "cut off"}
    # a single passage has no wrong one beside it
    (alone,) = ways([row(0, "Three years.")])
    assert alone.way == "no passage"


def test_what_is_cut_off_ends_within_its_sentence_and_keeps_its_citations() -> None:
    assert cut_off(LONG) == LONG.replace(" destroyed.", "")
    assert cut_off("字" * 100) == "字" * 96 and cut_off("one two three [1] [2]") == "one two [1] [2]"
    assert len(cut_off(LONG)) == len(LONG) - 11 > (1 - MOST_APART) * len(LONG) - 1


def test_overlap_by_hand() -> None:
    """Of 3 and 5 words 2 are shared: F1 = 2 * 2 / (3 + 5) = 0.5; a word counts as often as in both."""
    assert overlap("gout hurts badly", "Gout hurts in the toe. [1]") == 0.5
    assert overlap("gout gout", "gout") == pytest.approx(2 / 3)
    assert overlap("", "gout") == overlap("lupus", "gout") == 0


def pair(chosen: str, rejected: str) -> Preference:
    return Preference("p", "answer", "train", None, "given", (Message("user", "x"),), chosen, rejected, "own answer")


def test_a_longer_answer_is_cut_at_a_sentence_or_a_word() -> None:
    chosen = "x" * 20
    found = balanced(
        [pair(chosen, "It hurts the toe now. And much more of that follows here."), pair(chosen, "a" * 21)]
    )
    assert [one.rejected for one in found.pairs] == ["It hurts the toe now.", "a" * 21]
    assert (found.cut, found.left_out) == (1, [])
    (one,) = balanced([pair(chosen, "this has no sentence at all that could end it")]).pairs
    assert one.rejected == "this has no sentence" and one.chosen == chosen


def test_where_rejected_answers_are_too_short_on_the_whole_the_shortest_go() -> None:
    """Of 100 each: 95 + 90 + 40 lacks 75 of 300; without the last 15 of 200 are lacking, which is less than 10 %."""
    found = balanced([pair("c" * 100, "r" * length) for length in (95, 40, 90)])
    assert [len(one.rejected) for one in found.pairs] == [95, 90]
    assert [len(one.rejected) for one in found.left_out] == [40]
    assert balanced([]).pairs == []


WORDS = st.lists(st.sampled_from(["a", "longer", "word.", "and", "extraordinarily", "\n"]), min_size=1, max_size=60)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=12))
def test_mean_lengths_are_within_a_tenth_whatever_the_pairs(texts: list[tuple[list[str], list[str]]]) -> None:
    pairs = [pair(" ".join(one).strip() or "x", " ".join(other).strip() or "y") for one, other in texts]
    found = balanced(pairs)
    assert len(found.pairs) + len(found.left_out) == len(pairs)
    chosen, rejected = (sum(len(getattr(one, name)) for one in found.pairs) for name in ("chosen", "rejected"))
    assert (1 - MOST_APART) * chosen <= rejected <= (1 + MOST_APART) * chosen
    assert {one.chosen for one in found.pairs} <= {one.chosen for one in pairs}
    assert all(one.rejected for one in found.pairs)
