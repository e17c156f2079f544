"""The step that puts the model that was chosen, with its card, where people look for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.students import Choice


@step(version=2, makes=Model, name="model", local=True)
def package(out: Path, params: Params, ctx: Context, *, chosen: Choice, card: Value) -> None:
    """Copies the model, since people change what they are given, and writes its README.md; no other run shares it."""
    shutil.copytree(chosen.path / "model", out, dirs_exist_ok=True)
    (out / "README.md").write_text(card.content, encoding="utf-8")
