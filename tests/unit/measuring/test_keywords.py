"""What a model is fused with knows which words stand together."""

from __future__ import annotations

from pathlib import Path

from denizen.data.artifacts import Corpus, Queries
from denizen.data.tables import rankings, read_table
from denizen.engine.step import Context
from denizen.measuring.keywords import keywords
from denizen.measuring.students import Searching
from tests.unit.supervision.asked_steps import stored


def test_a_pair_decides_between_passages_of_the_same_words(tmp_path: Path) -> None:
    texts = {"a": "risk market gout", "b": "market risk gout"}
    corpus = [{"doc_id": name, "text": text, "parent_id": name} for name, text in texts.items()]
    asked = [{"query_id": f"q-{split}", "text": "market risk", "split": split} for split in ("train", "dev", "test")]
    keywords.function(
        tmp_path,
        Searching(),
        Context(),
        corpus=stored(Corpus, tmp_path / "in/corpus.parquet", corpus),
        queries=stored(Queries, tmp_path / "in/queries.parquet", asked),
    )
    found = rankings(read_table(tmp_path / "run.parquet", "run"))
    assert {name: [doc_id for doc_id, _ in ranked] for name, ranked in found.items()} == {
        "q-train": ["b", "a"],
        "q-dev": ["b", "a"],
    }
