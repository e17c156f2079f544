"""A finished run as read from its folder: what a report, an explanation and a benchmark task look things up in."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats import read_trec_qrels, read_trec_run
from denizen.data.tables import read_table, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.stage import STAGE_FILE


class FinishedRun:
    """The files of a run.

    Args:
        folder: The run's folder.

    Raises:
        InputError: When it holds no finished run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "metrics.json").is_file():
            raise InputError(f"{folder} holds no finished run of denizen (it has no metrics.json)")
        self.metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if "chosen" not in self.metrics:
            made = "an evaluation" if "means" in self.metrics else "made by an older version of denizen"
            raise InputError(f"{folder} is {made}; a report needs a run of adapt of this version")

    @cached_property
    def corpus(self) -> pa.Table:
        """The passages."""
        return read_table(self.folder / "corpus/corpus.parquet", "corpus")

    @cached_property
    def queries(self) -> dict[str, dict[str, Any]]:
        """Query id to the row of the query, wherever it came from."""
        paths = [self.folder / name for name in ("corpus/queries.parquet", "synthesis/queries.parquet")]
        paths += [self.folder / "corpus/test_queries.parquet"]
        rows = [row for path in paths if path.is_file() for row in read_table(path, "queries").to_pylist()]
        return {row["query_id"]: row for row in rows}

    @cached_property
    def passages(self) -> dict[str, dict[str, Any]]:
        """Passage id to its row."""
        return {row["doc_id"]: row for row in self.corpus.to_pylist()}

    @cached_property
    def text_of(self) -> dict[str, str]:
        """Passage id to its text as models see it."""
        return texts_by_id(self.corpus)

    @cached_property
    def test_qrels(self) -> pa.Table:
        """What the test was measured by."""
        return read_trec_qrels(self.folder / "test/qrels.trec", own=True)

    @cached_property
    def examples(self) -> list[dict[str, Any]]:
        """What the model that was taken was trained on; nothing where that is the base."""
        rounds = self.rounds_taken
        if not rounds:
            return []
        # the examples of a round are those of all rounds before, too
        path = self.folder / f"round-{max(rounds) - 1}/examples/examples.parquet"
        rows: list[dict[str, Any]] = read_table(path, "examples").to_pylist()
        return rows

    @property
    def rounds_taken(self) -> list[int]:
        """The rounds whose students are in the model: one, several of a merge, none for the base."""
        if self.metrics["chosen"] == "base":
            return []
        points = self.metrics["gate"]["points"] if self.metrics["gate"] else []
        merges = [point["merge"] for point in points if point["chosen"] and point["merge"]]
        return list(merges[0]["rounds"]) if merges else [self.metrics["best_round"]]

    @property
    def depth(self) -> int:
        """How many passages each system has found for a test query."""
        return 5 if self.metrics.get("judged_by", "labels") != "labels" else int(self.metrics["config"]["depth"])

    def run(self, system: str) -> pa.Table:
        """What a system found for the test queries."""
        return read_trec_run(self.folder / f"test/{system}.trec", own=True)

    def values(self, system: str) -> dict[str, dict[str, float]]:
        """Measure to query id to value of a system on the test."""
        found: dict[str, dict[str, float]] = {}
        for row in read_table(self.folder / f"test/{system}.metrics.parquet", "metrics").to_pylist():
            found.setdefault(row["measure"], {})[row["query_id"]] = row["value"]
        return found

    @property
    def systems(self) -> list[str]:
        """The systems of the test, as they were measured."""
        return [
            path.name.removesuffix(".metrics.parquet") for path in sorted(self.folder.glob("test/*.metrics.parquet"))
        ]

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Stage name to its stage.json."""
        paths = sorted(path for path in self.folder.rglob(STAGE_FILE) if not path.parent.name.startswith("."))
        return {
            path.parent.relative_to(self.folder).as_posix(): json.loads(path.read_text(encoding="utf-8"))
            for path in paths
        }

    def json(self, name: str) -> Any:
        """The contents of a JSON file of the run; None where there is none."""
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
