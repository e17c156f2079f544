"""The test of a run whose source has no labels: written queries for held-out documents, judged answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.artifacts import Corpus, Evaluation, Model, Qrels, Queries
from denizen.data.tables import each, run_ranks, texts_by_id, write_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.settings import Params
from denizen.engine.step import Context, Partial, step
from denizen.measuring import retrieval
from denizen.measuring.fusion import Fused
from denizen.measuring.keywords import by_words_and_pairs
from denizen.measuring.reranking import Reranking
from denizen.measuring.testing import provenance, retrievers_of
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.index import Index
from denizen.retrievers.reranked import mixed, scored
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.search import first
from denizen.retrievers.searching import search_each
from denizen.supervision import judging
from denizen.supervision.asking import Asking, check_coverage, whole_or_partial
from denizen.supervision.grading import teacher_of, written_for
from denizen.supervision.judging import Pair

_DEPTH = 5
# what the best five of each system, all graded, can be measured by
_MEASURES = ("MRR@5", "DCG@5")


@step(version=9, makes=Evaluation, name="test")
def graded_test(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    systems: Mapping[str, Model],
    base_index: Index,
    index: Index,
    fused: Fused,
    corpus: Corpus,
    queries: Queries,
    pairs: Qrels,
    answer_from: Value,
    prompts: Value | None = None,
    cross_encoder: Model | None = None,
    reranker: Model | None = None,
    reranking: Reranking | None = None,
) -> dict[str, Any] | Partial:
    """Has the best five passages of base, BM25 and adapted, and of what else is shipped, judged for every query.

    Only queries whose passages were all judged are measured: with holes, the system that was judged last would lose.
    The teacher grades its own queries here, which is kinder to its student than another judge would be: the result says
    so, and `denizen pool` grades with another LLM.

    Args:
        out: Where to write.
        params: Those of the step that judges.
        ctx: The LLM.
        systems: "base" and "adapted".
        base_index: What the base goes on with.
        index: What the other goes on with.
        fused: Whether the hybrid is shipped, and what it is.
        corpus: The passages.
        queries: Those of split test count.
        pairs: What they were written for.
        answer_from: From which grade on a passage is an answer.
        prompts: What an LLM is asked.
        cross_encoder: Who judges instead.
        reranker: What scores the best passages of what is shipped otherwise again.
        reranking: Whether it does.

    Raises:
        InputError: When no test query has an answer among what was found.
    """
    asked, text_of = queries.texts("test"), texts_by_id(corpus.table)
    models = retrievers_of(systems, base_index, index, ctx[Encoders])
    bm25, beside = BM25.fitting(corpus.table), by_words_and_pairs(corpus.table)
    measured: dict[str, Retriever] = {"base": models["base"], "bm25": bm25, "adapted": models["adapted"]}
    if fused.taken:
        measured["hybrid"] = fused.hybrid(beside, measured["adapted"])
    found = search_each(measured, asked, corpus.table, FUSED_DEPTH, ctx.progress)
    if reranker and reranking and reranking.taken:
        before, scorer = found[fused.system], Reranker(reranker.path, reranker.digest)
        scores = scored(scorer, before, asked, corpus.table, ctx.progress)
        found["reranked"] = mixed(before, scores, reranking.share, _DEPTH)
    runs = {name: first(run, _DEPTH) for name, run in found.items()}
    pool = _pool(runs.values(), list(asked))
    listed = [
        Pair(query_id, doc_id, asked[query_id], text_of[doc_id]) for query_id, found in pool.items() for doc_id in found
    ]
    teacher = teacher_of(params, ctx, "test", cross_encoder, by_query=True)
    with ctx.progress.bar(teacher.calls(listed), "grading calls") as advance:
        judgments, failures = judging.judge(listed, teacher, "test", advance)
    facts = check_coverage("test", len(listed), failures, ctx[Asking].min_coverage)
    write_table(out / "judgments.parquet", judgments)
    write_table(out / "failures.parquet", failures)
    grades = judging.graded_qrels(judging.with_sources(judgments, written_for(pairs), answer_from.content))
    answered = {query_id for query_id, relevance in each(grades, "query_id", "relevance") if relevance}
    graded = set(each(judgments, "query_id", "doc_id"))
    whole = [query_id for query_id in asked if all((query_id, name) in graded for name in pool[query_id])]
    ids = [query_id for query_id in whole if query_id in answered]
    if not ids:
        raise InputError(
            f"of {len(asked)} test queries {len(whole)} could be graded, and none of them has an answer graded "
            f"{answer_from.content} or more; raise the budget or --passages"
        )
    result = retrieval.write_evaluation(out, runs, grades, ids, corpus.table, _MEASURES, fused.system)
    left_out = {"not_wholly_graded": len(asked) - len(whole), "without_an_answer": len(whole) - len(ids)}
    told = {"judged_by": f"{teacher.name}, the teacher itself", "queries_left_out": left_out}
    return whole_or_partial({**result, **facts, **provenance(base_index, index, bm25, beside), **told})


def _pool(runs: Iterable[pa.Table], query_ids: Sequence[str]) -> dict[str, list[str]]:
    """For each query what any system found, by rank and not by system, each passage once."""
    best: dict[str, dict[str, int]] = {query_id: {} for query_id in query_ids}
    for run in runs:
        for (query_id, doc_id), rank in run_ranks(run).items():
            best[query_id][doc_id] = min(rank, best[query_id].get(doc_id, rank))
    return {query_id: sorted(ranks, key=lambda name: ranks[name]) for query_id, ranks in best.items()}
