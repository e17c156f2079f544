"""Denizen makes a general retrieval model a native of your documents, and proves what that was worth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from denizen.api import adapt
    from denizen.recipes.config import AdaptConfig
    from denizen.recipes.evaluate import evaluate
    from denizen.recipes.search import load_retriever

__version__ = "0.1.0"
__all__ = ["AdaptConfig", "adapt", "evaluate", "load_retriever"]

_HOMES = {
    "AdaptConfig": "denizen.recipes.config",
    "adapt": "denizen.api",
    "evaluate": "denizen.recipes.evaluate",
    "load_retriever": "denizen.recipes.search",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used, so that importing denizen costs nothing."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'denizen' has no attribute {name!r}")
