from __future__ import annotations

import pytest
from hypothesis import given

from denizen.data.leaks import (
    DocumentLeak,
    Leak,
    check_leaks,
    find_document_leaks,
    find_leaks,
    leak_groups,
    without_leaks,
)
from denizen.data.passages import cut, with_clusters
from denizen.data.tables import table
from denizen.engine.errors import LeakError
from tests.unit.data.linked_queries import (
    Tables,
    corpus_of,
    linked_queries,
    on_two_sides,
    qrels_of,
    queries_of,
    shared_things,
    split_of,
)


def test_groups_join_what_shares_a_text_a_document_or_a_near_duplicate_also_through_others() -> None:
    texts = ["Gout  pain", "gout pain", "lupus rash", "measles fever", "toe itch", "skin ache", "child cough"]
    # q1-q2 by parent x, q2-q3 by cluster 7, q4-q5 by nothing
    corpus = corpus_of([("x", 0), ("x", 1), ("y", 7), ("z", 7), ("u", 4), ("v", 5)])
    qrels = qrels_of([("q1", "d0"), ("q2", "d1"), ("q2", "d2"), ("q3", "d3"), ("q4", "d4"), ("q5", "d5")])
    groups = leak_groups(queries_of(texts), qrels, corpus, 0.9)
    assert groups["q0"] == groups["q1"] == groups["q2"] == groups["q3"]
    assert len({groups[name] for name in ("q0", "q4", "q5", "q6")}) == 4


def test_a_judged_irrelevant_passage_joins_nothing() -> None:
    qrels = table("qrels", {"query_id": ["q0", "q1"], "doc_id": ["d0", "d0"], "relevance": [1, 0]})
    groups = leak_groups(queries_of(["gout", "lupus"]), qrels, corpus_of([("x", 0)]), 0.9)
    assert groups["q0"] != groups["q1"]


NEAR = ["Which drug treats gout in the big toe", "which drug treats gout in the big toe?"]


@pytest.mark.parametrize(
    ("texts", "home", "leak"),
    [
        (
            ["gout  pain", "Gout pain"],
            [("x", 0), ("y", 1)],
            Leak("query", ("test", "train"), ("q0", "q1"), "gout  pain"),
        ),
        (NEAR, [("x", 0), ("y", 1)], Leak("near-duplicate query", ("test", "train"), ("q0", "q1"), NEAR[0])),
        (
            ["gout", "lupus"],
            [("x", 0), ("x", 1)],
            Leak("relevant passage", ("test", "train"), ("q0", "q1"), "gout"),
        ),
        (
            ["gout", "lupus"],
            [("x", 3), ("y", 3)],
            Leak("near-duplicate passage", ("test", "train"), ("q0", "q1"), "gout"),
        ),
    ],
)
def test_each_kind_of_leak_is_found_where_it_was_planted(
    texts: list[str], home: list[tuple[str, int]], leak: Leak
) -> None:
    clean = ["measles", "fever"]
    corpus = corpus_of([*home, ("v", 8), ("w", 9)])
    qrels = qrels_of([("q0", "d0"), ("q1", "d1"), ("q2", "d2"), ("q3", "d3")])
    assert find_leaks(queries_of(texts + clean, ["train", "test", "train", "dev"]), qrels, corpus, 0.9) == [leak]
    assert find_leaks(queries_of(texts + clean, ["test", "test", "train", "dev"]), qrels, corpus, 0.9) == []


def test_copies_that_are_cut_at_other_places_leak() -> None:
    """The second document is the first with two sentences in front, so hardly a passage of them is alike."""
    sentences = [f"Sentence {at} tells of the {at * 7919} signs of disease {at * 104729}." for at in range(60)]
    texts = {"a": " ".join(sentences), "b": " ".join(["It was seen again.", "Others say so too.", *sentences])}
    # with only two documents a word of one of them would weigh three times what a word of both does
    texts.update({f"other {at}": f"Another document {at * 13 + 7}." for at in range(10)})
    documents = table("corpus", {"doc_id": list(texts), "text": list(texts.values())})
    corpus, qrels = cut(documents, qrels_of([("q0", "a"), ("q1", "b")]), 300)
    corpus = with_clusters(corpus, 0.9)
    assert len(corpus["cluster"].unique()) > len(corpus) / 2
    found = find_leaks(queries_of(["gout", "lupus"], ["train", "test"]), qrels, corpus, 0.9)
    assert [(leak.what, leak.query_ids) for leak in found] == [("near-duplicate passage", ("q0", "q1"))]
    groups = leak_groups(queries_of(["gout", "lupus"]), qrels, corpus, 0.9)
    assert groups["q0"] == groups["q1"]


def test_the_two_of_a_leak_may_be_train_and_dev() -> None:
    found = find_leaks(queries_of(["gout", "gout"], ["dev", "train"]), qrels_of([]), corpus_of([]), 0.9)
    assert [(leak.what, leak.splits) for leak in found] == [("query", ("dev", "train"))]


def test_an_equal_query_is_not_told_again_as_a_near_duplicate_but_a_further_one_is() -> None:
    splits: list[str | None] = ["train", "test", "test"]
    found = find_leaks(queries_of([NEAR[0], NEAR[0], NEAR[1]], splits), qrels_of([]), corpus_of([]), 0.9)
    assert [(leak.what, leak.query_ids) for leak in found] == [
        ("query", ("q0", "q1")),
        ("near-duplicate query", ("q0", "q1", "q2")),
    ]


