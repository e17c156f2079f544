from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.passages import cut, with_clusters
from denizen.data.splitting import (
    Leak,
    check_leaks,
    dev_from_train,
    find_leaks,
    leak_groups,
    split_by_group,
    split_by_row,
    split_documents,
    without_leaks,
)
from denizen.data.tables import SCHEMAS, table
from denizen.engine.errors import InputError, LeakError

Tables = tuple[pa.Table, pa.Table, pa.Table]


def queries_of(texts: list[str], splits: list[str | None] | None = None) -> pa.Table:
    columns = {"query_id": [f"q{at}" for at in range(len(texts))], "text": texts}
    return table("queries", {**columns, "split": splits or [None] * len(texts)})


def qrels_of(links: list[tuple[str, str]]) -> pa.Table:
    columns = {"query_id": [query_id for query_id, _ in links], "doc_id": [doc_id for _, doc_id in links]}
    return table("qrels", {**columns, "relevance": [1] * len(links)})


def corpus_of(home: list[tuple[str, int]]) -> pa.Table:
    """Passages d0, d1, ... with their parent and their cluster."""
    names = [f"d{at}" for at in range(len(home))]
    parents, clusters = [parent for parent, _ in home], [cluster for _, cluster in home]
    numbers = {parent: number for number, parent in enumerate(dict.fromkeys(parents))}
    columns = {"doc_id": names, "text": names, "parent_id": parents, "cluster": clusters}
    return table("corpus", {**columns, "parent_cluster": [numbers[parent] for parent in parents]})


def split_of(queries: pa.Table) -> dict[str, str]:
    return dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))


def shared_things(tables: Tables) -> dict[tuple[str, object], set[str]]:
    """What each text, parent and cluster is shared by, said anew without the code under test."""
    queries, qrels, corpus = tables
    home = {row["doc_id"]: (row["parent_id"], row["cluster"]) for row in corpus.to_pylist()}
    things: dict[tuple[str, object], set[str]] = {}
    for row in queries.to_pylist():
        things.setdefault(("text", " ".join(row["text"].lower().split())), set()).add(row["query_id"])
    present = set(queries["query_id"].to_pylist())
    for row in qrels.to_pylist():
        if row["relevance"] > 0 and row["query_id"] in present:
            parent, cluster = home[row["doc_id"]]
            things.setdefault(("parent", parent), set()).add(row["query_id"])
            things.setdefault(("cluster", cluster), set()).add(row["query_id"])
    return things


def on_two_sides(tables: Tables) -> list[tuple[str, object]]:
    sides = split_of(tables[0])
    return [thing for thing, ids in shared_things(tables).items() if len({sides[query_id] for query_id in ids}) > 1]


@st.composite
def linked_queries(draw: st.DrawFn, splits: tuple[str, ...] = ()) -> Tables:
    """Up to 24 queries from a small vocabulary with links into a small corpus, so that much is shared."""
    words = st.lists(
        st.sampled_from(["gout", "lupus", "fever", "rash", "toe", "skin", "pain", "child"]), min_size=1, max_size=4
    )
    texts = draw(st.lists(words.map(" ".join), min_size=6, max_size=24))
    home = draw(st.lists(st.tuples(st.sampled_from("stuvwxyz"), st.integers(0, 11)), min_size=12, max_size=12))
    links = draw(
        st.lists(st.tuples(st.integers(0, len(texts) - 1), st.integers(0, 11)), max_size=len(texts), unique=True)
    )
    sides = draw(st.lists(st.sampled_from(splits), min_size=len(texts), max_size=len(texts))) if splits else None
    qrels = qrels_of([(f"q{query}", f"d{doc}") for query, doc in links])
    return queries_of(texts, sides), qrels, corpus_of(home)


@settings(max_examples=60)
@given(linked_queries(), st.integers(0, 5), st.sampled_from([0.6, 0.9, 1.0]))
def test_splitting_by_group_never_leaks_and_meets_its_shares_as_far_as_groups_allow(
    tables: Tables, seed: int, threshold: float
) -> None:
    queries, qrels, corpus = tables
    groups = leak_groups(queries, qrels, corpus, threshold)
    try:
        divided = split_by_group(queries, groups, 0.2, 0.3, seed)
    except InputError:
        return
    assert find_leaks(divided, qrels, corpus, threshold) == []
    assert on_two_sides((divided, qrels, corpus)) == []
    counts = Counter(divided["split"].to_pylist())
    sizes = Counter(groups.values())
    side = {groups[query_id]: split for query_id, split in split_of(divided).items()}
    # no part overflows, and none has room left for a group that a later part or train got
    for part, share, others in (("test", 0.3, ("dev", "train")), ("dev", 0.2, ("train",))):
        room = share * len(queries) + 0.5 - counts[part]
        assert room >= -1e-9
        assert all(size > room for group, size in sizes.items() if side[group] in others)


def test_splits_of_unshared_queries_have_their_shares_to_the_row() -> None:
    queries = queries_of([f"word{at}" for at in range(200)])
    counts = Counter(split_by_group(queries, {f"q{at}": at for at in range(200)}, 0.1, 0.2, 42)["split"].to_pylist())
    assert counts == {"train": 140, "dev": 20, "test": 40}


