"""The step that averages a student with those of its folds by weights: a uniform soup (arXiv 2203.05482)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.artifacts import Model
from denizen.engine.files import write_json
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.students import Choice
from denizen.retrievers.loading import load_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def _planned(params: Params, *, choice: Choice, **inputs: Any) -> dict[str, Any]:
    return dict(choice.facts)


@step(version=1, makes=Choice, name="soup", plan=_planned)
def soup(out: Path, params: Params, ctx: Context, *, choice: Choice, folds: Sequence[Model]) -> dict[str, Any]:
    """Puts the mean of the chosen student and of those of its round that were trained without one fold in its place.

    They are there, since cross-fitting has asked them; each has seen four fifths of the labels, in batches of its own,
    and their mean is steadier than any of them. What it gives is in docs/LOG.md. All else of the choice stays: what was
    found for the queries that decide is what the students of the folds have found.

    Args:
        out: Where model, run and reasons go.
        params: None.
        ctx: The progress.
        choice: A student that was chosen.
        folds: The students of the same round, one for each fold.
    """
    made = mean([choice.model.path, *(student.path for student in folds)])
    made.save_pretrained(str(out / "model"), create_model_card=False)
    for name in ("encoder.json", "run.parquet"):
        shutil.copyfile(choice.path / name, out / name)
    facts = {**choice.facts, "soup": 1 + len(folds)}
    write_json(out / "choice.json", facts)
    ctx.progress.note(f"the mean of {facts['soup']} students")
    return facts


def mean(folders: Sequence[Path]) -> SentenceTransformer:
    """The first model, with the mean of the weights of all; what is no number with a fraction stays the first one's."""
    import torch

    first, *others = (load_encoder(folder) for folder in folders)
    states = [model.state_dict() for model in others]
    with torch.no_grad():
        for name, weights in first.state_dict().items():
            if weights.is_floating_point():
                weights.copy_(torch.stack([weights, *(state[name] for state in states)]).double().mean(dim=0))
    return first
