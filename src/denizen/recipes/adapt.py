"""`adapt`: documents and a general bi-encoder in, a domain bi-encoder and the proof of its worth out.

round r: student_r -> embeddings -> run -> what the supervision makes of it: examples -> student_{r+1}
dev chooses the round, the gate perhaps a merge; test is read once: base, BM25, baselines, adapted

A run that goes on from an earlier one does so twice: from what that ships, and anew from its base.
"""

from __future__ import annotations

from dataclasses import replace

from denizen.engine.pipeline import Pipeline
from denizen.recipes.adapted import Adapted, Brought
from denizen.recipes.config import AdaptConfig
from denizen.recipes.learn import decide_reading, learn, learn_anew
from denizen.recipes.prove import prove


def adapt(run: Pipeline, config: AdaptConfig, brought: Brought) -> list[Adapted]:
    """All steps, for each seed; the corpus is theirs together."""
    texts = config.supervision.prepare(run, brought.source, brought.base)
    reading = decide_reading(run, config, brought, texts)

    def whole(config: AdaptConfig) -> Adapted:
        rounds, anew = (of(run, config, brought, texts, reading) for of in (learn, learn_anew))
        return prove(run, config, brought, texts, reading, rounds, anew)

    found = [whole(config)]
    for seed in range(config.seed + 1, config.seed + config.seeds):
        again = config.changed(seed=seed, baselines=False, reranker=False, reranker_model="")
        brought = replace(brought, reranker=None)
        with run.scope("seed", seed):
            found.append(whole(again))
    return found
