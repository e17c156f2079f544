"""The steps that measure what a run ends with, on queries that decided nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Corpus, Evaluation, Model, Qrels, Queries
from denizen.data.tables import relevant
from denizen.engine.artifact import Value
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring import retrieval
from denizen.measuring.dims import by_dim, forgotten_by_dim
from denizen.measuring.fusion import Fused
from denizen.measuring.keywords import by_words_and_pairs
from denizen.measuring.probes import Probes
from denizen.measuring.provenance import machine, versions
from denizen.measuring.reranking import Reranking
from denizen.measuring.students import Searching
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.index import Index
from denizen.retrievers.reranked import RESCORED, mixed, scored
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each


def retrievers_of(
    systems: Mapping[str, Model], base_index: Index, index: Index, encoders: Encoders
) -> dict[str, Retriever]:
    """Models as retrievers; the first is the base, which reads passages whole, and all others as the other index."""
    first = next(iter(systems))
    return {
        name: base_index.model(model, encoders) if name == first else index.retriever(model, encoders)
        for name, model in systems.items()
    }


def _planned(
    params: Params,
    *,
    systems: Mapping[str, Model],
    corpus: Corpus,
    queries: Queries,
    reranker: Model | None = None,
    **inputs: Any,
) -> dict[str, Any]:
    # the base and the best student have embedded the corpus before
    embedded = max(0, len(systems) - 2) * corpus.facts.get("passages", 0)
    rescored = RESCORED * queries.facts.get("queries", {}).get("test", 0) if reranker else 0
    return {"encoded_texts": embedded + rescored}


@step(version=8, makes=Evaluation, plan=_planned)
def test(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    systems: Mapping[str, Model],
    base_index: Index,
    index: Index,
    fused: Fused,
    base_fused: Fused,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    dims: Value | None,
    reranker: Model | None = None,  # noqa: PT028
    reranking: Reranking | None = None,  # noqa: PT028
    alike: Value | None = None,  # noqa: PT028
) -> dict[str, Any]:
    """The only place where labelled test queries are read: models, "base" first and "adapted" last, BM25, and both.

    The base is measured as people use it, by whole passages, and where windows were chosen by these, too; with `alike`,
    where it is what an earlier run ships, only as the others read. Hybrids of base and adapted are fused as was best
    for each on the queries that decide, whether that is shipped or not; that of plain fine-tuning as adapted's. They
    know words and pairs of words (`by_words_and_pairs`); BM25 alone knows words, as everywhere. A reranker is measured
    after what is shipped otherwise, and against it. Base and adapted are measured with embeddings cut to each of
    `dims`, too.
    """
    encoders = ctx[Encoders]
    models = retrievers_of(systems, base_index, index, encoders)
    bm25, base = BM25.fitting(corpus.table), base_index.retriever(systems["base"], encoders)
    beside = by_words_and_pairs(corpus.table)
    whole = models.pop("base")
    measured: dict[str, Retriever] = {"base": base if alike else whole, "bm25": bm25}
    if not (alike or base_index.reading.whole):
        measured["base-windows"] = base
    measured["base-hybrid"] = base_fused.hybrid(beside, base)
    measured |= models
    if "plain" in measured:
        measured["plain-hybrid"] = fused.hybrid(beside, measured["plain"])
    measured["hybrid"] = fused.hybrid(beside, measured["adapted"])
    answers = relevant(qrels.table)
    every = queries.texts("test")
    asked = {query_id: text for query_id, text in every.items() if query_id in answers}
    runs = search_each(measured, asked, corpus.table, params.depth, ctx.progress)
    if reranker and reranking:
        first, scorer = runs[fused.system], Reranker(reranker.path, reranker.digest)
        scores = scored(scorer, first, asked, corpus.table, ctx.progress)
        runs["reranked"] = mixed(first, scores, reranking.share, params.depth)
    found = retrieval.write_evaluation(out, runs, qrels.table, list(asked), corpus.table, first_stage=fused.system)
    if dims is not None:
        two = {name: measured[name] for name in ("base", "adapted")}
        found["dims"] = by_dim(two, dims.content, asked, qrels.table, corpus.table, params.depth, ctx.progress)
    # real queries of a log, where the passages that others were written for are all that is known
    left_out = {"queries_left_out": {"without_an_answer": lost}} if (lost := len(every) - len(asked)) else {}
    return {**found, **left_out, **provenance(base_index, index, bm25, beside)}


def provenance(base_index: Index, index: Index, bm25: BM25, beside: BM25) -> dict[str, Any]:
    """Versions, machine, backends and the analysers of BM25, alone and beside a model, behind a result."""
    backends = {"base": base_index.encoding.backend, "adapted": index.encoding.backend}
    analysers = {"analyser": bm25.analyser.name, "hybrid_analyser": beside.analyser.name}
    return {"versions": versions(), "machine": machine(), "backends": backends, **analysers}


def _planned_sets(params: Searching, *, systems: Mapping[str, Model], sets: Mapping[str, Value], **inputs: Any) -> Any:
    return {"measured_sets": len(systems) * len(sets)}


@step(version=4, makes=Evaluation, name="forgetting", plan=_planned_sets)
def measure_forgetting(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    systems: Mapping[str, Model],
    base_index: Index,
    index: Index,
    sets: Mapping[str, Value],
    dims: Value | None = None,
) -> dict[str, Any]:
    """What systems, the base first, get on the items of probes that decided nothing; `sets` is what those come from.

    Of base and adapted also what changes with embeddings cut to each of `dims`.
    """
    # what is asked is what the model has forgotten, and these passages are of other kinds than those that windows suit
    first, encoders = next(iter(systems)), ctx[Encoders]
    models = {name: (base_index if name == first else index).model(model, encoders) for name, model in systems.items()}
    found = {}
    for probe in ctx[Probes].test:
        found[probe.name] = probe.report(models, out / probe.name)
        change = found[probe.name]["differences"].get("adapted", {}).get(probe.measure, {}).get("value", 0.0)
        ctx.progress.note(f"{probe.name} {probe.measure} {change:+.4f}")
    if dims is None:
        return {"sets": found}
    cut = forgotten_by_dim(ctx[Probes].test, models[first], models["adapted"], dims.content)
    return {"sets": found, "dims": cut}
