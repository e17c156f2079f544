from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import SCHEMAS, rows_table, table
from denizen.supervision.examples import (
    Example,
    Windows,
    contrastive_rows,
    cumulate,
    disputed_queries,
    examples_table,
    graded_lists,
    judged_windows,
    scored_rows,
    triplets,
    with_roles,
)

WINDOWS = Windows(hard_positive=(6, 100), hard_negative=(1, 15), easy_negative=(16, 100))


def candidates_of(mined: dict[str, tuple[list[int | None], list[int]]]) -> pa.Table:
    """For each query the ranks of its positives and of its negatives; a passage is named after role and rank."""
    rows = []
    for query_id, (positives, negatives) in mined.items():
        rows += [(query_id, f"p{rank}", rank, "positive") for rank in positives]
        rows += [(query_id, f"n{rank}", rank, "negative") for rank in negatives]
    names = ("query_id", "doc_id", "rank", "role")
    return table("candidates", {name: [row[at] for row in rows] for at, name in enumerate(names)})


def passages(examples: list[Example]) -> list[tuple[str, str, str, list[str]]]:
    return [(example.query_id, example.kind, example.positive_id, example.negative_ids) for example in examples]


def test_a_hard_triplet_joins_the_best_positive_and_the_best_negative_of_their_windows() -> None:
    made = triplets(candidates_of({"q": ([6, 9, None], [2, 3, 20])}), WINDOWS, 2.0, seed=0)
    assert made == [Example("q", "p6", ["n2"], "hard", "relevant at rank 6, negative at rank 2")]


def test_an_easy_triplet_joins_the_best_positive_above_the_hard_window_and_the_first_easy_negative() -> None:
    made = triplets(candidates_of({"q": ([2, 4, 8], [1, 16, 17])}), WINDOWS, 2.0, seed=0)
    assert made == [
        Example("q", "p8", ["n1"], "hard", "relevant at rank 8, negative at rank 1"),
        Example("q", "p2", ["n16"], "easy", "relevant at rank 2, negative at rank 16"),
    ]


def test_an_easy_triplet_falls_back_on_the_hard_negative_window() -> None:
    made = triplets(candidates_of({"q": ([2, 8], [3, 5])}), WINDOWS, 2.0, seed=0)
    assert passages(made)[1] == ("q", "easy", "p2", ["n3"])


@pytest.mark.parametrize(("rank", "kind"), [(5, "easy"), (6, "hard"), (100, "hard")])
def test_both_ends_of_the_hard_window_belong_to_it(rank: int, kind: str) -> None:
    table_ = candidates_of({"other": ([50], [1]), "q": ([rank], [1, 30])})
    made = triplets(table_, WINDOWS, 2.0, seed=0)
    assert [(example.query_id, example.kind) for example in made] == [("other", "hard"), ("q", kind)]


@pytest.mark.parametrize(("rank", "found"), [(15, True), (16, False)])
def test_both_ends_of_the_hard_negative_window_belong_to_it(rank: int, found: bool) -> None:
    assert bool(triplets(candidates_of({"q": ([7], [rank])}), WINDOWS, 2.0, seed=0)) is found


@pytest.mark.parametrize("positives", [[None], [101], []])
def test_without_a_positive_in_the_run_there_is_no_triplet(positives: list[int | None]) -> None:
    assert triplets(candidates_of({"q": (positives, [1, 20])}), WINDOWS, 2.0, seed=0) == []


def test_without_negatives_there_is_no_triplet() -> None:
    assert triplets(candidates_of({"q": ([2, 7], [])}), WINDOWS, 2.0, seed=0) == []


def test_a_hard_window_from_rank_one_leaves_no_easy_triplets() -> None:
    windows = Windows(hard_positive=(1, 100), hard_negative=(1, 15), easy_negative=(16, 100))
    made = triplets(candidates_of({"q": ([1, 2], [3, 16])}), windows, 2.0, seed=0)
    assert passages(made) == [("q", "hard", "p1", ["n3"])]


