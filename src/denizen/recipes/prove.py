"""The proof of `adapt`: the choice on dev, the gate, and what all of it is worth on queries that decided nothing."""

from __future__ import annotations

from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.versions import installed
from denizen.measuring.students import choose
from denizen.measuring.testing import measure_forgetting, test
from denizen.merging.gate import gate
from denizen.recipes.adapted import Adapted, Brought
from denizen.recipes.baselines import baselines
from denizen.recipes.config import AdaptConfig
from denizen.supervision.supervision import Seen, Texts


def prove(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, rounds: list[Seen]) -> Adapted:
    """Steps choice, gate, baselines, test and forgetting."""
    base, known = brought.base, rounds[-1].known
    seen = {
        "students": [each.model for each in rounds],
        "indexes": [each.index for each in rounds],
        "runs": [each.found for each in rounds],
    }
    choice = final = run(choose, **seen, qrels=known.qrels, queries=texts.queries)
    if brought.sets and choice.best:
        final = run(
            gate,
            config.gating,
            **seen,
            choice=choice,
            corpus=texts.corpus,
            queries=texts.queries,
            qrels=known.qrels,
            judgments=known.judgments,
            sets=brought.sets,
            merging=Value(installed("mergekit")),
        )
    ungated = {} if final.model.digest == choice.model.digest else {"ungated": choice.model}
    systems = {"base": base, **ungated, "adapted": final.model}
    goes_on = {"base_index": rounds[0].index, "index": choice.index}
    if texts.labels is None:
        two = {"base": base, "adapted": final.model}
        tested = config.supervision.test(run, texts, systems=two, **goes_on)
    else:
        besides = baselines(run, config, base, texts, choice) if config.baselines else {}
        tested = run(
            test,
            config.searching,
            systems={"base": base, **besides, **systems},
            corpus=texts.corpus,
            queries=texts.test_queries,
            qrels=texts.labels,
            **goes_on,
        )
    lost = None
    if brought.sets:
        lost = run(measure_forgetting, config.searching, systems=systems, sets=brought.sets, **goes_on)
    return Adapted(texts, rounds, choice, final, tested, lost)
