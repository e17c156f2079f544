"""Stage test of a run whose source has no labels: written queries for held-out documents, graded answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.core.errors import InputError
from denizen.core.tables import texts, write_table
from denizen.models.llm import LLM
from denizen.models.weights import model_digest
from denizen.recipes import teachers
from denizen.recipes.rounds import Rounds
from denizen.recipes.unlabelled_texts import Texts
from denizen.stages import evaluation, judging

_DEPTH = 5
# what the best five of each system, all graded, can be measured by
_MEASURES = ("MRR@5", "DCG@5")


def graded_test(rounds: Rounds, best: int, students: Sequence[Path], found: Texts, llm: LLM | None) -> dict[str, Any]:
    """Grades the best five passages of base, BM25 and the chosen student for every test query.

    The teacher grades its own queries here, which is kinder to its student than another judge would be: the result says
    so, and `denizen pool` grades with another LLM.

    Args:
        rounds: The run.
        best: The chosen round.
        students: Base and all students.
        found: The run's texts.
        llm: The run's LLM.

    Raises:
        InputError: When no test query has an answer among what was found.
    """
    config = rounds.config
    rows = found.of("test")
    queries = {row["query_id"]: row["text"] for row in rows}
    inputs = {
        **found.digests,
        "base": rounds.files["round-0/embeddings"]["encoder.json"],
        "base_model": model_digest(students[0]),
        "adapted_model": model_digest(students[best]),
    }

    def work(folder: Path) -> dict[str, Any]:
        runs = {
            "base": rounds.search(0, students[0], queries, found.corpus, _DEPTH, "queries by base"),
            "bm25": rounds.search_bm25(queries, found.corpus, _DEPTH),
            "adapted": rounds.search(best, students[best], queries, found.corpus, _DEPTH, "queries by adapted"),
        }
        text_of = dict(zip(found.corpus["doc_id"].to_pylist(), texts(found.corpus), strict=True))
        pool = dict.fromkeys((row["query_id"], row["doc_id"]) for run in runs.values() for row in run.to_pylist())
        pairs = [judging.Pair(query, passage, queries[query], text_of[passage]) for query, passage in pool]
        teacher = teachers.make_teacher(config, llm, "test")
        with rounds.progress.bar(teacher.calls(pairs), "grading calls") as advance:
            judgments, failures = judging.judge(pairs, teacher, "test", advance)
        facts = teachers.check_coverage("test", len(pairs), failures, config.min_coverage)
        write_table(folder / "judgments.parquet", judgments)
        write_table(folder / "failures.parquet", failures)
        grades = judging.graded_qrels(judging.with_sources(judgments, found.written_for()))
        answered = {row["query_id"] for row in grades.to_pylist() if row["relevance"]}
        ids = [query_id for query_id in queries if query_id in answered]
        if not ids:
            raise InputError(f"none of {len(queries)} test queries has an answer graded {judging.POSITIVE}")
        result = evaluation.write_evaluation(folder, runs, grades, ids, _MEASURES)
        return {**result, **facts, **rounds.how(best), "judged_by": f"{teacher.name}, the teacher itself"}

    facts: dict[str, Any] = rounds.stage("test", 4, config.only("teacher", "llm", "grades_per_call"), inputs, work)[
        "facts"
    ]
    return facts