@pytest.mark.parametrize(("ratio", "easy"), [(0.0, 0), (0.5, 1), (1.0, 2), (2.0, 4), (3.0, 6), (100.0, 8)])
def test_easy_triplets_are_sampled_down_to_their_ratio(ratio: float, easy: int) -> None:
    """2 queries give a hard triplet, 8 others an easy one."""
    mined = {f"h{at}": ([7], [1]) for at in range(2)} | {f"e{at}": ([1], [16]) for at in range(8)}
    made = triplets(candidates_of(mined), WINDOWS, ratio, seed=3)
    kinds = [example.kind for example in made]
    assert kinds == ["hard"] * 2 + ["easy"] * easy
    names = [example.query_id for example in made if example.kind == "easy"]
    assert names == sorted(set(names))


def test_the_sample_of_easy_triplets_depends_on_the_seed_alone() -> None:
    mined = {"h": ([7], [1])} | {f"e{at:02}": ([1], [16]) for at in range(40)}
    samples = [passages(triplets(candidates_of(mined), WINDOWS, 5.0, seed)) for seed in (1, 1, 2)]
    assert samples[0] == samples[1]
    assert samples[0] != samples[2]


def test_without_hard_triplets_there_are_no_easy_ones() -> None:
    assert triplets(candidates_of({"e": ([1], [16])}), WINDOWS, 2.0, seed=0) == []


def labelled(ranks: list[int | None]) -> pa.Table:
    """Positives at ranks 2 and 7, negatives at 3 and 16, and passages labelled irrelevant at some ranks."""
    candidates = candidates_of({"q": ([2, 7], [3, 16])})
    rows = [{"query_id": "q", "doc_id": f"i{rank}", "rank": rank, "role": "irrelevant"} for rank in ranks]
    return pa.concat_tables([candidates, rows_table("candidates", rows)])


@pytest.mark.parametrize("rank", [1, 90, None])
def test_what_is_labelled_irrelevant_goes_before_what_was_mined_from_any_rank(rank: int | None) -> None:
    made = triplets(labelled([rank]), WINDOWS, 2.0, seed=0)
    assert passages(made) == [("q", "hard", "p7", [f"i{rank}"]), ("q", "easy", "p2", [f"i{rank}"])]
    for negatives, chosen in ((0, []), (1, [f"i{rank}"]), (2, [f"i{rank}", "n3"])):
        (row,) = contrastive_rows(labelled([rank]), WINDOWS, negatives, 1)
        assert row.negative_ids == chosen
    # as many as the setting asks for, by rank
    (row,) = contrastive_rows(labelled([1, 90, None]), WINDOWS, 2, 1)
    assert row.negative_ids == ["i1", "i90"] and row.reason == "relevant at rank 2, negatives at ranks 1, 90"


RANKS = st.lists(st.integers(1, 110), max_size=6, unique=True).map(sorted)


@given(st.lists(st.tuples(RANKS, RANKS), max_size=8), st.sampled_from([0.5, 1.0, 2.0]))
def test_triplets_keep_to_the_ratio_and_give_each_query_one_of_each_kind_at_most(mined, ratio: float) -> None:
    made = triplets(
        candidates_of({f"q{at}": (one, other) for at, (one, other) in enumerate(mined)}),
        WINDOWS,
        ratio,
        seed=0,
    )
    keys = [(example.query_id, example.kind) for example in made]
    assert len(keys) == len(set(keys))
    kinds = [kind for _, kind in keys]
    assert kinds.count("easy") <= ratio * kinds.count("hard")
    for example in made:
        rank = int(example.positive_id[1:])
        assert (6 <= rank <= 100) if example.kind == "hard" else rank <= 5
        assert len(example.negative_ids) == 1 and example.negative_ids[0].startswith("n")


def test_contrastive_rows_give_every_query_its_best_positive_and_the_best_negatives_of_the_hard_window() -> None:
    mined = {"q1": ([2, 30], [1, 3, 4, 16]), "q2": ([6], [15, 16]), "q3": ([None], [1]), "q4": ([1], [16])}
    made = contrastive_rows(candidates_of(mined), WINDOWS, negatives=2, positives_per_query=1)
    assert made == [
        Example("q1", "p2", ["n1", "n3"], "easy", "relevant at rank 2, negatives at ranks 1, 3"),
        Example("q2", "p6", ["n15"], "hard", "relevant at rank 6, negatives at ranks 15"),
        Example("q3", "pNone", ["n1"], "hard", "relevant beyond the run, negatives at ranks 1"),
        Example("q4", "p1", [], "easy", "relevant at rank 1, negatives at ranks none"),
    ]


