"""On which side rows stand, and what may not be learnt from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.prepare import Shares
from denizen.data.task_rows import Message, TaskRow
from denizen.tasks.given import Given
from denizen.tasks.grounding import grounded_prompt
from denizen.tasks.label_set import Label
from denizen.tasks.sides import asked, compared, with_sides, without_leaks
from denizen.tasks.wording import label_prompt, summary_prompt

_WORDS = "gout lupus fever pain child drug dose liver heart lung skin bone nerve blood eye ear nose tooth foot hand"
WORDS = _WORDS.split()


def brought(prompt: str, split: str | None = None, document: str | None = None, answer: str = "yes") -> Given:
    return Given("answer", split, document, (Message("user", prompt),), answer)


def row(prompt: str, split: str, document: str | None = None, answer: str = "yes") -> TaskRow:
    made = brought(prompt, None, document, answer)
    return TaskRow(made.row_id, "answer", split, document, "given", made.messages, answer)


def sides(rows: list[Given], side_of: dict[str, str] | None = None) -> list[str]:
    return [made.split for made in with_sides(rows, side_of or {}, Shares(dev_share=0.2, test_share=0.2), 0.9)]


def test_what_a_file_says_counts_and_then_the_document_and_then_shares() -> None:
    rows = [brought(f"what is {word}?") for word in WORDS]
    rows[0] = replace(rows[0], split="test", document="d1")
    rows[1] = replace(rows[1], document="d2")
    rows[2] = replace(rows[2], document="d3")
    # a row about the document of a test row, and one that asks what it asks
    rows[3] = replace(rows[3], document="d1")
    rows[4] = replace(rows[0], split=None, document=None, answer="no")
    rows[5] = replace(rows[5], split="train", document="d2")
    made = sides(rows, {"d2": "dev", "d3": "test"})
    assert made[:6] == ["test", "dev", "test", "test", "test", "train"]
    # 14 are left, of which a fifth each is 2.8
    assert made[6:].count("dev") == made[6:].count("test") == 3


def test_rows_that_are_all_for_training_are_divided_and_dev_is_cut_where_only_it_is_missing() -> None:
    made = sides([brought(f"what is {word}?", "train") for word in WORDS])
    assert (made.count("train"), made.count("dev"), made.count("test")) == (12, 4, 4)
    made = sides([brought(f"what is {word}?", "test" if at < 5 else "train") for at, word in enumerate(WORDS)])
    assert made[:5] == ["test"] * 5 and made.count("dev") == 3


def test_the_same_rows_stand_on_the_same_sides_whatever_asks_for_them_again() -> None:
    rows = [brought(f"what is {word}?") for word in WORDS]
    assert sides(rows) == sides(rows)


def test_what_meets_a_side_that_measures_more_is_dropped_with_the_reason() -> None:
    rows = [
        row("what is gout?", "test", "d1"),
        row("What is  GOUT?", "train"),
        row("how is gout treated?", "train", "d1"),
        row("what is lupus?", "dev", "d2"),
        row("how is lupus treated?", "train", "d2"),
        row("what is fever?", "train", "d3"),
        row("what is pain?", "dev", "d4"),
        row("what is a drug?", "train", "d5"),
        row("what is a drug?", "train", "d5"),
    ]
    kept, dropped = without_leaks(rows, {"d3": "test", "d4": "train", "d5": "guard"}, 0.9)
    assert [one.messages[0].content for one in kept] == [
        "what is gout?",
        "what is lupus?",
        "what is pain?",
        "what is a drug?",
    ]
    assert {one.text: one.reason for one in dropped} == {
        "what is a drug?": "duplicate",
        "What is  GOUT?": "duplicate",
        "how is gout treated?": "about a document of a test row",
        "how is lupus treated?": "about a document of a dev row",
        "what is fever?": "about a document of the corpus's test side",
    }


def test_a_near_duplicate_prompt_is_a_leak_and_another_question_in_the_same_words_of_ours_is_none() -> None:
    long = "which symptoms of acute gout in the left foot of an old patient call for a doctor at once"
    rows = [row(long, "test"), row(f"{long} please", "train", answer="no"), row("what is lupus?", "train")]
    kept, dropped = without_leaks(rows, {}, 0.8)
    assert len(kept) == 2 and [one.reason for one in dropped] == ["asks what a test row asks"]
    labels = [Label(word) for word in WORDS]
    prompts = [label_prompt("my toe hurts", labels), label_prompt("my skin itches", labels)]
    kept, dropped = without_leaks([row(prompts[0], "test"), row(prompts[1], "train")], {}, 0.9)
    assert not dropped


def test_rows_are_compared_by_what_the_user_has_said() -> None:
    turns = (Message("system", "Be short."), Message("user", "Hi"), Message("assistant", "Hello"))
    assert asked((*turns, Message("user", "What is gout?"))) == "Hi\nHello\nWhat is gout?"
    assert asked([Message("user", grounded_prompt("What is\ngout?", ["Gout hurts."]))]) == "What is gout?"
    assert asked([Message("user", summary_prompt("Gout hurts."))]) == "Gout hurts."


def test_one_question_of_many_passages_is_compared_with_its_passages() -> None:
    rules = [f"Every {word} is kept for years by the office of {word}s. " * 2 for word in WORDS]
    asks = [grounded_prompt("How is this rule explained?", [rule]) for rule in rules]
    rows = [brought(prompt, answer=f"It is about {word}.") for prompt, word in zip(asks, WORDS, strict=True)]
    assert compared(rows)[0] == f"{rules[0]}\nHow is this rule explained?"
    made = sides(rows)
    assert (made.count("train"), made.count("dev"), made.count("test")) == (12, 4, 4)
    # asked twice of one passage, it stands on one side
    twice = [row(asks[0], "train", answer="one"), row(asks[0], "test", answer="another"), row(asks[1], "train")]
    kept, dropped = without_leaks(twice, {}, 0.9)
    assert [one.split for one in kept] == ["test", "train"] and dropped[0].reason == "asks what a test row asks"
    # with one answer to it, a question is the same whatever passage stands beside it
    same = [row(asks[0], "train"), row(asks[1], "test")]
    assert compared(same) == ["How is this rule explained?"] * 2 and len(without_leaks(same, {}, 0.9)[0]) == 1


PLACES = st.tuples(
    st.sampled_from(WORDS[:6]), st.sampled_from(("train", "dev", "test")), st.sampled_from(("d1", "d2", "d3", None))
)


@given(st.lists(PLACES, max_size=12))
def test_after_the_guard_nothing_is_on_two_sides_and_the_test_is_whole(
    places: list[tuple[str, str, str | None]],
) -> None:
    rows = [row(f"what is {word}?", split, document, str(at)) for at, (word, split, document) in enumerate(places)]
    kept, dropped = without_leaks(rows, {"d1": "test"}, 0.9)
    assert len(kept) + len(dropped) == len(rows)
    assert [one for one in kept if one.split == "test"] == [one for one in rows if one.split == "test"]
    for key in (lambda one: asked(one.messages), lambda one: one.document):
        for one in kept:
            same = {other.split for other in kept if key(other) == key(one) is not None}
            assert len(same) <= 1
    assert all(one.split == "test" for one in kept if one.document == "d1")


def test_too_few_rows_to_cut_dev_from_are_refused() -> None:
    with pytest.raises(Exception, match="1 queries are too few"):
        sides([brought("a b", "train"), brought("c d", "test")])
