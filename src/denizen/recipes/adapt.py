"""`adapt`: documents and a general bi-encoder in, a domain bi-encoder and the proof of its worth out.

round r: student_r -> embeddings -> run -> what the supervision makes of it: examples -> student_{r+1}
dev chooses the round, the gate perhaps a merge; test is read once: base, BM25, baselines, adapted
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from denizen.data.artifacts import Evaluation, Model
from denizen.data.prepare import Given
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.students import Choice, choose, look
from denizen.measuring.testing import measure_forgetting, test
from denizen.merging.gate import gate
from denizen.recipes.baselines import baselines
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.index import embed
from denizen.supervision.supervision import Round, Seen, Texts
from denizen.supervision.taught import Taught
from denizen.training.train import train


@dataclass(frozen=True)
class Brought:
    """What a run is given besides its settings.

    Attributes:
        base: The model to adapt.
        guide: The guide of the gist loss; None with another loss.
        source: How the source is read.
        sets: Name of a general or neighbour set to what it comes from.
        kept: By kind, texts of them that training keeps near the base.
    """

    base: Model
    guide: Model | None
    source: Given
    sets: Mapping[str, Value]
    kept: Value | None


@dataclass(frozen=True)
class Adapted:
    """What a run has come to: for one seed the rounds, what was chosen, and what it was worth."""

    texts: Texts
    rounds: list[Seen]
    choice: Choice
    final: Choice
    test: Evaluation
    forgetting: Evaluation | None


def adapt(run: Pipeline, config: AdaptConfig, brought: Brought) -> list[Adapted]:
    """All steps, for each seed; the corpus is theirs together."""
    texts = config.supervision.prepare(run, brought.source, brought.base)
    found = [prove(run, config, brought, texts, learn(run, config, brought, texts))]
    for seed in range(config.seed + 1, config.seed + config.seeds):
        again = config.changed(seed=seed, baselines=False)
        with run.scope("seed", seed):
            found.append(prove(run, again, brought, texts, learn(run, again, brought, texts)))
    return found


def learn(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts) -> list[Seen]:
    """The rounds: what each student has found, and what its successor has learnt from that."""
    rounds: list[Seen] = []
    model, supervision, training = brought.base, config.supervision, config.training.on_this_machine()
    shared = {"corpus": texts.corpus, "queries": texts.queries}
    labels = texts.pairs if texts.documents is None else None
    for number in range(config.rounds + 1):
        left = config.rounds - number
        with run.scope("round", number):
            index = run(embed, config.encoding, model=model, **shared)
            whose = {"splits": Value(list(supervision.splits(not left))), "documents": texts.documents, "qrels": labels}
            found = run(look, config.searching, model=model, index=index, **shared, **whose)
            now = supervision.look(run, texts, Round(number, left, model, index, found), rounds)
            rounds.append(now)
            if left:
                known = {"qrels": now.known.qrels, "judgments": now.known.judgments, "guide": brought.guide}
                near = {"base": brought.base, "base_index": rounds[0].index, "kept": brought.kept}
                learnt = {**known, **(near if brought.kept else {})}
                model = run(train, training, start=model, examples=now.examples, index=index, **shared, **learnt)
    return rounds


def prove(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, rounds: list[Seen]) -> Adapted:
    """The choice on dev, the gate, and what all of it is worth on queries that decided nothing."""
    students, indexes, runs = ([getattr(each, name) for each in rounds] for name in ("model", "index", "found"))
    known, supervision = rounds[-1].known, config.supervision
    about = {"students": students, "indexes": indexes, "runs": runs, "qrels": known.qrels, "queries": texts.queries}
    choice = final = run(choose, **about)
    if brought.sets and choice.best:
        judged = {"judgments": known.judgments, "corpus": texts.corpus, "sets": brought.sets}
        final = run(gate, config.gating, choice=choice, **about, **judged)
    ungated = {} if final.model.digest == choice.model.digest else {"ungated": choice.model}
    by = {"base_index": indexes[0], "index": choice.index}
    systems = {"base": brought.base, **ungated, "adapted": final.model}
    if texts.labels is None and isinstance(supervision, Taught):
        tested = supervision.test(run, texts, systems=systems, **by)
    else:
        asked = {"corpus": texts.corpus, "queries": texts.test_queries, "qrels": texts.labels}
        besides = baselines(run, config, brought.base, texts, choice) if config.baselines else {}
        tested = run(test, config.searching, systems={"base": brought.base, **besides, **systems}, **by, **asked)
    lost = None
    if brought.sets:
        lost = run(measure_forgetting, config.searching, systems=systems, sets=brought.sets, **by)
    return Adapted(texts, rounds, choice, final, tested, lost)
