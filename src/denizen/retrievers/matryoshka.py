"""Which first dimensions of its embeddings a model was trained to be used by alone, as far as its folder says so.

sentence-transformers keeps a default of its users as `truncate_dim` in config_sentence_transformers.json, and what a
model was trained with on its card: the names of losses as tags, their settings as JSON. Nothing else is believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.engine.files import read_json

_LOSS_TAG = re.compile(r"^- loss:(\w+)\s*$", re.MULTILINE)
_JSON_BLOCK = re.compile(r"^[ \t]*```json\s*^(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_FOR_DIMS = {"MatryoshkaLoss", "Matryoshka2dLoss"}
_FOR_LAYERS = {"AdaptiveLayerLoss", "Matryoshka2dLoss"}


@dataclass(frozen=True)
class Promise:
    """What a model's folder says of the use of a part of it.

    Attributes:
        dims: How many first dimensions of an embedding are of use alone, the largest number first.
        layers: Whether its first layers are of use alone.
        losses: Losses for that which its card names.
        truncate_dim: How many first dimensions are used where nothing is said; None: all.
    """

    dims: tuple[int, ...] = ()
    layers: bool = False
    losses: tuple[str, ...] = ()
    truncate_dim: int | None = None


def promised(folder: Path) -> Promise:
    """What a model's folder says; an empty promise where it says nothing."""
    settings, card = read_json(folder / "config_sentence_transformers.json"), folder / "README.md"
    default = settings.get("truncate_dim") if isinstance(settings, dict) else None
    truncate_dim = default if _is_dim(default) else None
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    dims, layers = {truncate_dim} if truncate_dim else set(), False
    for record in _records(text):
        listed = record.get("matryoshka_dims")
        dims |= {dim for dim in listed if _is_dim(dim)} if isinstance(listed, list) else set()
        layers = layers or "n_layers_per_step" in record
    named = tuple(dict.fromkeys(name for name in _LOSS_TAG.findall(text) if name in _FOR_DIMS | _FOR_LAYERS))
    layers = layers or not _FOR_LAYERS.isdisjoint(named)
    return Promise(tuple(sorted(dims, reverse=True)), layers, named, truncate_dim)


def loss_record(dims: tuple[int, ...]) -> str:
    """What `promised` reads of a card, as sentence-transformers writes it."""
    return json.dumps({"loss": "MatryoshkaLoss", "matryoshka_dims": list(dims)}, indent=4)


def _records(card: str) -> Iterator[dict[str, Any]]:
    for block in _JSON_BLOCK.findall(card):
        try:
            found = json.loads(block)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _is_dim(value: object) -> bool:
    return type(value) is int and value > 0
