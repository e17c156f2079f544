"""One list of students: what they find for the queries that decide, the choice among them, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from denizen.data.artifacts import Model, Run
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.versions import installed
from denizen.measuring.students import Choice, CrossFitting, choose
from denizen.merging.gate import gate
from denizen.merging.soup import soup
from denizen.recipes.adapted import Brought
from denizen.recipes.config import AdaptConfig
from denizen.recipes.decide import Asked, decide
from denizen.supervision.supervision import Seen, Texts


@dataclass(frozen=True)
class Settled:
    """What became of a list of students.

    Attributes:
        rounds: Them, after what they are held against.
        learnt: The last round that was learnt from: after it nothing is mined.
        asked: What was found for the queries that decide.
        choice: The one that was chosen.
        final: The same after the gate.
    """

    rounds: Sequence[Seen]
    learnt: Seen
    asked: Asked
    choice: Choice
    final: Choice

    @property
    def best(self) -> Model:
        """What was chosen and gated; where that is what was held before: the student that came nearest to being so."""
        means = self.choice.facts.get("decided", {}).get("MRR@5", [])[1:]
        nearest = 1 + max(range(len(means)), key=means.__getitem__, default=0)
        if not self.choice.best:
            return self.rounds[nearest].model
        return self.final.model if self.final.facts.get("met", True) else self.choice.model


def settle(
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    rounds: Sequence[Seen],
    others: Sequence[Run] = (),
    held: Seen | None = None,
) -> Settled:
    """Steps of `decide`, choice, soup where students of folds are there, and gate.

    Args:
        run: The pipeline.
        config: The settings.
        brought: What is given, with the base that the students were trained from.
        texts: What is worked on.
        rounds: The base and its students.
        others: What other students have found for the same queries.
        held: What the students must beat; None: their base.
    """
    asked, learnt = decide(run, config, brought, texts, rounds, others), rounds[-2]
    if held is not None:
        rounds, asked = [held, *rounds[1:]], asked.against(held.found)
    seen, about = seen_by(rounds, asked), known_of(texts, rounds, by_pairs=asked.folds is not None)
    # a teacher's queries are easier than people's, and what is shipped is replaced by what is proven alone
    people = Value(True) if held is None and not texts.written_for else None
    choice = final = run(choose, CrossFitting(config.cross_fitting), **seen, **about, asked_by_people=people)
    if asked.students and choice.best:
        choice = final = run(soup, choice=choice, folds=[own[choice.best - 1] for own in asked.students])
        seen["students"][choice.best] = choice.model
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
    return Settled(rounds, learnt, asked, choice, final)


def seen_by(rounds: Sequence[Seen], asked: Asked) -> dict[str, Any]:
    """The students, as inputs of the steps that choose among them."""
    return {
        "students": [each.model for each in rounds],
        "indexes": [each.index for each in rounds],
        "runs": [each.found for each in rounds],
        "held_out": asked.held_out,
    }


def known_of(texts: Texts, rounds: Sequence[Seen], *, by_pairs: bool) -> dict[str, Any]:
    """What decides, as inputs of the same steps.

    Args:
        texts: What is worked on.
        rounds: The students.
        by_pairs: Decide by the passages that queries were written for, where they were. Nobody grades what a student of
            a fold or a hybrid brings up for the first time; by grades those would lose, or could never be proven.
    """
    known = rounds[-1].known
    about = {"corpus": texts.corpus, "queries": texts.deciding}
    if by_pairs and texts.written_for:
        return {**about, "qrels": texts.pairs, "judgments": None}
    return {**about, "qrels": known.qrels, "judgments": known.judgments}
