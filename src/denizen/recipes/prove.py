"""The proof of `adapt`: the choice on dev, the gate, and what all of it is worth on queries that decided nothing."""

from __future__ import annotations

from typing import Any

from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Seeded
from denizen.engine.versions import installed
from denizen.measuring.fusion import fuse
from denizen.measuring.students import CrossFitting, choose
from denizen.measuring.testing import measure_forgetting, test
from denizen.merging.gate import gate
from denizen.recipes.adapted import Adapted, Brought
from denizen.recipes.baselines import baselines
from denizen.recipes.config import AdaptConfig
from denizen.recipes.decide import decide
from denizen.recipes.learn import dims_of
from denizen.recipes.second_stage import second_stage
from denizen.retrievers.index import Read
from denizen.supervision.supervision import Seen, Texts


def prove(
    run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, reading: Read, rounds: list[Seen]
) -> Adapted:
    """Steps of `decide`, choice, gate, fusion, those of a second stage, baselines, test and forgetting."""
    base, known = brought.base, rounds[-1].known
    dims = Value(list(cut)) if (cut := dims_of(config, brought)) else None
    asked = decide(run, config, brought, texts, rounds)
    about = {"corpus": texts.corpus, "queries": texts.queries, "qrels": known.qrels, "judgments": known.judgments}
    seen: dict[str, Any] = {
        "students": [each.model for each in rounds],
        "indexes": [each.index for each in rounds],
        "runs": [each.found for each in rounds],
        "held_out": asked.held_out,
    }
    choice = final = run(choose, CrossFitting(config.cross_fitting), **seen, **about)
    if brought.sets and choice.best:
        final = run(
            gate,
            config.gating,
            **seen,
            **about,
            choice=choice,
            documents=texts.documents,
            folds=asked.folds,
            fold_students=asked.students or None,
            sets=brought.sets,
            merging=Value(installed("mergekit")),
        )
    shared = {"keywords": asked.keywords, "folds": asked.folds, **about}
    fused = run(fuse, Seeded(config.seed), model=final, **shared)
    second = None
    if brought.reranker:
        second = second_stage(run, config, brought, texts, rounds, asked, final, fused)
    ungated = {} if final.model.digest == choice.model.digest else {"ungated": choice.model}
    goes_on = {"base_index": rounds[0].index, "index": choice.index, "fused": fused}
    if second:
        goes_on |= {"reranker": second.reranker}
    if texts.labels is None:
        two = {"base": base, "adapted": final.model}
        reranking = {"reranking": second.decided} if second else {}
        tested = config.supervision.test(run, texts, systems=two, **goes_on, **reranking)
    else:
        as_it_was = {name: found[:1] if found else None for name, found in seen.items()}
        untaught = run(choose.named("base"), CrossFitting(config.cross_fitting), **as_it_was, **about)
        base_fused = run(fuse.named("base-fusion"), Seeded(config.seed), model=untaught, **shared)
        besides = baselines(run, config, base, texts, choice) if config.baselines else {}
        tested = run(
            test,
            config.searching,
            systems={"base": base, **besides, **ungated, "adapted": final.model},
            corpus=texts.corpus,
            queries=texts.test_queries,
            qrels=texts.labels,
            base_fused=base_fused,
            dims=dims,
            **goes_on,
        )
    lost = None
    if brought.sets:
        two = {"base": base, "adapted": final.model}
        goes_on = {"base_index": rounds[0].index, "index": choice.index}
        lost = run(measure_forgetting, config.searching, systems=two, sets=brought.sets, dims=dims, **goes_on)
    return Adapted(texts, reading, rounds, choice, final, fused, tested, lost, second)