@pytest.mark.parametrize(
    ("positives", "found"),
    [(1, ["p2"]), (2, ["p2", "p9"]), (0, ["p2", "p9", "pNone"]), (9, ["p2", "p9", "pNone"])],
)
def test_contrastive_rows_take_as_many_positives_as_asked(positives: int, found: list[str]) -> None:
    made = contrastive_rows(candidates_of({"q": ([2, 9, None], [1])}), WINDOWS, 1, positives)
    assert [example.positive_id for example in made] == found
    assert {tuple(example.negative_ids) for example in made} == {("n1",)}


def test_contrastive_rows_without_mined_negatives_are_rows_all_the_same() -> None:
    made = contrastive_rows(candidates_of({"q": ([2], [1, 3])}), WINDOWS, negatives=0, positives_per_query=1)
    assert passages(made) == [("q", "easy", "p2", [])]


def test_a_query_without_a_relevant_passage_makes_no_row() -> None:
    assert contrastive_rows(candidates_of({"q": ([], [1, 3])}), WINDOWS, 1, 1) == []


def test_the_examples_table_holds_the_examples_and_their_round() -> None:
    rows = examples_table([Example("q", "p", ["n", "m"], "hard", "why")], 3)
    assert rows.schema == SCHEMAS["examples"]
    expected = {"query_id": "q", "positive_id": "p", "negative_ids": ["n", "m"], "teacher_scores": None}
    assert rows.to_pylist() == [{**expected, "kind": "hard", "reason": "why", "round": 3}]
    assert len(examples_table([], 0)) == 0


def test_cumulate_keeps_all_rounds_and_drops_repetitions() -> None:
    first = examples_table([Example("q", "p", ["n"], "hard", "then"), Example("r", "p", ["n"], "easy", "then")], 0)
    new = [
        Example("q", "p", ["n"], "easy", "now"),  # a repetition
        Example("q", "p", ["m"], "hard", "now"),  # another negative
        Example("q", "o", ["n"], "hard", "now"),  # another positive
        Example("r", "p", ["n", "m"], "hard", "now"),  # one more negative
        Example("q", "o", ["n"], "hard", "now"),  # a repetition within the round
    ]
    rows = cumulate([first], examples_table(new, 1))
    assert rows.schema == SCHEMAS["examples"]
    found = [(row["query_id"], row["positive_id"], row["negative_ids"], row["round"]) for row in rows.to_pylist()]
    assert found == [
        ("q", "p", ["n"], 0),
        ("r", "p", ["n"], 0),
        ("q", "p", ["m"], 1),
        ("q", "o", ["n"], 1),
        ("r", "p", ["n", "m"], 1),
    ]
    assert rows["kind"].to_pylist()[0] == "hard"


def test_cumulate_of_the_first_round_is_that_round() -> None:
    new = examples_table([Example("q", "p", [], "easy", "why")], 0)
    assert cumulate([], new).equals(new)


def test_the_ratio_of_easy_triplets_is_not_cut_by_rounding() -> None:
    mined = {f"h{at}": ([7], [1]) for at in range(100)} | {f"e{at}": ([1], [16]) for at in range(40)}
    made = triplets(candidates_of(mined), WINDOWS, 0.29, seed=0)
    assert len(made) == 129


def judgments_of(*rows: tuple[str, str, int | None]) -> pa.Table:
    names = ("query_id", "doc_id", "grade")
    return rows_table("judgments", [dict(zip(names, row, strict=True)) for row in rows])


def ranked(**found: str) -> pa.Table:
    rows = [(name, doc_id, 0.0) for name, ids in found.items() for doc_id in ids]
    return table("run", {key: [row[at] for row in rows] for at, key in enumerate(("query_id", "doc_id", "score"))})


