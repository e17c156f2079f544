"""The README.md of a merged model: the recipe, as hubs read it and as people do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def merge_card(found: dict[str, Any]) -> str:
    """The card for the contents of merge.json."""
    from huggingface_hub import ModelCardData

    front = ModelCardData(
        base_model=[name for name in (found["base"], *found["models"]) if "/" in name] or None,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "merge", "denizen"],
    )
    return (
        f"---\n{front.to_yaml()}\n---\n\n# {', '.join(found['models'])} merged with {found['base']}\n\n"
        f"By {found['method']}. Weights say how far it goes from the base towards each model.\n\n"
        f"```yaml\n{yaml.safe_dump(found, sort_keys=False)}```\n"
    )


def name_on_card(model: str) -> str:
    """What a model is called: its id, or the last part of its path, for the rest is the user's machine."""
    path = Path(model).expanduser()
    if not path.exists():
        return model if "/" in model else f"sentence-transformers/{model}"
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
