"""`merge`: a model between a base and models that were fine-tuned from it, with the recipe on its card."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen import __version__
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.run_folder import writing
from denizen.merging.adapters import have_adapters, merge_adapters
from denizen.merging.merge_card import merge_card, name_on_card
from denizen.merging.methods import DENSITY, METHODS, Merge, check_recipe, merge
from denizen.retrievers.adapted import ADAPTER
from denizen.retrievers.loading import locate
from denizen.retrievers.model_ref import model_digest


def merge_models(
    models: Sequence[str],
    out: Path,
    *,
    base: str,
    method: str = "linear",
    weights: Sequence[float] = (),
    density: float = DENSITY,
    seed: int = 42,
) -> dict[str, Any]:
    """Merges models with their base and writes an ordinary sentence-transformers folder.

    Args:
        models: Folders or ids of models that were fine-tuned from the base.
        out: The new folder.
        base: The base.
        method: linear, slerp, task_arithmetic, ties, dare_ties or model_stock.
        weights: How far to go from the base towards each model; none: halfway, in equal parts.
        density: The share of each task vector that ties and dare_ties keep.
        seed: Of what dare_ties drops.

    Returns:
        The recipe, with digests of all models.

    Raises:
        InputError: When the folder is not empty, the recipe does not fit, or the models are of different make.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} is there already; give a new folder")
    halfway = (0.5 / len(models) for _ in models if method in METHODS and METHODS[method].weighted)
    recipe = Merge(method, tuple(weights or halfway), density, seed)
    check_recipe(recipe, len(models))
    folders = [locate(model) for model in (base, *models)]
    merged = merge(folders[0], folders[1:], recipe)
    found = {"base": name_on_card(base), "models": [name_on_card(model) for model in models], **recipe.as_dict()}
    found |= {"digests": [model_digest(folder) for folder in folders], "denizen": __version__}
    out.parent.mkdir(parents=True, exist_ok=True)
    # beside its place, so that a full disk or a kill never leaves half a model there
    with writing(out.parent), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        partial = Path(folder, "model")
        merged.save_pretrained(str(partial), create_model_card=False)
        if have_adapters(folders[1:], recipe):
            merge_adapters(folders[0], folders[1:], recipe, merged, partial / ADAPTER)
        write_json(partial / "merge.json", found)
        (partial / "README.md").write_text(merge_card(found), encoding="utf-8")
        partial.rename(out)
    return {**found, "model": out.as_posix()}
