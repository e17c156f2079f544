"""A finished run of one round with an LLM's grades, made by hand: three passages, three queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.data.tables import rows_table, write_table
from denizen.llm.replies import Replies, StoredReply

CHANGE = {"value": 0.25, "low": 0.1, "high": 0.4, "p": 0.02}
METRICS: dict[str, Any] = {
    "schema": 1,
    "base": {"MRR@5": 0.75},
    "bm25": {"MRR@5": 0.5},
    "adapted": {"MRR@5": 1.0},
    "difference": {"MRR@5": CHANGE},
    "differences": {"adapted": {"MRR@5": CHANGE}, "bm25": {"MRR@5": CHANGE}},
    "advantages": {"bm25": {"MRR@5": CHANGE}},
    "queries": 2,
    "best_round": 1,
    "dev": [{"MRR@5": 0.5}, {"MRR@5": 0.75}],
    "data": {
        "passages": 3,
        "documents": 2,
        "queries": {"train": 1, "dev": 1, "test": 2},
        "split": "by document",
        "skipped_rows": 0,
        "queries_dropped_as_leaks": 0,
        "leaks": 0,
    },
    "warning": None,
    "model": "RUN/model",
    "base_model": "owner/general",
    "config": {
        "source": "/home/somebody/papers",
        "teacher": "llm",
        "llm": "judge",
        "prices": "",
        "depth": 100,
        "rounds": 1,
        "endpoint": "http://secret.example",
    },
    "versions": {"denizen": "1.2.3"},
    "backends": {"base": "torch-fp32", "adapted": "openvino-fp32"},
    "analyser": "German, stemmed",
    "arithmetic": "bf16",
    "machine": {"processor": "one", "cores": 2, "threads": 1, "flags": ["avx2"], "cuda": None, "python": "3.11"},
    "chosen": "round 1",
    "gate": None,
    "seeds": [],
    "spending": {"total": {"calls": 2, "tokens": 30, "money": 0.0}, "by_stage": {}},
    "judged_by": "judge, the teacher itself",
    "coverage": {},
    "test_queries_left_out": {"without_answer": 1},
}
_PASSAGES = {"a": "alpha", "b": "beta </pre><script>", "c": "gamma"}
_QUERIES = {"q1": ("train", "what is alpha"), "q2": ("test", "what is beta"), "q3": ("test", "what is gamma")}
_RANKED = {"base": {"q2": "ab", "q3": "ca"}, "bm25": {"q2": "ab", "q3": "ac"}, "adapted": {"q2": "ba", "q3": "ca"}}
_VALUES = {"base": (0.5, 1.0), "bm25": (0.5, 0.5), "adapted": (1.0, 1.0)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run's folder."""
    folder = tmp_path / "run"
    passages = [
        {"doc_id": doc_id, "text": text, "parent_id": f"paper-{doc_id}", "start": 0, "end": len(text)}
        for doc_id, text in _PASSAGES.items()
    ]
    _write(folder / "corpus/corpus.parquet", "corpus", passages)
    queries = [
        {"query_id": query_id, "text": text, "split": split, "source_doc_id": "a" if split == "train" else None}
        for query_id, (split, text) in _QUERIES.items()
    ]
    _write(folder / "synthesis/queries.parquet", "queries", queries)
    judgment = {"query_id": "q1", "teacher": "judge", "prompt_hash": "key", "cost": 0.5}
    judged = [{**judgment, "doc_id": "a", "grade": 4}, {**judgment, "doc_id": "c", "score": 0.125, "prompt_hash": None}]
    _write(folder / "round-0/judgments/judgments.parquet", "judgments", judged)
    known = [{"query_id": "q1", "doc_id": doc_id, "teacher": "writer", "grade": 4} for doc_id in "ab"]
    _write(folder / "round-0/answers/judgments.parquet", "judgments", known)
    example = {"query_id": "q1", "positive_id": "a", "negative_ids": ["c"], "kind": "hard", "round": 0}
    _write(folder / "round-0/examples/examples.parquet", "examples", [example])
    for system, ranked in _RANKED.items():
        lines = [
            f"{query_id} Q0 {doc_id} {rank} {1 / rank} {system}\n"
            for query_id, found in ranked.items()
            for rank, doc_id in enumerate(found, start=1)
        ]
        (folder / "test").mkdir(exist_ok=True)
        (folder / f"test/{system}.trec").write_text("".join(lines))
        values = zip(("q2", "q3"), _VALUES[system], strict=True)
        rows = [{"measure": "MRR@5", "query_id": query_id, "value": value} for query_id, value in values]
        _write(folder / f"test/{system}.metrics.parquet", "metrics", rows)
    (folder / "test/qrels.trec").write_text("q2 0 b 1\nq3 0 c 1\n")
    made_from = {"corpus": [], "synthesis": ["corpus"], "round-0/judgments": ["synthesis"]}
    made_from |= {"round-0/examples": ["round-0/judgments", "synthesis"], "test": ["corpus"]}
    for place, places in made_from.items():
        record = {"made_from": places, "fingerprint": place, "seconds": 1.5, "resumed": False}
        (folder / place / "step.json").write_text(json.dumps(record))
    (folder / "config.json").write_text(json.dumps({"replies": ""}))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    store = Replies(folder / "replies.sqlite", "run")
    store.add(StoredReply("key", "judgments", "judge", "", text='{"grade": 4}', created="2026-11-28"))
    store.close()
    return folder


def _write(path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, rows_table(name, rows))
