"""What a model is, as a digest: two students of the same name must never be mistaken for one another."""

from __future__ import annotations

from pathlib import Path

from denizen.data.artifacts import Model
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, files_below, tree_digest

# text for people, and the records of what made it: not part of what the model computes
NOT_THE_MODEL = frozenset({"README.md", "step.json"})


def model_digest(folder: Path) -> str:
    """The SHA-256 over every file of a model folder (weights, modules, tokenizer, prompts), by name and content.

    Raises:
        InputError: When there is no such folder, which would otherwise have the digest of nothing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; it should hold a model")
    names = (name for name in files_below(folder) if Path(name).name not in NOT_THE_MODEL)
    return tree_digest({name: file_digest(folder / name) for name in names})


def outside_model(folder: Path) -> Model:
    """A model that the user brings, as an artifact with `model_digest`."""
    return Model.outside(folder, without=NOT_THE_MODEL)
