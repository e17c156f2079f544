"""A finished run as read from its folder: what a report, an explanation and a benchmark task look things up in."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from denizen.data.formats.trec import read_trec_qrels, read_trec_run
from denizen.data.tables import rankings, read_table, relevant, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.files import read_json
from denizen.engine.pipeline import records
from denizen.llm.replies import Replies, StoredReply
from denizen.measuring.dependence import groups
from denizen.recipes.run_folder import check_version
from denizen.reports.results import by_judge

_Row = dict[str, Any]

# what a page cannot be written without, and earlier versions did not say
_NEWEST = {"shipped", "decided", "grouped"}


class FinishedRun:
    """The files of a run.

    Args:
        folder: The run's folder.

    Raises:
        InputError: When it holds no finished run, or one of an older version.
    """

    def __init__(self, folder: Path) -> None:
        check_version(folder)
        self.folder = folder
        if not (folder / "metrics.json").is_file():
            raise InputError(f"{folder} holds no finished run of denizen (it has no metrics.json)")
        self.metrics: _Row = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if "chosen" not in self.metrics:
            raise InputError(f"{folder} holds the results of another command; give the folder of a run of adapt")
        if not self.metrics.keys() >= _NEWEST:
            replies = folder / "replies.sqlite"
            paid = f", and --replies {replies} so that no reply is paid twice" if replies.is_file() else ""
            raise InputError(f"{folder} was made by an older version; run adapt again with a new --out{paid}")

    @cached_property
    def corpus(self) -> pa.Table:
        """The passages."""
        return read_table(self.folder / "corpus/corpus.parquet", "corpus")

    @cached_property
    def passages(self) -> dict[str, _Row]:
        """Passage id to its row; also of those that were written as negatives."""
        return {row["doc_id"]: row for part in self._with_written for row in part.to_pylist()}

    @cached_property
    def text_of(self) -> dict[str, str]:
        """Passage id to its text as models see it; also of those that were written as negatives."""
        return {doc_id: text for part in self._with_written for doc_id, text in texts_by_id(part).items()}

    @cached_property
    def _with_written(self) -> list[pa.Table]:
        path = self.folder / "negatives/corpus.parquet"
        return [self.corpus, *([read_table(path, "corpus")] if path.is_file() else [])]

    @cached_property
    def written_negatives(self) -> dict[tuple[str, str], str]:
        """Query and positive to the passage that was written as a negative of theirs and is trained with."""
        if not (self.folder / "negatives/examples.parquet").is_file():
            return {}
        rows = self.rows("negatives/examples.parquet", "examples")
        return {(row["query_id"], row["positive_id"]): row["negative_ids"][0] for row in rows}

    @cached_property
    def queries(self) -> dict[str, _Row]:
        """Query id to the row of the query, wherever it came from."""
        names = ("corpus/queries.parquet", "synthesis/queries.parquet", "corpus/test_queries.parquet")
        there = [name for name in names if (self.folder / name).is_file()]
        return {row["query_id"]: row for name in there for row in self.rows(name, "queries")}

    @cached_property
    def known(self) -> dict[str, dict[str, int]]:
        """Test query id to its relevant passages with their grades: what the test was measured by."""
        return relevant(read_trec_qrels(self.folder / "test/qrels.trec", own=True))

    @cached_property
    def together(self) -> dict[str, int]:
        """Test query id to the number of what it depends on."""
        qrels = read_trec_qrels(self.folder / "test/qrels.trec", own=True)
        return dict(groups(list(self.known), qrels, self.corpus).of)

    @cached_property
    def ranked(self) -> dict[str, dict[str, list[tuple[str, float]]]]:
        """What base and adapted have found: system to test query id to passages with scores, best first."""
        paths = {system: self.folder / f"test/{system}.trec" for system in ("base", "adapted")}
        return {system: rankings(read_trec_run(path, own=True)) for system, path in paths.items()}

    @property
    def depth(self) -> int:
        """How many passages each system has found for a test query."""
        return 5 if by_judge(self.metrics) else int(self.metrics["config"]["depth"])

    @cached_property
    def examples_at(self) -> str | None:
        """The step that made what the model that was taken was trained on; None where that is the base."""
        if self.metrics["chosen"] == "base":
            return None
        points = self.metrics["gate"]["points"] if self.metrics["gate"] else []
        merges = [point["merge"] for point in points if point["chosen"] and point["merge"]]
        # the examples of a round are those of all rounds before, too
        last = max(merges[0]["rounds"]) if merges else self.metrics["best_round"]
        anew = self.metrics.get("take", {}).get("branch") == "anew"
        return f"{'anew/' if anew else ''}round-{last - 1}/examples"

    @cached_property
    def examples(self) -> list[_Row]:
        """What the model that was taken was trained on."""
        return self.rows(f"{self.examples_at}/examples.parquet", "examples") if self.examples_at else []

    def judgments(self, query_id: str) -> dict[str, _Row]:
        """Passage id to its first judgment for a query, with the step that asked for it as "stage"."""
        found: dict[str, _Row] = {}
        for stage, judged in self._judged.items():
            for row in judged.filter(pc.field("query_id") == query_id).to_pylist():
                found.setdefault(row["doc_id"], {**row, "stage": stage})
        return found

    @property
    def judged_queries(self) -> set[str]:
        """The queries for which an LLM has graded passages."""
        graded = (judged.filter(pc.is_valid(judged["grade"])) for judged in self._judged.values())
        return {query_id for rows in graded for query_id in rows["query_id"].to_pylist()}

    @cached_property
    def _judged(self) -> dict[str, pa.Table]:
        paths = sorted(self.folder.rglob("judgments.parquet"))
        # work that was begun lies in folders with a dot, and answers repeat what judgments say
        done = [path for path in paths if not path.parent.name.startswith(".") and path.parent.name != "answers"]
        return {path.parent.relative_to(self.folder).as_posix(): read_table(path, "judgments") for path in done}

    @cached_property
    def steps(self) -> dict[str, _Row]:
        """Place of a finished step to its step.json."""
        return records(self.folder)

    def values(self, system: str) -> dict[str, dict[str, float]]:
        """Measure to query id to value of a system on the test."""
        found: dict[str, dict[str, float]] = {}
        for row in self.rows(f"test/{system}.metrics.parquet", "metrics"):
            found.setdefault(row["measure"], {})[row["query_id"]] = row["value"]
        return found

    def replies(self, keys: Collection[str]) -> dict[str, StoredReply]:
        """The stored replies of an LLM by their keys, where the store is still there."""
        if not keys:
            return {}
        named = (read_json(self.folder / "config.json") or {}).get("replies")
        path = Path(named).expanduser() if named else self.folder / "replies.sqlite"
        if not path.is_file():
            return {}
        with closing(Replies(path, "")) as store:
            return store.find(keys)

    def rows(self, name: str, kind: str) -> list[_Row]:
        """The rows of a table of the run."""
        rows: list[_Row] = read_table(self.folder / name, kind).to_pylist()
        return rows