def test_grades_become_roles_and_three_is_left_out() -> None:
    judged = judgments_of(("q", "a", 1), ("q", "b", 4), ("q", "c", 3), ("q", "d", 2), ("q", "x", 4), ("q", "y", 1))
    found = with_roles(judged, ranked(q="dcba"), ["q", "r"], depth=4)
    assert [(row["doc_id"], row["rank"], row["role"]) for row in found.to_pylist()] == [
        ("b", 3, "positive"),
        ("x", None, "positive"),
        ("d", 1, "negative"),
        ("a", 4, "negative"),
        ("y", 5, "negative"),
    ]


def test_what_a_query_was_written_for_comes_before_what_only_the_judge_calls_an_answer() -> None:
    judged = judgments_of(("q", "a", 4), ("q", "own", 4), ("r", "b", 4))
    run = ranked(q=["a", "b", "own"], r=["b", "own"])
    found = with_roles(judged, run, ["q", "r"], 3, {"q": ["own"], "r": ["own"]}).to_pylist()
    assert [(row["query_id"], row["doc_id"]) for row in found] == [("q", "own"), ("q", "a"), ("r", "b")]


@pytest.mark.parametrize(
    ("grades", "disputed"), [([1], True), ([3], True), ([4], False), ([1, 4], False), ([], False), ([2, 3], True)]
)
def test_a_query_on_which_writer_and_judge_disagree_is_left_out(grades: list[int], disputed: bool) -> None:
    own = [f"own{at}" for at in range(2)]
    judged = judgments_of(("q", "other", 4), ("q", "wrong", 1), *(("q", f"own{at}", g) for at, g in enumerate(grades)))
    assert disputed_queries(judged, {"q": own}) == ({"q"} if disputed else set())
    found = with_roles(judged, ranked(q=["other", "wrong"]), ["q"], 3, {"q": own}).to_pylist()
    assert bool(found) is not disputed


doc_ids = st.sampled_from("abcdef")


@given(st.lists(st.tuples(st.sampled_from("qr"), doc_ids, st.integers(1, 4)), max_size=20), st.booleans())
def test_no_example_holds_a_passage_twice_however_often_it_was_judged(
    graded: list[tuple[str, str, int]], triples: bool
) -> None:
    run, windows = ranked(q="abcdef", r="fedcba"), judged_windows((3, 100), 6)
    roles = with_roles(judgments_of(*graded), run, ["q", "r"], 6)
    pairs = [(row["query_id"], row["doc_id"]) for row in roles.to_pylist()]
    assert len(pairs) == len(set(pairs))
    made = triplets(roles, windows, 9.0, 0) if triples else contrastive_rows(roles, windows, 4, 0)
    scored = [{"query_id": name, "doc_id": doc_id, "score": grade / 4} for name, doc_id, grade in graded]
    made += scored_rows(rows_table("judgments", scored), run, ["q", "r"], 2)
    for row in made:
        assert len({row.positive_id, *row.negative_ids}) == 1 + len(row.negative_ids)


def test_within_a_document_only_its_own_passages_are_negatives() -> None:
    judged = judgments_of(("q", "a1", 4), ("q", "b1", 4), ("q", "b2", 1), ("q", "c1", 1))
    roles = with_roles(judged, ranked(q=["c1", "b2", "a1", "b1"]), ["q"], depth=4)
    windows = judged_windows((6, 100), 4)
    home = {name: name[0] for name in ("a1", "b1", "b2", "c1")}
    assert [(row.positive_id, row.negative_ids) for row in contrastive_rows(roles, windows, 1, 0, home)] == [
        ("b1", ["b2"])
    ]
    assert [(row.positive_id, row.negative_ids) for row in contrastive_rows(roles, windows, 1, 0)] == [
        ("a1", ["c1"]),
        ("b1", ["c1"]),
    ]


