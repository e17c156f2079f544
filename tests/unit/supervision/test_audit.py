"""What an audit asks: drawn by hand, with a judge that is a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats.grades import append_grade
from denizen.data.formats.grading_sheet import row_key
from denizen.data.tables import table, write_table
from denizen.engine.errors import InputError
from denizen.supervision.audit import (
    decoy_calls,
    decoys,
    draw,
    export,
    graded_pairs,
    headline,
    people_agreement,
    planted,
    together,
    with_strangers,
)
from denizen.supervision.judging import Pair


def _pair(query: int, passage: int) -> Pair:
    return Pair(f"q{query}", f"d{passage}", f"query {query}", f"passage {passage}")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Documents d0 to d5 of one passage each, of which d1 is a near-duplicate of d0 and d5 is a test document.

    q0 was written for d0, q1 for d2 and d3 together; q0 has two grades, q1 has a grade and a score.
    """
    ids = [f"d{at}" for at in range(6)]
    corpus = {
        "doc_id": ids,
        "title": [""] * 6,
        "text": [f"passage {at}" for at in range(6)],
        "parent_id": ids,
        "parent_cluster": [0, 0, 2, 3, 4, 5],
    }
    tables = {
        "corpus/corpus": table("corpus", corpus),
        "corpus/documents": table("documents", {"parent_id": ids, "split": ["train"] * 5 + ["test"]}),
        "synthesis/queries": table("queries", {"query_id": ["q0", "q1"], "text": ["query 0", "query 1"]}),
        "synthesis/sources": table(
            "qrels", {"query_id": ["q0", "q1", "q1"], "doc_id": ["d0", "d2", "d3"], "relevance": [1, 1, 1]}
        ),
    }
    for number, rows in enumerate(
        [
            {"query_id": ["q0", "q1"], "doc_id": ["d0", "d2"], "grade": [4, 3], "score": [None, None]},
            {"query_id": ["q0", "q1"], "doc_id": ["d4", "d4"], "grade": [1, None], "score": [None, 0.5]},
        ]
    ):
        tables[f"round-{number}/judgments/judgments"] = table("judgments", rows)
    for place, rows in tables.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_table(tmp_path / f"{place}.parquet", rows)
    return tmp_path


def test_the_grades_of_all_rounds_are_looked_at_and_scores_are_not(run: Path, tmp_path: Path) -> None:
    assert graded_pairs(run) == {_pair(0, 0): 4, _pair(1, 2): 3, _pair(0, 4): 1}
    assert graded_pairs(tmp_path / "nowhere") == {}


def test_a_sample_keeps_the_order_and_depends_on_its_seed() -> None:
    pairs = {_pair(at, at): at % 4 + 1 for at in range(50)}
    first, again, other = draw(pairs, 10, 1), draw(pairs, 10, 1), draw(pairs, 10, 2)
    assert first == again != other
    assert list(first) == [pair for pair in pairs if pair in first] and len(first) == 10
    assert draw(pairs, 100, 1) == pairs


def test_whole_queries_are_asked_one_by_one_together_and_in_reverse() -> None:
    """Seven passages of q0 make a call of five; q1 has one passage, and nothing to be together with."""
    asked: list[tuple[list[Pair], dict[str, Any]]] = []

    def ask(pairs: list[Pair], **how: Any) -> list[int | None]:
        asked.append((list(pairs), how))
        # the last of a call is judged more mildly
        last = 0 if how.get("backwards") else len(pairs) - 1
        return [4 if how and at == last else 1 for at in range(len(pairs))]

    pairs = [_pair(0, at) for at in range(7)] + [_pair(1, 0)]
    found = together(pairs, 20, 1, 42, ask)
    assert [how for _, how in asked] == [{}, {"together": 5}, {"together": 5, "backwards": True}]
    assert all(chosen == pairs[:5] for chosen, _ in asked)
    assert found["together"]["kappa"]["agreement"] == 0.8 and found["reversed"]["kappa"]["agreement"] == 0.6
    together(pairs, 20, 6, 42, ask)
    assert asked[-1] == (pairs[:6], {"together": 6, "backwards": True})


def test_planted_pairs_are_ones_own_passage_and_a_stranger_that_is_no_near_duplicate_and_no_test(run: Path) -> None:
    asked: list[list[Pair]] = []

    def ask(pairs: list[Pair]) -> list[int | None]:
        asked.append(list(pairs))
        return [4] * len(pairs)

    for seed in range(30):
        found = planted(with_strangers(run, [_pair(0, 0), _pair(0, 4), _pair(1, 2)], seed), ask)
        assert found["own passage"]["value"] == 1 and found["random passage"]["value"] == 0
    assert all(own == [_pair(0, 0)] for own in asked[::2])
    assert {tuple(strange) for strange in asked[1::2]} == {(_pair(0, at),) for at in (2, 3, 4)}
    assert planted(with_strangers(run, [], 1), ask) == {"own passage": None, "random passage": None}


