"""Denizen makes a general retrieval model a native of your documents, and proves what that was worth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from denizen.api import adapt, domains, experts, language
    from denizen.recipes.config import AdaptConfig
    from denizen.recipes.domains_config import DomainsConfig
    from denizen.recipes.evaluate import evaluate
    from denizen.recipes.experts_config import ExpertsConfig
    from denizen.recipes.language_config import LanguageConfig
    from denizen.retrievers.searchable import SearchableCorpus as Retriever

__version__ = "0.1.0"
__all__ = [
    "AdaptConfig",
    "DomainsConfig",
    "ExpertsConfig",
    "LanguageConfig",
    "Retriever",
    "adapt",
    "domains",
    "evaluate",
    "experts",
    "language",
]

_HOMES = {
    "AdaptConfig": ("denizen.recipes.config", "AdaptConfig"),
    "DomainsConfig": ("denizen.recipes.domains_config", "DomainsConfig"),
    "ExpertsConfig": ("denizen.recipes.experts_config", "ExpertsConfig"),
    "LanguageConfig": ("denizen.recipes.language_config", "LanguageConfig"),
    "adapt": ("denizen.api", "adapt"),
    "domains": ("denizen.api", "domains"),
    "evaluate": ("denizen.recipes.evaluate", "evaluate"),
    "experts": ("denizen.api", "experts"),
    "language": ("denizen.api", "language"),
    # who only wants to search meets no other retriever than one with its corpus
    "Retriever": ("denizen.retrievers.searchable", "SearchableCorpus"),
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used, so that importing denizen costs nothing."""
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'denizen' has no attribute {name!r}")
