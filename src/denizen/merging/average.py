"""The step that puts a model halfway between the base and a student by weights (LM-Cocktail, arXiv 2311.13534)."""

from __future__ import annotations

from pathlib import Path

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.merging.methods import Merge, merge


@step(version=2, makes=Model)
def average(out: Path, params: Params, ctx: Context, *, base: Model, student: Model, merging: Value) -> None:
    """Merges with equal weights.

    Raises:
        InputError: When the library that merges (`merging`, its version) does not know the model's architecture.
    """
    merged = merge(base.path, [student.path], Merge("linear", (0.5,)))
    merged.save_pretrained(str(out), create_model_card=False)
