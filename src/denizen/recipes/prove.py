"""The proof of `adapt`: the choice on dev, the gate, and what all of it is worth on queries that decided nothing."""

from __future__ import annotations

from collections.abc import Sequence

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Seeded
from denizen.measuring.fusion import fuse
from denizen.measuring.students import CrossFitting, choose
from denizen.measuring.testing import measure_forgetting, test
from denizen.recipes.adapted import Adapted, Brought
from denizen.recipes.baselines import baselines
from denizen.recipes.config import AdaptConfig
from denizen.recipes.learn import dims_of
from denizen.recipes.onward import take
from denizen.recipes.second_stage import second_stage
from denizen.recipes.settle import known_of, seen_by, settle
from denizen.retrievers.index import Read
from denizen.supervision.supervision import Seen, Texts


def prove(
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    reading: Read,
    rounds: Sequence[Seen],
    anew: Sequence[Seen] = (),
) -> Adapted:
    """Steps of `settle`, fusion, those of a second stage, baselines, test and forgetting.

    Where the run goes on from another, steps of `take`, too.
    """
    base, about = brought.base, known_of(texts, rounds, by_pairs=True)
    dims = Value(list(cut)) if (cut := dims_of(config, brought)) else None
    taken = settle(run, config, brought, texts, rounds, [seen.found for seen in anew[1:]])
    seen = seen_by(taken.rounds[:1], taken.asked.alone)
    onward, beside = None, dict[str, Model]()
    if brought.origin:
        onward, taken, beside = take(run, config, brought, texts, taken, anew)
    choice, final, asked = taken.choice, taken.final, taken.asked
    shared = {"keywords": asked.keywords, "folds": asked.folds, **about}
    fused = run(fuse, Seeded(config.seed), model=final, **shared)
    second = None
    if brought.reranker:
        second = second_stage(run, config, brought, texts, taken, fused)
    ungated = {} if final.model.digest == choice.model.digest else {"ungated": choice.model}
    goes_on = {"base_index": rounds[0].index, "index": choice.index, "fused": fused}
    if second:
        goes_on |= {"reranker": second.reranker, "reranking": second.decided}
    if texts.labels is None:
        two = {"base": base, "adapted": final.model}
        tested = config.supervision.test(run, texts, systems=two, **goes_on)
    else:
        untaught = run(choose.named("base"), CrossFitting(config.cross_fitting), **seen, **about)
        base_fused = run(fuse.named("base-fusion"), Seeded(config.seed), model=untaught, **shared)
        besides = baselines(run, config, base, texts, choice) if config.baselines else {}
        tested = run(
            test,
            config.searching,
            systems={"base": base, **besides, **ungated, **beside, "adapted": final.model},
            corpus=texts.corpus,
            queries=texts.test_queries,
            qrels=texts.labels,
            base_fused=base_fused,
            dims=dims,
            alike=Value(True) if brought.origin else None,
            **goes_on,
        )
    lost = None
    if brought.sets:
        goes_on = {"base_index": rounds[0].index, "index": choice.index}
        systems = {"base": base, **beside, "adapted": final.model}
        lost = run(measure_forgetting, config.searching, systems=systems, sets=brought.sets, dims=dims, **goes_on)
    return Adapted(texts, reading, list(taken.rounds), choice, final, fused, tested, lost, second, onward)
