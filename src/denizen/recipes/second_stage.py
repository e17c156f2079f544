"""The second stage of `adapt`: a cross-encoder on the pool of the last round, and whether it is worth its time."""

from __future__ import annotations

from collections.abc import Sequence

from denizen.data.artifacts import Examples, Model
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.crossfit import FOLDS, leave_out
from denizen.measuring.fusion import Fused
from denizen.measuring.reranking import decide_reranking, latency
from denizen.measuring.students import Choice
from denizen.recipes.adapted import Brought, SecondStage
from denizen.recipes.config import AdaptConfig
from denizen.recipes.decide import Asked
from denizen.supervision.supervision import Seen, Texts
from denizen.training.reranker import train_reranker


def second_stage(  # noqa: PLR0913
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    rounds: Sequence[Seen],
    asked: Asked,
    final: Choice,
    fused: Fused,
) -> SecondStage:
    """Steps reranker, with cross-fitting one for each fold too, then reranking and latency."""
    # the last round that was learnt from: after it nothing is mined
    last, known = rounds[-2], rounds[-1].known

    def train(examples: Examples | None) -> Model:
        return run(
            train_reranker,
            config.passing.on_this_machine(),
            start=brought.reranker,
            examples=examples,
            corpus=texts.corpus,
            queries=texts.queries,
            qrels=last.known.qrels,
            judgments=last.known.judgments,
            candidates=last.mined,
            student=last.model,
            index=last.index,
        )

    whole = train(last.examples)
    rerankers = [whole]
    if asked.folds is not None:
        rerankers = []
        for number in range(FOLDS):
            with run.scope("crossfit"), run.scope("fold", number):
                kept = run(leave_out, examples=last.examples, folds=asked.folds, fold=Value(number))
                rerankers.append(train(kept))
    about = {"corpus": texts.corpus, "queries": texts.queries}
    decided = run(
        decide_reranking,
        rerankers=rerankers,
        model=final,
        fused=fused,
        keywords=asked.keywords,
        qrels=known.qrels,
        judgments=known.judgments,
        folds=asked.folds,
        **about,
    )
    timed = run(latency, reranker=whole, model=final, fused=fused, **about)
    return SecondStage(whole, decided, timed)
