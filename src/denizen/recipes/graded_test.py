"""Stage test of a run whose source has no labels: written queries for held-out documents, graded answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.tables import run_ranks, texts_by_id, write_table
from denizen.engine.errors import InputError
from denizen.llm.client import LLM
from denizen.measuring import retrieval as evaluation
from denizen.recipes.rounds import Rounds
from denizen.recipes.unlabelled_texts import Texts
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.searching import search_bm25
from denizen.supervision import judging, teachers

_DEPTH = 5
# what the best five of each system, all graded, can be measured by
_MEASURES = ("MRR@5", "DCG@5")


def graded_test(rounds: Rounds, best: int, base: Path, adapted: Path, found: Texts, llm: LLM | None) -> dict[str, Any]:
    """Grades the best five passages of base, BM25 and adapted for every test query.

    Only queries whose passages were all graded are measured: with holes, the system that was graded last would lose.

    The teacher grades its own queries here, which is kinder to its student than another judge would be: the result says
    so, and `denizen pool` grades with another LLM.

    Args:
        rounds: The run.
        best: The chosen round.
        base: The model that was adapted.
        adapted: What came out.
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
        "base_model": model_digest(base),
        "adapted_model": model_digest(adapted),
    }

    def work(folder: Path) -> dict[str, Any]:
        runs = {
            "base": rounds.search(0, base, queries, found.corpus, _DEPTH, "queries by base"),
            "bm25": search_bm25(queries, found.corpus, _DEPTH, rounds.progress),
            "adapted": rounds.search(best, adapted, queries, found.corpus, _DEPTH, "queries by adapted"),
        }
        text_of = texts_by_id(found.corpus)
        pool = _pool(runs.values(), list(queries))
        pairs = [
            judging.Pair(query_id, doc_id, queries[query_id], text_of[doc_id])
            for query_id, found_by_any in pool.items()
            for doc_id in found_by_any
        ]
        teacher = teachers.make_teacher(config, llm, "test", by_query=True)
        with rounds.progress.bar(teacher.calls(pairs), "grading calls") as advance:
            judgments, failures = judging.judge(pairs, teacher, "test", advance)
        facts = teachers.check_coverage("test", len(pairs), failures, config.min_coverage)
        write_table(folder / "judgments.parquet", judgments)
        write_table(folder / "failures.parquet", failures)
        grades = judging.graded_qrels(judging.with_sources(judgments, found.written_for()))
        answered = {row["query_id"] for row in grades.to_pylist() if row["relevance"]}
        graded = {(row["query_id"], row["doc_id"]) for row in judgments.to_pylist()}
        whole = [query_id for query_id in queries if all((query_id, name) in graded for name in pool[query_id])]
        ids = [query_id for query_id in whole if query_id in answered]
        if not ids:
            raise InputError(
                f"of {len(queries)} test queries {len(whole)} could be graded, and none of them has an answer graded "
                f"{judging.POSITIVE}; raise the budget or --passages"
            )
        result = evaluation.write_evaluation(folder, runs, grades, ids, _MEASURES)
        left_out = {"not_wholly_graded": len(queries) - len(whole), "without_an_answer": len(whole) - len(ids)}
        judge = f"{teacher.name}, the teacher itself"
        return {**result, **facts, **rounds.how(best), "judged_by": judge, "queries_left_out": left_out}

    settings = config.only("teacher", "llm", "grades_per_call")
    facts: dict[str, Any] = rounds.stage("test", 5, settings, inputs, work)["facts"]
    return facts


def _pool(runs: Iterable[pa.Table], query_ids: Sequence[str]) -> dict[str, list[str]]:
    """For each query what any system found, by rank and not by system, each passage once."""
    best: dict[str, dict[str, int]] = {query_id: {} for query_id in query_ids}
    for run in runs:
        for (query_id, doc_id), rank in run_ranks(run).items():
            best[query_id][doc_id] = min(rank, best[query_id].get(doc_id, rank))
    return {query_id: sorted(ranks, key=lambda name: ranks[name]) for query_id, ranks in best.items()}
