"""What was written stands beside what was mined, for its own query and positive alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from denizen.data.artifacts import Negatives
from denizen.data.tables import rows_table, write_table
from denizen.training.with_negatives import with_negatives

CORPUS = rows_table("corpus", [{"doc_id": name, "text": name} for name in ("a", "b", "c")])


def _examples(*rows: tuple[str, str, list[str]], **more: Any) -> pa.Table:
    names = ("query_id", "positive_id", "negative_ids")
    return rows_table("examples", [{**dict(zip(names, row, strict=True)), **more} for row in rows])


@pytest.fixture
def written(tmp_path: Path) -> Negatives:
    write_table(tmp_path / "corpus.parquet", rows_table("corpus", [{"doc_id": "n1", "text": "one"}]))
    write_table(tmp_path / "examples.parquet", _examples(("q1", "a", ["n1"]), ("q9", "a", ["n9"]), kind="hard"))
    return Negatives.outside(tmp_path)


def test_a_row_gets_what_was_written_for_it_in_every_round(written: Negatives) -> None:
    rows = _examples(("q1", "a", ["b"]), ("q1", "b", ["c"]), ("q2", "a", ["c"]), ("q1", "a", ["c"]), ("q1", "a", []))
    made, texts = with_negatives(rows, CORPUS, written, triplets=False)
    assert made["negative_ids"].to_pylist() == [["b", "n1"], ["c"], ["c"], ["c", "n1"], ["n1"]]
    assert texts["doc_id"].to_pylist() == ["a", "b", "c", "n1"] and made.schema == rows.schema


def test_a_triplet_stays_one_and_what_was_written_makes_another(written: Negatives) -> None:
    rows = _examples(("q1", "a", ["b"]), ("q1", "a", ["c"]), ("q2", "a", ["c"]))
    made, _ = with_negatives(rows, CORPUS, written, triplets=True)
    assert made["negative_ids"].to_pylist() == [["b"], ["c"], ["c"], ["n1"]]