def test_scored_rows_take_the_teacher_s_best_whatever_it_was_written_for() -> None:
    names = ("query_id", "doc_id", "score")
    scores = [("q", "a", 0.2), ("q", "b", 0.9), ("q", "c", 0.5), ("q", "x", 0.1), ("r", "a", 0.4)]
    judged = rows_table("judgments", [dict(zip(names, row, strict=True)) for row in scores])
    (row,) = scored_rows(judged, ranked(q="acb"), ["q", "r"], 2)
    assert (row.positive_id, row.negative_ids, row.kind) == ("b", ["a", "c"], "hard")
    assert row.teacher_scores == pytest.approx([0.9, 0.2, 0.5])
    kept = examples_table([row], 0).to_pylist()[0]
    assert kept["teacher_scores"] == pytest.approx([0.9, 0.2, 0.5])


def test_a_list_that_is_shorter_is_a_row_where_it_may_be() -> None:
    names = ("query_id", "doc_id", "score")
    scores = [("q", "a", 0.2), ("q", "b", 0.9), ("r", "a", 0.4)]
    judged = rows_table("judgments", [dict(zip(names, row, strict=True)) for row in scores])
    assert scored_rows(judged, ranked(q="ab"), ["q", "r"], 3) == []
    (row,) = scored_rows(judged, ranked(q="ab"), ["q", "r"], 3, 1)
    assert (row.positive_id, row.negative_ids) == ("b", ["a"])


def graded(**grades: dict[str, int | None]) -> pa.Table:
    rows = [(query, doc_id, grade) for query, of in grades.items() for doc_id, grade in of.items()]
    names = ("query_id", "doc_id", "grade")
    return rows_table("judgments", [dict(zip(names, row, strict=True)) for row in rows])


def test_graded_lists_keep_parts_of_answers_and_other_answers_by_their_worth() -> None:
    """Grades 4, 3, 2, 1 are worth 1, 2/3, 1/3, 0; the answer is the one that the query was written for."""
    judged = graded(q={"a": 4, "b": 3, "c": 4, "d": 1, "e": 2, "f": None}, r={"a": 3, "b": 1}, s={"a": 4})
    run = ranked(q="bcaed", r="ab", s="a")
    (row,) = graded_lists(judged, run, ["q", "r", "s"], 3, {"q": ["a"]})
    assert (row.positive_id, row.negative_ids, row.kind) == ("a", ["b", "c", "e"], "hard")
    assert row.teacher_scores == pytest.approx([1, 2 / 3, 1, 1 / 3])
    assert row.reason == "an answer at rank 3, beside it grades 3, 4, 2"
    # nobody wrote it for one: the answer that the student ranks best
    (row,) = graded_lists(judged, run, ["q"], 9, {})
    assert (row.positive_id, row.negative_ids) == ("c", ["b", "a", "e", "d"])


def test_graded_lists_have_no_query_on_which_writer_and_judge_disagree_and_keep_to_a_document() -> None:
    judged = graded(q={"a": 4, "b": 2, "c": 3})
    assert graded_lists(judged, ranked(q="abc"), ["q"], 3, {"q": ["b"]}) == []
    (row,) = graded_lists(judged, ranked(q="abc"), ["q"], 3, {}, {"a": "one", "b": "other", "c": "one"})
    assert row.negative_ids == ["c"]
    assert graded_lists(judged, ranked(q="abc"), ["q"], 3, {}, {"a": "one", "b": "other", "c": "other"}) == []


def test_triplets_of_one_document_take_negatives_beside_their_positive() -> None:
    """Without documents the best negatives; with them those of the positive's own, and none where it has none."""
    mined = candidates_of({"q": ([2, 8], [1, 3, 17, 18]), "r": ([7], [1])})
    home = {"p2": "a", "p8": "b", "n1": "c", "n3": "b", "n17": "c", "n18": "a", "p7": "d"}
    assert [(row.positive_id, row.negative_ids) for row in triplets(mined, WINDOWS, 2.0, 0)] == [
        ("p8", ["n1"]),
        ("p7", ["n1"]),
        ("p2", ["n17"]),
    ]
    assert [(row.positive_id, row.negative_ids) for row in triplets(mined, WINDOWS, 2.0, 0, home)] == [
        ("p8", ["n3"]),
        ("p2", ["n18"]),
    ]
