"""Reading, splitting and guarding on real data sets; skipped where ../shared/data is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats import read_source
from denizen.data.formats.source import Source
from denizen.data.prepare import Splitting, given_by, prepare
from denizen.data.tables import read_table
from denizen.engine.errors import LeakError
from denizen.engine.step import Context

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is missing")


@pytest.mark.parametrize(
    ("name", "documents", "queries"),
    [
        ("tatqa", 2971, {"train": 1645, "dev": 323, "test": 1311}),
        ("financial_qa_10k", 6723, {"train": 5049, "dev": 592, "test": 1277}),
        ("nq_general", 11364, {"train": 1063, "dev": 265, "test": 1327}),
        ("medquad", 15809, {"train": 10010, "dev": 1385, "test": 2757}),
    ],
)
def test_beir_folders_have_the_counts_of_their_description(name: str, documents: int, queries: dict[str, int]) -> None:
    source = read_source(str(DATA / name))
    assert len(source.documents) == documents
    assert Counter(source.queries["split"].to_pylist()) == queries
    assert not source.bad_rows


def test_pairs_of_medquad_are_read_whole() -> None:
    source = read_source(str(DATA / "medquad" / "medquad_qa.jsonl.gz"))
    assert len(source.queries) == 16407


def test_a_source_with_its_own_split_that_leaks_is_stopped_and_can_be_cleaned(tmp_path: Path) -> None:
    """TAT-QA's own split has questions that differ by a year or a word on both sides."""
    source = read_source(str(DATA / "tatqa"))
    with pytest.raises(LeakError, match="near-duplicate query in"):
        _prepared(tmp_path, source)
    facts = _prepared(tmp_path, source, drop_leaks=True)
    assert 0 < facts["queries_dropped_as_leaks"] < 60
    assert facts["queries"]["test"] == 1311
    assert len(read_table(tmp_path / "queries.parquet", "queries")) == 3279 - facts["queries_dropped_as_leaks"]


@pytest.mark.slow
def test_the_document_split_of_medquad_does_not_leak(tmp_path: Path) -> None:
    source = read_source(str(DATA / "medquad" / "medquad_qa.jsonl.gz"))
    facts = _prepared(tmp_path, source)
    assert facts["leaks"] == 0
    assert facts["queries"]["test"] > 2500


def _prepared(folder: Path, source: Source, **settings: Any) -> Any:
    given = given_by(lambda: source, source)
    return prepare(folder, Splitting(**settings), Context(resources={type(given): given}), source=given.source)
