from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.supervision.query_filters import counts, keep_found, keep_usable, overlap
from denizen.supervision.query_rules import PassageWords
from denizen.supervision.written import Written

PASSAGES = {
    "p1": "Gout is a form of arthritis that causes sudden and severe pain in the joints of the foot.",
    "p2": "Lupus is a disease in which the body attacks its own tissue.",
}


def query(text: str, source: str = "p1", **fields: object) -> Written:
    values: dict[str, object] = {"domain": "", "split": "train", "origin": "question", **fields}
    return Written(text, sources=(source,) if source else (), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gout", "too short"),
        ("? !", "too short"),
        ("", "too short"),
        ("what " * 61, "too long"),
        ("x" * 250 + " " + "y" * 250, "too long"),
        ("so gout is a form of arthritis that causes pain?", "copies its passage"),
        ("What does the passage say about gout?", "speaks of its source"),
    ],
)
def test_what_is_dropped_says_why(text: str, reason: str) -> None:
    kept, dropped = keep_usable([query(text)], PASSAGES, 0.9)
    assert kept == [] and [row.reason for row in dropped] == [reason]


@pytest.mark.parametrize("text", ["痛风是怎么引起的?", "โรคเกาต์คืออะไร", "통풍의 원인"])
def test_a_script_without_spaces_is_not_too_short(text: str) -> None:
    kept, _ = keep_usable([query(text)], PASSAGES, 0.9)
    assert [row.text for row in kept] == [text]


def test_a_real_query_may_speak_of_a_text() -> None:
    kept, dropped = keep_usable([query("who wrote this text", "", origin="log")], PASSAGES, 0.9)
    assert len(kept) == 1 and dropped == []


def test_names_do_not_count_as_copied() -> None:
    """Of the nine words in a row seven are ordinary."""
    listed = [query("so gout is a form of arthritis that causes pain?")]
    ordinary = dict.fromkeys(["is", "a", "form", "of", "that", "causes", "sudden"], 2)
    assert keep_usable(listed, PASSAGES, 0.9, (), PassageWords(2, ordinary))[0] == listed
    more = PassageWords(2, {**ordinary, "gout": 2, "arthritis": 2})
    assert keep_usable(listed, PASSAGES, 0.9, (), more)[0] == []


def test_what_fits_many_passages_is_dropped_and_a_query_for_none_is_not() -> None:
    words = PassageWords(1000, {"what": 900, "is": 900, "it": 900, "pain": 100, "gout": 3})
    listed = [query("what is pain"), query("what is gout"), query("what is it", "", origin="log")]
    kept, dropped = keep_usable(listed, PASSAGES, 0.9, (), words)
    assert [row.text for row in kept] == ["what is gout", "what is it"]
    assert [row.reason for row in dropped] == ["fits many passages"]


def test_of_two_that_say_the_same_the_first_is_kept() -> None:
    listed = [
        query("what is gout?"),
        query("What is  Gout?"),
        query("how is lupus treated", "p2"),
        query("how lupus is treated", "p2"),
    ]
    kept, dropped = keep_usable(listed, PASSAGES, 0.9)
    assert [row.text for row in kept] == ["what is gout?", "how is lupus treated"]
    assert [row.reason for row in dropped] == ["duplicate", "near-duplicate"]


def test_the_round_trip_keeps_what_leads_back() -> None:
    listed = [query("a"), query("b"), query("c")]
    kept, dropped = keep_found(listed, [20, 21, None], 20)
    assert [row.text for row in kept] == ["a"]
    assert {row.reason for row in dropped} == {"round trip: not in the first 20"}


def test_overlap_counts_longer_words_once() -> None:
    """Of sudden, pain, elbow (more than three letters) the passage has two."""
    assert overlap("sudden pain, sudden elbow in it", PASSAGES["p1"]) == pytest.approx(2 / 3)
    assert overlap("is it so", PASSAGES["p1"]) == 0


@given(st.lists(st.tuples(st.text(alphabet="ab ", max_size=12), st.sampled_from(["x", "y"])), max_size=30))
def test_the_counts_add_up(rows: list[tuple[str, str]]) -> None:
    listed = [query(text, "", domain=domain) for text, domain in rows]
    kept, dropped = keep_usable(listed, {}, 0.9)
    found = counts(kept, dropped)
    assert len(kept) + len(dropped) == len(listed)
    for domain, row in found.items():
        assert row["written"] == sum(other == domain for _, other in rows)
        assert row["written"] == sum(value for name, value in row.items() if name != "written")


def test_what_says_the_same_as_a_labelled_test_query_is_dropped() -> None:
    listed = [query("how lupus is treated", "p2", origin="log"), query("what causes gout"), query("What causes  GOUT?")]
    kept, dropped = keep_usable(listed, PASSAGES, 0.9, ["How is lupus treated?", "what causes gout?"])
    assert kept == [] and {row.reason for row in dropped} == {"says the same as a test query"}
    kept, _ = keep_usable(listed, PASSAGES, 0.9, ["what is a fever?"])
    assert [row.text for row in kept] == ["how lupus is treated", "what causes gout"]