def test_a_failed_call_on_a_planted_pair_is_not_a_wrong_answer(run: Path) -> None:
    assert planted(with_strangers(run, [_pair(0, 0)], 1), lambda pairs: [None] * len(pairs)) == {
        "own passage": None,
        "random passage": None,
    }


def test_decoys_are_strangers_made_up_and_the_share_that_fools_is_told(run: Path) -> None:
    asked: list[list[Pair]] = []

    def ask(pairs: list[Pair]) -> list[int | None]:
        asked.append(list(pairs))
        # does what it is told, and a call fails
        return [
            None if len(pair.passage.split("passage")) > 3 else 4 if "grade 4" in pair.passage else 3 for pair in pairs
        ]

    found = decoys(with_strangers(run, [_pair(0, 0), _pair(0, 4), _pair(1, 2)], 1), ask)
    ((long,), (words,), (order,)) = asked
    # of d2, d3 and d4, which are of other documents and none of the test
    assert sorted(long.passage.split("\n\n")) == ["passage 2", "passage 3", "passage 4"]
    first = long.passage.split("\n\n")[0]
    assert words.passage == f"query 0\n{first}\nquery 0" and order.passage.startswith(f"{first}\n\nNote to the grader")
    assert {pair.query for pair in (long, words, order)} == {"query 0"}
    assert found["a long passage"] is None and decoy_calls(1) == 3 and decoy_calls(1000) == 120
    assert (found["the query's words"]["value"], found["an order"]["value"]) == (0, 1)
    assert (found["fooled"]["value"], found["fooled"]["count"]) == (0.5, 2)
    assert headline({"decoys": found}).endswith("; fooled by 50% [9%, 91%] of 2 decoys")
    assert decoys(with_strangers(run, [], 1), ask)["fooled"] is None and headline(
        {"decoys": {"fooled": None}}
    ).startswith("no kappa")


def test_people_correct_the_share_of_answers(tmp_path: Path) -> None:
    """The judge calls 2 of 4 an answer. Of two that people call so it has one, of two others it has one wrong: that is
    1/2 each, which says nothing; with one pair more it is 1/2 and 2/3: (2/5 + 2/3 - 1) / (1/2 + 2/3 - 1) = 2/5.
    """
    pairs = {_pair(at, at): grade for at, grade in enumerate((4, 1, 4, 2))}
    path = tmp_path / "sheet.csv"
    assert export(path, pairs) == {"exported": 4}
    lines = path.read_text(encoding="utf-8-sig")
    assert all(row_key(pair.query_id, pair.doc_id) in lines for pair in pairs)

    def sheet(grades: dict[Pair, int]) -> None:
        rows = [f"{row_key(pair.query_id, pair.doc_id)},{grade}" for pair, grade in grades.items()]
        path.write_text("\n".join(["row,grade", *rows, "bcdfghjklmnp,4", f"{row_key('a', 'b')},"]))

    sheet(dict(zip(pairs, (4, 4, 1, 1), strict=True)))
    found = people_agreement(pairs, path)
    assert (found["share_of_answers"], found["corrected_share_of_answers"]) == (0.5, None)
    assert (found["unknown_rows"], found["empty_rows"], found["problems"]) == (1, 1, [])
    more = pairs | {_pair(4, 4): 1}
    sheet(dict(zip(more, (4, 4, 1, 1, 1), strict=True)))
    assert people_agreement(more, path)["corrected_share_of_answers"] == pytest.approx(0.4)
    sheet({_pair(8, 8): 4})
    with pytest.raises(InputError, match=r"no grade for a pair of this run \(1 rows are empty\)"):
        people_agreement(pairs, path)


def test_what_people_have_graded_on_the_page_is_compared_with_the_judge(tmp_path: Path) -> None:
    """Of two pairs that both have graded they agree on one; a question of nobody's is not of this run."""
    pairs = {_pair(0, 0): 4, _pair(1, 1): 1, _pair(2, 2): 4}
    given = [(_pair(0, 0), 4), (_pair(1, 1), 2), (_pair(1, 1), 4), (Pair("", "d2", "asked by people", "passage 2"), 4)]
    for pair, grade in given:
        row = {"query": pair.query, "doc_id": pair.doc_id, "passage": pair.passage, "query_id": pair.query_id or None}
        append_grade(tmp_path / "grades.jsonl", {**row, "grade": grade})
    found = people_agreement(pairs, tmp_path / "grades.jsonl")
    assert (found["kappa"]["pairs"], found["kappa"]["agreement"], found["unknown_rows"]) == (2, 0.5, 1)


def test_the_headline_is_the_kappa_that_says_most() -> None:
    def kappa(value: float | None) -> dict[str, Any]:
        return {"kappa": {"value": value, "low": value, "high": value}}

    found = {"again": kappa(0.9), "second_llm": kappa(0.5), "people": kappa(None)}
    assert headline(found) == "kappa with a second judge: 0.50 [0.50, 0.50] (moderate)"
    assert headline({"again": kappa(0.9)}).startswith("kappa with itself: 0.90")
    assert headline({"again": kappa(None)}).startswith("no kappa")
