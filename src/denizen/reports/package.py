"""The step that puts the model that was chosen, with its card, where people look for it."""

from __future__ import annotations

from pathlib import Path

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.files import link_tree
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.students import Choice


@step(version=2, makes=Model, name="model")
def package(out: Path, params: Params, ctx: Context, *, chosen: Choice, card: Value) -> None:
    """Links the model's files and writes its README.md."""
    link_tree(chosen.path / "model", out)
    (out / "README.md").write_text(card.content, encoding="utf-8")
