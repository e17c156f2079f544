"""`merge`: a model between a base and models that were fine-tuned from it, with the recipe on its card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from denizen import __version__
from denizen.engine.errors import InputError
from denizen.engine.run_folder import writing
from denizen.engine.stage import write_json
from denizen.merging import methods as merge
from denizen.retrievers.encoder import locate
from denizen.retrievers.model_ref import model_digest


def merge_models(
    models: Sequence[str],
    out: Path,
    *,
    base: str,
    method: str = "linear",
    weights: Sequence[float] = (),
    density: float = merge.DENSITY,
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
    recipe = merge.Merge(method, tuple(weights) or (0.5 / max(1, len(models)),) * len(models), density, seed)
    merge.check_recipe(recipe, len(models))
    origin, folders = locate(base), [locate(model) for model in models]
    merged = merge.merge(origin, folders, recipe)
    names = [_name(model) for model in (base, *models)]
    found = {
        "base": names[0],
        "models": names[1:],
        **recipe.as_dict(),
        "digests": [model_digest(folder) for folder in (origin, *folders)],
        "denizen": __version__,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    # beside its place, so that a full disk or a kill never leaves half a model there
    with writing(out.parent), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        partial = Path(folder) / "model"
        merged.save_pretrained(str(partial), create_model_card=False)
        write_json(partial / "merge.json", found)
        (partial / "README.md").write_text(_card(found), encoding="utf-8")
        if out.exists():
            out.rmdir()
        shutil.move(partial, out)
    return {**found, "model": out.as_posix()}


def read_weights(text: str) -> tuple[float, ...]:
    """Reads weights such as "0.3,0.2".

    Raises:
        InputError: When one of them is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InputError(f"weights {text!r} are not of the form 0.3,0.2 (a number for each model)") from None


def _card(found: dict[str, Any]) -> str:
    """The README.md of a merged model: the recipe as the hub's front matter and as text."""
    front = {
        "base_model": [name for name in (found["base"], *found["models"]) if "/" in name],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "merge", "denizen"],
    }
    shown = yaml.safe_dump({name: value for name, value in front.items() if value}, sort_keys=False)
    recipe = yaml.safe_dump(found, sort_keys=False)
    return (
        f"---\n{shown}---\n\n# {', '.join(found['models'])} merged with {found['base']}\n\n"
        f"By {found['method']}. Weights say how far it goes from the base towards each model.\n\n"
        f"```yaml\n{recipe}```\n"
    )


def _name(model: str) -> str:
    """What a model is called on a card: its id, or the last part of its path, for the rest is the user's machine."""
    path = Path(model).expanduser()
    if not path.exists():
        return model if "/" in model else f"sentence-transformers/{model}"
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
