"""Which steps of its proof a run leaves out, and why: what is said to who asks for one of them."""

from __future__ import annotations

from collections.abc import Iterable

from denizen.engine.artifact import Artifact
from denizen.measuring.students import Choice, choose
from denizen.recipes.adapted import Brought
from denizen.recipes.config import AdaptConfig

_NO_SETS = "no --general or --neighbour set is given"
_BASE = "the base was chosen, and no student is taken"
_BASELINES = tuple(f"baselines/{name}" for name in ("pairs", "plain", "average"))


def left_out(config: AdaptConfig, brought: Brought, made: Iterable[Artifact]) -> dict[str, str]:
    """Place to reason, as far as that is known: a choice that is only planned says nothing.

    Args:
        config: The settings.
        brought: What the run is given besides.
        made: What dev has chosen, for each seed; what else there is does not matter.
    """
    reasons = {} if config.baselines else dict.fromkeys(_BASELINES, "--no-baselines is given")
    for choice in made:
        scope, _, name = choice.place.rpartition("/")
        # what the gate takes is a choice, too
        if not isinstance(choice, Choice) or name != choose.name:
            continue
        beside = f"{scope}/" if scope else ""
        if not brought.sets:
            reasons |= {f"{beside}gate": _NO_SETS, f"{beside}forgetting": _NO_SETS}
        if not choice.pending and choice.facts.get("decided", {}).get("by") == "dev":
            reasons[f"{beside}soup"] = "dev decided, and there are no students of folds"
        if not choice.pending and not choice.best:
            reasons.setdefault(f"{beside}gate", _BASE)
            reasons[f"{beside}soup"] = _BASE
            reasons.setdefault(f"{beside}baselines/average", _BASE)
    return reasons
