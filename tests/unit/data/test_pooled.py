"""Examples of slices, drawn and put together."""

from __future__ import annotations

from pathlib import Path

from denizen.data.artifacts import Examples
from denizen.data.pooled import Pooled, draw, pool, subset
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import rows_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.settings import Seeded
from denizen.engine.step import Context
from tests.unit.data.test_guard import slice_of


def examples_of(path: Path, count: int) -> Examples:
    rows = [{"query_id": f"q{at}", "positive_id": f"d{at}", "negative_ids": [f"d{at + 1}"]} for at in range(count)]
    write_table(path, rows_table("examples", rows))
    return Examples.outside(path)


def drawn_ids(folder: Path) -> list[str]:
    return Examples.outside(folder / "examples.parquet").table["query_id"].to_pylist()


def test_so_many_are_drawn_at_most_in_their_order_and_by_the_seed(tmp_path: Path) -> None:
    examples = examples_of(tmp_path / "examples.parquet", 50)
    found = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"out-{number}"
        out.mkdir()
        assert draw(out, Seeded(seed), Context(), examples=examples, most=Value(8))["examples"] == 8
        found.append(drawn_ids(out))
    assert found[0] == found[1] != found[2]
    assert found[0] == sorted(found[0], key=lambda name: int(name[1:])) and len(set(found[0])) == 8


def test_fewer_are_all_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    examples = examples_of(tmp_path / "examples.parquet", 3)
    draw(tmp_path / "out", Seeded(), Context(), examples=examples, most=Value(8))
    assert drawn_ids(tmp_path / "out") == ["q0", "q1", "q2"]


def test_the_random_subset_is_as_large_as_the_smallest_slice(tmp_path: Path) -> None:
    whole, small = (examples_of(tmp_path / f"{count}.parquet", count) for count in (30, 7))
    (tmp_path / "out").mkdir()
    found = subset(tmp_path / "out", Seeded(), Context(), examples=whole, slices=[whole, small])
    assert found["examples"] == 7 == len(drawn_ids(tmp_path / "out"))


def test_what_slices_call_alike_is_told_apart_where_they_meet(tmp_path: Path) -> None:
    slices = {name: slice_of(tmp_path / name, [f"{name}x", f"{name}y", f"{name}z", f"{name}w"]) for name in ("a", "b")}
    examples = {name: examples_of(tmp_path / f"{name}.parquet", 2) for name in slices}
    (tmp_path / "out").mkdir()
    tables = {
        kind: {name: getattr(its, kind) for name, its in slices.items()} for kind in ("corpus", "queries", "qrels")
    }
    facts = pool(tmp_path / "out", NearDuplicates(), Context(), examples=examples, **tables)
    found = Pooled.outside(tmp_path / "out")
    assert facts["examples"] == 4
    assert found.examples.table["query_id"].to_pylist() == ["a/q0", "a/q1", "b/q0", "b/q1"]
    assert found.examples.table["negative_ids"].to_pylist() == [["a/d1"], ["a/d2"], ["b/d1"], ["b/d2"]]
    corpus = found.corpus.table
    assert corpus["doc_id"].to_pylist() == [f"{name}/d{at}" for name in ("a", "b") for at in range(4)]
    # no passage of one slice is a near-duplicate of one of the other by its number alone: all texts differ
    assert len(set(corpus["cluster"].to_pylist())) == len(set(corpus["parent_cluster"].to_pylist())) == 8
    known = {*corpus["doc_id"].to_pylist(), *found.queries.table["query_id"].to_pylist()}
    assert known >= {*found.qrels.table["query_id"].to_pylist(), *found.qrels.table["doc_id"].to_pylist()}