@given(linked_queries(("train", "dev", "test")))
def test_every_thing_on_two_sides_is_found(tables: Tables) -> None:
    found = find_leaks(*tables, 1.0)
    told = [leak.query_ids for leak in found]
    assert len(told) == len(set(told))
    things = shared_things(tables)
    for kind, thing in on_two_sides(tables):
        assert tuple(sorted(things[kind, thing])) in told
    sides = split_of(tables[0])
    for leak in found:
        assert leak.splits == tuple(sorted({sides[query_id] for query_id in leak.query_ids}))
        assert len(leak.splits) > 1


@given(linked_queries(("train", "dev", "test")))
def test_without_leaks_none_is_left_and_test_is_whole(tables: Tables) -> None:
    queries, qrels, corpus = tables
    kept, found = without_leaks(queries, qrels, corpus, 0.9)
    assert find_leaks(kept, qrels, corpus, 0.9) == []
    assert (len(kept) < len(queries)) == bool(found)
    assert on_two_sides((kept, qrels, corpus)) == []
    before, after = split_of(queries), split_of(kept)
    assert {name for name, split in before.items() if split == "test"} <= set(after)
    assert after.items() <= before.items()


def test_only_what_leaks_is_dropped_and_dev_outranks_train() -> None:
    queries = queries_of(
        ["gout", "gout", "gout", "lupus", "lupus", "fever"], ["train", "dev", "test", "dev", "train", "train"]
    )
    kept, _ = without_leaks(queries, qrels_of([]), corpus_of([]), 0.9)
    assert split_of(kept) == {"q2": "test", "q3": "dev", "q5": "train"}


def test_documents_on_two_sides_that_are_alike_are_named_once_and_what_is_on_no_side_counts_for_nothing() -> None:
    """x and y are copies; z holds a passage of y and w one of z; what x shares with v is on no side."""
    places = [("x", 0, 0), ("y", 1, 0), ("y", 2, 0), ("z", 2, 3), ("z", 3, 3), ("w", 3, 4), ("v", 0, 5), ("u", 9, 6)]
    names = [f"d{at}" for at in range(len(places))]
    columns = dict(zip(("parent_id", "cluster", "parent_cluster"), zip(*places, strict=True), strict=True))
    corpus = table("corpus", {"doc_id": names, "text": names, **columns})
    side = {"x": "train", "y": "test", "z": "dev", "w": "dev", "v": "guard", "u": "test"}
    assert find_document_leaks(corpus, side) == [
        DocumentLeak("near-duplicate document", ("test", "train"), ("x", "y"), "d0"),
        DocumentLeak("near-duplicate passage", ("dev", "test"), ("y", "z"), "d2"),
    ]


def test_the_guard_lets_splits_without_leaks_pass() -> None:
    check_leaks([])


def test_the_guard_names_the_first_rows_and_the_remedies() -> None:
    leaks = [Leak("query", ("dev", "test"), (f"a{at}", f"b{at}"), f"text {at}") for at in range(7)]
    with pytest.raises(LeakError) as raised:
        check_leaks(leaks)
    message = str(raised.value)
    assert message.startswith("7 thing(s)")
    assert "query in dev and test: a0, b0 ('text 0')" in message
    assert "a4, b4" in message and "a5" not in message
    assert "and 2 more" in message
    for remedy in ("--split document", "--drop-leaks", "--allow-leak"):
        assert remedy in message
    assert raised.value.exit_code == 3


def test_the_guard_does_not_speak_of_more_when_all_are_shown() -> None:
    with pytest.raises(LeakError) as raised:
        check_leaks([Leak("query", ("dev", "test"), ("a", "b"), "gout")])
    assert "more" not in str(raised.value)


def test_without_leaks_leaves_none_even_when_dropping_changes_the_weights_of_words() -> None:
    template = "what are the symptoms of"
    texts = [
        f"{template} chronic gout",
        f"{template} gout",
        *(f"{template} disease{at}" for at in range(20)),
        "fever",
    ]
    queries = queries_of(texts, ["train", "test", *["train"] * 20, "test"])
    qrels = qrels_of([("q0", "d0"), ("q1", "d1"), *((f"q{at}", "d2") for at in range(2, 23))])
    corpus = corpus_of([("a", 0), ("b", 1), ("c", 2)])
    kept, _ = without_leaks(queries, qrels, corpus, 0.6)
    assert find_leaks(kept, qrels, corpus, 0.6) == []


def test_a_shared_passage_is_not_told_again_as_a_near_duplicate_of_itself() -> None:
    found = find_leaks(
        queries_of(["gout", "lupus"], ["train", "test"]),
        qrels_of([("q0", "d0"), ("q1", "d0")]),
        corpus_of([("x", 0)]),
        0.9,
    )
    assert [leak.what for leak in found] == ["relevant passage"]


def test_without_leaks_of_no_queries_is_none() -> None:
    assert len(without_leaks(queries_of([]), qrels_of([]), corpus_of([]), 0.9)[0]) == 0