def test_splitting_by_group_depends_on_the_seed_alone_and_keeps_the_rows() -> None:
    queries = queries_of([f"word{at}" for at in range(50)], ["old"] * 50)
    groups = {f"q{at}": at // 2 for at in range(50)}
    one, again, other = (split_by_group(queries, groups, 0.1, 0.2, seed) for seed in (1, 1, 2))
    assert one.equals(again) and not one.equals(other)
    assert one.drop_columns("split").equals(queries.drop_columns("split"))
    assert one.schema == SCHEMAS["queries"]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_too_large_for_test_and_dev_is_trained_on(seed: int) -> None:
    groups = {f"q{at}": 0 if at < 15 else at for at in range(30)}
    sides = split_of(split_by_group(queries_of([f"word{at}" for at in range(30)]), groups, 0.1, 0.2, seed))
    assert {sides[f"q{at}"] for at in range(15)} == {"train"}


def test_too_few_groups_are_refused_with_their_number_and_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"9 queries form 1 group\(s\).*dev, test"):
        split_by_group(queries_of(["x"] * 9), dict.fromkeys([f"q{at}" for at in range(9)], 0), 0.1, 0.2, 42)


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


@settings(max_examples=40)
@given(linked_queries(("train", "test")), st.integers(0, 3))
def test_a_dev_part_cut_from_train_shares_nothing_with_train_and_leaves_test_alone(tables: Tables, seed: int) -> None:
    queries, qrels, corpus = tables
    groups = leak_groups(queries, qrels, corpus, 0.9)
    before = split_of(queries)
    training = [name for name, split in before.items() if split == "train"]
    if len(training) < 2:
        with pytest.raises(InputError, match="too few"):
            dev_from_train(queries, groups, 0.3, seed)
        return
    after = split_of(dev_from_train(queries, groups, 0.3, seed))
    assert list(after) == list(before)
    assert {name for name, split in after.items() if split == "test"} == set(before) - set(training)
    dev = {groups[name] for name, split in after.items() if split == "dev"}
    assert dev.isdisjoint(groups[name] for name, split in after.items() if split == "train")
    assert sum(split == "dev" for split in after.values()) <= 0.3 * len(training) + 0.5


def test_the_dev_part_is_a_share_of_the_training_queries() -> None:
    queries = queries_of([f"word{at}" for at in range(100)], ["train"] * 60 + ["test"] * 40)
    after = dev_from_train(queries, {f"q{at}": at for at in range(100)}, 0.1, 0)
    assert Counter(after["split"].to_pylist()) == {"train": 54, "dev": 6, "test": 40}


def test_splitting_by_row_rounds_up_and_keeps_the_rows() -> None:
    """11 rows: test is 2.2 rounded up to 3, dev 1.1 rounded up to 2."""
    queries = queries_of([f"word{at}" for at in range(11)])
    divided = split_by_row(queries, 0.1, 0.2, 0)
    assert Counter(divided["split"].to_pylist()) == {"train": 6, "dev": 2, "test": 3}
    assert divided["query_id"].equals(queries["query_id"])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_splitting_by_row_refuses_to_leave_nothing_to_train_on(count: int) -> None:
    with pytest.raises(InputError, match="too few"):
        split_by_row(queries_of([f"word{at}" for at in range(count)]), 0.1, 0.2, 0)


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


def passages_of(*rows: tuple[str, int, int]) -> pa.Table:
    """(document, passage cluster, document cluster) of each passage."""
    return table(
        "corpus",
        {
            "doc_id": [f"p{at}" for at in range(len(rows))],
            "parent_id": [parent for parent, _, _ in rows],
            "domain": ["x"] * len(rows),
            "cluster": [cluster for _, cluster, _ in rows],
            "parent_cluster": [whole for _, _, whole in rows],
        },
    )


def sides(corpus: pa.Table, known: dict[str, str], shares: tuple[float, float] = (0.2, 0.2)) -> dict[str, str]:
    rows = split_documents(corpus, known, *shares, seed=1).to_pylist()
    return {row["parent_id"]: row["split"] for row in rows}


def test_documents_are_dealt_out_whole_by_passages() -> None:
    corpus = passages_of(*((f"d{at // 2}", at, at // 2) for at in range(40)))
    found = sides(corpus, {})
    assert sorted(found.values()) == ["dev"] * 4 + ["test"] * 4 + ["train"] * 12
    assert found == sides(corpus, {})


def test_near_duplicate_documents_stand_on_one_side_and_a_footer_ties_nobody() -> None:
    rows = [(f"d{at}", at, at) for at in range(30)] + [(f"d{at}", 1000, at) for at in range(30)]
    rows += [("copy", 99, 3)]
    for known in ({}, {"d3": "test", "d7": "dev"}):
        found = sides(passages_of(*rows), known)
        assert found["copy"] == found["d3"] and set(found.values()) == {"train", "dev", "test"}


def test_a_known_side_takes_its_whole_group_and_test_comes_before_dev() -> None:
    rows = [(f"d{at}", at, at) for at in range(10)] + [("both", 0, 1), ("whole", 0, 0)]
    found = sides(passages_of(*rows), {"d0": "dev", "d1": "test", "d2": "dev"})
    assert found["d1"] == found["both"] == "test" and found["d0"] == found["whole"] == found["d2"] == "dev"
    assert [found[f"d{at}"] for at in range(3, 10)] == ["train"] * 7


def test_too_few_groups_of_documents_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 document\(s\) form 1 group\(s\).*nothing is left for"):
        sides(passages_of(("a", 1, 1), ("b", 2, 1)), {})
