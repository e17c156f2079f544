"""What a model is, as a digest: two students of the same name must never be mistaken for one another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from denizen.engine.errors import InputError
from denizen.engine.stage import file_digest

# text for people, not part of what the model computes
_NOT_THE_MODEL = {"README.md", "stage.json", "fingerprint.json"}


def model_digest(folder: Path) -> str:
    """The SHA-256 over every file of a model folder (weights, modules, tokenizer, prompts), by name and content.

    Raises:
        InputError: When there is no such folder, which would otherwise have the digest of nothing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; it should hold a model")
    digest = hashlib.sha256()
    # a module's folder may be a link, as all files are in the hub's cache
    found = (Path(parent) / name for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    for path in sorted(found):
        if path.is_file() and path.name not in _NOT_THE_MODEL:
            digest.update(f"{path.relative_to(folder).as_posix()}:{file_digest(path)}\n".encode())
    return digest.hexdigest()
