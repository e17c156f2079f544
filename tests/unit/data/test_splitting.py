from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.leaks import find_leaks, leak_groups
from denizen.data.splitting import dev_from_train, split_by_group, split_by_row, split_documents
from denizen.data.tables import SCHEMAS, table
from denizen.engine.errors import InputError
from tests.unit.data.linked_queries import Tables, linked_queries, on_two_sides, queries_of, split_of


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
