"""The second stage of `adapt`: a cross-encoder on the pool of the last round, and whether it is worth its time."""

from __future__ import annotations

from denizen.data.artifacts import Examples, Model
from denizen.engine.artifact import Value
from denizen.engine.errors import ChangedError, InputError
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Seeded
from denizen.measuring.crossfit import FOLDS, leave_out
from denizen.measuring.fusion import Fused
from denizen.measuring.reranking import decide_reranking, latency
from denizen.recipes.adapted import Brought, SecondStage
from denizen.recipes.config import AdaptConfig
from denizen.recipes.settle import Settled
from denizen.supervision.supervision import Texts
from denizen.training.reranker import train_reranker


def second_stage(
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    settled: Settled,
    fused: Fused,
) -> SecondStage | None:
    """Steps reranker, with cross-fitting one for each fold too, then reranking and latency.

    None where there is too little to train one on.
    """
    last, known, asked = settled.learnt, settled.rounds[-1].known, settled.asked

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

    try:
        whole = train(last.examples)
        rerankers = [whole]
        if asked.folds is not None:
            rerankers = []
            for number in range(FOLDS):
                with run.scope("crossfit"), run.scope("fold", number):
                    kept = run(leave_out, examples=last.examples, folds=asked.folds, fold=Value(number))
                    rerankers.append(train(kept))
    except ChangedError:
        raise
    except InputError as error:
        # a second stage is no reason to lose a student
        run.context.progress.say(f"there is no second stage: {error}")
        return None
    decided = run(
        decide_reranking,
        Seeded(config.seed),
        rerankers=rerankers,
        model=settled.final,
        fused=fused,
        keywords=asked.keywords,
        qrels=known.qrels,
        judgments=known.judgments,
        folds=asked.folds,
        corpus=texts.corpus,
        queries=texts.deciding,
    )
    timed = run(latency, reranker=whole, model=settled.final, fused=fused, corpus=texts.corpus, queries=texts.queries)
    return SecondStage(whole, decided, timed)
