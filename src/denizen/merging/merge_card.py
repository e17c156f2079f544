"""The README.md of a merged model: the recipe, as hubs read it and as people do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def merge_card(found: dict[str, Any]) -> str:
    """The card for the contents of merge.json."""
    hub = [name for name in (found["base"], *found["models"]) if "/" in name]
    front = front_matter("merge", base_model=hub or None)
    return (
        f"---\n{front}\n---\n\n# {', '.join(found['models'])} merged with {found['base']}\n\n"
        f"By {found['method']}. Weights say how far it goes from the base towards each model.\n\n"
        f"```yaml\n{yaml.safe_dump(found, sort_keys=False)}```\n"
    )


def front_matter(*tags: str, **more: Any) -> str:
    """What hubs read of a card."""
    from huggingface_hub import ModelCardData

    kind = ["sentence-transformers", "sentence-similarity", "feature-extraction"]
    data = ModelCardData(library_name=kind[0], pipeline_tag=kind[1], tags=[*kind, *tags, "denizen"], **more)
    return str(data.to_yaml())


def name_on_card(model: str) -> str:
    """What a model is called: its id, or the last part of its path, for the rest is the user's machine."""
    path = Path(model).expanduser()
    if not path.exists():
        return model if "/" in model else f"sentence-transformers/{model}"
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
