"""The step that holds language models against one another, by what each has been measured at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Evaluation
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.instructions import accuracy_difference, answered_by
from denizen.measuring.perplexity import bits_a_byte, foreseen_by, perplexity_change

# a model and what it is held against, as far as both were measured
PAIRS = (
    ("pretrained", "base"),
    ("instruct", "base"),
    ("pretrained-instruct", "instruct"),
    ("residual", "instruct"),
    ("residual", "pretrained"),
    ("residual", "pretrained-instruct"),
)


@step(version=1, makes=Evaluation, name="comparison")
def compare_models(
    out: Path,
    params: Params,
    ctx: Context,
    *,
    perplexity: Mapping[str, Evaluation],
    instructions: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """Differences of pairs of models on the same documents and the same prompts.

    Args:
        out: Nothing goes there; figures are in the facts.
        params: None.
        ctx: The progress.
        perplexity: Model to its step `perplexity`.
        instructions: Model to its step `instructions`.
    """
    foreseen = {name: foreseen_by(its) for name, its in perplexity.items()}
    answered = {name: answered_by(its) for name, its in instructions.items()}
    pairs = []
    for name, other in PAIRS:
        if name not in foreseen or other not in foreseen:
            continue
        change = perplexity_change(foreseen[name], foreseen[other])
        told = {"model": name, "against": other, "perplexity": asdict(change) if change else None}
        told["bits_a_byte"] = asdict(bits_a_byte(foreseen[name], foreseen[other]))
        told["accuracy"] = asdict(accuracy_difference(answered[name], answered[other]))
        pairs.append(told)
    return {"pairs": pairs}
