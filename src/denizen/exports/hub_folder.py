"""A folder to be uploaded to a hub of models: the model and its card, and nothing of the machine it was made on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.exports.exported_encoder import ExportedEncoder
from denizen.retrievers.loading import Kind, load_encoder
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from denizen.exports.subject import Subject

# what training leaves beside a model, and records of the run; the first is a pickle, too
_LEFT_OUT = (
    "training_args.bin",
    "optimizer*",
    "scheduler*",
    "rng_state*",
    "trainer_state.json",
    "checkpoint-*",
    "step.json",
    ".*",
    "__pycache__",
)
# where a library keeps the path that it has read a model from
_ORIGIN = ("_name_or_path", "name_or_path")
# a path from the root, in a text that may hold addresses and fractions
_ABSOLUTE = re.compile(r"(?<![\w./:])(?:/[\w.+-]+){2,}|\b[A-Za-z]:\\[\w\\.+-]+")


def write(subject: Subject, folder: Path) -> None:
    """Copies the model with its card.

    Raises:
        InputError: When a file names a path of this machine.
    """
    copy_model(subject, folder)
    if subject.card:
        (folder / "README.md").write_text(subject.card, encoding="utf-8")
        if found := _ABSOLUTE.search(subject.card):
            raise InputError(
                f"the card of {subject.name} names {found[0]}, a path of this machine; take it out of there"
            )


def copy_model(subject: Subject, folder: Path) -> None:
    """Copies the model with the dimensions and the prompt that it is measured with.

    Raises:
        InputError: When a file of settings names a path of this machine.
    """
    subject.model.save(folder)
    for name in _left_over(folder):
        shutil.rmtree(name) if name.is_dir() else name.unlink()
    for path in sorted(folder.rglob("*.json")):
        # its tokens are words of any kind
        if path.name not in ("tokenizer.json", "vocab.json"):
            _without_paths(path)


def encoder(subject: Subject, folder: Path) -> ExportedEncoder:
    """What plain sentence-transformers makes of the folder: its own `encode_query` and `encode_document`."""
    sentences = load_encoder(folder)
    unit = sentences.similarity_fn_name == "cosine"

    def embeds(texts: Sequence[str], kind: Kind, prompt: str | None) -> Vectors:
        # the prompts are the folder's own: that is what is measured
        embed = sentences.encode_query if kind == "query" else sentences.encode_document
        found = embed(list(texts), normalize_embeddings=unit, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)

    return ExportedEncoder(folder, subject.model.digest, sentences, embeds)


def _left_over(folder: Path) -> Iterator[Path]:
    for pattern in _LEFT_OUT:
        yield from list(folder.glob(pattern))


def _without_paths(path: Path) -> None:
    """Takes out of a file of settings where a model was read from."""
    found: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        return
    kept = {name: value for name, value in found.items() if name not in _ORIGIN or not _is_path(value)}
    if strange := [name for name, value in kept.items() if _is_path(value)]:
        raise InputError(f"{path.name} has {kept[strange[0]]!r} as {strange[0]}, a path of this machine; take it out")
    if kept != found:
        write_json(path, kept)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(_ABSOLUTE.fullmatch(value))
