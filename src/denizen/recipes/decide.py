"""What base, students and keywords find for the queries that decide in `adapt`: dev's, or all by cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from denizen.data.artifacts import Folds, Model, Run
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.crossfit import FOLDS, folds, held_out, leave_out
from denizen.measuring.keywords import keywords
from denizen.measuring.students import ENOUGH, with_answer
from denizen.recipes.adapted import Brought
from denizen.recipes.config import AdaptConfig
from denizen.recipes.learn import teach
from denizen.supervision.supervision import Known, Seen, Texts


@dataclass(frozen=True)
class Asked:
    """What was found for the queries that decide.

    Attributes:
        keywords: By BM25.
        held_out: By the base and by the students of each round that had not seen them; None: dev decides.
        folds: Which queries were held out together.
        students: For each fold its student of each round.
    """

    keywords: Run
    held_out: list[Run] | None = None
    folds: Folds | None = None
    students: list[list[Model]] = field(default_factory=list)

    @property
    def alone(self) -> Asked:
        """What was found by the base, without its students."""
        return replace(self, held_out=self.held_out and self.held_out[:1])

    def against(self, held: Run) -> Asked:
        """The same with what another model than the base has found before what the students have."""
        return replace(self, held_out=self.held_out and [held, *self.held_out[1:]])


def decide(
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    rounds: Sequence[Seen],
    others: Sequence[Run] = (),
) -> Asked:
    """Step keywords, and with few dev queries the rounds again for each fold, on the same examples without its own."""
    shared = {"corpus": texts.corpus, "queries": texts.deciding, "documents": texts.documents}
    found = run(keywords, config.searching, **shared)
    known = rounds[-1].known
    answers = texts.pairs if texts.written_for else known.qrels
    if not config.cross_fitting or _deciding(texts, known) >= ENOUGH:
        return Asked(found)
    with run.scope("crossfit"):
        parts = run(folds, config.folding, queries=texts.deciding, qrels=answers, corpus=texts.corpus)
        if parts.facts.get("groups", FOLDS) < FOLDS:
            # what cannot be parted cannot be held out
            return Asked(found)
        students: list[list[Model]] = [[] for _ in range(FOLDS)]
        runs = [rounds[0].found]
        looked = [found, *(seen.found for seen in rounds), *others]
        for now in rounds[:-1]:
            with run.scope("round", now.number):
                for number, own in enumerate(students):
                    with run.scope("fold", number):
                        kept = run(leave_out, examples=now.examples, folds=parts, fold=Value(number))
                        start = own[-1] if own else brought.base
                        if kept.facts.get("examples", 2) > 1:
                            start = teach(run, config, brought, texts, now, start, kept, rounds[0].index)
                        # else the rest is too little to learn from
                        own.append(start)
                runs.append(
                    run(
                        held_out,
                        config.searching,
                        models=[own[-1] for own in students],
                        index=rounds[now.number + 1].index,
                        folds=parts,
                        qrels=answers,
                        runs=looked,
                        **shared,
                    )
                )
    return Asked(found, runs, parts, students)


def _deciding(texts: Texts, known: Known) -> int:
    """How many dev queries have an answer; in a plan: how many there are."""
    if texts.queries.pending or known.qrels.pending:
        return int(texts.queries.facts.get("queries", {}).get("dev", 0))
    return len(with_answer(texts.deciding.texts("dev"), known.qrels))
