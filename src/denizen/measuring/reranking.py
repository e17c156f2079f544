"""The steps that decide whether a reranker is deployed after what is shipped otherwise, and time both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Corpus, Folds, Judgments, Model, Qrels, Queries, Run
from denizen.data.tables import only
from denizen.engine.artifact import Artifact
from denizen.engine.progress import Silent
from denizen.engine.settings import Params, Seeded
from denizen.engine.step import Context, step
from denizen.measuring.crossfit import in_folds
from denizen.measuring.fusion import Fused, fifths, unseen
from denizen.measuring.keywords import by_words_and_pairs
from denizen.measuring.retrieval import means
from denizen.measuring.students import Choice, Deciding, proven
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.reranked import RESCORED, mixed, scored
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searchable import load_searchable, write_searchable

# of the reranker's score beside the first stage's; the last one: its order alone
SHARES = (0.1, 0.3, 0.5, 1.0)
# queries that are timed, one by one as a user asks them
_TIMED = 20


class Reranking(Artifact):
    """Whether a reranker is better than the first stage alone."""

    @property
    def taken(self) -> bool:
        """Whether it is deployed; in a plan: yes, which costs more."""
        return bool(self.facts.get("taken", True))

    @property
    def share(self) -> float:
        """What its score counts beside that of the first stage."""
        return float(self.facts.get("share", SHARES[-1]))


def first_stage(model: Choice, fused: Fused, corpus: Corpus, encoders: Encoders) -> Retriever:
    """What is shipped where no reranker is: the model that was chosen, or its hybrid with BM25."""
    alone = model.index.retriever(model.model, encoders)
    return fused.hybrid(by_words_and_pairs(corpus.table), alone) if fused.taken else alone


def _planned(params: Params, *, queries: Queries, folds: Folds | None = None, **inputs: Any) -> dict[str, Any]:
    counts = queries.facts.get("queries", {})
    splits = ("train", "dev") if folds else ("dev",)
    return {"encoded_texts": RESCORED * sum(counts.get(split, 0) for split in splits)}


@step(version=2, makes=Reranking, name="reranking", plan=_planned)
def decide_reranking(  # noqa: PLR0913
    out: Path,
    params: Seeded,
    ctx: Context,
    *,
    rerankers: Sequence[Model],
    model: Choice,
    fused: Fused,
    keywords: Run,
    queries: Queries,
    qrels: Qrels,
    corpus: Corpus,
    judgments: Judgments | None = None,
    folds: Folds | None = None,
) -> dict[str, Any]:
    """Chooses between the first stage alone, which is the default, and the same with its best 50 rescored.

    The reranker's score counts by one of four shares beside the first stage's. For each of five parts of the queries
    the share is chosen on the other four; the gain in MRR@5 must be `proven`. Where a teacher grades, a query counts as
    no gain unless the first five after rescoring are all graded.

    Args:
        out: Unused: all there is to say are facts.
        params: The seed of the parts.
        ctx: The encoders.
        rerankers: One that has seen no query of dev; with folds, for each fold one that has seen none of its queries.
        model: What is shipped otherwise, and what it has found for the queries that decide.
        fused: Whether that is fused with BM25.
        keywords: What BM25 has found for them.
        queries: Those of dev count; with folds those of train, too.
        qrels: What is an answer.
        corpus: The passages.
        judgments: What a teacher has graded; None: labels.
        folds: Which queries were held out together; None: dev decides.
    """
    deciding = Deciding.of(queries, qrels, corpus, judgments, crossfit=folds is not None)
    known = queries.texts("train", "dev")
    asked = {name: known[name] for name in deciding.query_ids}
    run = only(model.found.table, "query_id", asked)
    if fused.taken:
        parts = (only(keywords.table, "query_id", asked), run)
        alone = model.index.retriever(model.model, ctx[Encoders])
        # what they score by; what they have found is there
        run = fused.hybrid(BM25(), alone).combine(parts, asked, FUSED_DEPTH)
    groups = [(0, list(asked))]
    if folds is not None:
        groups = [(number, [row["query_id"] for row in rows]) for number, rows in in_folds(queries, folds)]
    scores: dict[tuple[str, str], float] = {}
    for number, names in groups:
        scorer = Reranker(rerankers[number].path, rerankers[number].digest)
        scores |= scored(scorer, only(run, "query_id", set(names) & asked.keys()), asked, corpus.table, ctx.progress)
    before = deciding.values(run)
    runs = [mixed(run, scores, share, FUSED_DEPTH) for share in SHARES]
    after = [deciding.sure(found, before) for found in runs]
    number_of = fifths(deciding.query_ids, deciding.groups, folds, params.seed)
    taken, (gain,) = proven([before, unseen(after, before, number_of)], deciding.groups)
    best = max(range(len(SHARES)), key=lambda at: float(after[at].mean()))
    both = {"alone": run, "reranked": runs[best]}
    measured = {name: means(deciding.measured(found, deciding.query_ids)) for name, found in both.items()}
    verdict = "better" if taken else "not proven to be better"
    ctx.progress.say(
        f"MRR@5 with the reranker, which counts {SHARES[best]:.0%}, {after[best].mean():.3f}, without "
        f"{before.mean():.3f} (gain {gain.value:+.3f}, 90 % interval {gain.low:+.3f} to {gain.high:+.3f}, by shares "
        f"chosen on other queries): {verdict}"
    )
    by = "dev" if folds is None else "cross-fitting"
    decided = {"taken": bool(taken), "share": SHARES[best], "gain": asdict(gain)}
    return {**decided, "queries": len(asked), "by": by, "means": measured}


@step(version=2, makes=Artifact, local=True)
def latency(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    reranker: Model,
    model: Choice,
    fused: Fused,
    corpus: Corpus,
    queries: Queries,
) -> dict[str, Any]:
    """Milliseconds that a query takes on this machine, asked one by one: of the first stage, and with the reranker.

    Args:
        out: Unused: all there is to say are facts.
        params: None.
        ctx: Its scratch folder holds the first stage as users have it, where no embedding of a query is kept.
        reranker: The second stage.
        model: The first stage, or the model of it.
        fused: Whether it is fused with BM25.
        corpus: The passages.
        queries: Those of dev and train are asked.
    """
    folder = ctx.scratch / "first"
    write_searchable(folder, first_stage(model, fused, corpus, ctx[Encoders]), corpus.table, ctx.progress)
    found = load_searchable(folder)
    scorer, quiet = Reranker(reranker.path, reranker.digest), Silent()
    asked = list(queries.texts("dev", "train").items())[: _TIMED + 1]
    first, second = [], []
    with ctx.progress.bar(len(asked), "timed queries") as advance:
        for query_id, text in asked:
            began = time.perf_counter()
            run = found.retriever.search(found.index, {query_id: text}, FUSED_DEPTH, quiet)
            between = time.perf_counter()
            scored(scorer, run, {query_id: text}, corpus.table, quiet)
            first.append(between - began)
            second.append(time.perf_counter() - between)
            advance(1)
    # the first one also loads the models; half of the others take less
    alone, rescoring = (1000 * float(np.median(times[1:] or times)) for times in (first, second))
    return {"alone": alone, "reranked": alone + rescoring, "queries": max(1, len(asked) - 1)}
