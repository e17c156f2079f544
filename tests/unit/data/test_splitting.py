from __future__ import annotations

from collections import Counter
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.leaks import find_leaks, leak_groups
from denizen.data.splitting import (
    check_sides,
    dev_from_train,
    split_by_group,
    split_by_row,
    split_by_time,
    split_documents,
)
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
    divided = split_by_group(queries, groups, 0.2, 0.3, seed)
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


def test_a_side_that_has_nothing_is_refused_with_what_is_known_and_the_remedy() -> None:
    check_sides(["train", "dev", "test", "guard"], "all")
    with pytest.raises(InputError, match=r"^one group; nothing is left for dev, test: add documents$"):
        check_sides(["train", "train"], "one group")


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


def sides(corpus: pa.Table, known: dict[str, str], share: float = 0.2) -> dict[str, str]:
    return split_documents(corpus, known, {"test": share, "dev": share}, seed=1)


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


@pytest.mark.parametrize(("count", "expected"), [(8, ["dev", "test"]), (5, ["dev", "test"]), (4, ["test"]), (2, [])])
def test_a_document_may_be_up_to_twice_a_share(count: int, expected: list[str]) -> None:
    """Of eight documents each is .125, of five .2, of four .25: 1.25, 2 and 2.5 times the .1 of dev."""
    corpus = passages_of(*((f"d{at // 10}", at, at // 10) for at in range(10 * count)))
    found = split_documents(corpus, {}, {"test": 0.2, "dev": 0.1}, seed=1)
    assert sorted(set(found.values()) - {"train"}) == expected


def days_of(*months: int) -> dict[str, date]:
    return {f"n{at:02}": date(2026, month, 1) for at, month in enumerate(months)}


def test_the_oldest_are_trained_on_and_the_newest_are_the_test() -> None:
    """Of ten, a fifth from the end is two, a tenth before them one; what the order of names is does not matter."""
    days = days_of(10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
    cut = split_by_time(days, dict.fromkeys(days, 1), {"test": 0.2, "dev": 0.1}, "queries")
    assert [cut.side[name] for name in sorted(days)] == ["test", "test", "dev", *["train"] * 7]
    assert (cut.dev, cut.test) == (date(2026, 8, 1), date(2026, 9, 1))


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=3, max_size=30),
    st.floats(0.01, 0.4),
    st.floats(0.01, 0.4),
)
def test_no_day_is_parted_and_every_side_has_one(rows: list[tuple[int, int]], dev: float, test: float) -> None:
    days = days_of(*(month for month, _ in rows))
    weights = {name: weight for name, (_, weight) in zip(days, rows, strict=True)}
    shares = {"test": test, "dev": dev}
    if len(set(days.values())) < 3:
        with pytest.raises(
            InputError, match=r"the \d+ filings are of [12] day\(s\); .* at least 3: .*--split document"
        ):
            split_by_time(days, weights, shares, "filings")
        return
    cut = split_by_time(days, weights, shares, "filings")
    of_side = {part: {days[name] for name in days if cut.side[name] == part} for part in ("train", "dev", "test")}
    assert max(of_side["train"]) < cut.dev == min(of_side["dev"]) <= max(of_side["dev"]) < cut.test
    assert cut.test == min(of_side["test"])
    # another cut of the test comes no nearer to its share
    held = [sum(weights[name] for name in days if days[name] >= first) for first in sorted(set(days.values()))[2:]]
    own = sum(weights[name] for name in days if cut.side[name] == "test")
    wanted = test * sum(weights.values())
    assert abs(own - wanted) <= min(abs(count - wanted) for count in held) + 1e-9
