"""Going on from an earlier run: what it ships stays, or is taken further, or is made anew from its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.students import CrossFitting, choose
from denizen.recipes.adapted import Brought, Onward
from denizen.recipes.config import AdaptConfig
from denizen.recipes.settle import Settled, known_of, settle
from denizen.supervision.supervision import Seen, Texts

# the first stays unless another proves itself against it
BRANCHES = ("shipped", "further", "anew")


def take(
    run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, further: Settled, anew: Sequence[Seen]
) -> tuple[Onward, Settled, dict[str, Model]]:
    """Steps of `settle` for what was trained anew, and the choice between the branches: step taken.

    Returns:
        What was chosen; what became of the branch that is taken; and the best model of each that was trained.
    """
    shipped, branches = further.rounds[0], [further]
    if anew:
        with run.scope("anew"):
            own, others = replace(brought, base=brought.origin or brought.base), [each.found for each in further.rounds]
            branches.append(settle(run, config, own, texts, anew, others, shipped))
    crossfit = further.asked.held_out is not None
    found = [shipped.found, *(each.final.found for each in branches)]
    chosen = run(
        choose.named("taken"),
        CrossFitting(config.cross_fitting),
        students=[shipped.model, *(each.final.model for each in branches)],
        indexes=[shipped.index, *(each.rounds[each.choice.best].index for each in branches)],
        runs=found,
        held_out=found if crossfit else None,
        called=Value(list(BRANCHES[: 1 + len(branches)])),
        **known_of(texts, further.rounds, by_pairs=True),
    )
    of = dict(zip(BRANCHES[1:], branches, strict=False))
    choices, finals = ({name: getattr(each, at) for name, each in of.items()} for at in ("choice", "final"))
    stays = replace(further, choice=chosen, final=chosen)
    taken = branches[chosen.best - 1] if chosen.best else stays
    return Onward(chosen, choices, finals), taken, {name: each.best for name, each in of.items()}
